package engine_test

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"zeroframe/engine"
	"zeroframe/frame"
)

// bare is an engine that serves nothing yet; every pooled buffer must be back when the test has closed it.
func bare(t testing.TB, opts ...engine.Option) *server {
	t.Helper()
	logs := new(logBuffer)
	opts = append([]engine.Option{engine.WithLoops(2), engine.WithLogger(slog.New(slog.NewTextHandler(logs, nil)))}, opts...)
	e, err := engine.New(opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		e.Close()
		expectNothingOut(t)
	})
	return &server{Engine: e, t: t, logs: logs}
}

// onSocket is an engine that serves a port of its own.
func onSocket(t testing.TB, opts ...engine.Option) *server {
	t.Helper()
	s := bare(t, opts...)
	transports[0].start(t, s)
	t.Cleanup(func() { s.Close() }) // before the wait for Serve
	return s
}

// addr is where an engine of onSocket listens.
func (s *server) addr(t testing.TB) string {
	t.Helper()
	c := s.dial()
	defer c.Close()
	return c.RemoteAddr().String()
}

// serve serves ln until the test ends, and makes it what the server's clients connect to.
func (s *server) serve(ln net.Listener) (served chan error) {
	served = make(chan error, 1)
	go func() { served <- s.Serve(ln) }()
	s.dial = dialer(s.t, ln.Addr())
	return served
}

func dialer(t testing.TB, a net.Addr) func() net.Conn {
	return func() net.Conn {
		c, err := net.Dial(a.Network(), a.String())
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
}

func listenTCP(t testing.TB, s *server, addr string) net.Listener {
	t.Helper()
	ln, err := s.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

// whoami answers with both addresses of its connection.
type whoami struct{ engine.NopHandler }

func (whoami) OnUpgrade(u *engine.Upgrade) error { u.UserData = u.Request.RemoteAddr; return nil }

func (whoami) OnMessage(c *engine.Conn, _ frame.OpCode, _ []byte) {
	c.SendText(fmt.Sprintf("%v %v %v", c.RemoteAddr(), c.LocalAddr(), c.UserData()))
}

// expectAddresses compares what the server knows of a connection with what its client knows.
func (c *client) expectAddresses() {
	c.t.Helper()
	local, remote := c.Conn.LocalAddr(), c.Conn.RemoteAddr()
	if got, want := c.ask(), fmt.Sprintf("%v %v %v", local, remote, local); got != want {
		c.t.Errorf("the server says %q, want %q", got, want)
	}
}

func TestAddressesAreThoseOfTheSocket(t *testing.T) {
	for _, addr := range []string{"127.0.0.1:0", "[::1]:0"} {
		s := bare(t)
		s.handle("/", whoami{})
		ln, err := s.Listen("tcp", addr)
		if err != nil && strings.HasPrefix(addr, "[") {
			t.Logf("no IPv6 here: %v", err)
			continue
		} else if err != nil {
			t.Fatal(err)
		}
		s.serve(ln)
		s.open("/").expectAddresses()
	}
}

// A listener for both families reports IPv4 peers as such.
func TestAnIPv4PeerOfADualStackListenerHasAnIPv4Address(t *testing.T) {
	s := bare(t)
	s.handle("/", whoami{})
	ln := listenTCP(t, s, ":0")
	s.serve(ln)
	s.dial = dialer(t, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: ln.Addr().(*net.TCPAddr).Port})
	s.open("/").expectAddresses()
}

func TestTheAddressOfAnEndedConnectionIsNil(t *testing.T) {
	s := onSocket(t)
	h := newEcho()
	conns := make(chan *engine.Conn, 1)
	s.handle("/", opened{h, conns})
	c := s.open("/")
	conn := within(t, conns)
	c.Close()
	h.wait(t)
	for end := time.Now().Add(patience); conn.RemoteAddr() != nil; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal(conn.RemoteAddr())
		}
	}
	if conn.LocalAddr() != nil {
		t.Error(conn.LocalAddr())
	}
}

// opened hands out its connections.
type opened struct {
	*echo
	conns chan *engine.Conn
}

func (o opened) OnOpen(c *engine.Conn) { o.conns <- c }

func TestUnixSockets(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	s := bare(t)
	s.handle("/", whoami{})
	s.handle("/echo", newEcho())
	ln, err := s.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	served := s.serve(ln)
	c := s.open("/echo")
	c.write(frame.Text, []byte("hello"))
	c.expect(frame.Text, []byte("hello"))
	got := s.open("/").ask()
	if !strings.Contains(got, path) {
		t.Errorf("addresses %q do not name the socket", got)
	}
	s.Close()
	if err := within(t, served); !errors.Is(err, engine.ErrServerClosed) {
		t.Error(err)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket's file is left behind: %v", err)
	}
}

func TestListenAndServeOnAUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	s := bare(t)
	s.handle("/echo", newEcho())
	served := make(chan error, 1)
	go func() { served <- s.ListenAndServe("unix", path) }()
	s.dial = func() net.Conn {
		for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
			if c, err := net.Dial("unix", path); err == nil {
				return c
			} else if time.Now().After(end) {
				t.Fatal(err)
			}
		}
	}
	c := s.open("/echo")
	c.write(frame.Binary, pattern(5000))
	c.expect(frame.Binary, pattern(5000))
	s.Close()
	if err := within(t, served); !errors.Is(err, engine.ErrServerClosed) {
		t.Error(err)
	}
	if err := s.ListenAndServe("unix", path); !errors.Is(err, engine.ErrServerClosed) {
		t.Errorf("after Close: %v", err)
	}
	if err := bare(t).ListenAndServe("tcp", "127.0.0.1:x"); err == nil {
		t.Error("listening on no port")
	}
}

// Sockets come from systemd as descriptors: os.NewFile, then net.FileListener.
func TestAnInheritedListenerIsServed(t *testing.T) {
	unix, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	for _, parent := range []net.Listener{tcp, unix} {
		f, err := parent.(interface{ File() (*os.File, error) }).File() // in blocking mode, as systemd's may be
		if err != nil {
			t.Fatal(err)
		}
		ln, err := net.FileListener(f)
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
		s := bare(t)
		s.handle("/echo", newEcho())
		served := s.serve(ln)
		s.dial = dialer(t, parent.Addr())
		c := s.open("/echo")
		c.write(frame.Text, []byte("hello"))
		c.expect(frame.Text, []byte("hello"))
		s.Close()
		if err := within(t, served); !errors.Is(err, engine.ErrServerClosed) {
			t.Error(err)
		}
		// The socket is the parent's still: closing ours has not ended it.
		late := dialer(t, parent.Addr())()
		late.Close()
		parent.Close()
	}
}

// wrapped is a listener of somebody's own: it has no descriptor that could be watched, or an Accept that counts.
type wrapped struct {
	net.Listener
	closed atomic.Bool
}

func (w *wrapped) Close() error { w.closed.Store(true); return w.Listener.Close() }

// filtering has the descriptor of the listener inside, and an Accept that must not be passed over.
type filtering struct{ *net.TCPListener }

func TestAListenerWithAnAcceptOfItsOwnIsAClearError(t *testing.T) {
	s := bare(t)
	ln := filtering{listenTCP(t, s, "127.0.0.1:0").(*net.TCPListener)}
	if err := s.Serve(ln); err == nil || !strings.Contains(err.Error(), "engine_test.filtering") {
		t.Errorf("got %v", err)
	}
}

func TestAListenerWithoutADescriptorIsAClearError(t *testing.T) {
	s := bare(t)
	w := &wrapped{Listener: listenTCP(t, s, "127.0.0.1:0")}
	err := s.Serve(w)
	if err == nil || errors.Is(err, engine.ErrServerClosed) || !strings.Contains(err.Error(), "*engine_test.wrapped") || !strings.Contains(err.Error(), "TCPListener") {
		t.Errorf("got %v", err)
	}
	if !w.closed.Load() {
		t.Error("Serve has not closed it")
	}
}

func TestServeAfterCloseClosesTheListener(t *testing.T) {
	s := bare(t)
	ln := listenTCP(t, s, "127.0.0.1:0")
	s.Close()
	if err := s.Serve(ln); !errors.Is(err, engine.ErrServerClosed) {
		t.Error(err)
	}
	if c, err := net.Dial("tcp", ln.Addr().String()); err == nil {
		c.Close()
		t.Error("somebody listens")
	}
}

func TestSeveralListenersAreServedAtOnce(t *testing.T) {
	s := bare(t)
	s.handle("/echo", newEcho())
	var served []chan error
	for range 3 {
		served = append(served, s.serve(listenTCP(t, s, "127.0.0.1:0")))
		c := s.open("/echo")
		c.write(frame.Text, []byte("hello"))
		c.expect(frame.Text, []byte("hello"))
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	for _, ch := range served {
		if err := within(t, ch); !errors.Is(err, engine.ErrServerClosed) {
			t.Error(err)
		}
	}
}

func TestReusePortSharesAPortBetweenEngines(t *testing.T) {
	a, b := bare(t, engine.WithReusePort(true)), bare(t, engine.WithReusePort(true))
	first := listenTCP(t, a, "127.0.0.1:0")
	second := listenTCP(t, b, first.Addr().String())
	if _, err := bare(t).Listen("tcp", first.Addr().String()); err == nil {
		t.Fatal("without the option the port could be shared too")
	}
	for name, s := range map[string]*server{"a": a, "b": b} {
		s.handle("/", named{pattern: name})
	}
	a.serve(first)
	b.serve(second)
	if runtime.GOOS != "linux" {
		t.Skip("elsewhere the kernel need not spread connections")
	}
	seen := map[string]bool{}
	for range 500 { // the kernel spreads connections by a hash of their ports
		c := a.open("/")
		seen[string(c.next().payload)] = true
		c.Close()
		if len(seen) == 2 {
			return
		}
	}
	t.Errorf("only %v got connections", seen)
}
