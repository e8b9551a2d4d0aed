//go:build unix

package loop_test

import (
	"errors"
	"net"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"zeroframe/internal/loop"
)

// accepting is a world that serves a listener of its own; probes come out of accepted when they are open.
type accepting struct {
	*world
	ln       net.Listener
	accepted chan *probe
	served   chan error
	stop     chan struct{}
}

func startAccepting(t *testing.T, ln net.Listener, cfg loop.Config) *accepting {
	t.Helper()
	a := &accepting{ln: ln, accepted: make(chan *probe, 1000), served: make(chan error, 1), stop: make(chan struct{})}
	cfg.NewConn = func(func()) *loop.Conn {
		p := newProbe(t)
		p.onOpened = func() { a.accepted <- p }
		p.onData = func(b []byte) { p.send(b) }
		return &p.Conn
	}
	a.world = start(t, cfg)
	go func() { a.served <- a.Serve(ln, a.stop, nil) }()
	return a
}

// open dials and waits until the connection is accepted.
func (a *accepting) open() (net.Conn, *probe) {
	a.t.Helper()
	c := dial(a.t, a.ln.Addr())
	return c, within(a.t, a.accepted)
}

func TestConnectionsAreSpreadOverTheLoops(t *testing.T) {
	const loops, clients = 4, 400 // more than one batch of accept
	a := startAccepting(t, listen(t), loop.Config{Loops: loops})
	for range clients {
		dial(t, a.ln.Addr())
	}
	count := map[*loop.Loop]int{}
	var last *probe
	for range clients {
		last = within(t, a.accepted)
		count[last.Loop()]++
	}
	for _, l := range a.Loops() {
		if count[l] != clients/loops {
			t.Errorf("%d of %d connections on a loop", count[l], clients)
		}
	}
	if n := a.Len(); n != clients {
		t.Errorf("Len is %d", n)
	}
	if n := len(a.Conns()); n != clients {
		t.Errorf("%d connections listed", n)
	}
	last.onLoop(func() { last.Close(nil) })
	if _, p := a.open(); p.Loop() != last.Loop() {
		t.Error("a new connection does not go to the loop with the fewest")
	}
}

func TestABacklogOfManyClientsIsAcceptedAtOnce(t *testing.T) {
	ln := listen(t)
	const clients = 300 // they connect before anybody accepts
	for range clients {
		dial(t, ln.Addr())
	}
	a := startAccepting(t, ln, loop.Config{Loops: 2})
	for range clients {
		within(t, a.accepted)
	}
}

func TestConnectionsAboveMaxConnsAreRefused(t *testing.T) {
	refused := make(chan loop.Refusal, 10)
	a := startAccepting(t, listen(t), loop.Config{
		MaxConns: 2,
		Refusal:  []byte("busy"),
		Refused:  func(_ *loop.Loop, cause loop.Refusal) { refused <- cause },
	})
	_, p := a.open()
	c, _ := a.open()
	for range 3 {
		no := dial(t, a.ln.Addr())
		expect(t, no, []byte("busy"))
		expectEnd(t, no)
		if cause := within(t, refused); cause != loop.RefusedMaxConns {
			t.Errorf("cause %d", cause)
		}
	}
	c.Write([]byte("still served"))
	expect(t, c, []byte("still served"))
	p.onLoop(func() { p.Close(nil) })
	c, _ = a.open()
	c.Write([]byte("accepted again"))
	expect(t, c, []byte("accepted again"))
}

func TestTheHookAdmitsByAddress(t *testing.T) {
	asked := make(chan netip.AddrPort, 10)
	verdict := make(chan func() bool, 1)
	refused := make(chan loop.Refusal, 10)
	a := startAccepting(t, listen(t), loop.Config{
		Refusal: []byte("busy"),
		Admit:   func(remote netip.AddrPort) (func(), bool) { asked <- remote; return nil, (<-verdict)() },
		Refused: func(_ *loop.Loop, cause loop.Refusal) { refused <- cause },
	})
	verdict <- func() bool { return true }
	c, p := a.open()
	if remote := within(t, asked); remote.String() != c.LocalAddr().String() {
		t.Errorf("asked about %v, the client is %v", remote, c.LocalAddr())
	}
	if r, l := p.RemoteAddr(), p.LocalAddr(); r.String() != c.LocalAddr().String() || l.String() != c.RemoteAddr().String() {
		t.Errorf("addresses %v and %v", r, l)
	}
	for _, no := range []func() bool{func() bool { return false }, func() bool { panic("hook") }} {
		verdict <- no
		c := dial(t, a.ln.Addr())
		expect(t, c, []byte("busy"))
		expectEnd(t, c)
		if cause := within(t, refused); cause != loop.RefusedByHook {
			t.Errorf("cause %d", cause)
		}
	}
	p.onLoop(func() { p.Close(nil) })
	if p.RemoteAddr() != nil || p.LocalAddr() != nil {
		t.Error("a closed connection has an address")
	}
}

func TestServeEndsWithItsListenerItsStopOrItsGroup(t *testing.T) {
	for name, end := range map[string]func(*accepting){
		"listener closed": func(a *accepting) { a.ln.Close() },
		"stop closed":     func(a *accepting) { close(a.stop) },
		"group closed":    func(a *accepting) { a.Group.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			a := startAccepting(t, listen(t), loop.Config{Loops: 2})
			c, p := a.open()
			end(a)
			if err := within(t, a.served); err != loop.ErrClosed {
				t.Errorf("Serve returned %v", err)
			}
			if c, err := net.Dial("tcp", a.ln.Addr().String()); err == nil {
				c.Close()
				t.Error("something still listens")
			}
			if name == "group closed" {
				if err := within(t, p.closed); err != loop.ErrClosed {
					t.Errorf("the connection ended with %v", err)
				}
				return
			}
			c.Write([]byte("served on"))
			expect(t, c, []byte("served on"))
		})
	}
}

func TestServeAfterCloseClosesTheListener(t *testing.T) {
	w := start(t, loop.Config{})
	w.Group.Close()
	ln := listen(t)
	if err := w.Serve(ln, nil, nil); err != loop.ErrClosed {
		t.Errorf("Serve returned %v", err)
	}
	if err := ln.Close(); !errors.Is(err, net.ErrClosed) {
		t.Error("the listener was left open")
	}
	_, server := tcpPair(t)
	p := newProbe(t)
	if err := w.Adopt(&p.Conn, server, nil); err != loop.ErrClosed {
		t.Errorf("Adopt returned %v", err)
	}
	w.Group.Close() // again
}

type listenerWithoutDescriptor struct{ net.Listener }

func TestAListenerWithoutDescriptorIsRefused(t *testing.T) {
	w := start(t, loop.Config{})
	ln := listen(t)
	if err := w.Serve(listenerWithoutDescriptor{ln}, nil, nil); err == nil || err == loop.ErrClosed {
		t.Errorf("Serve returned %v", err)
	}
	if err := ln.Close(); !errors.Is(err, net.ErrClosed) {
		t.Error("the listener was left open")
	}
}

func TestUnixSocketsAreServed(t *testing.T) {
	ln, err := net.Listen("unix", filepath.Join(t.TempDir(), "socket"))
	if err != nil {
		t.Fatal(err)
	}
	a := startAccepting(t, ln, loop.Config{Admit: func(remote netip.AddrPort) (func(), bool) { return nil, remote == netip.AddrPort{} }})
	c, _ := a.open()
	c.Write([]byte("local"))
	expect(t, c, []byte("local"))
	close(a.stop)
	if err := within(t, a.served); err != loop.ErrClosed {
		t.Errorf("Serve returned %v", err)
	}
}

// A listener whose stop is closed while a batch of clients waits: whatever was accepted is served or closed, and nothing
// is accepted from the descriptor's number afterwards.
func TestStoppingAmidManyClientsLeavesNothing(t *testing.T) {
	for range 10 {
		ln := listen(t)
		a := startAccepting(t, ln, loop.Config{Loops: 2})
		dialed := make(chan struct{})
		go func() {
			defer close(dialed)
			for range 100 {
				c, err := net.DialTimeout("tcp", ln.Addr().String(), patience)
				if err != nil {
					return
				}
				defer c.Close()
				c.SetDeadline(time.Now().Add(patience))
				c.Write([]byte("x"))
			}
		}()
		within(t, a.accepted)
		close(a.stop)
		within(t, a.served)
		a.Group.Close()
		within(t, dialed)
	}
}

// Whoever asks for the descriptor of a listener's file, to pass it on to another process, makes the listener block, also
// for the loop that accepts from it.
func TestAListenerThatWasMadeToBlockDoesNotHoldUpItsLoop(t *testing.T) {
	ln := listen(t)
	a := startAccepting(t, ln, loop.Config{})
	c, _ := a.open()
	f, err := ln.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	f.Fd()
	for range 3 {
		a.open()
		c.Write([]byte("x"))
		expect(t, c, []byte("x"))
	}
}
