package engine_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"testing"
	"time"

	"zeroframe/engine"
	"zeroframe/frame"
)

func asError[T error](err error, target *T) bool { return errors.As(err, target) }

// nextPing reads a frame, which must be a ping, and returns its payload.
func (c *client) nextPing() []byte {
	c.t.Helper()
	f := c.next()
	if f.op != frame.Ping || !f.fin || len(f.payload) > frame.MaxControlPayload {
		c.t.Fatalf("got %v, want a ping", f)
	}
	return f.payload
}

// sync makes sure that what was asked of the connection before has been done: the loop has turned between.
func (c *client) sync() {
	c.t.Helper()
	for i := range 2 {
		want := fmt.Appendf(nil, "sync %d", i)
		c.write(frame.Text, want)
		for {
			if f := c.next(); f.op == frame.Text {
				if !bytes.Equal(f.payload, want) {
					c.t.Fatalf("got %v, want %q", f, want)
				}
				break
			} else if f.op != frame.Ping {
				c.t.Fatalf("got %v", f)
			}
		}
	}
}

func TestFirstPingComesInTheSecondHalfOfTheInterval(t *testing.T) {
	onEachTransportAtAnyPace(t, 300*time.Millisecond, func(t testing.TB, start func(...engine.Option) *server, interval time.Duration) {
		const conns = 16
		s := start(engine.WithPingInterval(interval))
		s.handle("/", newEcho())
		var took [conns]time.Duration
		done := make(chan struct{}, conns)
		for i := range conns {
			c := s.connect()
			go func() {
				defer func() { done <- struct{}{} }()
				if i%4 == 0 { // the connection's time begins with the handshake, not with accept
					<-time.After(interval)
				}
				begin := time.Now()
				c.Write(upgradeRequest("/"))
				if status, _ := c.readHead(); status != 101 {
					t.Errorf("status %d", status)
					return
				}
				if f, err := c.readFrame(); err != nil || f.op != frame.Ping {
					t.Errorf("got %v, %v; want a ping", f, err)
				}
				took[i] = time.Since(begin)
			}()
		}
		for range conns {
			within(t, done)
		}
		for i, d := range took {
			if d < interval/2-early || d > interval+interval/2 {
				t.Errorf("connection %d: first ping after %v, the interval is %v", i, d, interval)
			}
		}
		// Uniform over half of it: that 16 lie within a fifth of that happens once in 10^10 runs.
		if spread := slices.Max(took[:]) - slices.Min(took[:]); spread < interval/10 {
			t.Errorf("all first pings within %v: phases are not spread", spread)
		}
	})
}

func TestPingPayloadsAreUniqueAndUnguessable(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithPingInterval(time.Millisecond))
		s.handle("/", newEcho())
		var seen [][]byte
		for range 3 {
			c := s.open("/")
			for range 8 {
				p := c.nextPing()
				seen = append(seen, p)
				c.write(frame.Pong, p)
			}
		}
		for i, a := range seen {
			if len(a) < 8 {
				t.Errorf("payload of %d bytes can be guessed", len(a))
			}
			for _, b := range seen[:i] {
				// 128 independent bits differ in fewer than 24 places once in 10^12 pairs; those of a counter often.
				if n := distance(a, b); n < 24 {
					t.Errorf("%x and %x differ in %d bits", a, b, n)
				}
			}
		}
	})
}

func distance(a, b []byte) (n int) {
	for i := range min(len(a), len(b)) {
		n += bits.OnesCount8(a[i] ^ b[i])
	}
	return n
}

func TestPingTimeoutClosesOnceWith1011(t *testing.T) {
	onEachTransportAtAnyPace(t, 80*time.Millisecond, func(t testing.TB, start func(...engine.Option) *server, timeout time.Duration) {
		s := start(engine.WithPingInterval(timeout/4), engine.WithPingTimeout(timeout))
		h := newOpener()
		s.handle("/", h)
		c := s.open("/")
		conn := within(t, h.opened)
		c.nextPing()
		begin := time.Now()
		if f := c.next(); f.op != frame.Close || !bytes.Equal(f.payload, closePayload(frame.CloseInternalError, "Ping timeout")) {
			t.Fatalf("got %v, want close 1011", f)
		}
		if took := time.Since(begin); took < timeout*3/4 {
			t.Errorf("closed %v after the ping came, the timeout is %v", took, timeout)
		}
		if err := conn.Send(frame.Text, nil); !errors.Is(err, engine.ErrClosed) {
			t.Errorf("Send: %v, want ErrClosed", err)
		}
		c.quiet(timeout / 2)
		c.write(frame.Close, closePayload(frame.CloseInternalError, ""))
		c.expectEOF()
		r := h.wait(t)
		expectReason(t, r, frame.CloseInternalError, engine.ErrPingTimeout)
		if r.Text != "Ping timeout" || len(h.ending.ch) != 0 {
			t.Errorf("reason %+v, and %d more", r, len(h.ending.ch))
		}
		eventually(t, "the timeout is counted", func() bool {
			n := s.Stats()
			return n.PingTimeouts == 1 && n.Closes[frame.CloseInternalError] == 1 && n.PingsOut == 1
		})
		if conn.RTT() != 0 {
			t.Errorf("RTT %v without a pong", conn.RTT())
		}
	})
}

// Pongs that are not equal to the ping neither answer it nor put the timeout off.
func TestOnlyTheEqualPongCounts(t *testing.T) {
	flip := func(p []byte) []byte { p = bytes.Clone(p); p[len(p)-1] ^= 1; return p }
	for name, wrong := range map[string]func(ping, before []byte) []byte{
		"empty":           func(_, _ []byte) []byte { return nil },
		"prefix":          func(p, _ []byte) []byte { return p[:len(p)-1] },
		"longer":          func(p, _ []byte) []byte { return append(bytes.Clone(p), 0) },
		"one bit off":     func(p, _ []byte) []byte { return flip(p) },
		"the ping before": func(_, b []byte) []byte { return b },
	} {
		t.Run(name, func(t *testing.T) {
			onEachTransportAtAnyPace(t, 80*time.Millisecond, func(t testing.TB, start func(...engine.Option) *server, timeout time.Duration) {
				s := start(engine.WithPingInterval(timeout/8), engine.WithPingTimeout(timeout))
				h := newEcho()
				s.handle("/", h)
				c := s.open("/")
				before := c.nextPing()
				c.write(frame.Pong, before)
				pong := encode(true, frame.Pong, wrong(c.nextPing(), before))
				stop := make(chan struct{})
				stopped := make(chan struct{})
				go func() { // more often than the timeout, so that it never came if it were put off
					defer close(stopped)
					for {
						select {
						case <-stop:
							return
						case <-time.After(timeout / 8):
							c.Write(pong)
						}
					}
				}()
				c.SetReadDeadline(time.Now().Add(patience / 4))
				f := c.next()
				close(stop)
				<-stopped
				if f.op != frame.Close || !bytes.Equal(f.payload, closePayload(frame.CloseInternalError, "Ping timeout")) {
					t.Fatalf("got %v, want close 1011", f)
				}
				c.write(frame.Close, f.payload)
				c.expectEOF()
				expectReason(t, h.wait(t), frame.CloseInternalError, engine.ErrPingTimeout)
			})
		})
	}
}

func TestPongSchedulesTheNextPingAndGivesTheRoundTrip(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		const interval, trip = 60 * time.Millisecond, 20 * time.Millisecond
		s := start(engine.WithPingInterval(interval))
		h := newOpener()
		s.handle("/", h)
		c := s.open("/")
		conn := within(t, h.opened)
		for range 3 {
			ping := c.nextPing()
			<-time.After(trip)
			begin := time.Now()
			c.write(frame.Pong, ping)
			eventually(t, "RTT covers the wait", func() bool { return conn.RTT() >= trip })
			next := c.nextPing()
			atLeast(t, "next ping", begin, interval)
			c.write(frame.Pong, next)
		}
		eventually(t, "round trips are counted", func() bool {
			n := s.Stats()
			return n.RTT.Count() == 6 && n.RTT.Sum >= 3*trip && n.PingsOut == 6 && n.PongsIn == 6
		})
	})
}

func TestPingStuckBehindOutputCountsAsUnanswered(t *testing.T) {
	onEachTransportAtAnyPace(t, 50*time.Millisecond, func(t testing.TB, start func(...engine.Option) *server, timeout time.Duration) {
		s := start(engine.WithPingInterval(2*timeout), engine.WithPingTimeout(timeout),
			engine.WithMaxBackpressure(64<<20), engine.WithCloseTimeout(20*time.Millisecond))
		h := newOpener()
		s.handle("/", h)
		s.narrow()
		glut := pattern(s.glut())
		s.open("/") // and reads nothing
		if err := within(t, h.opened).Send(frame.Binary, glut); err != nil {
			t.Fatal(err)
		}
		expectReason(t, h.wait(t), frame.CloseInternalError, engine.ErrPingTimeout)
	})
}

func TestNoPingAfterACloseFrame(t *testing.T) {
	onEachTransportAtAnyPace(t, 300*time.Millisecond, func(t testing.TB, start func(...engine.Option) *server, interval time.Duration) {
		s := start(engine.WithPingInterval(interval), engine.WithCloseTimeout(patience))
		h := newOpener()
		s.handle("/", h)
		ours := s.open("/")
		conn := within(t, h.opened)
		conn.Close(frame.CloseNormal, "bye")
		if f := ours.next(); f.op != frame.Close {
			t.Fatalf("got %v, want close", f)
		}
		conn.SetPingInterval(time.Millisecond)
		ours.quiet(interval * 7 / 6)
		ours.write(frame.Close, closePayload(frame.CloseNormal, "bye"))
		ours.expectEOF()

		theirs := s.open("/")
		theirs.write(frame.Close, closePayload(frame.CloseNormal, "bye"))
		if f := theirs.next(); f.op != frame.Close {
			t.Fatalf("got %v, want close", f)
		}
		theirs.expectEOF()
	})
}

func TestPingAnyTrafficTakesAnyBytesForAnAnswer(t *testing.T) {
	onEachTransportAtAnyPace(t, 80*time.Millisecond, func(t testing.TB, start func(...engine.Option) *server, timeout time.Duration) {
		s := start(engine.WithPingInterval(timeout/8), engine.WithPingTimeout(timeout),
			engine.WithPingPolicy(engine.PingAnyTraffic))
		h := newReceiver()
		s.handle("/", h)
		c := s.open("/")
		for end := time.Now().Add(5 * timeout); time.Now().Before(end); <-time.After(timeout / 16) {
			c.write(frame.Text, []byte("alive"))
		}
		for range 3 { // alive: the pings went on
			c.nextPing()
		}
		c.answerClose(frame.CloseInternalError, "Ping timeout")
		expectReason(t, h.wait(t), frame.CloseInternalError, engine.ErrPingTimeout)
	})
}

func TestStrictPingPolicyWantsThePong(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithPingInterval(10*time.Millisecond), engine.WithPingTimeout(60*time.Millisecond))
		h := newReceiver()
		s.handle("/", h)
		c := s.open("/")
		stop := time.AfterFunc(patience/4, func() { c.Close() })
		defer stop.Stop()
		go func() {
			for {
				if _, err := c.Write(encode(true, frame.Text, []byte("alive"))); err != nil {
					return
				}
				<-time.After(5 * time.Millisecond)
			}
		}()
		for {
			if f := c.next(); f.op == frame.Close {
				break
			}
		}
		c.write(frame.Close, closePayload(frame.CloseInternalError, ""))
		expectReason(t, h.wait(t), frame.CloseInternalError, engine.ErrPingTimeout)
	})
}
