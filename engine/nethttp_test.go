package engine_test

import (
	"errors"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"testing"

	"zeroframe/engine"
	"zeroframe/frame"
	"zeroframe/internal/bridge"
)

// mounted is an engine whose handlers stand in net/http's server.
type mounted struct {
	*server
	mux  *http.ServeMux
	http *http.Server
}

// onEachListener runs f with engines behind an http.Server, over TCP and over a unix socket. When f has returned, servers
// and engines are closed and every pooled buffer must be back.
func onEachListener(t *testing.T, f func(t *testing.T, start func(...engine.Option) *mounted)) {
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) {
			f(t, func(opts ...engine.Option) *mounted {
				t.Helper()
				return mount(t, network, opts...)
			})
		})
	}
}

// mount starts an engine and an http.Server beside it, whose mux is still empty.
func mount(t *testing.T, network string, opts ...engine.Option) *mounted {
	t.Helper()
	logs := new(logBuffer)
	opts = append([]engine.Option{
		engine.WithLoops(2),
		engine.WithLogger(slog.New(slog.NewTextHandler(logs, nil))),
		bridge.PoisonOption().(engine.Option),
	}, opts...)
	e, err := engine.New(opts...)
	if err != nil {
		t.Fatal(err)
	}
	addr := "127.0.0.1:0"
	if network == "unix" {
		addr = filepath.Join(t.TempDir(), "socket")
	}
	ln, err := net.Listen(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	m := &mounted{server: &server{Engine: e, t: t, logs: logs}, mux: http.NewServeMux()}
	m.http = &http.Server{Handler: m.mux, ErrorLog: slog.NewLogLogger(slog.NewTextHandler(logs, nil), slog.LevelError)}
	served := make(chan error, 1)
	go func() { served <- m.http.Serve(ln) }()
	t.Cleanup(func() {
		m.http.Close()
		if err := within(t, served); !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("http.Server.Serve returned %v", err)
		}
		e.Close()
		expectNothingOut(t)
	})
	m.dial = func() net.Conn {
		c, err := net.Dial(network, ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	return m
}

func TestAHandlerInNetHTTPEchoes(t *testing.T) {
	onEachListener(t, func(t *testing.T, start func(...engine.Option) *mounted) {
		m := start()
		h := newEcho()
		m.mux.Handle("/echo", m.Handler(h))
		c := m.open("/echo")
		for _, n := range []int{0, 1, 125, 126, 70_000} {
			c.write(frame.Binary, pattern(n))
			c.expect(frame.Binary, pattern(n))
		}
		c.write(frame.Close, closePayload(3000, "bye"))
		c.expectClose(3000)
		if r := h.wait(t); r.Code != 3000 || r.Text != "bye" || !r.Remote {
			t.Errorf("reason %+v", r)
		}
		if s := m.Stats(); s.Handshakes != 1 {
			t.Errorf("%d handshakes are counted", s.Handshakes)
		}
	})
}
