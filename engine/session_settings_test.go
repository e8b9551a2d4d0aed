package engine_test

import (
	"bytes"
	"testing"
	"time"

	"zeroframe/engine"
	"zeroframe/frame"
)

// settled waits until the loop has acted on the setters called before.
func settled(t testing.TB, s *engine.Session) {
	t.Helper()
	done := make(chan struct{})
	if !s.Conn().Post(func() { s.Conn().Post(func() { close(done) }) }) {
		t.Fatal("the connection has ended")
	}
	within(t, done)
}

func TestSessionsPingSettersTakeEffectAtOnce(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithPingInterval(0), engine.WithPingTimeout(time.Hour))
		h := s.handOut("/")
		c := s.open("/")
		session := h.next(t)
		session.SetPingInterval(10 * time.Millisecond)
		if session.RTT() != 0 {
			t.Error("a round trip before the first ping")
		}
		c.write(frame.Pong, c.nextPing())
		last := c.nextPing()
		if session.RTT() <= 0 {
			t.Error("no round trip after a pong")
		}
		session.SetPingInterval(0)
		settled(t, session)
		c.quiet(50 * time.Millisecond)
		c.write(frame.Pong, last)
		session.SetPingInterval(10 * time.Millisecond)
		c.nextPing()
		session.SetPingTimeout(20 * time.Millisecond) // for the pong that is awaited, too
		c.answerClose(frame.CloseInternalError, "Ping timeout")
		expectEnd(t, session, engine.CloseReason{Code: frame.CloseInternalError, Text: "Ping timeout", Err: engine.ErrPingTimeout})
	})
}

func TestSessionsMaxFrameSizeChangesWhileItIsOpen(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithPingInterval(0), engine.WithMaxFrameSize(1000))
		h := s.handOut("/")
		c := s.open("/")
		session := h.next(t)
		take := func(limit int64) {
			t.Helper()
			session.SetMaxFrameSize(limit)
			settled(t, session)
			c.write(frame.Binary, pattern(int(limit)))
			expectMessage(t, session, frame.Binary, pattern(int(limit)))
		}
		take(2000)
		take(500)
		c.send(encode(false, frame.Binary, pattern(500))) // in the middle of a message
		c.ping("it is there")
		take2 := pattern(700)
		session.SetMaxFrameSize(700)
		settled(t, session)
		c.send(encode(true, frame.Continuation, take2))
		expectMessage(t, session, frame.Binary, append(pattern(500), take2...))
		c.send(header(true, frame.Binary, 701))
		text := c.expectClose(frame.CloseMessageTooBig)
		if !bytes.Contains([]byte(text), []byte("701")) || !bytes.Contains([]byte(text), []byte("700")) {
			t.Errorf("the peer is told %q", text)
		}
		expectEnd(t, session, engine.CloseReason{Code: frame.CloseMessageTooBig, Text: text, Err: engine.ErrMessageTooBig})
	})
}

// Every frame has a key of its own, whoever makes it, and the caller's bytes stay as they are.
func TestSessionMasksWhatItSendsWhileToldTo(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithPingInterval(0), engine.WithCloseTimeout(patience))
		h := s.handOut("/")
		c := s.open("/")
		session := h.next(t)
		ctx := patiently(t)
		payload := pattern(200)
		prepared, err := engine.Prepare(frame.Binary, payload)
		if err != nil {
			t.Fatal(err)
		}
		session.SetMasking(true)
		c.write(frame.Ping, []byte("answered masked"))
		if f, _ := c.readMasked(); f.op != frame.Pong || string(f.payload) != "answered masked" {
			t.Errorf("got %v", f)
		}
		keys := make(map[uint32]bool)
		for range 5 {
			for name, send := range map[string]func() error{
				"Send":         func() error { return session.Send(ctx, frame.Binary, payload) },
				"SendPrepared": func() error { return session.SendPrepared(ctx, prepared) },
				"NextWriter": func() error {
					w, err := session.NextWriter(ctx, frame.Binary)
					if err != nil {
						return err
					}
					w.Write(payload[:50])
					w.Write(payload[50:])
					return w.Close()
				},
			} {
				if err := send(); err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				f, key := c.readMasked()
				if !f.fin || f.op != frame.Binary || !bytes.Equal(f.payload, pattern(200)) {
					t.Errorf("%s: got %v", name, f)
				}
				keys[key] = true
				if !bytes.Equal(payload, pattern(200)) {
					t.Fatalf("%s has changed the caller's payload", name)
				}
			}
		}
		if len(keys) < 14 { // two of 15 alike: once in 40 million runs
			t.Errorf("%d keys for 15 frames", len(keys))
		}
		session.SetMasking(false)
		if err := session.SendPrepared(ctx, prepared); err != nil {
			t.Fatal(err)
		}
		c.expect(frame.Binary, payload)
		session.SetMasking(true)
		session.Close(4000, "ours")
		if f, _ := c.readMasked(); f.op != frame.Close || !bytes.Equal(f.payload, closePayload(4000, "ours")) {
			t.Errorf("got %v", f)
		}
	})
}
