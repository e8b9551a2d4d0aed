package engine_test

import (
	"bytes"
	"testing"
	"time"

	"zeroframe/engine"
	"zeroframe/frame"
)

// The pong may stand in the socket, unread on our account.
func TestPongDeadlineIsSuspendedWhilePaused(t *testing.T) {
	onEachTransportAtAnyPace(t, 120*time.Millisecond, func(t testing.TB, start func(...engine.Option) *server, timeout time.Duration) {
		s := start(engine.WithPingInterval(timeout/6), engine.WithPingTimeout(timeout))
		h := newPauser()
		s.handle("/", h)
		c := s.open("/")
		conn := within(t, h.opened)
		conn.Pause()
		ping := c.nextPing() // pings go on
		c.write(frame.Pong, ping)
		c.quiet(3 * timeout)
		if conn.RTT() != 0 {
			t.Error("a pong was read while paused")
		}
		conn.Resume()
		eventually(t, "the pong is read", func() bool { return conn.RTT() != 0 })
		c.write(frame.Pong, c.nextPing())
		c.nextPing()
		conn.Pause()
		c.quiet(3 * timeout)
		begin := time.Now()
		conn.Resume()
		c.answerClose(frame.CloseInternalError, "Ping timeout")
		atLeast(t, "closed", begin, timeout)
		expectReason(t, h.wait(t), frame.CloseInternalError, engine.ErrPingTimeout)
	})
}

// However short before the deadline Resume comes: the peer has the whole timeout, from then.
func TestPongDeadlineStartsAnewOnResume(t *testing.T) {
	onEachTransportAtAnyPace(t, 300*time.Millisecond, func(t testing.TB, start func(...engine.Option) *server, timeout time.Duration) {
		s := start(engine.WithPingInterval(timeout/15), engine.WithPingTimeout(timeout))
		h := newPauser()
		s.handle("/", h)
		c := s.open("/")
		conn := within(t, h.opened)
		ping := c.nextPing()
		c.write(frame.Text, []byte("pause"))
		within(t, h.paused)
		<-time.After(timeout * 2 / 3)
		conn.Resume()
		<-time.After(timeout * 2 / 3)
		c.write(frame.Pong, ping)
		c.nextPing()
	})
}

func TestPongDeadlineIsSuspendedUnderBackpressure(t *testing.T) {
	onEachTransportAtAnyPace(t, 300*time.Millisecond, func(t testing.TB, start func(...engine.Option) *server, timeout time.Duration) {
		s := start(engine.WithPingInterval(timeout/2), engine.WithPingTimeout(timeout), engine.WithMaxBackpressure(1000))
		h := newOpener()
		s.handle("/", h)
		s.narrow()
		want := pattern(s.glut())
		c := s.open("/")
		conn := within(t, h.opened)
		if err := conn.Send(frame.Binary, want); err != nil {
			t.Fatal(err)
		}
		select {
		case r := <-h.ending.ch:
			t.Fatalf("ended: %+v", r)
		case <-time.After(3 * timeout):
		}
		for {
			f := c.next()
			if f.op == frame.Ping {
				c.write(frame.Pong, f.payload)
				continue
			}
			if f.op != frame.Binary || !bytes.Equal(f.payload, want) {
				t.Fatalf("got %v", f)
			}
			break
		}
		for range 3 {
			c.write(frame.Pong, c.nextPing())
		}
	})
}
