package main

import (
	"context"
	"fmt"

	"zeroframe/bench"
	"zeroframe/bench/peers"
)

// base connections are open before memory is measured: what a server keeps for all of them is there then, pools above all.
const base = 500

// memorySizes are the bytes of the one message that each connection had before it became idle: a short one, and one
// whose record is as long as records are.
var memorySizes = []int{32, 16 << 10}

// memory is what an idle connection takes, in bytes: of RSS, after a collection that gave back what is free, and on the heap.
type memory struct{ resident, live float64 }

func (p *plan) measureMemory(servers []*peers.Server) error {
	columns := []string{"bytes per idle connection"}
	for _, size := range memorySizes {
		after := bench.FormatSize(int64(size))
		columns = append(columns, "RSS, after "+after, "live heap, after "+after)
	}
	peers.PrintTableHead(columns...)
	for _, server := range servers {
		fmt.Printf("| %s |", server.Name)
		for _, size := range memorySizes {
			m, err := p.idleMemory(server, size)
			if err != nil {
				return fmt.Errorf("memory of %s: %w", server.Name, err)
			}
			fmt.Printf(" %.0f | %.0f |", m.resident, m.live)
		}
		fmt.Println()
	}
	fmt.Printf("\nGrowth from %d to %d connections, in a process for each size, after one message on each connection, each time behind\n"+
		"collections and debug.FreeOSMemory.\n", base, base+p.idle)
	return nil
}

// idleMemory opens connections, has one message echoed on each, and looks what they have added.
func (p *plan) idleMemory(server *peers.Server, size int) (m memory, err error) {
	s, err := p.start(server, size)
	if err != nil {
		return m, err
	}
	defer s.Stop()
	var before memory
	for i, conns := range []int{base, p.idle} {
		l, err := p.open(s, conns, size, 1)
		if err != nil {
			return m, err
		}
		defer l.Close()
		r, err := l.Run(context.Background(), 1) // over at once: one message on each
		if err != nil {
			return m, err
		}
		if r.Total < uint64(conns) || r.Errors > 0 {
			return m, fmt.Errorf("%d echoes on %d connections: %s", r.Total, conns, r.Error)
		}
		now := memory{}
		if now.live, err = s.Collect(); err != nil {
			return m, err
		}
		now.resident = s.Resident()
		if i == 0 {
			before = now
			continue
		}
		n := float64(p.idle)
		m = memory{(now.resident - before.resident) / n, (now.live - before.live) / n}
	}
	return m, nil
}
