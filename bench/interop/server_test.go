package interop

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"zeroframe/engine"
	"zeroframe/frame"
)

// patience bounds every wait; none lasts that long unless the test fails.
const patience = time.Minute

// served is what the server's handlers have seen.
type served struct {
	url    string
	wss    string // the same over TLS
	closed chan engine.CloseReason
	pongs  chan string
}

// address is where the server listens.
func (s *served) address() string { return strings.TrimPrefix(s.url, "ws://") }

// echo replies with what it gets.
type echo struct {
	engine.NopHandler
	*served
}

func (h echo) OnMessage(c *engine.Conn, op frame.OpCode, payload []byte) {
	if err := c.Reply(op, payload); err != nil {
		panic(err)
	}
}

func (h echo) OnClose(_ *engine.Conn, r engine.CloseReason) { h.closed <- r }

func (h echo) OnPong(_ *engine.Conn, payload []byte) {
	select {
	case h.pongs <- string(payload):
	default: // more than a test looks at
	}
}

// scripted does what a text message tells it.
type scripted struct{ echo }

func (h scripted) OnMessage(c *engine.Conn, _ frame.OpCode, payload []byte) {
	do, rest, _ := strings.Cut(string(payload), " ")
	switch do {
	case "ping":
		c.Ping([]byte(rest))
	case "fragments":
		for _, part := range strings.Split(rest, "|") {
			c.SendFragment(frame.Text, []byte(part), false)
			c.Ping([]byte("between"))
		}
		c.SendFragment(frame.Text, nil, true)
	case "close":
		var code frame.CloseCode
		fmt.Sscan(rest, &code)
		_, reason, _ := strings.Cut(rest, " ")
		c.Close(code, reason)
	}
}

// serve starts an engine on a port of its own: /echo echoes, /scripted obeys.
func serve(t *testing.T) *served {
	t.Helper()
	e, err := engine.New(engine.WithLoops(2), engine.WithAnyOrigin(), engine.WithTLSConfig(secured().server))
	if err != nil {
		t.Fatal(err)
	}
	s := &served{closed: make(chan engine.CloseReason, 100), pongs: make(chan string, 100)}
	h := echo{served: s}
	for path, h := range map[string]engine.Handler{"/echo": h, "/scripted": scripted{h}} {
		if err := e.Handle(path, h, engine.Subprotocols("v2", "v1")); err != nil {
			t.Fatal(err)
		}
	}
	s.listen(t, e)
	return s
}

// listen serves e until the test ends, on a port without and on one with TLS.
func (s *served) listen(t *testing.T, e *engine.Engine) {
	t.Helper()
	s.url = "ws://" + listen(t, e, e.Serve)
	s.wss = "wss://" + listen(t, e, func(ln net.Listener) error { return e.ServeTLS(ln, "", "") })
}

// listen serves e on a port of its own until the test ends, and returns its address.
func listen(t *testing.T, e *engine.Engine, serve func(net.Listener) error) (address string) {
	t.Helper()
	ln, err := e.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- serve(ln) }()
	t.Cleanup(func() {
		e.Close()
		if err := <-done; !errors.Is(err, engine.ErrServerClosed) {
			t.Error(err)
		}
	})
	return ln.Addr().String()
}

// within receives from ch, or fails the test.
func within[T any](t *testing.T, ch <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-ch:
	case <-time.After(patience):
		t.Fatal("nothing came in time")
	}
	return v
}

// pattern is n bytes of text.
func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte('a' + (i*7+i>>8)%26)
	}
	return b
}
