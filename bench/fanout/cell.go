package main

import (
	"context"
	"errors"
	"fmt"

	"zeroframe/bench"
	"zeroframe/bench/peers"
)

// cell is a shape of the load, and what was found with it.
type cell struct {
	bench.Row
	results [][]*bench.FanoutResult // of each server's repetitions
}

// measure is one repetition.
func (c *cell) measure(p *plan) error {
	for i, s := range p.servers {
		r, err := c.one(p, s)
		if err != nil {
			return fmt.Errorf("%s, %v: %w", s.Name, c, err)
		}
		c.results[i] = append(c.results[i], r)
	}
	return nil
}

func (c *cell) one(p *plan, s *peers.Server) (*bench.FanoutResult, error) {
	child, err := s.Start(p.ServerCore, work)
	if err != nil {
		return nil, err
	}
	defer child.Stop()
	f, err := open(child, c.Row, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if p.Warmup > 0 {
		if _, err := run(context.Background(), f, p.Warmup); err != nil {
			return nil, err
		}
	}
	r, err := run(context.Background(), f, p.Duration)
	if err == nil && r.Deliveries == 0 {
		err = errors.New("no message came while it was measured")
	}
	return r, err
}

func (c *cell) print(p *plan) {
	peers.PrintTableHead(c.String(), "server us/delivery", "relative", "deliveries/s", "publishes/s", "p50 ms", "p99 ms", "server CPU", "load CPU")
	first := 0.0
	for i, s := range p.servers {
		of := func(f func(r *bench.FanoutResult) float64) float64 { return peers.Median(c.results[i], f) }
		cost := of(func(r *bench.FanoutResult) float64 { return r.Server.PerMillion })
		if i == 0 {
			first = cost
		}
		client := of(func(r *bench.FanoutResult) float64 { return r.Client.Utilisation })
		busy := of(func(r *bench.FanoutResult) float64 { return r.Server.Utilisation })
		mark := ""
		if bench.ClientBound(client, busy) {
			mark = " *"
		}
		fmt.Printf("| %s | %.2f | %.2f | %.0f%s | %.0f | %.1f | %.1f | %.0f %% | %.0f %% |\n", s.Name, cost, cost/first,
			of(func(r *bench.FanoutResult) float64 { return r.PerSecond }), mark,
			of(func(r *bench.FanoutResult) float64 { return r.PublishesPerSecond }),
			of(func(r *bench.FanoutResult) float64 { return float64(r.Latency.P50) / 1e6 }),
			of(func(r *bench.FanoutResult) float64 { return float64(r.Latency.P99) / 1e6 }), busy*100, client*100)
	}
}
