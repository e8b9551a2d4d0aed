package natstest

import (
	"io"
	"net"
	"strings"
	"sync"
	"testing"
)

// gate is a way to a server for one engine, which can be shut while others go on.
type gate struct {
	net.Listener
	t     *testing.T
	to    string
	mu    sync.Mutex
	isOut bool
	conns []net.Conn
	ended sync.WaitGroup
}

func newGate(t *testing.T, url string) *gate {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := &gate{Listener: ln, t: t, to: strings.TrimPrefix(url, "nats://")}
	g.ended.Go(g.accept)
	t.Cleanup(func() {
		ln.Close()
		g.shut()
		g.ended.Wait()
	})
	return g
}

func (g *gate) url() string { return "nats://" + g.Addr().String() }

func (g *gate) accept() {
	for {
		in, err := g.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", g.to)
		g.mu.Lock()
		if err != nil || g.isOut {
			in.Close()
			if err == nil {
				out.Close()
			}
			g.mu.Unlock()
			continue
		}
		g.conns = append(g.conns, in, out)
		g.mu.Unlock()
		for _, way := range [][2]net.Conn{{in, out}, {out, in}} {
			g.ended.Go(func() {
				io.Copy(way[0], way[1])
				in.Close()
				out.Close()
			})
		}
	}
}

// shut ends the connections and lets no others through.
func (g *gate) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.isOut = true
	for _, c := range g.conns {
		c.Close()
	}
	g.conns = nil
}

func (g *gate) open() {
	g.mu.Lock()
	g.isOut = false
	g.mu.Unlock()
}
