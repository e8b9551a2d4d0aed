package engine_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"zeroframe/engine"
	"zeroframe/frame"
)

// script is a handler whose callbacks a test writes as it needs them. Whatever is delivered is noted in heard, and every
// connection comes out of opened.
type script struct {
	ending
	opened    chan *engine.Conn
	heard     chan string
	onUpgrade func(*engine.Upgrade) error
	onOpen    func(*engine.Conn)
	onMessage func(*engine.Conn, frame.OpCode, []byte)
	onPing    func(*engine.Conn, []byte)
	onPong    func(*engine.Conn, []byte)
	onDrain   func(*engine.Conn)
	onClose   func(*engine.Conn, engine.CloseReason)
}

func newScript() *script {
	return &script{ending: newEnding(), opened: make(chan *engine.Conn, 1000), heard: make(chan string, 10000)}
}

// replying is a script that echoes.
func replying() *script {
	h := newScript()
	h.onMessage = func(c *engine.Conn, op frame.OpCode, p []byte) { c.Reply(op, p) }
	return h
}

func (h *script) OnUpgrade(u *engine.Upgrade) error {
	if h.onUpgrade != nil {
		return h.onUpgrade(u)
	}
	return nil
}

func (h *script) OnOpen(c *engine.Conn) {
	h.opened <- c
	if h.onOpen != nil {
		h.onOpen(c)
	}
}

func (h *script) OnMessage(c *engine.Conn, op frame.OpCode, p []byte) {
	h.heard <- string(p)
	if h.onMessage != nil {
		h.onMessage(c, op, p)
	}
}

func (h *script) OnPing(c *engine.Conn, p []byte) {
	if h.onPing != nil {
		h.onPing(c, p)
	}
}

func (h *script) OnPong(c *engine.Conn, p []byte) {
	if h.onPong != nil {
		h.onPong(c, p)
	}
}

func (h *script) OnDrain(c *engine.Conn) {
	if h.onDrain != nil {
		h.onDrain(c)
	}
}

func (h *script) OnClose(c *engine.Conn, r engine.CloseReason) {
	h.ending.OnClose(c, r)
	if h.onClose != nil {
		h.onClose(c, r)
	}
}

// nothingMore requires that the handler heard exactly these messages, in order, and that no further end was reported.
func (h *script) nothingMore(t testing.TB, heard ...string) {
	t.Helper()
	var got []string
	for len(h.heard) > 0 {
		got = append(got, <-h.heard)
	}
	if !slices.Equal(got, heard) {
		t.Errorf("delivered %.200q, want %.200q", got, heard)
	}
	for len(h.ending.ch) > 0 {
		t.Errorf("OnClose was called once more, with %+v", <-h.ending.ch)
	}
}

// overSockets reports whether the running test has real sockets under it, where bulk is cheap.
func overSockets(t testing.TB) bool { return strings.Contains(t.Name(), "/socket") }

// gone waits until the engine has no connection left.
func (s *server) gone() {
	s.t.Helper()
	s.until("connections left", func() bool { return s.Stats().Conns == 0 })
}

// until waits for what only Stats tells.
func (s *server) until(what string, ok func() bool) {
	s.t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			s.t.Fatalf("%s: still not so: %+v", what, s.Stats())
		}
	}
}

// onMessageOnLoop sets what OnMessage does, on the loop, so that it is no race.
func (h *script) onMessageOnLoop(t testing.TB, c *engine.Conn, f func(*engine.Conn, frame.OpCode, []byte)) {
	t.Helper()
	set := make(chan bool)
	c.Post(func() { h.onMessage = f; close(set) })
	within(t, set)
}

// waitHeard waits for the next message, which must be want.
func (h *script) waitHeard(t testing.TB, want string) {
	t.Helper()
	if got := within(t, h.heard); got != want {
		t.Fatalf("delivered %q, want %q", got, want)
	}
}
