package engine_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"zeroframe/engine"
	"zeroframe/frame"
)

const goingDown = "Server is going down"

// begin calls Shutdown with d to go and returns where its answer comes.
func (s *server) beginShutdown(d time.Duration) chan error {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	done := make(chan error, 1)
	go func() {
		defer cancel()
		done <- s.Shutdown(ctx)
	}()
	return done
}

func TestShutdownClosesAllAndWaitsForTheirAnswers(t *testing.T) {
	onGoroutinesToo(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithCloseTimeout(patience))
		h := newOpener()
		s.handle("/", h)
		var clients []*client
		for range 5 {
			clients = append(clients, s.open("/"))
		}
		conn := within(t, h.opened)
		done := s.beginShutdown(patience)
		for _, c := range clients {
			select {
			case err := <-done:
				t.Fatalf("Shutdown returned %v before all had answered", err)
			default:
			}
			c.answerClose(frame.CloseGoingAway, goingDown)
			c.Close()
		}
		if err := within(t, done); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		for range clients {
			r := h.wait(t)
			if expectReason(t, r, frame.CloseGoingAway, nil); r.Text != goingDown {
				t.Errorf("reason %+v", r)
			}
		}
		if err := conn.Send(frame.Text, nil); !errors.Is(err, engine.ErrClosed) {
			t.Errorf("Send afterwards: %v", err)
		}
		if n := s.Stats(); n.Conns != 0 || n.Open != 0 || n.Closes[frame.CloseGoingAway] != 5 {
			t.Errorf("afterwards: %+v", n)
		}
	})
}

func TestShutdownTerminatesWhenItsContextEnds(t *testing.T) {
	onGoroutinesToo(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithCloseTimeout(patience))
		h := newOpener()
		s.handle("/", h)
		c := s.open("/")
		begin := time.Now()
		if err := within(t, s.beginShutdown(100*time.Millisecond)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Shutdown: %v, want the context's error", err)
		}
		atLeast(t, "ended", begin, 100*time.Millisecond)
		if r := h.wait(t); r.Code != frame.CloseGoingAway || r.Text != goingDown {
			t.Errorf("reason %+v", r)
		}
		c.expectClose(frame.CloseGoingAway)
	})
}

func TestShutdownLetsQueuedOutputOut(t *testing.T) {
	onGoroutinesToo(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start()
		h := newOpener()
		s.handle("/", h)
		s.narrow()
		glut := pattern(s.glut())
		c := s.open("/")
		if err := within(t, h.opened).Send(frame.Binary, glut); err != nil {
			t.Fatal(err)
		}
		done := s.beginShutdown(patience)
		c.expect(frame.Binary, glut)
		c.answerClose(frame.CloseGoingAway, goingDown)
		c.Close()
		if err := within(t, done); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
	})
}

// moments are states of a connection in which the engine may go down. Each brings one about; announced says whether
// OnClose is owed for it then.
var moments = []struct {
	name  string
	bring func(s *server, h *pauser, glut []byte) *client
	owed  bool
}{
	{"nothing sent", func(s *server, _ *pauser, _ []byte) *client { return s.connect() }, false},
	{"inside the request", func(s *server, _ *pauser, _ []byte) *client {
		c := s.connect()
		c.send(upgradeRequest("/")[:40])
		return c
	}, false},
	{"open", func(s *server, h *pauser, _ []byte) *client {
		c := s.open("/")
		within(s.t, h.opened)
		return c
	}, true},
	{"inside a message", func(s *server, h *pauser, glut []byte) *client {
		c := s.open("/")
		within(s.t, h.opened)
		c.send(encode(false, frame.Binary, glut[:300]))
		c.send(encode(true, frame.Ping, glut[:100])[:20])
		return c
	}, true},
	{"paused with input kept", func(s *server, h *pauser, glut []byte) *client {
		c := s.open("/")
		within(s.t, h.opened)
		c.send(append(encode(true, frame.Text, []byte("pause")), encode(true, frame.Binary, glut[:300])...))
		within(s.t, h.paused)
		return c
	}, true},
	{"stuck output", func(s *server, h *pauser, glut []byte) *client {
		c := s.open("/")
		within(s.t, h.opened).Send(frame.Binary, glut)
		return c
	}, true},
	{"closing", func(s *server, h *pauser, _ []byte) *client {
		c := s.open("/")
		within(s.t, h.opened).Close(4001, "ours")
		return c
	}, true},
	{"draining", func(s *server, h *pauser, _ []byte) *client {
		c := s.open("/")
		within(s.t, h.opened)
		c.write(frame.Close, closePayload(4002, "theirs"))
		h.ending.ch <- h.wait(s.t) // it has come
		return c
	}, true},
}

// Whatever the state, a shutdown whose context ends, and Close, end the connection and call OnClose exactly once.
func TestEngineEndsConnectionsInEveryState(t *testing.T) {
	for _, m := range moments {
		t.Run(m.name, func(t *testing.T) {
			for _, way := range []string{"Shutdown", "Close"} {
				t.Run(way, func(t *testing.T) {
					onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
						s := start(engine.WithCloseTimeout(patience), engine.WithPingInterval(0))
						h := newPauser()
						s.handle("/", h)
						s.narrow()
						m.bring(s, h, pattern(s.glut()))
						eventually(t, "the connection is known", func() bool { return s.Stats().Conns == 1 })
						if way == "Close" {
							begin := time.Now()
							if err := s.Close(); err != nil {
								t.Errorf("Close: %v", err)
							}
							if took := time.Since(begin); took > patience/4 {
								t.Errorf("Close took %v", took)
							}
						} else if err := within(t, s.beginShutdown(50*time.Millisecond)); err != nil && !errors.Is(err, context.DeadlineExceeded) {
							t.Errorf("Shutdown: %v", err)
						}
						if n := s.Stats().Conns; n != 0 {
							t.Errorf("%d connections left", n)
						}
						want := 0
						if m.owed {
							want = 1
						}
						if n := len(h.ending.ch); n != want {
							t.Errorf("OnClose was called %d times, want %d", n, want)
						}
					})
				})
			}
		})
	}
}

// Connections whose peers do their part let Shutdown end well.
func TestShutdownWithPeersThatAnswer(t *testing.T) {
	for _, m := range moments {
		t.Run(m.name, func(t *testing.T) {
			onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
				s := start(engine.WithCloseTimeout(patience), engine.WithPingInterval(0))
				h := newPauser()
				s.handle("/", h)
				s.narrow()
				c := m.bring(s, h, pattern(s.glut()))
				eventually(t, "the connection is known", func() bool { return s.Stats().Conns == 1 })
				done := s.beginShutdown(patience)
				if !m.owed {
					c.expectRefusal(503)
				} else {
					if m.name == "inside a message" { // whose end comes first
						c.send(encode(true, frame.Ping, pattern(s.glut())[:100])[20:])
					}
					f := c.next()
					for ; f.op != frame.Close; f = c.next() {
					}
					if m.name != "draining" {
						c.write(frame.Close, f.payload)
					}
					if bytes.HasPrefix(f.payload, closePayload(frame.CloseGoingAway, "")) != (m.name != "closing" && m.name != "draining") {
						t.Errorf("close %q", f.payload)
					}
					c.expectEOF()
				}
				c.Close()
				if err := within(t, done); err != nil {
					t.Errorf("Shutdown: %v", err)
				}
			})
		})
	}
}

func TestCloseEndsConnectionsAbnormally(t *testing.T) {
	onGoroutinesToo(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start()
		h := newOpener()
		s.handle("/", h)
		c := s.open("/")
		within(t, h.opened)
		s.Close()
		expectReason(t, h.wait(t), frame.CloseAbnormal, engine.ErrServerClosed)
		if f, err := c.readFrame(); err == nil {
			t.Errorf("got %v, want no frame", f)
		}
		s.Close()
		if err := s.shutdown(); err != nil {
			t.Errorf("Shutdown after Close: %v", err)
		}
	})
}

func TestCloseCutsShutdownShort(t *testing.T) {
	onGoroutinesToo(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithCloseTimeout(patience))
		h := newOpener()
		s.handle("/", h)
		c := s.open("/")
		first, second := s.beginShutdown(patience), s.beginShutdown(patience)
		if f := c.next(); f.op != frame.Close {
			t.Fatalf("got %v, want close", f)
		}
		s.Close()
		for _, done := range []chan error{first, second} {
			if err := within(t, done); err != nil {
				t.Errorf("Shutdown: %v", err)
			}
		}
		h.wait(t)
	})
}

func TestServeAfterShutdownReturnsErrServerClosed(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		if s := (&server{t: t}); s.cut() {
			t.Skip("about listeners")
		}
		s := start() // the harness looks at what its Serve returns
		s.handle("/", newEcho())
		c := s.open("/")
		addr := c.RemoteAddr().String()
		c.Close()
		if err := s.shutdown(); err != nil {
			t.Fatal(err)
		}
		if nc, err := net.Dial("tcp", addr); err == nil {
			nc.Close()
			t.Error("the listener still accepts")
		}
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Serve(ln); !errors.Is(err, engine.ErrServerClosed) {
			t.Errorf("Serve: %v", err)
		}
		if _, err := ln.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("the listener was left open: %v", err)
		}
		if err := s.ListenAndServe("tcp", "127.0.0.1:0"); !errors.Is(err, engine.ErrServerClosed) {
			t.Errorf("ListenAndServe: %v", err)
		}
	})
}
