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
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"zeroframe/bench/peers"
)

func main() {
	peers.ServeIfChild()
	var p plan
	flag.IntVar(&p.repeat, "repeat", 3, "how often to measure each cell; medians are printed")
	flag.DurationVar(&p.duration, "duration", time.Second, "how long to measure a cell each time")
	flag.DurationVar(&p.warmup, "warmup", 300*time.Millisecond, "how long to load it before that")
	flag.IntVar(&p.conns, "conns", 100, "connections, with one message in flight on each")
	flag.IntVar(&p.idle, "idle", 1000, "connections whose memory is measured; 0: none")
	names := flag.String("servers", "zeroframe,gws,coder,gorilla", "servers to measure")
	sizes := flag.String("sizes", "128,1024,16384", "bytes of each message")
	flag.Parse()
	exit(p.run(strings.Split(*names, ","), strings.Split(*sizes, ",")))
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "compression:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// plan is what is to be measured.
type plan struct {
	repeat, conns, idle int
	duration, warmup    time.Duration
	serverCore          int // -1: any
}

func (p *plan) run(names, sizes []string) error {
	if p.repeat < 1 || p.duration <= 0 || p.warmup < 0 || p.conns < 1 || p.idle < 0 {
		return fmt.Errorf("-repeat, -duration and -conns must be positive, -warmup and -idle not negative")
	}
	var servers []*peers.Server
	for _, name := range names {
		server, err := peers.Find(peers.All(), name)
		if err != nil {
			return fmt.Errorf("-servers: %w", err)
		}
		if len(server.Modes) == 0 {
			return fmt.Errorf("-servers: %s does not compress", name)
		}
		servers = append(servers, server)
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
	var err error
	if p.serverCore, err = peers.PinLoad(); err != nil {
		return err
	}
	p.printHead(servers)
	for range p.repeat {
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
