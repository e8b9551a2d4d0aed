//go:build unix

package loop_test

import (
	"bytes"
	"net"
	"testing"

	"zeroframe/internal/loop"
	"zeroframe/internal/memconn"
)

var noFaults = memconn.Faults{}

func TestAPausedConnectionIsNotReadAndDoesNotSpin(t *testing.T) {
	turns := 0 // of the loop
	cfg := loop.Config{Turn: func(*loop.Loop, bool) { turns++ }}
	for _, name := range []string{"socket", "stream", "cut"} {
		t.Run(name, func(t *testing.T) {
			w := start(t, cfg)
			switch name {
			case "stream":
				w.connect = w.overStream(noFaults)
			case "cut":
				w.connect = w.overStream(memconn.Faults{Cut: 7, Again: 0.3})
			}
			p, other := newProbe(t), newProbe(t)
			var got []byte
			paused := true
			all := make(chan struct{})
			const size = 5000
			p.onOpened = func() { p.PauseReading(); p.PauseReading() }
			p.onData = func(b []byte) {
				if paused {
					t.Error("data while paused")
				}
				if got = append(got, b...); len(got) == size {
					close(all)
				}
			}
			other.onData = func(b []byte) { other.send(b) }
			c := w.connect(p)
			within(t, p.opened)
			if _, err := c.Write(numbered(size)); err != nil {
				t.Fatal(err)
			}
			// The answer on another connection of the loop says that the loop has seen what came before it.
			oc := w.connect(other)
			round := func() {
				oc.Write([]byte("x"))
				expect(t, oc, []byte("x"))
			}
			round()
			l := w.Loops()[0]
			var before loop.Stats
			var turnsBefore int
			onLoop(t, l, func() { before, turnsBefore = l.Stats(), turns })
			const rounds = 50
			for range rounds {
				round()
			}
			onLoop(t, l, func() {
				if n := l.Stats().Reads - before.Reads; n > 10*rounds {
					t.Errorf("%d reads for %d bytes on another connection", n, rounds)
				}
				if n := turns - turnsBefore; n > 20*rounds {
					t.Errorf("%d turns for %d bytes on another connection", n, rounds)
				}
				paused = false
				p.ResumeReading()
				p.ResumeReading()
			})
			within(t, all)
			p.onLoop(func() {
				if !bytes.Equal(got, numbered(size)) {
					t.Error("the bytes differ")
				}
			})
			c.Close()
			within(t, p.closed)
		})
	}
}

// Pause and resume in every place between two reads: nothing is lost and nothing comes twice.
func TestPausingAfterEveryReadLosesNothing(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		p := newProbe(t)
		var got []byte
		p.onData = func(b []byte) {
			got = append(got, b...)
			p.PauseReading()
			switch len(got) % 3 {
			case 0:
				p.ResumeReading() // at once
			case 1:
				p.Notify(loop.MailUser)
			case 2:
				go p.Notify(loop.MailUser)
			}
		}
		p.onMail = func(loop.Mail) { p.ResumeReading() }
		c := w.connect(p)
		all := numbered(5000)
		go func() {
			for rest := all; len(rest) > 0; {
				n := min(113, len(rest))
				c.Write(rest[:n])
				rest = rest[n:]
			}
			c.(interface{ CloseWrite() error }).CloseWrite()
		}()
		if err := within(t, p.closed); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, all) {
			t.Errorf("%d bytes, want %d", len(got), len(all))
		}
	})
}

func TestTheEndOfTheStreamWaitsForResume(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		p := newProbe(t)
		ended := make(chan struct{})
		p.onOpened = func() { p.PauseReading() }
		p.onEOF = func() { close(ended) }
		c := w.connect(p)
		within(t, p.opened)
		c.(interface{ CloseWrite() error }).CloseWrite()
		p.onLoop(func() {})
		select {
		case <-ended:
			t.Error("ended while paused")
		default:
		}
		p.onLoop(p.ResumeReading)
		within(t, ended)
		// The connection stays open until the endpoint closes it, and asks for nothing more.
		p.onLoop(func() { p.PauseReading(); p.ResumeReading() })
		p.send([]byte("half open"))
		expect(t, c, []byte("half open"))
		p.onLoop(func() { p.Close(nil) })
		within(t, p.closed)
		expectEnd(t, c)
	})
}

func TestDirectReadsGoToTheTarget(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		p := newProbe(t)
		const size = 6000
		target := make([]byte, 0, size)
		all := make(chan struct{})
		p.onOpened = func() { p.ReadDirect(true) }
		p.onTarget = func() []byte { return target[len(target):min(len(target)+997, cap(target))] }
		p.onData = func(b []byte) {
			if len(target) < cap(target) {
				if &b[0] != &target[:len(target)+1][len(target)] {
					t.Error("data elsewhere")
				}
				if target = target[:len(target)+len(b)]; len(target) == cap(target) {
					p.ReadDirect(false)
				}
				return
			}
			if string(b) == "x" { // the loop's buffer again
				close(all)
			}
		}
		c := w.connect(p)
		want := numbered(size)
		c.Write(want)
		if !soonOnLoop(p, func() bool { return len(target) == size }) {
			t.Fatal("not everything came")
		}
		c.Write([]byte("x"))
		within(t, all)
		if !bytes.Equal(target, want) { // Poison must not have touched it
			t.Error("the bytes differ")
		}
	})
}

func soonOnLoop(p *probe, ok func() bool) bool {
	return soon(func() (done bool) { p.onLoop(func() { done = ok() }); return done })
}

// A peer that is never read from is pushed back by TCP, and the loop takes one read per event from one that floods.
func TestAFloodOnOneConnectionDoesNotStarveAnother(t *testing.T) {
	w := start(t, loop.Config{ReadBuffer: 4096})
	flood, p := newProbe(t), newProbe(t)
	p.onData = func(b []byte) { p.send(b) }
	fc, c := w.connect(flood), w.connect(p)
	stop := make(chan struct{})
	flooded := make(chan struct{})
	go func() {
		defer close(flooded)
		block := make([]byte, 1<<16)
		for {
			select {
			case <-stop:
				return
			default:
				fc.Write(block)
			}
		}
	}()
	for range 50 {
		c.Write([]byte("ping"))
		expect(t, c, []byte("ping"))
	}
	close(stop)
	within(t, flooded)
}

func TestAResetByThePeerEndsTheConnectionWithItsError(t *testing.T) {
	w := start(t, loop.Config{})
	p := newProbe(t)
	c := w.connect(p)
	within(t, p.opened)
	c.(*net.TCPConn).SetLinger(0)
	c.Close()
	if err := within(t, p.closed); err == nil {
		t.Error("no error")
	}

	// While reading is paused nobody asks; the next write finds it.
	p = newProbe(t)
	p.onOpened = func() { p.PauseReading() }
	c = w.connect(p)
	within(t, p.opened)
	c.(*net.TCPConn).SetLinger(0)
	c.Close()
	if !soon(func() bool {
		p.send(numbered(100))
		return len(p.closed) == 1
	}) {
		t.Fatal("still open")
	}
	if err := <-p.closed; err == nil {
		t.Error("no error")
	}
}
