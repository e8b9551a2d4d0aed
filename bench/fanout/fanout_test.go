package main

import (
	"context"
	"net"
	"os"
	"testing"
	"time"

	"zeroframe/bench"
	"zeroframe/bench/peers"
)

// served is a server in this process, for as long as the test lasts.
type served struct{ net.Addr }

func (s served) url() string { return "ws://" + s.String() + "/" }
func (s served) pid() int    { return os.Getpid() }
func (s served) stop()       {}

func serve(t *testing.T, s peers.Server) served {
	t.Helper()
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go s.Serve(ln, peers.Options{})
	t.Cleanup(func() { ln.Close() })
	return served{ln.Addr()}
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
		if s.Name == "writes" || s.Name == "batched writes" {
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

func TestOtherServersAreNamedWithTheirCommand(t *testing.T) {
	if o, err := parseOther("mine=./server -p {port} -q a=b"); err != nil || o.title != "mine" || len(o.command) != 5 {
		t.Errorf("%+v, %v", o, err)
	}
	for _, s := range []string{"", "mine", "mine=", "=./server"} {
		if _, err := parseOther(s); err == nil {
			t.Errorf("%q is taken", s)
		}
	}
}
