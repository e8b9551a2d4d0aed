package engine_test

import (
	"context"
	"errors"
	"runtime"
	"testing"

	"zeroframe/engine"
	"zeroframe/frame"
)

func TestFlushReturnsWhenEverythingIsInTheKernel(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithPingInterval(0))
		c, session, _ := s.lend()
		for i := range 50 {
			p := pattern(i * 20)
			if err := session.SendBinary(context.Background(), p); err != nil {
				t.Fatal(err)
			}
			if err := session.Flush(context.Background()); err != nil {
				t.Fatal(err)
			}
			if n := session.Conn().Buffered(); n != 0 {
				t.Fatalf("%d bytes are queued after Flush", n)
			}
			c.expect(frame.Binary, p)
			if err := session.Flush(context.Background()); err != nil { // of nothing
				t.Fatal(err)
			}
		}
	})
}

// A flush waits for what was sent before it and for nothing else.
func TestFlushesArePlacesBetweenMessages(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithMaxBackpressure(20*(&server{t: t}).glut()), engine.WithPingInterval(0))
		s.narrow()
		c, session, _ := s.lend()
		ctx := context.Background()
		message := bulk(2 * s.glut()) // more than the kernel takes, also when it has made the peer's window as large as it can
		prepared, err := engine.Prepare(frame.Binary, message)
		if err != nil {
			t.Fatal(err)
		}
		const messages, flushes = 2, 20
		var done [messages][]<-chan error
		for i := range messages {
			if i == 1 {
				err = session.SendPrepared(ctx, prepared)
			} else {
				err = session.SendBinary(ctx, message)
			}
			if err != nil {
				t.Fatal(err)
			}
			for range flushes {
				d, _ := waits(t, ctx, session.Flush)
				done[i] = append(done[i], d)
			}
		}
		given, cancel := waits(t, ctx, session.Flush)
		cancel()
		if err := within(t, given); err != context.Canceled {
			t.Errorf("a flush that was given up: %v", err)
		}
		for i := range messages {
			c.expect(frame.Binary, message)
			for _, d := range done[i] {
				if err := within(t, d); err != nil {
					t.Error(err)
				}
			}
			if i+1 < messages {
				if n := session.Conn().Buffered(); n == 0 {
					t.Fatal("the kernel took more than was thought")
				}
				for _, d := range done[i+1] {
					if len(d) != 0 {
						t.Errorf("a flush behind message %d returned %v before that was read", i+2, <-d)
					}
				}
			}
		}
	})
}

// Flush works while the connection is closing and after that; the handler's context, which ends as soon as the peer has
// closed, does not take away what still waits for the peer.
func TestFlushWorksWhileTheConnectionClosesAndAfterIt(t *testing.T) {
	for _, end := range []struct {
		name string
		do   func(*client, *engine.Session)
	}{
		{"our close", func(_ *client, s *engine.Session) { s.Close(frame.CloseNormal, "") }},
		{"the peer's close", func(c *client, _ *engine.Session) { c.write(frame.Close, closePayload(frame.CloseNormal, "")) }},
	} {
		t.Run(end.name, func(t *testing.T) {
			onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
				s := start((&server{t: t}).roomForTwo(), engine.WithPingInterval(0))
				s.narrow()
				c, session, _ := s.lend()
				first, _ := s.stuck(session)
				before, _ := waits(t, context.Background(), session.Flush)
				own := later(func() error { return session.Flush(session.Context()) })
				end.do(c, session)
				if _, err := session.CloseReason(context.Background()); err != nil {
					t.Fatal(err)
				}
				if end.name == "the peer's close" {
					<-session.Context().Done()
				}
				during, _ := waits(t, context.Background(), session.Flush)
				late := later(func() error { return session.Flush(session.Context()) })
				for range 100 {
					runtime.Gosched()
				}
				if len(before)+len(during)+len(own)+len(late) != 0 {
					t.Error("a flush returned while its bytes were queued")
				}
				c.expect(frame.Binary, first)
				if end.name == "our close" {
					c.answerClose(frame.CloseNormal, "")
				} else {
					c.expectClose(frame.CloseNormal)
				}
				for name, done := range map[string]<-chan error{
					"before the close": before, "during it": during,
					"before it, with the handler's context": own, "during it, with the handler's context": late,
				} {
					if err := within(t, done); err != nil {
						t.Errorf("a flush that began %s: %v", name, err)
					}
				}
				if err := session.Flush(context.Background()); err != nil {
					t.Errorf("after the close: %v", err)
				}
				c.Close()
				s.gone()
				if err := session.Flush(context.Background()); err != nil {
					t.Errorf("after the end: %v", err)
				}
			})
		})
	}
}

func TestFlushFailsWhenTheConnectionDiesWithOutputUnwritten(t *testing.T) {
	for _, end := range []struct {
		name string
		do   func(*server, *client, *engine.Session)
	}{
		{"Terminate", func(_ *server, _ *client, s *engine.Session) { s.Terminate() }},
		{"the end of the stream", func(_ *server, c *client, _ *engine.Session) {
			c.Conn.(interface{ CloseWrite() error }).CloseWrite()
		}},
		{"a peer that vanishes", func(_ *server, c *client, _ *engine.Session) { c.Conn.Close() }},
		{"the engine's end", func(s *server, _ *client, _ *engine.Session) { s.Engine.Close() }},
	} {
		t.Run(end.name, func(t *testing.T) {
			onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
				s := start((&server{t: t}).roomForTwo(), engine.WithPingInterval(0))
				s.narrow()
				c, session, _ := s.lend()
				s.stuck(session)
				var flushes []<-chan error
				for range 10 {
					done, _ := waits(t, context.Background(), session.Flush)
					flushes = append(flushes, done)
				}
				flushes = append(flushes, later(func() error { return session.Flush(session.Context()) }))
				end.do(s, c, session)
				s.gone()
				flushes = append(flushes, later(func() error { return session.Flush(context.Background()) }))
				for _, done := range flushes {
					err := within(t, done)
					var e *engine.CloseError
					if !errors.As(err, &e) || e.Reason.Code != frame.CloseAbnormal {
						t.Errorf("%v, want a CloseError of 1006", err)
					}
				}
			})
		})
	}
}
