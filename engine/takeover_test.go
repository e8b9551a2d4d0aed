package engine_test

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"zeroframe/engine"
	"zeroframe/frame"
	"zeroframe/internal/bridge"
)

// bareConn is what a listener of somebody else's accepts: a net.Conn with the methods of the interface alone.
type bareConn struct {
	net.Conn
	closed chan struct{} // gets one for each Close

	mu   sync.Mutex
	fail error // of Write
}

func (c *bareConn) Write(b []byte) (int, error) {
	c.mu.Lock()
	err := c.fail
	c.mu.Unlock()
	if err != nil {
		return 0, err
	}
	return c.Conn.Write(b)
}

func (c *bareConn) Close() error {
	c.closed <- struct{}{}
	return c.Conn.Close()
}

// bareListener accepts bareConns, which come out of conns and of all too.
type bareListener struct {
	net.Listener
	conns, all chan *bareConn
}

func (l bareListener) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &bareConn{Conn: nc, closed: make(chan struct{}, 10)}
	l.conns <- c
	l.all <- c
	return c, nil
}

// behindBareListener starts an engine whose handler h stands in an http.Server behind a bareListener. At the end of the test every
// connection must have been closed once.
func behindBareListener(t testing.TB, h engine.Handler, opts ...engine.Option) (*server, <-chan *bareConn) {
	t.Helper()
	logs := new(logBuffer)
	e, err := engine.New(append([]engine.Option{
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
	conns, all := make(chan *bareConn, 100), make(chan *bareConn, 100)
	srv := &http.Server{Handler: e.Handler(h)}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(bareListener{ln, conns, all}) }()
	s := &server{Engine: e, t: t, logs: logs}
	s.dial = func() net.Conn {
		c, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	t.Cleanup(func() {
		srv.Close()
		within(t, served)
		e.Close()
		expectNothingOut(t)
		close(all)
		for c := range all {
			within(t, c.closed)
			if len(c.closed) != 0 {
				t.Error("a connection was closed twice")
			}
		}
	})
	return s, conns
}

func TestAConnectionWithoutDescriptorIsTakenOver(t *testing.T) {
	h := newEcho()
	s, _ := behindBareListener(t, addressed{h})
	c := s.connect()
	// Frames right behind the head, part of which net/http has read.
	first := pattern(30_000)
	c.send(append(upgradeRequest("/"), encode(true, frame.Text, first)...))
	if status, head := c.readHead(); status != 101 {
		t.Fatal(head)
	}
	c.expect(frame.Text, []byte(c.LocalAddr().String()+" "+c.RemoteAddr().String()))
	c.expect(frame.Text, first)
	for _, n := range []int{0, 1, 125, 126, 511, 512, 513, 65_535, 65_536, 3_000_000} {
		go c.write(frame.Binary, pattern(n))
		c.expect(frame.Binary, pattern(n))
	}
	c.write(frame.Close, closePayload(3000, "bye"))
	c.expectClose(3000)
	c.Close()
	if r := h.wait(t); r.Code != 3000 || r.Text != "bye" || !r.Remote {
		t.Errorf("%+v", r)
	}
	s.gone()
}

// addressed says to each connection who it is and who we are.
type addressed struct{ *echo }

func (h addressed) OnOpen(c *engine.Conn) {
	c.SendText(c.RemoteAddr().String() + " " + c.LocalAddr().String())
}

// A client may wait for us to close the socket, as browsers do, though we cannot close one direction of it.
func TestAConnectionWithoutHalfCloseIsClosedAfterTheLastFrame(t *testing.T) {
	h := newScript()
	s, _ := behindBareListener(t, h, engine.WithCloseTimeout(patience))
	for _, ours := range []bool{false, true} {
		c := s.open("/")
		conn := within(t, h.opened)
		if ours {
			conn.Close(4000, "bye")
			c.expect(frame.Close, closePayload(4000, "bye"))
			c.write(frame.Close, closePayload(4000, ""))
		} else {
			c.write(frame.Close, closePayload(4000, "bye"))
			c.expect(frame.Close, closePayload(4000, ""))
		}
		began := time.Now()
		c.expectEOF()
		if d := time.Since(began); d > patience/2 {
			t.Errorf("ours %v: closed only after %v", ours, d)
		}
		if r := h.wait(t); r.Code != 4000 || r.Text != "bye" || r.Remote == ours {
			t.Errorf("ours %v: %+v", ours, r)
		}
		s.gone()
	}
}

func TestAWriteThatFailsEndsTheConnectionWithItsError(t *testing.T) {
	h := replying()
	s, conns := behindBareListener(t, h)
	c := s.open("/")
	nc := within(t, conns)
	nc.mu.Lock()
	nc.fail = errors.New("wire cut")
	nc.mu.Unlock()
	c.write(frame.Text, []byte("hello"))
	if r := h.wait(t); r.Code != frame.CloseAbnormal || r.Err != nc.fail {
		t.Errorf("%+v", r)
	}
	io.Copy(io.Discard, c.r) // it ends
	s.gone()
}

func TestTerminateEndsAConnectionWithoutDescriptor(t *testing.T) {
	h := newScript()
	s, _ := behindBareListener(t, h)
	c := s.open("/")
	within(t, h.opened).Terminate()
	c.expectEOF()
	if r := h.wait(t); r.Code != frame.CloseAbnormal || r.Err != nil {
		t.Errorf("%+v", r)
	}
	s.gone()
}

// Its goroutine is stuck in a write, which the end of the connection must end.
func TestAPeerWithoutDescriptorThatNeverReadsIsDropped(t *testing.T) {
	h := newScript()
	s, conns := behindBareListener(t, h, engine.WithWriteTimeout(50*time.Millisecond))
	c := s.open("/")
	if err := within(t, h.opened).Send(frame.Binary, make([]byte, 15<<20)); err != nil {
		t.Fatal(err)
	}
	if r := h.wait(t); r.Code != frame.CloseAbnormal || r.Err != engine.ErrWriteTimeout {
		t.Errorf("%+v", r)
	}
	s.gone()
	nc := within(t, conns)
	c.Close()
	within(t, nc.closed)
	nc.closed <- struct{}{} // for the count at the end
}

// What a loop refuses is still the HTTP server's to answer.
func TestAConnectionWithoutDescriptorThatIsRefusedIsAnswered(t *testing.T) {
	h := newScript()
	s, _ := behindBareListener(t, h)
	h.onUpgrade = func(*engine.Upgrade) error { return s.Close() }
	c := s.connect()
	c.send(upgradeRequest("/"))
	if status, head := c.readHead(); status != 503 {
		t.Errorf("%s", head)
	}
	if len(h.opened) != 0 {
		t.Error("opened")
	}
}
