package engine_test

import (
	"bytes"
	"errors"
	"fmt"
	"runtime"
	"testing"
	"time"

	"zeroframe/engine"
	"zeroframe/frame"
	"zeroframe/pool"
)

// parsed waits until the engine has parsed n bytes of frames behind the head of the only connection's request, and then
// requires that it parses no more.
func (s *server) parsed(n int) {
	s.t.Helper()
	want := uint64(len(upgradeRequest("/")) + n)
	eventually(s.t, fmt.Sprintf("%d bytes are parsed", n), func() bool { return s.Stats().BytesIn >= want })
	<-time.After(30 * time.Millisecond)
	if got := s.Stats().BytesIn; got != want {
		s.t.Errorf("%d bytes were parsed, want %d", got-uint64(len(upgradeRequest("/"))), n)
	}
}

// So many messages, or bytes, are taken from the peer, and no frame more, before the first Receive; half as many must
// have been received before more are taken.
func TestSessionsQueueIsBoundedInMessagesAndBytes(t *testing.T) {
	for _, row := range []struct {
		name   string
		opts   []engine.RouteOption
		size   int // of a message
		queued int // messages that are taken at first
		low    int // messages in the queue when more are taken
		socket bool
	}{
		{"8 messages by default", nil, 10, 8, 4, false},
		{"1 MiB by default", nil, 300_000, 4, 1, true},
		{"a message of any size into an empty queue", nil, 3 << 20, 1, 0, true},
		{"3 messages", []engine.RouteOption{engine.WithSessionQueue(3, 1<<20)}, 100, 3, 1, false},
		{"1000 bytes", []engine.RouteOption{engine.WithSessionQueue(100, 1000)}, 250, 4, 2, false},
		{"1001 bytes", []engine.RouteOption{engine.WithSessionQueue(100, 1001)}, 250, 5, 2, false},
		{"1 message", []engine.RouteOption{engine.WithSessionQueue(1, 1)}, 250, 1, 0, false},
		{"empty messages", []engine.RouteOption{engine.WithSessionQueue(5, 1)}, 0, 5, 2, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
				if row.socket && !overSockets(t) {
					t.Skip("bulk")
				}
				s := start(engine.WithPingInterval(0))
				h := s.handOut("/", row.opts...)
				c := s.open("/")
				session := h.next(t)
				total := row.queued + 6
				message := func(i int) []byte {
					b := pattern(row.size)
					if row.size > 0 {
						b[0] = byte(i)
					}
					return b
				}
				wire := len(encode(true, frame.Binary, message(0)))
				done := make(chan error, 1)
				go func() {
					for i := range total {
						if _, err := c.Write(encode(true, frame.Binary, message(i))); err != nil {
							done <- err
							return
						}
					}
					done <- nil
				}()
				s.parsed(row.queued * wire)
				// Until the queue is low, what is received makes no room: reading would be switched on and off for each.
				for i := range row.queued - row.low - 1 {
					expectMessage(t, session, frame.Binary, message(i))
				}
				s.parsed(row.queued * wire)
				for i := row.queued - row.low - 1; i < total; i++ {
					expectMessage(t, session, frame.Binary, message(i))
				}
				if err := within(t, done); err != nil {
					t.Error(err)
				}
				expectNothingMore(t, session)
			})
		})
	}
}

// The peer's writes block and the engine holds what the queue may hold, however much the peer wants to send. Pings on the
// way are answered in their turn, and nothing is lost, nor out of order, when the session receives again.
func TestSessionThatDoesNotReceivePushesBackOnThePeer(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithPingInterval(0), engine.WithWriteTimeout(0))
		h := s.handOut("/", engine.WithSessionQueue(8, 128<<10))
		s.narrow()
		c := s.open("/")
		session := h.next(t)
		size, count := 64<<10, 320 // 20 MiB, more than the kernel holds
		if s.cut() {
			size, count = 300, 60
		}
		message := func(i int) []byte { return fmt.Appendf(pattern(size), " %d", i) }
		done := make(chan error, 1)
		go func() {
			for i := range count {
				wire := append(encode(true, frame.Binary, message(i)), encode(true, frame.Ping, fmt.Appendf(nil, "%d", i))...)
				if _, err := c.Write(wire); err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
		pongs := make(chan error, 1)
		go func() {
			for i := range count {
				if f, err := c.readFrame(); err != nil || f.op != frame.Pong || string(f.payload) != fmt.Sprint(i) {
					pongs <- fmt.Errorf("%v, %v in place of pong %d", f, err, i)
					return
				}
			}
			pongs <- nil
		}()
		rests := func() {
			t.Helper()
			select {
			case err := <-done:
				t.Fatalf("all was taken from the peer: %v", err)
			case <-time.After(50 * time.Millisecond):
			}
			held := 0
			for _, b := range pool.Outstanding() {
				held += b.Size
			}
			// The queue, one read that was on the way, and the message being assembled; buffers are powers of two.
			if limit := 2 * (128<<10 + 64<<10 + size) * 2; held > limit {
				t.Errorf("the engine holds %d bytes, more than %d", held, limit)
			}
		}
		rests()
		for i := range count {
			if i == count/3 || i == count/2 {
				rests()
			}
			expectMessage(t, session, frame.Binary, message(i))
		}
		for _, ch := range []chan error{done, pongs} {
			if err := within(t, ch); err != nil {
				t.Error(err)
			}
		}
		expectNothingMore(t, session)
	})
}

// One goroutine receives in fits and starts while the peer sends all the time: reading stops and goes on at any point of
// the stream.
func TestSessionsQueueKeepsTheOrderAroundEveryStop(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithPingInterval(0))
		h := s.handOut("/", engine.WithSessionQueue(2, 1000))
		c := s.open("/")
		session := h.next(t)
		count := 3000
		if s.cut() {
			count = 200
		}
		message := func(i int) []byte { return fmt.Appendf(nil, "%d %s", i, pattern(i%300)) }
		go func() {
			for i := 0; i < count; i += 10 {
				var b []byte
				for j := i; j < i+10; j++ {
					m := message(j)
					cut := j % (len(m) + 1)
					b = append(b, encode(false, frame.Text, m[:cut])...)
					b = append(b, encode(true, frame.Continuation, m[cut:])...)
				}
				if _, err := c.Write(b); err != nil {
					return
				}
			}
		}()
		for i := range count {
			expectMessage(t, session, frame.Text, message(i))
			if i%17 == 0 {
				runtime.Gosched()
			}
		}
	})
}

// What the peer has sent before it ended is received, though the queue was full when the end came.
func TestNothingIsLostWhenThePeerEndsBehindAFullQueue(t *testing.T) {
	for _, row := range []struct {
		name string
		end  func(c *client)
		want engine.CloseReason
	}{
		{"close frame in the same read", (*client).endStream, engine.CloseReason{Code: 3000, Text: "done", Remote: true}},
		{"close frame", func(c *client) { c.write(frame.Close, closePayload(3000, "done")) },
			engine.CloseReason{Code: 3000, Text: "done", Remote: true}},
		{"close frame and the end of the stream", func(c *client) {
			c.write(frame.Close, closePayload(3000, "done"))
			c.endStream()
		}, engine.CloseReason{Code: 3000, Text: "done", Remote: true}},
		{"end of the stream", (*client).endStream, engine.CloseReason{Code: frame.CloseAbnormal}},
		{"breach", func(c *client) { c.send(head(0x83)) },
			engine.CloseReason{Code: frame.CloseProtocolError, Text: frame.ErrReservedOpCode.Reason, Err: frame.ErrReservedOpCode}},
	} {
		t.Run(row.name, func(t *testing.T) {
			onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
				s := start(engine.WithPingInterval(0))
				h := s.handOut("/", engine.WithSessionQueue(3, 1<<20))
				c := s.open("/")
				session := h.next(t)
				const count = 10
				var batch []byte
				for i := range count {
					batch = append(batch, encode(true, frame.Text, fmt.Appendf(nil, "%d", i))...)
				}
				held := 3 * len(batch) / count
				if row.name == "close frame in the same read" {
					batch = append(batch, encode(true, frame.Close, closePayload(3000, "done"))...)
				}
				c.send(batch)
				s.parsed(held)
				row.end(c)
				select {
				case <-session.Context().Done():
					t.Fatal("ended before its queue was received")
				case <-time.After(30 * time.Millisecond):
				}
				for i := range count {
					expectMessage(t, session, frame.Text, fmt.Appendf(nil, "%d", i))
				}
				expectEnd(t, session, row.want)
			})
		})
	}
}

func TestOverflowCloseEndsAPeerThatSendsMoreThanIsReceived(t *testing.T) {
	for _, row := range []struct {
		name             string
		messages, bytes  int
		size, count, fit int
	}{
		{"messages", 3, 1 << 20, 5, 4, 3},
		{"bytes", 100, 1000, 400, 4, 3},
		{"bytes by the first", 100, 1000, 2000, 2, 1},
		{"none", 4, 1 << 20, 100, 4, 4},
	} {
		t.Run(row.name, func(t *testing.T) {
			onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
				s := start(engine.WithPingInterval(0), engine.WithOverflow(engine.OverflowClose, engine.OverflowSuspend))
				h := s.handOut("/", engine.WithSessionQueue(row.messages, row.bytes))
				c := s.open("/")
				session := h.next(t)
				message := func(i int) []byte { return fmt.Appendf(pattern(row.size-1), "%d", i) }
				var wire []byte
				for i := range row.count {
					wire = append(wire, encode(true, frame.Binary, message(i))...)
				}
				c.send(wire)
				if row.count == row.fit {
					c.ping("all was taken")
				} else {
					c.write(frame.Binary, []byte("too late"))
					f := c.next()
					if f.op != frame.Close || !bytes.HasPrefix(f.payload, closePayload(frame.ClosePolicyViolation, "")) {
						t.Fatalf("got %v, want close 1008", f)
					}
					c.write(frame.Close, f.payload)
					c.expectEOF()
				}
				for i := range row.fit {
					expectMessage(t, session, frame.Binary, message(i))
				}
				if row.count == row.fit {
					expectNothingMore(t, session)
					return
				}
				r, _ := session.CloseReason(patiently(t))
				if r.Text == "" {
					t.Error("the peer was not told why")
				}
				expectEnd(t, session, engine.CloseReason{Code: frame.ClosePolicyViolation, Text: r.Text, Err: engine.ErrOverflow})
			})
		})
	}
}

// A slow application is not mistaken for a dead peer, whose pong may stand behind what is not read; from the moment it
// is read again the peer has the whole timeout.
func TestPongDeadlineIsSuspendedWhileASessionsQueueIsFull(t *testing.T) {
	onEachTransportAtAnyPace(t, 250*time.Millisecond, func(t testing.TB, start func(...engine.Option) *server, timeout time.Duration) {
		s := start(engine.WithPingInterval(timeout/12), engine.WithPingTimeout(timeout))
		h := s.handOut("/", engine.WithSessionQueue(2, 1<<20))
		c := s.open("/")
		session := h.next(t)
		full := bytes.Repeat(encode(true, frame.Text, []byte("m")), 2)
		receive := func() {
			for range 2 {
				expectMessage(t, session, frame.Text, []byte("m"))
			}
		}
		c.send(full)
		ping := c.nextPing() // pings go on
		c.write(frame.Pong, ping)
		c.quiet(timeout * 3 / 2)
		if session.RTT() != 0 {
			t.Error("a pong was read while the queue was full")
		}
		receive()
		eventually(t, "the pong is read", func() bool { return session.RTT() != 0 })

		c.write(frame.Pong, c.nextPing())
		c.nextPing()
		c.send(full) // may be read, or not, before the pong is due: the deadline is far enough
		s.until("the queue is full again", func() bool { return s.Stats().MessagesIn == 4 })
		c.quiet(timeout * 3 / 2)
		begin := time.Now()
		receive()
		c.answerClose(frame.CloseInternalError, "Ping timeout")
		atLeast(t, "closed", begin, timeout)
		if _, err := session.Receive(patiently(t)); !errors.Is(err, engine.ErrPingTimeout) {
			t.Errorf("Receive: %v, want ErrPingTimeout", err)
		}
	})
}
