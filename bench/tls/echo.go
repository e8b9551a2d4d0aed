package main

import (
	"context"
	"errors"
	"fmt"

	"zeroframe/bench"
	"zeroframe/bench/peers"
)

// cell is a figure of all servers, taken in turn.
type cell interface {
	measure(p *plan) error // a repetition
	print()
}

// echoes are messages of one shape.
type echoes struct {
	bench.Row
	servers []*peers.Server
	results [][]*bench.Result // of each server's repetitions
}

func newEchoes(row bench.Row, servers []*peers.Server) *echoes {
	return &echoes{row, servers, make([][]*bench.Result, len(servers))}
}

// open connects to a server.
func (p *plan) open(to *peers.Process, conns, size, inFlight int) (*bench.Load, error) {
	return bench.Open(context.Background(), bench.LoadConfig{
		URL: to.URL, TLS: p.certificate.Client(), Conns: conns, Payload: size, InFlight: inFlight, Loops: 1, ServerPID: to.PID(),
	})
}

func (e *echoes) measure(p *plan) error {
	for i, server := range e.servers {
		r, err := e.one(p, server)
		if err != nil {
			return fmt.Errorf("%s, %v: %w", server.Name, e, err)
		}
		e.results[i] = append(e.results[i], r)
	}
	return nil
}

func (e *echoes) one(p *plan, server *peers.Server) (r *bench.Result, err error) {
	s, err := p.start(server, e.Payload)
	if err != nil {
		return nil, err
	}
	defer s.Stop()
	l, err := p.open(s, e.Conns, e.Payload, e.InFlight)
	if err != nil {
		return nil, err
	}
	defer l.Close()
	if p.Warmup > 0 {
		if _, err := l.Run(context.Background(), p.Warmup); err != nil {
			return nil, err
		}
	}
	if r, err = l.Run(context.Background(), p.Duration); err != nil {
		return nil, err
	}
	if r.Errors > 0 || r.Messages == 0 || r.Server == nil {
		return nil, errors.New("no figures: " + r.Error)
	}
	return r, nil
}

func (e *echoes) print() {
	peers.PrintTableHead(e.String(), "server us/message", "relative", "messages/s", "p99 us", "server CPU", "load CPU")
	first := 0.0
	for i, server := range e.servers {
		of := func(f func(r *bench.Result) float64) float64 { return peers.Median(e.results[i], f) }
		cost := of(func(r *bench.Result) float64 { return r.Server.PerMillion })
		if i == 0 {
			first = cost
		}
		client := of(func(r *bench.Result) float64 { return r.Client.Utilisation })
		busy := of(func(r *bench.Result) float64 { return r.Server.Utilisation })
		fmt.Printf("| %s | %.2f | %.2f | %.0f%s | %.0f | %.0f %% | %.0f %% |\n", server.Name, cost, cost/first,
			of(func(r *bench.Result) float64 { return r.PerSecond }), mark(client, busy),
			of(func(r *bench.Result) float64 { return float64(r.Latency.P99.Microseconds()) }), busy*100, client*100)
	}
}

// mark is put behind a rate that is the load's limit.
func mark(client, server float64) string {
	if bench.ClientBound(client, server) {
		return " *"
	}
	return ""
}
