package main

import (
	"context"
	"os"
	"slices"
	"testing"
	"time"

	"zeroframe/bench"
	"zeroframe/bench/peers"
)

func TestMain(m *testing.M) {
	os.Setenv("GORACE", "atexit_sleep_ms=0") // or each process takes a second to end
	peers.ServeIfChild()
	os.Exit(m.Run())
}

// servers are those that send to all.
var servers = slices.DeleteFunc(peers.All(), func(s *peers.Server) bool { return s.Can(work) != nil })

// serve starts a server for as long as the test lasts.
func serve(t *testing.T, s *peers.Server) *peers.Process {
	t.Helper()
	p, err := s.Start(-1, work)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Stop(); err != nil {
			t.Errorf("%s: %v", s.Name, err)
		}
	})
	return p
}

func TestEveryServerSendsEachMessageToAll(t *testing.T) {
	for _, s := range servers {
		for _, row := range []bench.Row{{Conns: 5, Payload: 32, InFlight: 1}, {Conns: 20, Payload: 1000, InFlight: 8}} {
			f, err := open(serve(t, s), row, 0)
			if err != nil {
				t.Fatalf("%s: %v", s.Name, err)
			}
			for range 2 {
				r, err := run(context.Background(), f, 50*time.Millisecond)
				if err != nil || r.Total < uint64(row.Conns*row.InFlight) || r.Total%uint64(row.Conns) != 0 {
					t.Errorf("%s, %v: %+v, %v", s.Name, row, r, err)
				}
			}
			f.Close()
		}
	}
}

// Those that do not read must not hold up the others.
func TestEveryServerGoesOnWhileSomeDoNotRead(t *testing.T) {
	for _, s := range servers {
		if slices.Contains(peers.Floors, s) {
			continue // which are for members that read
		}
		f, err := open(serve(t, s), bench.Row{Conns: 10, Payload: 4 << 10, InFlight: 8}, 1)
		if err != nil {
			t.Fatalf("%s: %v", s.Name, err)
		}
		before := f.Publishes()
		r, err := runCount(f, 2500) // 10 MB: far more than sockets hold
		if sent := f.Publishes() - before; err != nil || sent < 2500 || r.Total != 9*sent {
			t.Errorf("%s: %d messages, %+v, %v", s.Name, sent, r, err)
		}
		f.Close()
	}
}
