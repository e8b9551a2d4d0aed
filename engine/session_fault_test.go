package engine_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"zeroframe/engine"
	"zeroframe/frame"
)

// A handler that blocks for ever, whatever its context says: the connection ends all the same, and Shutdown with its
// context. The test's end lets the handler go, and nothing may be left then.
func TestHandlerThatIgnoresItsContext(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithPingInterval(0), engine.WithCloseTimeout(patience))
		h := s.handOut("/")
		c := s.open("/")
		session := h.next(t)
		for i := range 20 { // more than its queue takes
			c.write(frame.Text, fmt.Appendf(nil, "%d", i))
		}
		expectMessage(t, session, frame.Text, []byte("0"))
		c.Close()
		other := s.open("/")
		last := h.next(t)
		done := s.beginShutdown(200 * time.Millisecond)
		other.answerClose(frame.CloseGoingAway, goingDown)
		other.Close()
		if err := within(t, done); err != context.DeadlineExceeded {
			t.Errorf("Shutdown: %v, want its context's error", err)
		}
		expectEnd(t, last, engine.CloseReason{Code: frame.CloseGoingAway, Text: goingDown})
		if r, err := session.CloseReason(patiently(t)); err != nil {
			t.Errorf("reason %+v, %v", r, err)
		}
		within(t, session.Context().Done())
		if n := s.Stats().Conns; n != 0 {
			t.Errorf("%d connections left", n)
		}
	})
}

// Shutdown that has time enough waits for handlers, not for connections alone.
func TestShutdownWaitsForTheHandlersOfSessions(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithPingInterval(0), engine.WithCloseTimeout(patience))
		h := s.handOut("/")
		c := s.open("/")
		session := h.next(t)
		done := s.beginShutdown(patience)
		c.answerClose(frame.CloseGoingAway, goingDown)
		c.Close()
		within(t, session.Context().Done())
		select {
		case err := <-done:
			t.Fatalf("Shutdown returned %v while a handler runs", err)
		case <-time.After(30 * time.Millisecond):
		}
		h.finish(nil)
		if err := within(t, done); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
	})
}

// What is queued, or half received, goes when the handler returns; so does what comes after.
func TestHandlerReturnsWithMessagesQueued(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithPingInterval(0), engine.WithCloseTimeout(patience))
		h := s.handOut("/", engine.WithSessionQueue(3, 1<<20))
		for name, before := range map[string]func(c *client, session *engine.Session){
			"nothing received": func(*client, *engine.Session) {},
			"one held": func(_ *client, session *engine.Session) {
				expectMessage(t, session, frame.Text, []byte("m"))
			},
			"a reader in the middle": func(_ *client, session *engine.Session) {
				_, r, err := session.NextReader(patiently(t))
				if err != nil {
					t.Fatal(err)
				}
				r.Read(make([]byte, 0))
			},
		} {
			c := s.open("/")
			session := h.next(t)
			for range 10 { // more than its queue takes
				c.write(frame.Text, []byte("m"))
			}
			before(c, session)
			h.finish(nil)
			c.write(frame.Text, []byte("more"))
			c.answerClose(frame.CloseNormal, "")
			c.Close()
			if r, err := session.CloseReason(patiently(t)); err != nil || r != (engine.CloseReason{Code: frame.CloseNormal}) {
				t.Errorf("%s: reason %+v, %v", name, r, err)
			}
			within(t, session.Context().Done())
		}
		s.gone()
	})
}

// Goroutines that the handler has left behind wait in every call that waits, with the session's context and without one.
func TestHandlerReturnsWhileOthersWaitInCalls(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithPingInterval(0), engine.WithCloseTimeout(patience), engine.WithMaxBackpressure(s0(t)/2))
		h := s.handOut("/")
		s.narrow()
		glut := pattern(s.glut())
		c := s.open("/")
		session := h.next(t)
		inWrite := notice(context.Background())
		writer, err := session.NextWriter(inWrite, frame.Binary)
		if err != nil {
			t.Fatal(err)
		}
		if err := session.SendBinary(context.Background(), glut); err != nil { // an empty queue takes any
			t.Fatal(err)
		}
		failed := []<-chan error{later(func() error { _, err := writer.Write(pattern(100_000)); return err })} // more than one fragment
		within(t, inWrite.waiting)
		var flushed []<-chan error
		for _, ctx := range []context.Context{session.Context(), context.Background()} {
			done, _ := waits(t, ctx, session.Flush)
			flushed = append(flushed, done, later(func() error { return session.Flush(ctx) }))
			send := func(ctx context.Context) error { return session.SendBinary(ctx, glut) }
			next := func(ctx context.Context) error { _, err := session.NextWriter(ctx, frame.Text); return err }
			for _, f := range []func(context.Context) error{send, next} {
				done, _ := waits(t, ctx, f)
				failed = append(failed, done, later(func() error { return f(ctx) }))
			}
		}
		h.finish(nil)
		for _, ch := range failed {
			if err := within(t, ch); !errors.Is(err, engine.ErrClosed) {
				t.Errorf("a call that waited: %v, want ErrClosed", err)
			}
		}
		c.expect(frame.Binary, glut)
		c.answerClose(frame.CloseNormal, "")
		c.Close()
		for _, ch := range flushed {
			if err := within(t, ch); err != nil {
				t.Errorf("Flush: %v", err)
			}
		}
		within(t, session.Context().Done())
	})
}

// s0 is the glut of a server that is not there yet.
func s0(t testing.TB) int { return (&server{t: t}).glut() }

// The peer goes while the session receives, sends, or does neither.
func TestPeerVanishesFromASession(t *testing.T) {
	for name, h := range map[string]engine.SessionHandler{
		"receiving": func(ctx context.Context, s *engine.Session) error { _, err := s.Receive(ctx); return err },
		"sending": func(ctx context.Context, s *engine.Session) error {
			for {
				if err := s.SendBinary(ctx, pattern(1000)); err != nil {
					return err
				}
			}
		},
		"idle":   func(ctx context.Context, s *engine.Session) error { <-ctx.Done(); return context.Cause(ctx) },
		"stream": streamSession,
	} {
		t.Run(name, func(t *testing.T) {
			onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
				s := start(engine.WithPingInterval(0), engine.WithMaxBackpressure(64<<10))
				sessions, results := make(chan *engine.Session, 1), make(chan error, 1)
				s.session("/", func(ctx context.Context, session *engine.Session) error {
					sessions <- session
					err := h(ctx, session)
					results <- err
					return err
				})
				c := s.open("/")
				session := within(t, sessions)
				c.Close()
				if err := within(t, results); name != "stream" && !errors.Is(err, engine.ErrClosed) {
					t.Errorf("the handler got %v, want ErrClosed", err)
				}
				if r, err := session.CloseReason(patiently(t)); err != nil || r.Code != frame.CloseAbnormal {
					t.Errorf("reason %+v, %v", r, err)
				}
				s.gone()
			})
		})
	}
}

// sessionMoments are states of a session in which the engine may go down.
var sessionMoments = []struct {
	name  string
	bring func(s *server, sessions <-chan *engine.Session) (*client, *engine.Session)
	ours  bool // it is closing already, with 4000
}{
	{"idle", func(s *server, sessions <-chan *engine.Session) (*client, *engine.Session) {
		return s.open("/idle"), within(s.t, sessions)
	}, false},
	{"in Receive", func(s *server, sessions <-chan *engine.Session) (*client, *engine.Session) {
		return s.open("/receive"), within(s.t, sessions)
	}, false},
	{"in a reader's Read", func(s *server, sessions <-chan *engine.Session) (*client, *engine.Session) {
		c := s.open("/read")
		c.send(fragment(frame.Text, "begun"))
		return c, within(s.t, sessions)
	}, false},
	{"in a blocked Send", func(s *server, sessions <-chan *engine.Session) (*client, *engine.Session) {
		c := s.open("/send")
		session := within(s.t, sessions)
		eventually(s.t, "output is stuck", func() bool { return session.Conn().Buffered() > 0 })
		return c, session
	}, false},
	{"with a full queue", func(s *server, sessions <-chan *engine.Session) (*client, *engine.Session) {
		c := s.open("/idle")
		for range 20 {
			c.write(frame.Text, []byte("m"))
		}
		return c, within(s.t, sessions)
	}, false},
	{"closing", func(s *server, sessions <-chan *engine.Session) (*client, *engine.Session) {
		c, session := s.open("/idle"), within(s.t, sessions)
		session.Close(4000, "ours")
		return c, session
	}, true},
}

// Whatever a session is doing, Shutdown ends it with one reason, in order when the peer answers, and at its context's end
// when the peer does not.
func TestShutdownEndsSessionsInEveryState(t *testing.T) {
	for _, m := range sessionMoments {
		t.Run(m.name, func(t *testing.T) {
			for _, answers := range []bool{true, false} {
				t.Run(fmt.Sprintf("peer answers %v", answers), func(t *testing.T) {
					onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
						s := start(engine.WithPingInterval(0), engine.WithCloseTimeout(patience), engine.WithWriteTimeout(0),
							engine.WithMaxBackpressure(s0(t)/2))
						s.narrow()
						glut := pattern(s.glut())
						sessions := make(chan *engine.Session, 1)
						for path, f := range map[string]engine.SessionHandler{
							"/idle":    func(ctx context.Context, _ *engine.Session) error { <-ctx.Done(); return nil },
							"/receive": func(ctx context.Context, session *engine.Session) error { _, err := session.Receive(ctx); return err },
							"/read":    streamSession,
							"/send": func(ctx context.Context, session *engine.Session) error {
								for {
									if err := session.SendBinary(ctx, glut); err != nil {
										return err
									}
								}
							},
						} {
							s.session(path, func(ctx context.Context, session *engine.Session) error {
								sessions <- session
								return f(ctx, session)
							})
						}
						c, session := m.bring(s, sessions)
						want := engine.CloseReason{Code: frame.CloseGoingAway, Text: goingDown}
						if m.ours {
							want = engine.CloseReason{Code: 4000, Text: "ours"}
						}
						if answers {
							done := s.beginShutdown(patience)
							c.answerClose(want.Code, want.Text)
							c.Close()
							if err := within(t, done); err != nil {
								t.Errorf("Shutdown: %v", err)
							}
						} else if err := within(t, s.beginShutdown(50*time.Millisecond)); err != context.DeadlineExceeded {
							t.Errorf("Shutdown: %v, want its context's error", err)
						}
						for range 2 {
							if r, err := session.CloseReason(patiently(t)); err != nil || r != want {
								t.Errorf("reason %+v, %v; want %+v", r, err, want)
							}
						}
						within(t, session.Context().Done())
						var end *engine.CloseError
						if err := context.Cause(session.Context()); !errors.As(err, &end) || end.Reason != want {
							t.Errorf("the context's cause is %v", err)
						}
						if n := s.Stats().Conns; n != 0 {
							t.Errorf("%d connections left", n)
						}
					})
				})
			}
		})
	}
}

// A request that is half there when the engine goes down never becomes a session.
func TestShutdownInsideASessionsHandshake(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithPingInterval(0))
		s.session("/", func(context.Context, *engine.Session) error { t.Error("the handler was called"); return nil })
		c := s.connect()
		c.send(upgradeRequest("/")[:60])
		eventually(t, "the connection is known", func() bool { return s.Stats().Conns == 1 })
		done := s.beginShutdown(patience)
		c.expectRefusal(503)
		c.Close()
		if err := within(t, done); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
	})
}
