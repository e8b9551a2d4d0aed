package main

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"time"

	"zeroframe/bench"
	"zeroframe/bench/peers"
)

// served is a server in this process, for as long as the test lasts, and a plan whose client trusts it.
func served(t *testing.T, s peers.Server) (*plan, netip.AddrPort) {
	t.Helper()
	p := new(plan)
	if err := p.certify(t.TempDir()); err != nil {
		t.Fatal(err)
	}
	config, err := serverConfig(p.pair)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go s.Serve(ln, peers.Options{Mode: peers.Off, Size: 1000, TLS: config})
	t.Cleanup(func() { ln.Close() })
	return p, netip.MustParseAddrPort(ln.Addr().String())
}

func TestEveryServerEchoesOverTLS(t *testing.T) {
	for _, s := range servers {
		p, to := served(t, s)
		for _, row := range []bench.Row{{Conns: 3, Payload: 32, InFlight: 16}, {Conns: 3, Payload: 100_000, InFlight: 2}} {
			l, err := p.open(to, row.Conns, row.Payload, row.InFlight, 0)
			if err != nil {
				t.Fatalf("%s: %v", s.Name, err)
			}
			r, err := l.Run(context.Background(), 100*time.Millisecond)
			if err != nil || r.Errors > 0 || r.Total < uint64(row.Conns*row.InFlight) {
				t.Errorf("%s, %v: %+v, %v", s.Name, row, r, err)
			}
			l.Close()
		}
	}
}

func TestEveryServerResumesSessionsWhereThatIsMeasured(t *testing.T) {
	for _, s := range servers {
		p, to := served(t, s)
		for _, k := range kinds {
			config := k.config(p.client)
			for i := range 3 {
				resumed, err := open(to, config)
				if err != nil || resumed != (k.resume && i > 0) {
					t.Errorf("%s, %s, connection %d: resumed %v, %v", s.Name, k.name, i, resumed, err)
				}
			}
		}
	}
}
