package engine_test

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"zeroframe/engine"
	"zeroframe/frame"
	"zeroframe/internal/bridge"
	"zeroframe/internal/memconn"
)

// narrow makes connections in memory, from now on, hold few bytes in flight, so that a peer that does not read is felt
// soon. Those of the kernel are left: with a small buffer its timers would make them slow.
func (s *server) narrow() {
	if !s.cut() {
		return
	}
	if s.below != nil {
		s.below = cutTLS(s, memconn.Faults{Seed: 100, Cut: 7, Again: 0.3, Buffer: 1 << 10})
		return
	}
	seed := uint64(100)
	s.dial = func() net.Conn {
		seed++
		stream, c := memconn.Pipe(memconn.Faults{Seed: seed, Cut: 7, Again: 0.3, Buffer: 1 << 10})
		if err := bridge.ServeStream(s.Engine, stream); err != nil {
			s.t.Fatal(err)
		}
		return c
	}
}

func (s *server) cut() bool {
	name := s.t.Name() + "/"
	return strings.Contains(name, "/cut/") || strings.Contains(name, "/tls/")
}

// answered returns the next connection when nothing is queued for it any more: the answer to its handshake counts until the
// loop has seen that it is written, which its peer may read before.
func answered(t testing.TB, opened <-chan *engine.Conn) *engine.Conn {
	t.Helper()
	conn := within(t, opened)
	eventually(t, "the answer has left the queue", func() bool { return conn.Buffered() == 0 })
	return conn
}

// glut is more than a narrow connection holds in flight: a message of this size stays partly queued while the peer does
// not read.
func (s *server) glut() int {
	if s.cut() {
		return 6 << 10
	}
	return 8 << 20
}

// opener hands out its connections, and echoes.
type opener struct {
	*echo
	opened  chan *engine.Conn
	drained chan int // Buffered at each OnDrain
}

func newOpener() *opener {
	return &opener{newEcho(), make(chan *engine.Conn, 1000), make(chan int, 1000)}
}

func (h *opener) OnOpen(c *engine.Conn) { h.opened <- c }

func (h *opener) OnDrain(c *engine.Conn) { h.drained <- c.Buffered() }

func TestPeerThatEchoesAndNeverReadsStallsItselfAndLosesNothing(t *testing.T) {
	onGoroutinesToo(t, func(t *testing.T, start func(...engine.Option) *server) {
		limit, size, rounds, readBuffer := 64<<10, 4000, 6000, 16<<10
		if s := (&server{t: t}); s.cut() {
			limit, size, rounds = 1000, 100, 120
		}
		s := start(engine.WithMaxBackpressure(limit), engine.WithReadBuffer(readBuffer), engine.WithPingInterval(0))
		h := newOpener()
		s.handle("/", h)
		s.narrow()
		c := s.open("/")
		conn := answered(t, h.opened)
		message := func(i int) []byte { return fmt.Appendf(nil, "%06d%s", i, pattern(size)) }
		var wrote atomic.Int64
		done := make(chan error, 1)
		go func() {
			for i := range rounds {
				if _, err := c.Write(encode(true, frame.Binary, message(i))); err != nil {
					done <- err
					return
				}
				wrote.Add(1)
			}
			done <- nil
		}()
		eventually(t, "the peer is stalled", func() bool { return s.Stats().Stalls > 0 })
		// Writing stops when both directions are full, and what is queued then stays.
		last := int64(-1)
		eventually(t, "writing stops", func() bool {
			before := last
			if last = wrote.Load(); last == int64(rounds) {
				t.Fatalf("all %d messages were taken: nothing stalled the peer", last)
			}
			<-time.After(50 * time.Millisecond)
			return last == before && conn.Buffered() > limit/2 // at a half reading would go on
		})
		if n, bound := conn.Buffered(), limit+readBuffer+size+100; n <= limit/2 || n > bound {
			t.Errorf("%d bytes are queued, want more than a half of %d and at most one read above, %d", n, limit, bound)
		}
		most := 0
		for i := range rounds {
			most = max(most, conn.Buffered())
			c.expect(frame.Binary, message(i))
		}
		if bound := limit + readBuffer + size + 100; most > bound {
			t.Errorf("up to %d bytes were queued, at most %d are meant", most, bound)
		}
		if err := within(t, done); err != nil {
			t.Errorf("writing: %v", err)
		}
	})
}

// fill sends messages of size bytes until one is not taken, and returns how many were.
func fill(t testing.TB, c *engine.Conn, size int, limit int) (sent int, err error) {
	t.Helper()
	for ; sent < 1_000_000; sent++ {
		before := c.Buffered()
		if err = c.Send(frame.Binary, fmt.Appendf(nil, "%06d%s", sent, pattern(size))); err != nil {
			return sent, err
		}
		if n := c.Buffered(); n > limit && before != 0 && n > before {
			t.Fatalf("%d bytes are queued after Send accepted one on top of %d; the limit is %d", n, before, limit)
		}
	}
	t.Fatal("nothing was refused")
	return
}

func TestRefusedSendIsToldWhenToTryAgain(t *testing.T) {
	onGoroutinesToo(t, func(t *testing.T, start func(...engine.Option) *server) {
		limit, size := 256<<10, 8<<10
		if s := (&server{t: t}); s.cut() {
			limit, size = 2<<10, 200
		}
		s := start(engine.WithMaxBackpressure(limit), engine.WithPingInterval(0))
		h := newOpener()
		s.handle("/", h)
		s.narrow()
		c := s.open("/")
		conn := answered(t, h.opened)
		sent, err := fill(t, conn, size, limit)
		if !errors.Is(err, engine.ErrBackpressure) {
			t.Fatalf("Send: %v, want ErrBackpressure", err)
		}
		if n := s.Stats().BackpressureHits; n != 1 {
			t.Errorf("%d back-pressure hits counted, want 1", n)
		}
		for i := range sent { // nothing of the refused message came between, nothing is missing
			c.expect(frame.Binary, fmt.Appendf(nil, "%06d%s", i, pattern(size)))
		}
		if n := within(t, h.drained); n > limit/2 {
			t.Errorf("OnDrain with %d bytes queued, at most %d are meant", n, limit/2)
		}
		if err := conn.Send(frame.Binary, []byte("again")); err != nil {
			t.Errorf("Send after OnDrain: %v", err)
		}
		c.expect(frame.Binary, []byte("again"))
		c.write(frame.Text, []byte("done"))
		c.expect(frame.Text, []byte("done"))
		if n := len(h.drained); n != 0 {
			t.Errorf("OnDrain came %d times more", n)
		}
	})
}

func TestDropPolicyDropsWholeMessages(t *testing.T) {
	onGoroutinesToo(t, func(t *testing.T, start func(...engine.Option) *server) {
		limit, size := 256<<10, 8<<10
		if s := (&server{t: t}); s.cut() {
			limit, size = 2<<10, 200
		}
		s := start(engine.WithMaxBackpressure(limit), engine.WithBackpressurePolicy(engine.PolicyDrop), engine.WithPingInterval(0))
		h := newOpener()
		s.handle("/", h)
		s.narrow()
		c := s.open("/")
		conn := answered(t, h.opened)
		sent := 0
		for s.Stats().BackpressureHits < 5 {
			if err := conn.Send(frame.Binary, fmt.Appendf(nil, "%06d%s", sent, pattern(size))); err != nil {
				t.Fatalf("Send: %v", err)
			}
			sent++
		}
		conn.Close(frame.CloseNormal, "")
		got, last := 0, -1
		for {
			f := c.next()
			if f.op == frame.Close {
				break
			}
			var i int
			fmt.Sscanf(string(f.payload[:6]), "%d", &i)
			if string(f.payload) != fmt.Sprintf("%06d%s", i, pattern(size)) || i <= last {
				t.Fatalf("got %v after message %d", f, last)
			}
			got, last = got+1, i
		}
		if dropped := int(s.Stats().BackpressureHits); got+dropped != sent {
			t.Errorf("%d messages came and %d were dropped of %d", got, dropped, sent)
		}
	})
}

func TestClosePolicyClosesASlowPeer(t *testing.T) {
	onGoroutinesToo(t, func(t *testing.T, start func(...engine.Option) *server) {
		limit, size := 256<<10, 8<<10
		if s := (&server{t: t}); s.cut() {
			limit, size = 2<<10, 200
		}
		s := start(engine.WithMaxBackpressure(limit), engine.WithBackpressurePolicy(engine.PolicyClose), engine.WithPingInterval(0))
		h := newOpener()
		s.handle("/", h)
		s.narrow()
		c := s.open("/")
		sent, err := fill(t, answered(t, h.opened), size, limit)
		if !errors.Is(err, engine.ErrClosed) {
			t.Errorf("Send: %v, want ErrClosed", err)
		}
		for i := range sent { // what was accepted goes out before the close frame
			c.expect(frame.Binary, fmt.Appendf(nil, "%06d%s", i, pattern(size)))
		}
		c.answerClose(frame.ClosePolicyViolation, "too slow")
		expectReason(t, h.wait(t), frame.ClosePolicyViolation, engine.ErrBackpressure)
	})
}

func TestEmptyQueueTakesAnySize(t *testing.T) {
	onGoroutinesToo(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithMaxBackpressure(100), engine.WithPingInterval(0))
		h := newOpener()
		s.handle("/", h)
		s.narrow()
		c := s.open("/")
		conn := answered(t, h.opened)
		want := pattern(s.glut())
		if err := conn.Send(frame.Binary, want); err != nil {
			t.Fatalf("Send into an empty queue: %v", err)
		}
		if err := conn.Send(frame.Binary, []byte{1}); !errors.Is(err, engine.ErrBackpressure) {
			t.Fatalf("Send on top of it: %v, want ErrBackpressure", err)
		}
		c.expect(frame.Binary, want)
		within(t, h.drained)
	})
}

// The answer to the handshake, which waits to be written with it, does not stand in the way of a large greeting.
func TestOnOpenMaySendAnySize(t *testing.T) {
	onGoroutinesToo(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithMaxBackpressure(100), engine.WithPingInterval(0))
		h := &floodGreeter{echo: newEcho(), greeting: pattern(s.glut()), sent: make(chan error, 1)}
		s.handle("/", h)
		s.narrow()
		c := s.open("/")
		if err := within(t, h.sent); err != nil {
			t.Fatalf("Send: %v", err)
		}
		c.expect(frame.Binary, h.greeting)
		c.write(frame.Text, []byte("next"))
		c.expect(frame.Text, []byte("next"))
	})
}

type floodGreeter struct {
	*echo
	greeting []byte
	sent     chan error
}

func (h *floodGreeter) OnOpen(c *engine.Conn) { h.sent <- c.Send(frame.Binary, h.greeting) }

func TestOnDrainComesWhenTheQueueHadExceededTheLimit(t *testing.T) {
	onGoroutinesToo(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithMaxBackpressure(1000), engine.WithPingInterval(0))
		h := newOpener()
		s.handle("/", h)
		s.narrow()
		c := s.open("/")
		want := pattern(s.glut())
		if err := answered(t, h.opened).Send(frame.Binary, want); err != nil {
			t.Fatal(err)
		}
		c.expect(frame.Binary, want)
		if n := within(t, h.drained); n > 500 {
			t.Errorf("OnDrain with %d bytes queued", n)
		}
	})
}

func TestReadWhileFullKeepsReading(t *testing.T) {
	for _, on := range []bool{true, false} {
		t.Run(fmt.Sprint(on), func(t *testing.T) {
			onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
				s := start(engine.WithMaxBackpressure(1000), engine.WithReadWhileFull(on), engine.WithPingInterval(0))
				h := newReceiver()
				s.handle("/", h)
				s.narrow()
				c := s.open("/")
				want := pattern(s.glut())
				if err := answered(t, h.opened).Send(frame.Binary, want); err != nil {
					t.Fatal(err)
				}
				if on {
					// Events show that the queue is there and the message is read all the same.
					c.write(frame.Text, []byte("heard"))
					if got := within(t, h.got); got != "heard" {
						t.Errorf("got %q", got)
					}
					if s.Stats().Stalls != 0 {
						t.Error("a stall was counted")
					}
				} else {
					eventually(t, "reading rests", func() bool { return s.Stats().Stalls == 1 })
					c.write(frame.Text, []byte("later"))
					select {
					case got := <-h.got:
						t.Errorf("%q was read while the queue was full", got)
					case <-time.After(50 * time.Millisecond):
					}
				}
				c.expect(frame.Binary, want)
				if !on {
					if got := within(t, h.got); got != "later" {
						t.Errorf("got %q", got)
					}
				}
			})
		})
	}
}

// receiver hands out what it receives.
type receiver struct {
	*opener
	got chan string
}

func newReceiver() *receiver { return &receiver{newOpener(), make(chan string, 10_000)} }

func (h *receiver) OnMessage(_ *engine.Conn, _ frame.OpCode, payload []byte) {
	h.got <- string(payload)
}
