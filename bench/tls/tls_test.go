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
	peers.ServeIfChild()
	os.Exit(m.Run())
}

// served is a server for as long as the test lasts, and a plan whose client trusts it.
func served(t *testing.T, s *peers.Server) (*plan, *peers.Process) {
	t.Helper()
	certificate, err := peers.NewCertificate(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	p := &plan{certificate: certificate, Plan: peers.Plan{ServerCore: -1}}
	to, err := p.start(s, 1000)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := to.Stop(); err != nil {
			t.Errorf("%s: %v", s.Name, err)
		}
	})
	return p, to
}

// servers are those that have TLS.
var servers = slices.DeleteFunc(peers.All(), func(s *peers.Server) bool { return !s.TLS })

func TestEveryServerEchoesOverTLS(t *testing.T) {
	for _, s := range servers {
		p, to := served(t, s)
		for _, row := range []bench.Row{{Conns: 3, Payload: 32, InFlight: 16}, {Conns: 3, Payload: 100_000, InFlight: 2}} {
			l, err := p.open(to, row.Conns, row.Payload, row.InFlight)
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
			config := k.config(p.certificate.Client())
			for i := range 3 {
				resumed, err := open(to.Addr, config)
				if err != nil || resumed != (k.resume && i > 0) {
					t.Errorf("%s, %s, connection %d: resumed %v, %v", s.Name, k.name, i, resumed, err)
				}
			}
		}
	}
}
