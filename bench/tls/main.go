// Command tls measures echo servers over TLS 1.3: CPU per message, memory per idle connection, and CPU per handshake, for
// Zeroframe, gws, nbio, coder and gorilla. It prints the tables of docs/performance.md.
//
//	go run . [-repeat 3] [-duration 700ms] [-servers zeroframe,gws] [-shapes 100:32:1,10:1MiB:1]
//
// Each cell has a server process of its own, this program again, on the first core with GOMAXPROCS=1; the load is on the
// second: the engine's own client, which costs it about what it costs the server. Every repetition goes through all
// cells, so that a drift of the machine meets all of them alike.
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
	flag.IntVar(&p.repeat, "repeat", 3, "how often to measure each cell; medians are printed")
	flag.DurationVar(&p.duration, "duration", 700*time.Millisecond, "how long to measure a cell each time")
	flag.DurationVar(&p.warmup, "warmup", 200*time.Millisecond, "how long to load it before that")
	flag.IntVar(&p.idle, "idle", 3500, "idle connections whose memory is measured, beyond the first 500; 0: none")
	flag.BoolVar(&p.handshakes, "handshakes", true, "measure handshakes")
	names := flag.String("servers", "zeroframe,zeroframe-released,gws,nbio,nbio-blocking,coder,gorilla", "servers to measure")
	shapes := flag.String("shapes", "100:32:1,100:1KiB:1,100:16KiB:1,10:1MiB:1,100:32:16", "connections:bytes:messages in flight; none: -")
	flag.Parse()
	exit(p.run(strings.Split(*names, ","), strings.Split(*shapes, ",")))
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "tls:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// plan is what is to be measured.
type plan struct {
	repeat, idle     int
	duration, warmup time.Duration
	handshakes       bool
	serverCore       int // -1: any
	certificate      *peers.Certificate
}

func (p *plan) run(names, shapes []string) error {
	if p.repeat < 1 || p.duration <= 0 || p.warmup < 0 || p.idle < 0 {
		return errors.New("-repeat and -duration must be positive, -warmup and -idle not negative")
	}
	var list []*peers.Server
	for _, name := range names {
		server, err := peers.Find(peers.All(), name)
		if err != nil {
			return fmt.Errorf("-servers: %w", err)
		}
		if !server.TLS {
			return fmt.Errorf("-servers: %s has no TLS", name)
		}
		list = append(list, server)
	}
	var cells []cell
	for _, s := range shapes {
		if s == "-" {
			continue
		}
		row, err := bench.ParseRow(s)
		if err != nil {
			return fmt.Errorf("-shapes: %w", err)
		}
		cells = append(cells, newEchoes(row, list))
	}
	if p.handshakes {
		for _, k := range kinds {
			cells = append(cells, newHandshakes(k, list))
		}
	}
	dir, err := os.MkdirTemp("", "zeroframe-tls")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if p.certificate, err = peers.NewCertificate(dir); err != nil {
		return err
	}
	if p.serverCore, err = peers.PinLoad(); err != nil {
		return err
	}
	p.printHead(list)
	for range p.repeat {
		for _, c := range cells {
			if err := c.measure(p); err != nil {
				return err
			}
		}
	}
	for _, c := range cells {
		c.print()
	}
	fmt.Println("\n" + peers.ClientBoundNote)
	if p.idle > 0 {
		return p.measureMemory(list)
	}
	return nil
}

// start runs a server for messages of a size.
func (p *plan) start(s *peers.Server, size int) (*peers.Process, error) {
	return s.Start(p.serverCore, peers.Options{Size: size, Pair: p.certificate.Pair})
}
