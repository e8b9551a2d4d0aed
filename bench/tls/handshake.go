package main

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"zeroframe/bench/peers"
)

// kind is a way to shake hands.
type kind struct {
	name   string
	resume bool
	curves []tls.CurveID // nil: those of crypto/tls
}

var kinds = []kind{
	{"full handshakes, client's defaults", false, nil},
	{"full handshakes, X25519 alone", false, []tls.CurveID{tls.X25519}},
	{"resumed handshakes, X25519 alone", true, []tls.CurveID{tls.X25519}},
}

// config returns what such a handshake is made with.
func (k kind) config(base *tls.Config) *tls.Config {
	c := base.Clone()
	c.CurvePreferences = k.curves
	if k.resume {
		c.SessionTicketsDisabled = false
		c.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	}
	return c
}

// dialers open connections at once: enough that the server is never without one.
const dialers = 8

// handshakes are connections opened, up to the answer to the request that makes a WebSocket of them, and reset.
type handshakes struct {
	kind
	servers []*peers.Server
	results [][]opened // of each server's repetitions
}

func newHandshakes(k kind, servers []*peers.Server) *handshakes {
	return &handshakes{k, servers, make([][]opened, len(servers))}
}

// opened is what a repetition found.
type opened struct {
	count          int
	elapsed        time.Duration
	client, server time.Duration // CPU
}

func (h *handshakes) measure(p *plan) error {
	for i, server := range h.servers {
		r, err := h.one(p, server)
		if err != nil {
			return fmt.Errorf("%s, %s: %w", server.Name, h.name, err)
		}
		h.results[i] = append(h.results[i], r)
	}
	return nil
}

func (h *handshakes) one(p *plan, server *peers.Server) (r opened, err error) {
	s, err := p.start(server, 0)
	if err != nil {
		return r, err
	}
	defer s.Stop()
	configs := make([]*tls.Config, dialers) // with a session each
	for i := range configs {
		configs[i] = h.config(p.certificate.Client())
		if _, err := open(s.Addr, configs[i]); err != nil { // warm, and with a ticket
			return r, err
		}
	}
	client, cpu, err := s.CPUs()
	if err != nil {
		return r, err
	}
	begin := time.Now()
	var all sync.WaitGroup
	var mu sync.Mutex
	for _, config := range configs {
		all.Go(func() {
			for time.Since(begin) < p.Duration {
				resumed, e := open(s.Addr, config)
				if e == nil && resumed != h.resume {
					e = fmt.Errorf("resumed: %v", resumed)
				}
				mu.Lock()
				if r.count++; e != nil {
					err = errors.Join(err, e)
				}
				stop := err != nil
				mu.Unlock()
				if stop {
					return
				}
			}
		})
	}
	all.Wait()
	r.elapsed = time.Since(begin)
	if err != nil {
		return r, err
	}
	r.client, r.server, err = s.CPUs()
	r.client -= client
	r.server -= cpu
	return r, err
}

// patience is how long a connection may take to open.
const patience = 10 * time.Second

var request = "GET / HTTP/1.1\r\nHost: " + peers.Hostname + "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n" +
	"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"

// open makes one connection, and says whether its session was resumed. The reset leaves no port in TIME_WAIT.
func open(to netip.AddrPort, config *tls.Config) (resumed bool, err error) {
	nc, err := net.DialTCP("tcp4", nil, net.TCPAddrFromAddrPort(to))
	if err != nil {
		return false, err
	}
	defer nc.Close()
	nc.SetLinger(0)
	nc.SetDeadline(time.Now().Add(patience))
	c := tls.Client(nc, config)
	if _, err := c.Write([]byte(request)); err != nil { // shakes hands
		return false, err
	}
	response, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return false, err
	}
	if response.StatusCode != http.StatusSwitchingProtocols {
		return false, errors.New(response.Status)
	}
	return c.ConnectionState().DidResume, nil
}

func (h *handshakes) print() {
	peers.PrintTableHead(h.name, "server us/connection", "relative", "connections/s", "server CPU", "load CPU")
	first := 0.0
	for i, server := range h.servers {
		of := func(f func(r opened) float64) float64 { return peers.Median(h.results[i], f) }
		cost := of(func(r opened) float64 { return float64(r.server.Microseconds()) / float64(r.count) })
		if i == 0 {
			first = cost
		}
		client := of(func(r opened) float64 { return r.client.Seconds() / r.elapsed.Seconds() })
		busy := of(func(r opened) float64 { return r.server.Seconds() / r.elapsed.Seconds() })
		fmt.Printf("| %s | %.0f | %.2f | %.0f%s | %.0f %% | %.0f %% |\n", server.Name, cost, cost/first,
			of(func(r opened) float64 { return float64(r.count) / r.elapsed.Seconds() }), mark(client, busy), busy*100, client*100)
	}
}
