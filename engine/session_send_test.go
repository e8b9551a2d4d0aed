package engine_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"zeroframe/engine"
	"zeroframe/frame"
)

// lend opens a connection and lends the test its session: the handler returns when the test ends, or with what is sent
// to leave.
func (s *server) lend(opts ...engine.RouteOption) (c *client, lent *engine.Session, leave chan<- error) {
	s.t.Helper()
	sessions, end, left := make(chan *engine.Session, 1), make(chan struct{}), make(chan error, 1)
	s.session("/lent", func(_ context.Context, session *engine.Session) error {
		sessions <- session
		select {
		case err := <-left:
			return err
		case <-end:
			return nil
		}
	}, opts...)
	c = s.open("/lent")
	s.t.Cleanup(func() { close(end) })
	return c, within(s.t, sessions), left
}

// noticed is a context that tells when somebody begins to wait for it.
type noticed struct {
	context.Context
	once    *sync.Once
	waiting chan struct{}
}

func notice(ctx context.Context) noticed { return noticed{ctx, new(sync.Once), make(chan struct{})} }

func (n noticed) Done() <-chan struct{} {
	n.once.Do(func() { close(n.waiting) })
	return n.Context.Done()
}

// later runs f in a goroutine and returns where its error comes.
func later(f func() error) <-chan error {
	done := make(chan error, 1)
	go func() { done <- f() }()
	return done
}

// waits starts f, which must come to wait for its context, and returns where its error comes and how to end the wait.
func waits(t testing.TB, ctx context.Context, f func(context.Context) error) (done <-chan error, cancel func()) {
	t.Helper()
	ctx, cancel = context.WithCancel(ctx)
	t.Cleanup(cancel)
	n := notice(ctx)
	done = later(func() error { return f(n) })
	select {
	case <-n.waiting:
	case err := <-done:
		t.Fatalf("it did not wait, and returned %v", err)
	case <-time.After(patience):
		t.Fatal("it neither waits nor returns")
	}
	return done, cancel
}

// ways are the ways to send a message from a session.
func ways(t testing.TB) map[string]func(context.Context, *engine.Session, []byte) error {
	return map[string]func(context.Context, *engine.Session, []byte) error{
		"Send": func(ctx context.Context, s *engine.Session, p []byte) error {
			return s.Send(ctx, frame.Binary, p)
		},
		"SendText": func(ctx context.Context, s *engine.Session, p []byte) error {
			return s.SendText(ctx, string(p))
		},
		"SendBinary": func(ctx context.Context, s *engine.Session, p []byte) error {
			return s.SendBinary(ctx, p)
		},
		"SendPrepared": func(ctx context.Context, s *engine.Session, p []byte) error {
			prepared, err := engine.Prepare(frame.Binary, p)
			if err != nil {
				t.Error(err)
			}
			return s.SendPrepared(ctx, prepared)
		},
		"NextWriter": func(ctx context.Context, s *engine.Session, p []byte) error {
			w, err := s.NextWriter(ctx, frame.Binary)
			if err != nil {
				return err
			}
			_, err = w.Write(p)
			return errors.Join(err, w.Close())
		},
	}
}

// stuck leaves a message of which a part stays in the queue until the peer reads it, and returns a larger one, which
// waits for that. MaxBackpressure must be twice glut. The queue is not above it, so the peer is still read.
func (s *server) stuck(session *engine.Session) (first, second []byte) {
	s.t.Helper()
	first = bulk(s.glut())
	if err := session.SendBinary(context.Background(), first); err != nil {
		s.t.Fatal(err)
	}
	return first, bulk(2*s.glut() + 1)
}

// bulk returns the first n bytes of a pattern that is made once; they must not be changed.
func bulk(n int) []byte { return bulkOnce()[:n:n] }

var bulkOnce = sync.OnceValue(func() []byte { return pattern(16<<20 + 1) })

func (s *server) roomForTwo() engine.Option { return engine.WithMaxBackpressure(2 * s.glut()) }

// Many goroutines send by every way at once to a peer that begins to read when they are stuck, and reads slowly then.
// Each waits again and again: a wake-up that is lost stops the test.
func TestSessionsSendFromManyGoroutinesWithoutLosingAnything(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		limit, size, senders, each := 64<<10, 20<<10, 25, 40
		if s := (&server{t: t}); s.cut() {
			limit, size, senders, each = 400, 100, 25, 12
		}
		s := start(engine.WithMaxBackpressure(limit), engine.WithPingInterval(0))
		s.narrow()
		c, session, _ := s.lend()
		ctx := context.Background()
		var all sync.WaitGroup
		turn := 0
		for range senders / 5 {
			for name, send := range ways(t) {
				sender := turn
				turn++
				all.Go(func() {
					for i := range each {
						p := binary.BigEndian.AppendUint32(nil, uint32(sender))
						p = binary.BigEndian.AppendUint32(p, uint32(i))
						p = append(p, pattern((sender+1)*(i+1)*7919%size)...) // small ones and large ones
						if name == "SendText" {
							p = bytes.ToValidUTF8(p, nil)
						}
						if err := send(ctx, session, p); err != nil {
							t.Errorf("%s: %v", name, err)
							return
						}
					}
				})
			}
		}
		eventually(t, "the senders are stuck", func() bool { return session.Conn().Buffered() > limit/2 })
		next := make([]uint32, senders)
		most := 0
		for range senders * each {
			most = max(most, session.Conn().Buffered())
			op, p := c.nextMessage()
			if len(p) < 8 {
				t.Fatalf("%v of %d bytes", op, len(p))
			}
			sender, i := binary.BigEndian.Uint32(p), binary.BigEndian.Uint32(p[4:])
			if int(sender) >= senders || next[sender] != i {
				t.Fatalf("message %d of sender %d, want one of %v", i, sender, next)
			}
			next[sender]++
			want := pattern((int(sender) + 1) * (int(i) + 1) * 7919 % size)
			if op == frame.Text {
				want = bytes.ToValidUTF8(want, nil)
			}
			if !bytes.Equal(p[8:], want) {
				t.Fatalf("message %d of sender %d is not what was sent", i, sender)
			}
			if i%8 == 0 {
				runtime.Gosched()
			}
		}
		all.Wait()
		if bound := limit + size + 20; most > bound {
			t.Errorf("up to %d bytes were queued, at most %d are meant", most, bound)
		}
	})
}

func TestSessionsWaitUntilThePeerReads(t *testing.T) {
	for name, send := range ways(t) {
		t.Run(name, func(t *testing.T) {
			onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
				s := start((&server{t: t}).roomForTwo(), engine.WithPingInterval(0))
				s.narrow()
				c, session, _ := s.lend()
				first, second := s.stuck(session)
				text := second
				if name == "SendText" {
					text = bytes.Repeat([]byte("a"), len(second))
				}
				done, cancel := waits(t, context.Background(), func(ctx context.Context) error {
					return send(ctx, session, text)
				})
				if before := session.Conn().Buffered(); before > 2*s.glut() {
					t.Errorf("%d bytes are queued while a sender waits, at most %d are meant", before, 2*s.glut())
				}
				cancel()
				if err := within(t, done); !errors.Is(err, context.Canceled) || errors.Is(err, engine.ErrClosed) {
					t.Fatalf("after the end of its context: %v", err)
				}
				if name == "NextWriter" { // a part of its message may have left, and nothing can follow that
					return
				}
				ended, end := context.WithCancel(context.Background())
				end()
				if err := send(ended, session, []byte("never")); !errors.Is(err, context.Canceled) {
					t.Fatalf("with an ended context: %v", err)
				}
				done, _ = waits(t, context.Background(), func(ctx context.Context) error {
					return send(ctx, session, text)
				})
				c.expect(frame.Binary, first) // and nothing of what was given up
				if f := c.next(); !bytes.Equal(f.payload, text) {
					t.Fatalf("then %v", f)
				}
				if err := within(t, done); err != nil {
					t.Fatal(err)
				}
			})
		})
	}
}

// The queue empties at any point of a sender's way from being refused to waiting for it. There is one sender for each
// connection: with more, another's wake-up would make up for one that is lost.
func TestSendersMissNoWakeUp(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithMaxBackpressure(1), engine.WithPingInterval(0))
		s.narrow()
		each := 4000
		if s.cut() {
			each = 500
		}
		s.session("/", func(ctx context.Context, session *engine.Session) error {
			for range each {
				if err := session.SendText(ctx, "x"); err != nil {
					return err
				}
			}
			return nil
		})
		var all sync.WaitGroup
		for range 4 {
			c := s.open("/")
			all.Go(func() {
				for range each {
					if f, err := c.readFrame(); err != nil || string(f.payload) != "x" {
						t.Errorf("%v, %v", f, err)
						return
					}
				}
			})
		}
		all.Wait()
	})
}

// A message above MaxBackpressure goes into an empty queue, and after another when that has left.
func TestSessionsSendMessagesAboveMaxBackpressure(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithMaxBackpressure(10), engine.WithPingInterval(0))
		s.narrow()
		c, session, _ := s.lend()
		big := pattern(5000)
		done := later(func() error {
			for range 20 {
				if err := session.SendBinary(context.Background(), big); err != nil {
					return err
				}
			}
			return nil
		})
		for range 20 {
			c.expect(frame.Binary, big)
		}
		if err := within(t, done); err != nil {
			t.Fatal(err)
		}
	})
}

func TestSessionOpcodesThatAreNoMessagesAreRefused(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithPingInterval(0))
		c, session, _ := s.lend()
		for _, op := range []frame.OpCode{frame.Continuation, frame.Close, frame.Ping, frame.Pong, 3, 15} {
			if err := session.Send(context.Background(), op, nil); err != engine.ErrFragment {
				t.Errorf("Send of %v: %v, want ErrFragment", op, err)
			}
			if _, err := session.NextWriter(context.Background(), op); err != engine.ErrFragment {
				t.Errorf("NextWriter of %v: %v, want ErrFragment", op, err)
			}
		}
		if err := session.SendText(context.Background(), "fine"); err != nil {
			t.Fatal(err)
		}
		c.expect(frame.Text, []byte("fine"))
	})
}

func TestOverflowOfOutputClosesWhenTheRouteSaysSo(t *testing.T) {
	for name, send := range ways(t) {
		t.Run(name, func(t *testing.T) {
			onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
				s := start((&server{t: t}).roomForTwo(), engine.WithPingInterval(0))
				s.narrow()
				c, session, _ := s.lend(engine.WithOverflow(engine.OverflowSuspend, engine.OverflowClose))
				first, second := s.stuck(session)
				err := send(context.Background(), session, second)
				var end *engine.CloseError
				if !errors.As(err, &end) || !errors.Is(err, engine.ErrOverflow) || !errors.Is(err, engine.ErrClosed) {
					t.Fatalf("%v, want a CloseError of ErrOverflow", err)
				}
				expectReason(t, end.Reason, frame.ClosePolicyViolation, engine.ErrOverflow)
				c.expect(frame.Binary, first)
				c.answerClose(frame.ClosePolicyViolation, "less is read than is sent")
			})
		})
	}
}

// However the connection ends, nobody goes on waiting to send on it: neither for its peer nor for another's writer.
func TestWaitingSendersFailAtOnceWhenTheConnectionEnds(t *testing.T) {
	for _, end := range []struct {
		name   string
		code   frame.CloseCode
		remote bool
		err    error
		do     func(*server, *client, *engine.Session, chan<- error)
	}{
		{"our close", 4001, false, nil, func(_ *server, _ *client, s *engine.Session, _ chan<- error) { s.Close(4001, "") }},
		{"the peer's close", 4002, true, nil, func(_ *server, c *client, _ *engine.Session, _ chan<- error) {
			c.write(frame.Close, closePayload(4002, ""))
		}},
		{"Terminate", frame.CloseAbnormal, false, nil, func(_ *server, _ *client, s *engine.Session, _ chan<- error) {
			s.Terminate()
		}},
		{"the end of the stream", frame.CloseAbnormal, false, nil, func(_ *server, c *client, _ *engine.Session, _ chan<- error) {
			c.Conn.(interface{ CloseWrite() error }).CloseWrite()
		}},
		{"a peer that vanishes", frame.CloseAbnormal, false, nil, func(_ *server, c *client, _ *engine.Session, _ chan<- error) {
			c.Conn.Close()
		}},
		{"a breach of the protocol", frame.CloseProtocolError, false, nil, func(_ *server, c *client, _ *engine.Session, _ chan<- error) {
			c.send([]byte{0x83, 0x80, 0, 0, 0, 0})
		}},
		{"the handler's return", frame.CloseNormal, false, nil, func(_ *server, _ *client, _ *engine.Session, leave chan<- error) {
			leave <- nil
		}},
		{"the handler's error", frame.CloseInternalError, false, nil, func(_ *server, _ *client, _ *engine.Session, leave chan<- error) {
			leave <- errors.New("enough")
		}},
		{"the engine's end", frame.CloseAbnormal, false, engine.ErrServerClosed, func(s *server, _ *client, _ *engine.Session, _ chan<- error) {
			s.Engine.Close()
		}},
		{"a peer that takes nothing", frame.CloseAbnormal, false, engine.ErrWriteTimeout, nil},
	} {
		t.Run(end.name, func(t *testing.T) {
			onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
				opts := []engine.Option{
					(&server{t: t}).roomForTwo(), engine.WithPingInterval(0), engine.WithCloseTimeout(time.Hour),
				}
				if end.do == nil {
					opts = append(opts, engine.WithWriteTimeout(150*time.Millisecond))
				}
				s := start(opts...)
				s.narrow()
				c, session, leave := s.lend()
				w, err := session.NextWriter(context.Background(), frame.Binary)
				if err != nil {
					t.Fatal(err)
				}
				_, second := s.stuck(session)
				var waiting []<-chan error
				for _, ctx := range []context.Context{context.Background(), session.Context()} {
					for _, send := range []func(context.Context) error{
						func(ctx context.Context) error { return session.SendBinary(ctx, second) },
						func(ctx context.Context) error { _, err := session.NextWriter(ctx, frame.Text); return err },
					} {
						if end.do == nil { // the time of the connection is running
							waiting = append(waiting, later(func() error { return send(session.Context()) }))
							continue
						}
						done, _ := waits(t, ctx, send)
						waiting = append(waiting, done)
					}
				}
				waiting = append(waiting, later(func() error { return session.SendBinary(session.Context(), second) }))
				if end.do != nil {
					end.do(s, c, session, leave)
				}
				for _, done := range waiting {
					err := within(t, done)
					var e *engine.CloseError
					if !errors.As(err, &e) || !errors.Is(err, engine.ErrClosed) {
						t.Errorf("a sender that waited: %v, want a CloseError", err)
						continue
					}
					if r := e.Reason; r.Code != end.code || r.Remote != end.remote || end.err != nil && !errors.Is(r.Err, end.err) {
						t.Errorf("a sender that waited: %+v, want code %d", r, end.code)
					}
				}
				if n, err := w.Write(pattern(100_000)); err == nil || n == 100_000 {
					t.Errorf("the writer wrote %d bytes on", n)
				}
				if err := w.Close(); err == nil {
					t.Error("the writer's message was ended")
				}
				for name, send := range ways(t) {
					if err := send(context.Background(), session, []byte("late")); !errors.Is(err, engine.ErrClosed) {
						t.Errorf("%s afterwards: %v, want ErrClosed", name, err)
					}
				}
			})
		})
	}
}

// What Send has taken is not lost by a close, or by the handler's return, right behind it.
func TestWhatASessionSentLeavesBeforeItsClose(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithPingInterval(0))
		const messages = 30
		s.session("/", func(ctx context.Context, session *engine.Session) error {
			var all sync.WaitGroup
			for sender := range 3 {
				all.Go(func() {
					for i := range messages {
						session.SendText(ctx, fmt.Sprintf("%d %d", sender, i))
					}
				})
			}
			all.Wait()
			return nil
		})
		c := s.open("/")
		var next [3]int
		for range 3 * messages {
			var sender, i int
			f := c.next()
			if _, err := fmt.Sscanf(string(f.payload), "%d %d", &sender, &i); err != nil || next[sender] != i {
				t.Fatalf("%v, want one of %v", f, next)
			}
			next[sender]++
		}
		c.answerClose(frame.CloseNormal, "")
	})
}

// A context derived from the session's ends with it; the calls that wait say what ended the session all the same.
func TestCallsWithAContextOfTheSessionsSayHowItEnded(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithPingInterval(0))
		errs := make(chan error, 3)
		s.session("/", func(ctx context.Context, c *engine.Session) error {
			ctx, cancel := context.WithCancel(ctx)
			defer cancel()
			_, err := c.Receive(ctx)
			errs <- err
			<-ctx.Done()
			errs <- c.SendText(ctx, "too late")
			_, err = c.NextWriter(ctx, frame.Text)
			errs <- err
			return nil
		})
		c := s.open("/")
		c.write(frame.Close, closePayload(4321, "over"))
		c.expectClose(4321)
		for range 3 {
			err := within(t, errs)
			var end *engine.CloseError
			if !errors.As(err, &end) || end.Reason.Code != 4321 {
				t.Errorf("%v, want the peer's close", err)
			}
		}
	})
}
