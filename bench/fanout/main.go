// Command fanout measures servers that send each message to all connections: deliveries per second, CPU per delivery and
// latency from one publisher to 1,000 and 10,000 subscribers, for Zeroframe, gws, gorilla, and loops of writes that do
// nothing else; and memory while a tenth of the subscribers do not read. It prints the tables of docs/performance.md.
//
//	go run . [-repeat 3] [-duration 1s] [-servers zeroframe,gws] [-shapes 1000:32:1,10000:1KiB:8]
//	         [-server 'NAME=COMMAND --port {port}'] [-path /topic/bench]
//
// Each cell has a server process of its own, this program again, on the first core with GOMAXPROCS=1; the load is on the
// second: bench.Fanout, which verifies every delivery. Every repetition goes through all cells, so that a drift of the
// machine meets all of them alike.
package main

import (
	"errors"
	"flag"
	"fmt"
	"strings"
	"time"

	"zeroframe/bench"
	"zeroframe/bench/peers"
)

func main() {
	peers.ServeIfChild()
	var p plan
	others := peers.Others{Unmarked: peers.Topic}
	p.Flags(time.Second, 300*time.Millisecond, "zeroframe,batched writes,writes,gws,gorilla")
	flag.IntVar(&p.behind, "behind", 3000, "messages of 4 KiB, more than sockets hold, to 1,000 subscribers of which a tenth does not read, for memory; 0: none")
	flag.StringVar(&others.Path, "path", "/", "path to connect to on the servers of -server")
	shapes := flag.String("shapes", "1000:32:1,10000:32:1,1000:1KiB:1,10000:1KiB:1,1000:32:8,10000:32:8,1000:1KiB:8,10000:1KiB:8",
		"subscribers:bytes:messages in flight; none: -")
	flag.Func("server", "NAME=COMMAND of another server to measure too, with {port} for the port to listen on; may be repeated", others.Add)
	flag.Parse()
	p.servers = others.Servers
	peers.Exit(p.run(strings.Split(*shapes, ",")))
}

// plan is what is to be measured.
type plan struct {
	peers.Plan
	behind  int
	servers []*peers.Server
}

func (p *plan) run(shapes []string) error {
	if p.behind < 0 {
		return errors.New("-behind must not be negative")
	}
	known, err := p.Begin(func(s *peers.Server) error { return s.Can(work) })
	if err != nil {
		return err
	}
	for _, s := range p.servers {
		if err := s.Can(work); err != nil {
			return fmt.Errorf("-server: %s: %w", s.Name, err)
		}
	}
	p.servers = append(known, p.servers...)
	var cells []*cell
	for _, s := range shapes {
		if s == "-" {
			continue
		}
		row, err := bench.ParseRow(s)
		if err != nil {
			return fmt.Errorf("-shapes: %w", err)
		}
		cells = append(cells, &cell{row, make([][]*bench.FanoutResult, len(p.servers))})
	}
	p.printHead()
	for range p.Repeat {
		for _, c := range cells {
			if err := c.measure(p); err != nil {
				return err
			}
		}
	}
	for _, c := range cells {
		c.print(p)
	}
	if len(cells) > 0 {
		fmt.Println("\n" + peers.ClientBoundNote)
	}
	if p.behind > 0 {
		return p.measureMemory()
	}
	return nil
}

func (p *plan) printHead() {
	peers.PrintHead(p.ServerCore)
	fmt.Printf("load     one publisher, which all subscribers hear, itself too; every delivery verified; %d x %v after %v each,\n"+
		"         interleaved, medians; latency from sending to each delivery\n", p.Repeat, p.Duration, p.Warmup)
	for _, s := range p.servers {
		fmt.Printf("server   %s: %s\n", s.Name, s.Publishing)
	}
}
