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
	"os"
	"strings"
	"time"

	"zeroframe/bench"
	"zeroframe/bench/peers"
)

func main() {
	peers.ServeIfChild()
	var p plan
	others := peers.Others{Unmarked: peers.Topic}
	flag.IntVar(&p.repeat, "repeat", 3, "how often to measure each cell; medians are printed")
	flag.DurationVar(&p.duration, "duration", time.Second, "how long to measure a cell each time")
	flag.DurationVar(&p.warmup, "warmup", 300*time.Millisecond, "how long to load it before that")
	flag.IntVar(&p.behind, "behind", 3000, "messages of 4 KiB, more than sockets hold, to 1,000 subscribers of which a tenth does not read, for memory; 0: none")
	flag.StringVar(&others.Path, "path", "/", "path to connect to on the servers of -server")
	names := flag.String("servers", "zeroframe,batched writes,writes,gws,gorilla", "servers to measure")
	shapes := flag.String("shapes", "1000:32:1,10000:32:1,1000:1KiB:1,10000:1KiB:1,1000:32:8,10000:32:8,1000:1KiB:8,10000:1KiB:8",
		"subscribers:bytes:messages in flight; none: -")
	flag.Func("server", "NAME=COMMAND of another server to measure too, with {port} for the port to listen on; may be repeated", others.Add)
	flag.Parse()
	p.servers = others.Servers
	exit(p.run(strings.Split(*names, ","), strings.Split(*shapes, ",")))
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "fanout:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// plan is what is to be measured.
type plan struct {
	repeat, behind   int
	duration, warmup time.Duration
	serverCore       int // -1: any
	servers          []*peers.Server
}

func (p *plan) run(names, shapes []string) error {
	if p.repeat < 1 || p.duration <= 0 || p.warmup < 0 || p.behind < 0 {
		return errors.New("-repeat and -duration must be positive, -warmup and -behind not negative")
	}
	var own []*peers.Server
	for _, name := range names {
		s, err := peers.Find(peers.All(), name)
		if err != nil {
			return fmt.Errorf("-servers: %w", err)
		}
		own = append(own, s)
	}
	p.servers = append(own, p.servers...)
	for _, s := range p.servers {
		if err := s.Can(work); err != nil {
			return fmt.Errorf("%s: %w", s.Name, err)
		}
	}
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
	var err error
	if p.serverCore, err = peers.PinLoad(); err != nil {
		return err
	}
	p.printHead()
	for range p.repeat {
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
	peers.PrintHead(p.serverCore)
	fmt.Printf("load     one publisher, which all subscribers hear, itself too; every delivery verified; %d x %v after %v each,\n"+
		"         interleaved, medians; latency from sending to each delivery\n", p.repeat, p.duration, p.warmup)
	for _, s := range p.servers {
		fmt.Printf("server   %s: %s\n", s.Name, s.Publishing)
	}
}
