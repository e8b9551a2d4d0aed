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
	p.Flags(700*time.Millisecond, 200*time.Millisecond, "zeroframe,zeroframe-released,gws,nbio,nbio-blocking,coder,gorilla")
	flag.IntVar(&p.idle, "idle", 3500, "idle connections whose memory is measured, beyond the first 500; 0: none")
	flag.BoolVar(&p.handshakes, "handshakes", true, "measure handshakes")
	shapes := flag.String("shapes", "100:32:1,100:1KiB:1,100:16KiB:1,10:1MiB:1,100:32:16", "connections:bytes:messages in flight; none: -")
	flag.Parse()
	peers.Exit(p.run(strings.Split(*shapes, ",")))
}

// plan is what is to be measured.
type plan struct {
	peers.Plan
	idle        int
	handshakes  bool
	certificate *peers.Certificate
}

func (p *plan) run(shapes []string) error {
	if p.idle < 0 {
		return errors.New("-idle must not be negative")
	}
	list, err := p.Begin(func(s *peers.Server) error {
		if !s.TLS {
			return errors.New("it has no TLS")
		}
		return nil
	})
	if err != nil {
		return err
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
	dir, err := bench.TempDir("zeroframe-tls")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if p.certificate, err = peers.NewCertificate(dir); err != nil {
		return err
	}
	p.printHead(list)
	for range p.Repeat {
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
	return s.Start(p.ServerCore, peers.Options{Size: size, Pair: p.certificate.Pair})
}
