package engine_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"sync"
	"testing"
	"time"

	"zeroframe/engine"
	"zeroframe/frame"
	"zeroframe/internal/bridge"
)

// tlsMount is a way to put an engine's handlers behind a TLS server of net/http.
type tlsMount struct {
	name       string
	serve      func(s *http.Server, ln net.Listener, config *tls.Config) error
	descriptor bool // a loop can take the descriptor
}

var tlsMounts = []tlsMount{
	{"NewListener over WrapListener", func(s *http.Server, ln net.Listener, config *tls.Config) error {
		return s.Serve(tls.NewListener(engine.WrapListener(ln), config))
	}, true},
	{"ServeTLS of WrapListener", func(s *http.Server, ln net.Listener, config *tls.Config) error {
		s.TLSConfig = config
		return s.ServeTLS(engine.WrapListener(ln), "", "")
	}, true},
	{"WrapListener of a wrapper", func(s *http.Server, ln net.Listener, config *tls.Config) error {
		return s.Serve(tls.NewListener(engine.WrapListener(wrapping{ln}), config))
	}, false},
	{"without WrapListener", func(s *http.Server, ln net.Listener, config *tls.Config) error {
		return s.Serve(tls.NewListener(ln, config))
	}, false},
}

// wrapping hides what its connections are, as a listener that counts them would.
type wrapping struct{ net.Listener }

func (l wrapping) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return struct{ net.Conn }{c}, nil
}

// onEachTLSMount runs f with each of them. When f has returned, servers and engines are closed and every pooled buffer must
// be back.
func onEachTLSMount(t *testing.T, f func(t *testing.T, way tlsMount, start func(change func(*http.Server), opts ...engine.Option) *mounted)) {
	for _, way := range tlsMounts {
		t.Run(way.name, func(t *testing.T) {
			f(t, way, func(change func(*http.Server), opts ...engine.Option) *mounted {
				t.Helper()
				return mountTLS(t, way, change, opts...)
			})
		})
	}
}

// mountTLS is mount with TLS. change, if it is not nil, sets up the http.Server.
func mountTLS(t testing.TB, way tlsMount, change func(*http.Server), opts ...engine.Option) *mounted {
	t.Helper()
	logs := new(logBuffer)
	e, err := engine.New(append([]engine.Option{
		engine.WithLoops(2),
		engine.WithLogger(slog.New(slog.NewTextHandler(logs, nil))),
		bridge.PoisonOption().(engine.Option),
	}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m := &mounted{server: &server{Engine: e, t: t, logs: logs}, mux: http.NewServeMux()}
	m.http = &http.Server{Handler: m.mux, ErrorLog: slog.NewLogLogger(slog.NewTextHandler(logs, nil), slog.LevelError)}
	if change != nil {
		change(m.http)
	}
	served := make(chan error, 1)
	go func() { served <- way.serve(m.http, ln, serverCertificate()) }()
	t.Cleanup(func() {
		m.http.Close()
		if err := within(t, served); !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("the http.Server returned %v", err)
		}
		e.Close()
		expectNothingOut(t)
	})
	m.below = func() net.Conn {
		c, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	m.dial = m.dialTLS
	return m
}

func TestHandlersBehindTLSOfNetHTTP(t *testing.T) {
	onEachTLSMount(t, func(t *testing.T, way tlsMount, start func(func(*http.Server), ...engine.Option) *mounted) {
		m := start(nil)
		h := newOpener()
		m.mux.Handle("/", m.Handler(h))
		m.mux.HandleFunc("/plain", func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body) // before the answer, which ends it
			w.Write(body)
		})
		for name, version := range versions {
			nc, err := m.shakeHands(speaking(version))
			if err != nil {
				t.Fatal(err)
			}
			c := m.over(nc)
			for _, body := range []string{"", "some", string(pattern(100_000))} { // the connection has served net/http before
				fmt.Fprintf(c, "POST /plain HTTP/1.1\r\nHost: example.test\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
				resp, err := http.ReadResponse(c.r, nil)
				if err != nil {
					t.Fatal(err)
				}
				if got, err := io.ReadAll(resp.Body); string(got) != body || err != nil {
					t.Fatalf("%d bytes came back, %v", len(got), err)
				}
			}
			c.send(upgradeRequest("/"))
			if status, head := c.readHead(); status != 101 {
				t.Fatal(head)
			}
			c.echoesOf(0, 1, 125, 126, 70_000, 1_000_000)
			conn := within(t, h.opened)
			if state := conn.TLS(); state == nil || state.Version != version || state.ServerName != "localhost" {
				t.Errorf("TLS %s: Conn.TLS is %+v", name, state)
			}
			if got := conn.RemoteAddr(); got == nil || got.String() != nc.LocalAddr().String() {
				t.Errorf("TLS %s: RemoteAddr is %v", name, got)
			}
			c.write(frame.Close, closePayload(3000, "bye"))
			c.expectClose(3000)
			h.wait(t)
		}
	})
}

// cork is a net.Conn whose writes are kept until they are let out: together, and cut where the test wants.
type cork struct {
	net.Conn
	mu   sync.Mutex
	on   bool
	kept []byte
}

func (c *cork) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.on {
		c.kept = append(c.kept, p...)
		return len(p), nil
	}
	return c.Conn.Write(p)
}

// hold keeps what f writes and returns it.
func (c *cork) hold(f func()) []byte {
	c.mu.Lock()
	c.on = true
	c.mu.Unlock()
	f()
	c.mu.Lock()
	defer c.mu.Unlock()
	held := c.kept
	c.on, c.kept = false, nil
	return held
}

// net/http reads on behind the request, and stops in the middle of a record: wherever that is, nothing is lost, and what
// comes after it is understood.
func TestRecordsBehindTheRequestMoveWithTheConnection(t *testing.T) {
	onEachTLSMount(t, func(t *testing.T, way tlsMount, start func(func(*http.Server), ...engine.Option) *mounted) {
		m := start(nil)
		m.mux.Handle("/", m.Handler(echoing))
		messages := [][]byte{pattern(3), pattern(200), pattern(0), pattern(1000), pattern(40)}
		for cut, end := 1, 2; cut < end; cut += 1 + cut/20 {
			k := &cork{Conn: m.below()}
			nc := tls.Client(k, trusting())
			c := m.over(nc)
			if err := nc.Handshake(); err != nil {
				t.Fatal(err)
			}
			request := k.hold(func() { nc.Write(upgradeRequest("/")) })
			wire := k.hold(func() {
				for _, p := range messages {
					nc.Write(encode(true, frame.Binary, p))
				}
			})
			end = len(wire)
			k.Conn.Write(append(request, wire[:cut]...))
			if status, head := c.readHead(); status != 101 {
				t.Fatal(head)
			}
			k.Conn.Write(wire[cut:])
			for range 3 {
				for _, p := range messages {
					c.expect(frame.Binary, p)
				}
				// All in one segment: whoever has lost count of the records leaves some of them lying.
				wire = k.hold(func() {
					for _, p := range messages {
						nc.Write(encode(true, frame.Binary, p))
					}
				})
				k.Conn.Write(wire)
			}
			nc.Close()
		}
	})
}

// A request and the first messages in one record.
func TestMessagesInTheRecordOfTheRequest(t *testing.T) {
	onEachTLSMount(t, func(t *testing.T, way tlsMount, start func(func(*http.Server), ...engine.Option) *mounted) {
		m := start(nil)
		m.mux.Handle("/", m.Handler(echoing))
		c := m.connect()
		one := encode(true, frame.Binary, pattern(50))
		c.send(append(upgradeRequest("/"), bytes.Repeat(one, 20)...))
		if status, head := c.readHead(); status != 101 {
			t.Fatal(head)
		}
		for range 20 {
			c.expect(frame.Binary, pattern(50))
		}
		c.echoesOf(50)
	})
}

func TestNoGoroutineStaysWithAConnectionOfWrapListener(t *testing.T) {
	onEachTLSMount(t, func(t *testing.T, way tlsMount, start func(func(*http.Server), ...engine.Option) *mounted) {
		if !way.descriptor {
			t.Skip("there two goroutines feed it")
		}
		m := start(nil)
		m.mux.Handle("/", m.Handler(echoing))
		m.open("/").echoesOf(10)
		before := runtime.NumGoroutine()
		files := descriptors()
		var clients []*client
		for range 100 {
			c := m.open("/")
			c.echoesOf(10)
			clients = append(clients, c)
		}
		// Of net/http's goroutines, those of requests that were hijacked end by themselves.
		eventually(t, "no goroutine is left", func() bool { return runtime.NumGoroutine() <= before })
		if got := descriptors() - files; got > 2*len(clients) {
			t.Errorf("%d descriptors for %d connections and their clients", got, len(clients))
		}
		for _, c := range clients {
			c.echoesOf(1000)
			c.Close()
		}
		eventually(t, "descriptors are back", func() bool { return descriptors() <= files })
	})
}

// The deadlines of an http.Server are for requests: what they are for a tls.Conn, a timer on the connection under it, must
// not be felt by whoever has that connection next.
func TestDeadlinesOfNetHTTPEndWithTheRequest(t *testing.T) {
	onEachTLSMount(t, func(t *testing.T, way tlsMount, _ func(func(*http.Server), ...engine.Option) *mounted) {
		atAnyPace(t, 300*time.Millisecond, func(t testing.TB, timeout time.Duration) {
			m := mountTLS(t, way, func(s *http.Server) {
				s.ReadTimeout, s.WriteTimeout, s.IdleTimeout = timeout, timeout, timeout
			}, engine.WithPingInterval(0))
			m.mux.Handle("/", m.Handler(echoing))
			c := m.open("/")
			c.quietFor(timeout * 4 / 3)
			c.echoesOf(100, 100_000)
		})
	})
}

// quietFor requires that nothing comes for d, without a read: a tls.Conn does not outlive one that timed out.
func (c *client) quietFor(d time.Duration) {
	c.t.Helper()
	came := make(chan error, 1)
	go func() {
		_, err := c.r.Peek(1)
		came <- err
	}()
	select {
	case err := <-came:
		c.t.Fatalf("a byte, or %v; want nothing for %v", err, d)
	case <-time.After(d):
	}
	c.write(frame.Text, []byte("for the reader"))
	if err := within(c.t, came); err != nil {
		c.t.Fatal(err)
	}
	c.expect(frame.Text, []byte("for the reader"))
}

// Listeners are wrapped once for all of a server's connections, those without TLS too.
func TestWrapListenerWithoutTLS(t *testing.T) {
	m := mountTLS(t, tlsMount{"", func(s *http.Server, ln net.Listener, _ *tls.Config) error {
		return s.Serve(engine.WrapListener(ln))
	}, true}, nil)
	m.dial = m.below
	h := newOpener()
	m.mux.Handle("/", m.Handler(h))
	m.open("/").echoesOf(10)
	within(t, h.opened)
	before := runtime.NumGoroutine()
	for range 20 {
		m.open("/").echoesOf(10, 100_000)
		if state := within(t, h.opened).TLS(); state != nil {
			t.Errorf("Conn.TLS is %+v", state)
		}
	}
	eventually(t, "no goroutine is left", func() bool { return runtime.NumGoroutine() <= before })
}

// A connection that cannot be adopted any more is refused in words, and TLS goes on for that long.
func TestRefusalsAfterTheHijackReachTheClientOverTLS(t *testing.T) {
	onEachTLSMount(t, func(t *testing.T, way tlsMount, start func(func(*http.Server), ...engine.Option) *mounted) {
		m := start(nil)
		h := m.Handler(echoing)
		m.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
			h.ServeHTTP(closingLate{w, m.Engine}, r)
		})
		c := m.connect()
		c.send(upgradeRequest("/"))
		if resp, err := http.ReadResponse(c.r, nil); err == nil && resp.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("status %d", resp.StatusCode)
		}
	})
}

// closingLate closes the engine while a request is being hijacked.
type closingLate struct {
	http.ResponseWriter
	e *engine.Engine
}

func (w closingLate) Unwrap() http.ResponseWriter {
	w.e.Close()
	return w.ResponseWriter
}
