//go:build linux

// Command compression measures echo servers with permessage-deflate: messages per second, CPU, what is on the wire and
// memory per connection, for Zeroframe, gws, coder and gorilla without compression, and with it without and with context
// takeover of the server, on three sizes of JSON. It prints the tables of docs/performance.md.
//
//	go run . [-repeat 3] [-duration 1s] [-servers zeroframe,gws] [-sizes 128,1024]
//
// Each cell has a server process of its own, this program again, on the first core with GOMAXPROCS=1; the load is on the
// second. Every repetition goes through all cells, so that a drift of the machine meets all of them alike.
package main

import (
	"errors"
	"flag"
	"fmt"
	"strconv"
	"strings"
	"time"

	"zeroframe/bench/peers"
)

func main() {
	peers.ServeIfChild()
	var p plan
	p.Flags(time.Second, 300*time.Millisecond, "zeroframe,gws,coder,gorilla")
	flag.IntVar(&p.conns, "conns", 100, "connections, with one message in flight on each")
	flag.IntVar(&p.idle, "idle", 1000, "connections whose memory is measured; 0: none")
	sizes := flag.String("sizes", "128,1024,16384", "bytes of each message")
	flag.Parse()
	peers.Exit(p.run(strings.Split(*sizes, ",")))
}

// plan is what is to be measured.
type plan struct {
	peers.Plan
	conns, idle int
}

func (p *plan) run(sizes []string) error {
	if p.conns < 1 || p.idle < 0 {
		return errors.New("-conns must be positive, -idle not negative")
	}
	servers, err := p.Begin(func(s *peers.Server) error {
		if len(s.Modes) == 0 {
			return errors.New("it does not compress")
		}
		return nil
	})
	if err != nil {
		return err
	}
	var cells []*cell
	for _, s := range sizes {
		size, err := strconv.Atoi(s)
		if err != nil || size < 1 || size > 1<<20 {
			return fmt.Errorf("-sizes: %q is not 1 to 1048576", s)
		}
		m := newMessages(size)
		for _, server := range servers {
			for _, mode := range server.Modes {
				cells = append(cells, &cell{server: server, mode: mode, messages: m})
			}
		}
	}
	p.printHead(servers)
	for range p.Repeat {
		for _, c := range cells {
			if err := c.measure(p); err != nil {
				return fmt.Errorf("%s, %s, %d B: %w", c.server.Name, c.mode, c.messages.size, err)
			}
		}
		for _, c := range cells {
			if c.server.Name == peers.Zeroframe {
				c.measureLibrary()
			}
		}
	}
	if p.idle > 0 {
		for _, c := range cells {
			if err := c.measureMemory(p); err != nil {
				return fmt.Errorf("memory of %s, %s, %d B: %w", c.server.Name, c.mode, c.messages.size, err)
			}
		}
	}
	p.printTables(cells)
	return nil
}
