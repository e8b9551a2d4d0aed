package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"zeroframe/bench"
	"zeroframe/bench/peers"
)

// behindRow is the load while a tenth of the subscribers does not read.
var behindRow = bench.Row{Conns: 1000, Payload: 4 << 10, InFlight: 8}

const tenth = 10

// memory is that of a server whose members do not all read.
type memory struct {
	before, after float64 // bytes of RSS
	held          float64 // bytes of live heap that were added; negative: unknown
	result        *bench.FanoutResult
}

func (p *plan) measureMemory() error {
	deaf := behindRow.Conns / tenth
	peers.PrintTableHead(fmt.Sprintf("%v, of which %d do not read", behindRow, deaf),
		"RSS before", fmt.Sprintf("RSS after %d messages", p.behind), "live heap added", "deliveries/s to the others", "p99 ms")
	for _, s := range p.servers {
		if slices.Contains(peers.Floors, s) {
			continue // which keep nothing
		}
		m, err := p.memory(s, deaf)
		if err != nil {
			return fmt.Errorf("memory of %s: %w", s.Name, err)
		}
		held := "?"
		if m.held >= 0 {
			held = fmt.Sprintf("%.1f MB", m.held/1e6)
		}
		fmt.Printf("| %s | %.1f MB | %.1f MB | %s | %.0f | %.1f |\n", s.Name, m.before/1e6, m.after/1e6, held,
			m.result.PerSecond, float64(m.result.Latency.P99)/1e6)
	}
	fmt.Printf("\nbefore: all connections open, and some messages to all that read; after: as it is when the last message has reached those.\n" +
		"live heap: behind a forced collection, each time. What the kernel holds for the sockets is in neither.\n")
	return nil
}

// memoryTime bounds the run.
const memoryTime = 5 * time.Minute

func (p *plan) memory(s *peers.Server, deaf int) (m memory, err error) {
	child, err := s.Start(p.ServerCore, work)
	if err != nil {
		return m, err
	}
	defer child.Stop()
	f, err := open(child, behindRow, deaf)
	if err != nil {
		return m, err
	}
	defer f.Close()
	before, err := collect(child)
	if err != nil {
		return m, err
	}
	m.before = child.Resident()
	if m.result, err = runCount(f, uint64(p.behind)); err != nil {
		return m, err
	}
	m.after = child.Resident()
	after, err := collect(child)
	m.held = after - before
	if before < 0 {
		m.held = -1
	}
	return m, err
}

// collect returns the live heap of a server that can tell it; else a negative number.
func collect(child *peers.Process) (float64, error) {
	live, err := child.Collect()
	if errors.Is(err, errors.ErrUnsupported) {
		return -1, nil
	}
	return live, err
}

// runCount publishes about n messages.
func runCount(f *bench.Fanout, n uint64) (*bench.FanoutResult, error) {
	ctx, cancel := context.WithTimeout(context.Background(), memoryTime)
	defer cancel()
	go func() {
		end := f.Publishes() + n
		for ticker := time.NewTicker(time.Millisecond); ctx.Err() == nil; <-ticker.C {
			if f.Publishes() >= end {
				cancel()
			}
		}
	}()
	return run(ctx, f, memoryTime)
}
