package engine_test

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"zeroframe/engine"
	"zeroframe/frame"
)

// early is by how much a deadline may seem to pass too soon: the clock that activity is stamped with counts
// milliseconds.
const early = 3 * time.Millisecond

// atLeast fails the test when less than d has passed since start.
func atLeast(t testing.TB, what string, start time.Time, d time.Duration) {
	t.Helper()
	if took := time.Since(start); took < d-early {
		t.Errorf("%s after %v, not before %v", what, took, d)
	}
}

// eventually waits until ok holds, for what no event tells.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not in %v", what, patience)
		}
	}
}

// answerClose reads up to the server's close frame, compares it, answers, and reads to the end of the stream.
func (c *client) answerClose(code frame.CloseCode, reason string) {
	c.t.Helper()
	for {
		f := c.next()
		if f.op != frame.Close {
			continue
		}
		if want := closePayload(code, reason); string(f.payload) != string(want) {
			c.t.Fatalf("close %q, want %q", f.payload, want)
		}
		c.write(frame.Close, f.payload)
		c.expectEOF()
		return
	}
}

// quiet requires that nothing comes for d.
func (c *client) quiet(d time.Duration) {
	c.t.Helper()
	c.SetReadDeadline(time.Now().Add(d))
	if b, err := c.r.ReadByte(); !errors.Is(err, os.ErrDeadlineExceeded) {
		c.t.Fatalf("byte %x, error %v; want nothing for %v", b, err, d)
	}
	c.SetReadDeadline(time.Now().Add(patience))
}

func expectReason(t testing.TB, got engine.CloseReason, code frame.CloseCode, err error) {
	t.Helper()
	if got.Code != code || !errors.Is(got.Err, err) || got.Remote {
		t.Errorf("reason %+v, want code %d and error %v", got, code, err)
	}
}

func TestIdleTimeoutClosesASilentPeer(t *testing.T) {
	onGoroutinesToo(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithPingInterval(0), engine.WithIdleTimeout(60*time.Millisecond))
		h := newEcho()
		s.handle("/echo", h)
		begin := time.Now()
		s.open("/echo").answerClose(frame.CloseGoingAway, "idle timeout")
		atLeast(t, "closed", begin, 60*time.Millisecond)
		expectReason(t, h.wait(t), frame.CloseGoingAway, engine.ErrIdleTimeout)
		eventually(t, "the timeout is counted", func() bool { return s.Stats().IdleTimeouts == 1 })
	})
}

// Any byte counts, pongs and parts of frames too, and it counts from when it came: not from when the loop last woke.
func TestIdleTimeoutCountsFromTheLastByte(t *testing.T) {
	for name, input := range map[string][]byte{
		"message":      encode(true, frame.Text, []byte("hello")),
		"pong":         encode(true, frame.Pong, []byte("unasked")),
		"ping":         encode(true, frame.Ping, nil),
		"partial head": encode(true, frame.Text, []byte("hello"))[:1],
	} {
		t.Run(name, func(t *testing.T) {
			onEachTransportAtAnyPace(t, 300*time.Millisecond, func(t testing.TB, start func(...engine.Option) *server, idle time.Duration) {
				s := start(engine.WithPingInterval(0), engine.WithIdleTimeout(idle), engine.WithCloseTimeout(50*time.Millisecond))
				h := newEcho()
				s.handle("/echo", h)
				c := s.open("/echo")
				<-time.After(idle * 2 / 3)
				last := time.Now()
				c.send(input)
				c.expectClose(frame.CloseGoingAway)
				atLeast(t, "closed", last, idle)
				expectReason(t, h.wait(t), frame.CloseGoingAway, engine.ErrIdleTimeout)
			})
		})
	}
}

// While reading rests on our account, the peer's silence is not its fault.
func TestIdleTimeoutWaitsWhilePaused(t *testing.T) {
	onGoroutinesTooAtAnyPace(t, 100*time.Millisecond, func(t testing.TB, start func(...engine.Option) *server, idle time.Duration) {
		s := start(engine.WithPingInterval(0), engine.WithIdleTimeout(idle))
		h := newPauser()
		s.handle("/", h)
		c := s.open("/")
		c.write(frame.Text, []byte("pause"))
		conn := within(t, h.paused)
		c.write(frame.Text, []byte("sent in time"))
		c.quiet(3 * idle)
		begin := time.Now()
		conn.Resume()
		c.expect(frame.Text, []byte("sent in time"))
		c.answerClose(frame.CloseGoingAway, "idle timeout")
		atLeast(t, "closed", begin, idle)
	})
}

func TestLifetimeClosesHoweverActive(t *testing.T) {
	onGoroutinesToo(t, func(t *testing.T, start func(...engine.Option) *server) {
		const lifetime = 150 * time.Millisecond
		s := start(engine.WithLifetime(lifetime))
		h := newEcho()
		s.handle("/echo", h)
		begin := time.Now()
		c := s.open("/echo")
		for {
			c.write(frame.Text, []byte("busy"))
			f := c.next()
			if f.op == frame.Close {
				if want := closePayload(frame.CloseGoingAway, "maximum lifetime reached"); string(f.payload) != string(want) {
					t.Fatalf("close %q, want %q", f.payload, want)
				}
				break
			}
			<-time.After(5 * time.Millisecond)
		}
		atLeast(t, "closed", begin, lifetime)
		c.write(frame.Close, closePayload(frame.CloseGoingAway, ""))
		c.expectEOF()
		expectReason(t, h.wait(t), frame.CloseGoingAway, engine.ErrLifetime)
	})
}

// RFC 6455, section 7.1.1: who has sent and received a close frame closes; a peer that does not answer ours is dropped.
func TestCloseTimeoutDropsAPeerThatDoesNotAnswer(t *testing.T) {
	onGoroutinesToo(t, func(t *testing.T, start func(...engine.Option) *server) {
		const timeout = 100 * time.Millisecond
		s := start(engine.WithCloseTimeout(timeout))
		h := newOpener()
		s.handle("/", h)
		c := s.open("/")
		conn := within(t, h.opened)
		begin := time.Now()
		if err := conn.Close(4000, "enough"); err != nil {
			t.Fatal(err)
		}
		c.expectClose(4000)
		atLeast(t, "dropped", begin, timeout)
		r := h.wait(t)
		expectReason(t, r, 4000, engine.ErrCloseTimeout)
		if r.Text != "enough" {
			t.Errorf("reason text %q", r.Text)
		}
		eventually(t, "the connection is gone", func() bool { return s.Stats().Conns == 0 })
	})
}

// After both close frames the peer has the close timeout to end its direction, counted from then, however long the
// connection was silent before.
func TestCloseTimeoutBoundsTheWaitForTheEndOfTheStream(t *testing.T) {
	onGoroutinesToo(t, func(t *testing.T, start func(...engine.Option) *server) {
		const timeout = 150 * time.Millisecond
		s := start(engine.WithCloseTimeout(timeout), engine.WithPingInterval(0))
		h := newEcho()
		s.handle("/echo", h)
		c := s.open("/echo")
		<-time.After(2 * timeout)
		begin := time.Now()
		c.write(frame.Close, closePayload(frame.CloseNormal, "bye"))
		c.expectClose(frame.CloseNormal)
		if r := h.wait(t); r.Code != frame.CloseNormal || !r.Remote || r.Err != nil {
			t.Errorf("reason %+v", r)
		}
		if conns := s.Stats().Conns; conns != 1 && time.Since(begin) < timeout-early {
			t.Error("closed before the peer ended its direction")
		}
		eventually(t, "the connection is gone", func() bool { return s.Stats().Conns == 0 })
		atLeast(t, "closed", begin, timeout)
	})
}

func TestWriteTimeoutEndsAPeerThatReadsNothing(t *testing.T) {
	onGoroutinesToo(t, func(t *testing.T, start func(...engine.Option) *server) {
		const timeout = 100 * time.Millisecond
		s := start(engine.WithWriteTimeout(timeout))
		h := newOpener()
		s.handle("/", h)
		s.narrow()
		s.open("/")
		conn := within(t, h.opened)
		begin := time.Now()
		if err := conn.Send(frame.Binary, pattern(s.glut())); err != nil {
			t.Fatal(err)
		}
		expectReason(t, h.wait(t), frame.CloseAbnormal, engine.ErrWriteTimeout)
		atLeast(t, "ended", begin, timeout)
		if err := conn.Send(frame.Binary, nil); !errors.Is(err, engine.ErrClosed) {
			t.Errorf("Send afterwards: %v, want ErrClosed", err)
		}
	})
}

// What counts is progress, not the time the whole takes.
func TestWriteTimeoutSparesASlowReader(t *testing.T) {
	onGoroutinesTooAtAnyPace(t, 150*time.Millisecond, func(t testing.TB, start func(...engine.Option) *server, timeout time.Duration) {
		s := start(engine.WithWriteTimeout(timeout))
		h := newOpener()
		s.handle("/", h)
		s.narrow()
		slow := &slowReader{rest: timeout / 4}
		if below := s.below; below != nil { // where a client of TLS reads a record at a time, which may be all there is
			s.below = func() net.Conn {
				slow.Conn = below()
				return slow
			}
		}
		c := s.open("/")
		if slow.Conn == nil {
			slow.Conn = c.Conn
			c.r.Reset(slow)
		}
		conn := within(t, h.opened)
		want := pattern(s.glut())
		if err := conn.Send(frame.Binary, want); err != nil {
			t.Fatal(err)
		}
		slow.step = len(want)/12 + 1
		begin := time.Now()
		c.expect(frame.Binary, want)
		atLeast(t, "read", begin, 2*timeout) // or the test would show nothing
		conn.Close(frame.CloseNormal, "")
		c.answerClose(frame.CloseNormal, "")
	})
}

// slowReader rests a while whenever it has read step bytes; never, while that is 0.
type slowReader struct {
	net.Conn
	step, read int
	rest       time.Duration
}

func (r *slowReader) Read(p []byte) (int, error) {
	if r.step == 0 {
		return r.Conn.Read(p)
	}
	if r.read >= r.step {
		r.read -= r.step
		<-time.After(r.rest)
	}
	n, err := r.Conn.Read(p[:min(len(p), r.step)])
	r.read += n
	return n, err
}

var _ io.Reader = (*slowReader)(nil)

// The time to answer a close frame begins when the peer can have seen it, not when it was queued behind a backlog.
func TestCloseTimeoutWaitsForAPeerThatStillReads(t *testing.T) {
	atAnyPace(t, 150*time.Millisecond, func(t testing.TB, timeout time.Duration) {
		s := onSocket(t, engine.WithCloseTimeout(timeout), engine.WithPingInterval(0), engine.WithMaxFrameSize(1<<30))
		h := newOpener()
		s.handle("/", h)
		c := s.open("/")
		conn := within(t, h.opened)
		payload := pattern(16 << 20) // more than the sockets hold
		if err := conn.Send(frame.Binary, payload); err != nil {
			t.Fatal(err)
		}
		if err := conn.Close(4000, "bye"); err != nil {
			t.Fatal(err)
		}
		var got []byte
		piece := make([]byte, 512<<10)
		begin := time.Now()
		for len(got) < len(payload)+10 { // reading takes several times the timeout, on purpose
			n, err := c.r.Read(piece[:min(len(piece), len(payload)+10-len(got))])
			if err != nil {
				t.Fatalf("after %d bytes: %v", len(got), err)
			}
			got = append(got, piece[:n]...)
			if len(got)%(1<<20) < n {
				<-time.After(timeout / 5)
			}
		}
		atLeast(t, "read", begin, 2*timeout)
		if f := c.next(); f.op != frame.Close || string(f.payload) != string(closePayload(4000, "bye")) {
			t.Fatalf("got %v", f)
		}
	})
}
