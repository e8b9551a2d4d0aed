package main

import (
	"encoding/binary"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"zeroframe/bench"
	"zeroframe/engine"
	"zeroframe/frame"
)

// serveHere serves the routes in this process and returns the URL without a path.
func serveHere(t *testing.T, opts ...engine.Option) (url string, e *engine.Engine) {
	t.Helper()
	r := newRelays(2)
	t.Cleanup(r.stop)
	return serveRoutes(t, func(e *engine.Engine) error { return addRoutes(e, r, routeOptions{}, newPlainHTTP(uploads{})) }, opts...)
}

// serveRoutes does so with other routes.
func serveRoutes(t *testing.T, add func(*engine.Engine) error, opts ...engine.Option) (url string, e *engine.Engine) {
	t.Helper()
	addr, e := serveBy((*engine.Engine).Serve, t, add, opts...)
	return "ws://" + addr, e
}

// serveBy serves in one of the engine's ways.
func serveBy(serve func(*engine.Engine, net.Listener) error, t *testing.T, add func(*engine.Engine) error, opts ...engine.Option) (addr string, e *engine.Engine) {
	t.Helper()
	e, err := engine.New(append([]engine.Option{engine.WithLoops(1)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	if err := add(e); err != nil {
		t.Fatal(err)
	}
	ln, err := e.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() { defer close(served); serve(e, ln) }()
	t.Cleanup(func() {
		e.Close()
		<-served
	})
	return ln.Addr().String(), e
}

// TestSendRouteKeepsTheOrderOfMoreThanItsShare: the load compares every echo with what is due. More is in flight than a
// connection may have waiting, so that reading is paused and resumed all the time.
func TestSendRouteKeepsTheOrderOfMoreThanItsShare(t *testing.T) {
	url, _ := serveHere(t)
	for name, c := range map[string]bench.LoadConfig{
		"messages": {Conns: 5, Payload: 20, InFlight: 5 * relayMessages},
		"bytes":    {Conns: 2, Payload: relayBytes/2 - 1, InFlight: 6},
		"large":    {Conns: 2, Payload: 3 * relayBytes, InFlight: 2},
	} {
		t.Run(name, func(t *testing.T) {
			c.URL, c.Loops = url+"/send", 1
			l, err := bench.Open(t.Context(), c)
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			if r, err := l.Run(t.Context(), 200*time.Millisecond); err != nil || r.Errors != 0 || r.Total < uint64(c.Conns*c.InFlight) {
				t.Errorf("%v, %+v", err, r)
			}
		})
	}
}

// TestSendRouteWaitsForAPeerThatDoesNotRead: output full, share full, reading paused, and when the peer reads at last,
// all of it is there.
func TestSendRouteWaitsForAPeerThatDoesNotRead(t *testing.T) {
	url, e := serveHere(t, engine.WithMaxBackpressure(64<<10), engine.WithBackpressurePolicy(engine.PolicyDrop))
	c, err := net.Dial("tcp", strings.TrimPrefix(url, "ws://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(c, "GET /send HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	const messages, size = 30_000, 1000
	go func() {
		payload := make([]byte, size)
		var out []byte
		for i := range uint64(messages) {
			binary.BigEndian.PutUint64(payload, i)
			out = frame.AppendFrame(out[:0], frame.Header{Fin: true, OpCode: frame.Binary, Masked: true, Key: 7, Length: size}, payload)
			if _, err := c.Write(out); err != nil {
				return
			}
		}
	}()
	for end := time.Now().Add(patience); e.Stats().BackpressureHits == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the output never filled up")
		}
	}
	expectFullShare(t, e)
	var head [4]byte
	for tail := uint32(0); tail != 0x0D0A0D0A; { // the end of the answer
		if _, err := io.ReadFull(c, head[:1]); err != nil {
			t.Fatal(err)
		}
		tail = tail<<8 | uint32(head[0])
	}
	payload := make([]byte, size)
	for i := range uint64(messages) {
		if _, err := io.ReadFull(c, head[:]); err != nil {
			t.Fatalf("message %d: %v", i, err)
		}
		if _, err := io.ReadFull(c, payload); err != nil {
			t.Fatalf("message %d: %v", i, err)
		}
		if got := binary.BigEndian.Uint64(payload); got != i {
			t.Fatalf("message %d where %d is due", got, i)
		}
	}
}

// expectFullShare waits until the only connection's share is full and its reading paused, and looks that it is no fuller.
func expectFullShare(t *testing.T, e *engine.Engine) {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		for c := range e.Conns() {
			r := c.UserData().(*relay)
			r.mu.Lock()
			paused, n, state := r.paused, r.len(), r.state
			r.mu.Unlock()
			if n > relayMessages || n < relayMessages/2 && paused {
				t.Fatalf("%d messages wait, paused: %v", n, paused)
			}
			if paused && state == relayFull {
				return
			}
		}
		if time.Now().After(end) {
			t.Fatal("the peer was never paused")
		}
	}
}

// TestSendRouteAllocatesNothingPerMessage counts both sides, which share this process.
func TestSendRouteAllocatesNothingPerMessage(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector allocates")
	}
	url, _ := serveHere(t)
	l, err := bench.Open(t.Context(), bench.LoadConfig{URL: url + "/send", Conns: 20, Payload: 32, InFlight: 4, Loops: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for run, messages := 0, uint64(0); messages < 2000; run++ {
		if run == 20 {
			t.Fatalf("only %d messages in a run", messages)
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		r, err := l.Run(t.Context(), 300*time.Millisecond)
		runtime.ReadMemStats(&after)
		if err != nil || r.Errors != 0 {
			t.Fatal(err, r)
		}
		if run == 0 {
			continue // fills the pools
		}
		messages = r.Total
		if n := after.Mallocs - before.Mallocs; n > 400+messages/1000 {
			t.Errorf("%d allocations in a run of %d messages", n, messages)
		}
	}
}
