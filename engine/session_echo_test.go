package engine_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"zeroframe/engine"
	"zeroframe/frame"
)

// session registers a session's handler and fails the test if that is refused.
func (s *server) session(pattern string, h engine.SessionHandler, opts ...engine.RouteOption) {
	s.t.Helper()
	if err := s.HandleSession(pattern, h, opts...); err != nil {
		s.t.Fatal(err)
	}
}

// echoSession sends back what it receives until the connection ends.
func echoSession(ctx context.Context, s *engine.Session) error {
	for m, err := range s.Messages(ctx) {
		if err != nil {
			return err
		}
		if err := s.Send(ctx, m.OpCode, m.Payload); err != nil {
			return err
		}
	}
	return nil
}

// streamSession sends back what it receives, message by message, without holding one whole.
func streamSession(ctx context.Context, s *engine.Session) error {
	for {
		op, r, err := s.NextReader(ctx)
		if errors.Is(err, engine.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		w, err := s.NextWriter(ctx, op)
		if err != nil {
			return err
		}
		if _, err := io.Copy(w, r); err != nil {
			return err
		}
		if err := w.Close(); err != nil {
			return err
		}
	}
}

// nextMessage reads a message that may come in fragments.
func (c *client) nextMessage() (op frame.OpCode, payload []byte) {
	c.t.Helper()
	f := c.next()
	op, payload = f.op, f.payload
	for !f.fin {
		if f = c.next(); f.op != frame.Continuation {
			c.t.Fatalf("%v inside a fragmented message", f)
		}
		payload = append(payload, f.payload...)
	}
	return op, payload
}

func TestSessionsEchoMessagesOfEverySize(t *testing.T) {
	for _, kind := range []struct {
		name    string
		handler engine.SessionHandler
	}{{"receive", echoSession}, {"stream", streamSession}} {
		t.Run(kind.name, func(t *testing.T) {
			onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
				s := start(engine.WithPingInterval(0))
				s.session("/", kind.handler)
				c := s.open("/")
				sizes := []int{0, 1, 125, 126, 127, 1000, 65535, 65536, 70_000, 300_000}
				if t.Name()[len(t.Name())-3:] != "cut" {
					sizes = append(sizes, 1<<20, 3<<20+1)
				}
				for _, n := range sizes {
					want := pattern(n)
					go c.Write(encode(true, frame.Binary, want)) // a failure shows in what comes back
					if op, got := c.nextMessage(); op != frame.Binary || !bytes.Equal(got, want) {
						t.Fatalf("%d bytes: got %v of %d", n, op, len(got))
					}
				}
				for i := range 3 { // fragments, with a ping between
					text := fmt.Sprintf("fragmented %d ☃", i)
					c.send(encode(false, frame.Text, []byte(text[:3])))
					c.send(encode(true, frame.Ping, []byte("p")))
					c.send(encode(false, frame.Continuation, nil))
					c.send(encode(true, frame.Continuation, []byte(text[3:])))
					c.expect(frame.Pong, []byte("p"))
					if op, got := c.nextMessage(); op != frame.Text || string(got) != text {
						t.Fatalf("got %v %q", op, got)
					}
				}
				var batch []byte
				for i := range 100 {
					batch = append(batch, encode(true, frame.Text, fmt.Appendf(nil, "message %d", i))...)
				}
				c.send(batch)
				for i := range 100 {
					c.expect(frame.Text, fmt.Appendf(nil, "message %d", i))
				}
				c.write(frame.Close, closePayload(frame.CloseNormal, ""))
				c.expectClose(frame.CloseNormal)
			})
		})
	}
}
