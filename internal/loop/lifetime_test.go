//go:build unix

package loop_test

import (
	"bytes"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"zeroframe/internal/loop"
)

func TestCloseInAnyCallbackIsTheLastCall(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		for _, callback := range []string{"Opened", "Data", "EOF", "Written", "Mail", "Timeout"} {
			p := newProbe(t) // reports calls after Closed
			end := func(in string) {
				if in != callback {
					return
				}
				p.send([]byte("queued"))
				p.WriteInPlace([]byte("corked"))
				p.SetTimer(0)
				p.Notify(loop.MailUser)
				p.StreamReadable()
				p.Close(io.ErrUnexpectedEOF)
				p.Close(nil)
				if p.IsOpen() {
					t.Error("open after Close")
				}
				if err := p.CloseWrite(); err != loop.ErrClosed {
					t.Errorf("CloseWrite: %v", err)
				}
				if _, err := p.Detach(); err != loop.ErrClosed {
					t.Errorf("Detach: %v", err)
				}
				p.PauseReading()
				p.ResumeReading()
				p.SetTimer(0)
			}
			p.onOpened = func() { end("Opened") }
			p.onData = func([]byte) { end("Data") }
			p.onEOF = func() { end("EOF") }
			p.onWritten = func(int) { end("Written") }
			p.onMail = func(loop.Mail) { end("Mail") }
			p.onTimeout = func() { end("Timeout") }
			c := w.connect(p)
			within(t, p.opened)
			switch callback {
			case "Data":
				c.Write([]byte("x"))
			case "EOF":
				c.(interface{ CloseWrite() error }).CloseWrite()
			case "Written":
				p.send([]byte("x"))
			case "Mail":
				p.Notify(loop.MailUser)
			case "Timeout":
				p.onLoop(func() { p.SetTimer(0) })
			}
			if err := within(t, p.closed); err != io.ErrUnexpectedEOF {
				t.Errorf("closed in %s with %v", callback, err)
			}
			onLoop(t, w.Loops()[0], func() {})
		}
	})
}

// What a connection had corked when it closed must not leave on the next one that is served.
func TestWhatAClosedConnectionCorkedIsDropped(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		p, next := newProbe(t), newProbe(t)
		p.onData = func([]byte) {
			p.WriteInPlace([]byte("corked"))
			p.Close(nil)
		}
		next.onData = func(b []byte) {
			if !next.WriteInPlace(b) {
				next.send(b)
			}
		}
		c, nc := w.connect(p), w.connect(next)
		c.Write([]byte("x"))
		within(t, p.closed)
		nc.Write([]byte("mine"))
		expect(t, nc, []byte("mine"))
	})
}

// One connection's callback closes another whose event stands in the same batch, and the other's descriptor goes to a
// third. The stale event must reach neither, and the third gets its own bytes only.
func TestStaleEventsDoNotReachAConnectionThatGotTheDescriptor(t *testing.T) {
	for range 20 {
		w := start(t, loop.Config{})
		a, b, third := newProbe(t), newProbe(t), newProbe(t)
		client, server := tcpPair(t)
		var got []byte
		third.onData = func(p []byte) { got = append(got, p...) }
		closeOther := func(other *probe) func([]byte) {
			return func([]byte) {
				other.Close(nil)
				if third.Loop() == nil {
					if err := w.Adopt(&third.Conn, server, nil); err != nil {
						t.Error(err)
					}
				}
			}
		}
		a.onData, b.onData = closeOther(b), closeOther(a) // whoever comes first
		ac, bc := w.connect(a), w.connect(b)
		within(t, a.opened)
		within(t, b.opened)
		release := hold(t, w.Loops()[0])
		ac.Write([]byte("for a"))
		bc.Write([]byte("for b"))
		release()
		within(t, third.opened)
		if len(a.closed)+len(b.closed) != 1 {
			t.Fatal("one of the two should have been closed by the other")
		}
		client.Write([]byte("for the third"))
		if !soonOnLoop(third, func() bool { return len(got) >= len("for the third") }) || string(got) != "for the third" {
			t.Fatalf("the third got %q", got)
		}
		w.Group.Close()
	}
}

// Descriptors are reused all the time; what is sent on a connection that has ended must never reach the next owner.
func TestNothingIsSentToTheNextOwnerOfADescriptor(t *testing.T) {
	a := startAccepting(t, listen(t), loop.Config{Loops: 2})
	var senders sync.WaitGroup
	for i := range 100 {
		c, p := a.open()
		mark := byte('A' + i%26)
		for range 2 {
			senders.Go(func() {
				for p.send(bytes.Repeat([]byte{mark}, 16)) {
				}
			})
		}
		buf := make([]byte, 4096)
		for total := 0; total < 10_000; {
			n, err := c.Read(buf)
			if err != nil {
				t.Fatal(err)
			}
			if at := bytes.IndexFunc(buf[:n], func(r rune) bool { return r != rune(mark) }); at >= 0 {
				t.Fatalf("%q on the connection of %q", buf[at], mark)
			}
			total += n
		}
		c.Close() // a reset, for there is unread input
		within(t, p.closed)
	}
	senders.Wait()
}

func TestADetachedDescriptorIsTheCallers(t *testing.T) {
	w := start(t, loop.Config{})
	p := newProbe(t)
	detached := make(chan int, 1)
	p.onData = func(b []byte) {
		if !p.WriteInPlace([]byte("corked before")) {
			t.Error("refused")
		}
		p.SetTimer(0)
		fd, err := p.Detach()
		if err != nil {
			t.Error(err)
		}
		p.Notify(loop.MailUser)
		if p.IsOpen() || p.Queued() != 0 || p.RemoteAddr() != nil {
			t.Error("not detached")
		}
		detached <- fd
	}
	p.onMail = func(loop.Mail) { t.Error("mail after Detach") }
	p.onTimeout = func() { t.Error("timeout after Detach") }
	c := w.connect(p)
	c.Write([]byte("x"))
	fd := within(t, detached)
	if w.Len() != 0 || len(w.Conns()) != 0 {
		t.Error("still counted")
	}
	onLoop(t, w.Loops()[0], func() {})

	// What the detached one had corked has left, and not on the next connection that was served.
	next := newProbe(t)
	next.onData = func(b []byte) { next.WriteInPlace(b) }
	nc := w.connect(next)
	nc.Write([]byte("mine"))
	expect(t, nc, []byte("mine"))
	expect(t, c, []byte("corked before"))

	// It goes back to the net package in working order, and the loop does not read it.
	f := os.NewFile(uintptr(fd), "detached")
	again, err := net.FileConn(f)
	f.Close()
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	again.SetDeadline(time.Now().Add(patience))
	c.Write([]byte("to the new owner"))
	expect(t, again, []byte("to the new owner"))
}

func TestDetachIsRefusedWhileOutputIsQueued(t *testing.T) {
	w := start(t, loop.Config{})
	p := newProbe(t)
	w.connect(p)
	within(t, p.opened)
	p.onLoop(func() {
		p.send([]byte("queued"))
		if fd, err := p.Detach(); err == nil {
			t.Errorf("detached as %d", fd)
		}
		if !p.IsOpen() {
			t.Error("closed")
		}
	})
}

func TestCloseWriteEndsOneDirection(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		p := newProbe(t)
		var got []byte
		p.onOpened = func() {
			if err := p.CloseWrite(); err != nil {
				t.Error(err)
			}
		}
		p.onData = func(b []byte) { got = append(got, b...) }
		c := w.connect(p)
		expectEnd(t, c)
		c.Write([]byte("still read"))
		c.(interface{ CloseWrite() error }).CloseWrite()
		within(t, p.closed)
		if string(got) != "still read" {
			t.Errorf("%q", got)
		}
	})
}

// Group.Close ends connections in whatever state they are.
func TestTheGroupClosesConnectionsInEveryState(t *testing.T) {
	w := start(t, loop.Config{Loops: 2})
	overSocket := w.connect
	states := map[string]func(p *probe, c net.Conn){
		"idle":    func(p *probe, c net.Conn) {},
		"paused":  func(p *probe, c net.Conn) { p.onLoop(p.PauseReading); c.Write([]byte("unread")) },
		"backlog": func(p *probe, c net.Conn) { p.send(numbered(8 << 20)) },
		"armed":   func(p *probe, c net.Conn) { p.onLoop(func() { p.SetTimer(p.Loop().Now() + time.Hour) }) },
		"posted": func(p *probe, c net.Conn) {
			p.onLoop(func() { p.onMail = func(loop.Mail) { p.Notify(loop.MailUser) } })
			p.Notify(loop.MailUser)
		},
		"half": func(p *probe, c net.Conn) { p.onLoop(func() { p.CloseWrite() }) },
		"ended": func(p *probe, c net.Conn) {
			eof := make(chan struct{})
			p.onLoop(func() { p.onEOF = func() { close(eof) } })
			c.(interface{ CloseWrite() error }).CloseWrite()
			within(t, eof)
		},
		"closed": func(p *probe, c net.Conn) { p.onLoop(func() { p.Close(loop.ErrClosed) }) },
	}
	var probes []*probe
	for _, connect := range []func(*probe) net.Conn{overSocket, w.overStream(noFaults)} {
		for _, enter := range states {
			p := newProbe(t)
			probes = append(probes, p)
			c := connect(p)
			within(t, p.opened)
			enter(p, c)
		}
		p := newProbe(t) // given, and not registered yet perhaps
		probes = append(probes, p)
		connect(p)
	}
	w.Group.Close()
	for _, p := range probes {
		if err := within(t, p.closed); err != loop.ErrClosed {
			t.Errorf("ended with %v", err)
		}
	}
	if n := len(w.Conns()); n != 0 {
		t.Errorf("%d connections after Close", n)
	}
}

// A connection given to a group while it closes is refused or closed, never forgotten.
func TestConnectionsGivenDuringTheEndAreClosed(t *testing.T) {
	for range 20 {
		w := start(t, loop.Config{Loops: 2})
		connect := make(chan *probe, 1000)
		var givers sync.WaitGroup
		begun := make(chan struct{}, 3)
		for range 2 {
			givers.Go(func() {
				begun <- struct{}{}
				for {
					p := newProbe(t)
					s, _ := pipe()
					if w.NewStreamConn(&p.Conn, s) != nil {
						return
					}
					connect <- p
				}
			})
		}
		givers.Go(func() {
			begun <- struct{}{}
			for range 20 {
				p := newProbe(t)
				_, server := tcpPair(t)
				if w.Adopt(&p.Conn, server, nil) != nil {
					return
				}
				connect <- p
			}
		})
		for range 3 {
			within(t, begun)
		}
		go func() {
			givers.Wait()
			close(connect)
		}()
		within(t, connect)
		closed := make(chan struct{})
		go func() { w.Group.Close(); close(closed) }()
		for p := range connect {
			if err := within(t, p.closed); err != loop.ErrClosed {
				t.Fatalf("ended with %v", err)
			}
		}
		within(t, closed)
	}
}

// closeOnExec reports the flag of a descriptor.
func closeOnExec(t *testing.T, fd int) bool {
	t.Helper()
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	if err != nil {
		t.Fatal(err)
	}
	return flags&unix.FD_CLOEXEC != 0
}
