package engine_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"

	"zeroframe/engine"
	"zeroframe/frame"
)

// What net/http serves counts for MaxConns until its descriptor is closed, whoever closes it, and an upgrade on a connection
// that counts already needs no room.
func TestHTTPConnectionsCountForMaxConns(t *testing.T) {
	hj := newHijacker(t)
	mux := http.NewServeMux()
	mux.Handle("/hijack", hj)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "hello") })
	s := startHTTP(t, mux, engine.WithMaxConns(3))
	h := newEcho()
	s.handle("/ws", h)
	full := func(httpConns int) {
		t.Helper()
		if n := s.Stats(); n.Conns != 3 || n.HTTP != httpConns {
			t.Fatalf("%d connections, %d of them net/http's; want 3 and %d", n.Conns, n.HTTP, httpConns)
		}
		c := s.connect()
		c.expectRefusal(http.StatusServiceUnavailable)
		c.Close()
	}
	room := func(conns int) {
		t.Helper()
		s.until("there is room", func() bool { return s.Stats().Conns == conns })
	}
	plain, upgraded, taken := s.connect(), s.connect(), s.connect()
	plain.expectOK("/")
	upgraded.expectOK("/")
	taken.send([]byte("GET /hijack HTTP/1.1\r\nHost: h\r\n\r\n"))
	theirs := within(t, hj.conns)
	full(3)
	upgraded.upgrade("/ws")
	upgraded.echoes([]byte("x"))
	full(2)
	theirs.Close()
	theirs.Close() // counts once
	room(2)
	taken = s.connect()
	taken.expectOK("/")
	full(2)
	plain.Close()
	room(2)
	plain = s.connect()
	plain.upgrade("/ws")
	full(1)
	upgraded.Close()
	h.wait(t)
	room(2)
	taken.Close()
	plain.Close()
	h.wait(t)
	s.gone()
	s.until("all are counted", func() bool {
		n := s.Stats()
		return n.HTTP == 0 && n.HandedOver == 4 && n.RefusedMaxConns == 4 && n.Handshakes == 2
	})
}

// The accept hook is told once of the end of each connection it admitted, when it has ended, through whatever hands it went.
func TestTheAcceptHookIsReleasedWhenTheConnectionEnds(t *testing.T) {
	hj := newHijacker(t)
	mux := http.NewServeMux()
	mux.Handle("/hijack", hj)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "hello") })
	var in atomic.Int32
	s := startHTTP(t, mux, engine.WithAcceptHook(func(netip.AddrPort) (func(), bool) {
		in.Add(1)
		released := new(atomic.Bool)
		return func() {
			if released.Swap(true) {
				t.Error("released twice")
			}
			in.Add(-1)
		}, true
	}))
	h := newEcho()
	s.handle("/ws", h)
	expect := func(n int32, when string) {
		t.Helper()
		if got := in.Load(); got != n {
			t.Errorf("%s: the hook counts %d, want %d", when, got, n)
		}
	}
	await := func(when string) {
		t.Helper()
		s.until("the hook is told: "+when, func() bool { return in.Load() == 0 })
	}

	c := s.connect()
	c.expectOK("/")
	c.expectOK("/")
	expect(1, "in use by net/http")
	c.Close()
	await("closed by the client")

	c = s.connect()
	c.send([]byte("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"))
	c.readAnswer("GET")
	c.expectEOF()
	await("closed by net/http")

	c = s.connect()
	c.send([]byte("no request\r\n\r\n"))
	c.readAnswer("GET")
	c.expectEOF()
	await("a malformed request")

	c = s.connect()
	c.expectOK("/")
	c.upgrade("/ws")
	c.echoes([]byte("x"))
	s.until("only a loop has it", func() bool { return s.Stats().HTTP == 0 })
	expect(1, "a WebSocket")
	c.write(frame.Close, nil)
	c.expectClose(frame.CloseNoStatus)
	c.Close()
	h.wait(t)
	await("a WebSocket that was closed")

	c = s.connect()
	c.send([]byte("GET /hijack HTTP/1.1\r\nHost: h\r\n\r\n"))
	nc := within(t, hj.conns)
	c.Close()
	if _, err := nc.Read(make([]byte, 1)); err == nil {
		t.Error("no end")
	}
	expect(1, "hijacked, and not closed")
	nc.Close()
	await("closed by who hijacked it")
}

// A panic in what the hook wants called is logged, and nobody's end.
func TestAPanicInTheHooksReleaseIsLogged(t *testing.T) {
	s := startHTTP(t, inspect(), engine.WithAcceptHook(func(netip.AddrPort) (func(), bool) {
		return func() { panic("in release") }, true
	}))
	c := s.connect()
	c.expectOK("/")
	c.Close()
	s.gone()
	s.until("logged", func() bool { return strings.Contains(s.logs.String(), "in release") })
	s.connect().expectOK("/")
}

// When descriptors run out at the hand-over the connection is refused by the engine, and others go on.
func TestAHandOverWithoutDescriptors(t *testing.T) {
	if descriptors() < 0 {
		t.Skip("no /proc")
	}
	released := make(chan bool, 10)
	s := startHTTP(t, inspect(), engine.WithAcceptHook(func(netip.AddrPort) (func(), bool) {
		return func() { released <- true }, true
	}))
	s.handle("/ws", newEcho())
	ws, c, later := s.open("/ws"), s.connect(), s.connect()
	s.until("all are in", func() bool { return s.Stats().Conns == 3 })
	giveBack := useUpDescriptors(t)
	c.send([]byte(ok))
	c.expectRefusal(http.StatusServiceUnavailable)
	within(t, released)
	ws.echoes([]byte("on"))
	giveBack()
	later.expectOK("/")
	s.until("the refused one is gone", func() bool { return s.Stats().Conns == 2 })
	if !strings.Contains(s.logs.String(), "could not be handed") {
		t.Error(s.logs)
	}
}

// WithHTTPServer changes the server that is really used, and its hooks are called; the handler stays the engine's.
func TestWithHTTPServerChangesTheServer(t *testing.T) {
	states := make(chan http.ConnState, 100)
	type key struct{}
	s := startHTTP(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, r.Context().Value(key{}).(string))
	}), engine.WithHTTPServer(func(srv *http.Server) {
		if srv.ReadHeaderTimeout != engine.DefaultHandshakeTimeout || srv.IdleTimeout != engine.DefaultHTTPIdleTimeout ||
			srv.MaxHeaderBytes <= 0 || srv.ErrorLog == nil || srv.ReadTimeout != 0 || srv.WriteTimeout != 0 {
			t.Errorf("%+v", srv)
		}
		srv.MaxHeaderBytes = 100_000
		srv.Handler = http.NotFoundHandler()
		srv.ConnState = func(_ net.Conn, st http.ConnState) { states <- st }
		srv.ConnContext = func(ctx context.Context, nc net.Conn) context.Context {
			return context.WithValue(ctx, key{}, nc.RemoteAddr().String())
		}
	}))
	s.handle("/ws", newEcho())
	c := s.connect()
	c.send([]byte(headOf(60_000))) // too large for WithMaxHead, and not for this server
	if _, body := c.readAnswer("GET"); body != c.LocalAddr().String() {
		t.Errorf("%q", body)
	}
	c.upgrade("/ws")
	for _, want := range []http.ConnState{http.StateNew, http.StateActive, http.StateIdle, http.StateActive, http.StateHijacked} {
		if got := within(t, states); got != want {
			t.Errorf("state %v, want %v", got, want)
		}
	}
}
