package engine_test

import (
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"testing"

	"zeroframe/engine"
	"zeroframe/internal/bridge"
)

// mounted is an engine whose handlers stand in a mux of net/http's, which a server of net/http's serves.
type mounted struct {
	*server
	mux  *http.ServeMux
	http *http.Server
	tls  bool
	fed  bool // a goroutine stays with each connection
}

// listeners are what net/http's server is given.
var listeners = []struct {
	name    string
	network string
	tls     bool
	wrap    func(net.Listener) net.Listener
	fed     bool // a goroutine stays with each connection
}{
	{name: "tcp", network: "tcp"},
	{name: "unix", network: "unix"},
	{name: "tls", network: "tcp", tls: true, wrap: engine.WrapListener},
	{name: "tls over unix", network: "unix", tls: true, wrap: engine.WrapListener},
	{name: "wrapped for nothing", network: "tcp", wrap: engine.WrapListener},
	{name: "tls, not wrapped", network: "tcp", tls: true, fed: true},
}

// onEachListener runs f with engines behind an http.Server, over each kind of listener. When f has returned, servers and
// engines are closed and every pooled buffer must be back.
func onEachListener(t *testing.T, f func(t *testing.T, start func(...engine.Option) *mounted)) {
	for i := range listeners {
		t.Run(listeners[i].name, func(t *testing.T) {
			f(t, func(opts ...engine.Option) *mounted {
				t.Helper()
				return mount(t, i, new(http.Server), opts...)
			})
		})
	}
}

// mount starts an engine, and srv, with a mux that is still empty, on a listener of the i-th kind.
func mount(t testing.TB, i int, srv *http.Server, opts ...engine.Option) *mounted {
	t.Helper()
	kind := listeners[i]
	addr := "127.0.0.1:0"
	if kind.network == "unix" {
		addr = filepath.Join(t.TempDir(), "socket")
	}
	ln, err := net.Listen(kind.network, addr)
	if err != nil {
		t.Fatal(err)
	}
	addr = ln.Addr().String()
	if kind.wrap != nil {
		ln = kind.wrap(ln)
	}
	logs := new(logBuffer)
	text := slog.NewTextHandler(logs, nil)
	e, err := engine.New(append([]engine.Option{
		engine.WithLoops(2),
		engine.WithLogger(slog.New(text)),
		bridge.PoisonOption().(engine.Option),
	}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	m := &mounted{server: &server{Engine: e, t: t, logs: logs}, mux: http.NewServeMux(), http: srv, tls: kind.tls, fed: kind.fed}
	srv.Handler, srv.ErrorLog = m.mux, slog.NewLogLogger(text, slog.LevelError)
	served := make(chan error, 1)
	go func() {
		if kind.tls {
			srv.TLSConfig = serverCertificate()
			served <- srv.ServeTLS(ln, "", "")
			return
		}
		served <- srv.Serve(ln)
	}()
	t.Cleanup(func() {
		srv.Close()
		if err := within(t, served); !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("http.Server.Serve returned %v", err)
		}
		e.Close()
		expectNothingOut(t)
	})
	m.dial = func() net.Conn {
		c, err := net.Dial(kind.network, addr)
		if err != nil {
			t.Fatal(err)
		}
		if kind.tls {
			return tls.Client(c, trusting())
		}
		return c
	}
	return m
}
