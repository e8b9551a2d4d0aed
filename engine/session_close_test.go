package engine_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"zeroframe/engine"
	"zeroframe/frame"
)

// sessionEnds are the ways a session's connection can end, and the reason each must give. The peer has sent "before".
var sessionEnds = []struct {
	name string
	opts func(d time.Duration) []engine.RouteOption // with times that are long enough for what comes before the end
	end  func(s *server, c *client, session *engine.Session)
	want engine.CloseReason
}{
	{"peer closes without a code", nil, func(_ *server, c *client, _ *engine.Session) {
		c.write(frame.Close, nil)
		c.expectClose(frame.CloseNoStatus)
	}, engine.CloseReason{Code: frame.CloseNoStatus, Remote: true}},
	{"we close", nil, func(_ *server, c *client, session *engine.Session) {
		session.Close(4000, "ours")
		c.answerClose(4000, "ours")
	}, engine.CloseReason{Code: 4000, Text: "ours"}},
	{"we close without a code", nil, func(_ *server, c *client, session *engine.Session) {
		session.Close(frame.CloseNoStatus, "")
		c.expect(frame.Close, nil)
		c.write(frame.Close, nil)
		c.expectEOF()
	}, engine.CloseReason{Code: frame.CloseNoStatus}},
	{"peer answers our close with another code", nil, func(_ *server, c *client, session *engine.Session) {
		session.Close(4000, "ours")
		c.expect(frame.Close, closePayload(4000, "ours"))
		c.write(frame.Close, closePayload(3000, "theirs"))
		c.expectEOF()
	}, engine.CloseReason{Code: 4000, Text: "ours"}},
	{"peer never answers our close", func(d time.Duration) []engine.RouteOption {
		return []engine.RouteOption{engine.WithCloseTimeout(d)}
	}, func(_ *server, c *client, session *engine.Session) {
		session.Close(4000, "ours")
		c.expectClose(4000)
		expectNoAnswer(c.t, session, engine.CloseReason{Code: 4000, Text: "ours"})
	}, engine.CloseReason{Code: 4000, Text: "ours"}},
	{"stream ends instead of an answer", nil, func(_ *server, c *client, session *engine.Session) {
		session.Close(4000, "ours")
		c.expect(frame.Close, closePayload(4000, "ours"))
		c.endStream()
		c.expectEOF()
	}, engine.CloseReason{Code: 4000, Text: "ours"}},
	{"end of the stream", nil, func(_ *server, c *client, _ *engine.Session) { c.endStream() }, engine.CloseReason{Code: frame.CloseAbnormal}},
	{"end of the stream inside a message", nil, func(_ *server, c *client, _ *engine.Session) {
		c.send(append(fragment(frame.Text, "a"), header(true, frame.Continuation, 10)...))
		c.endStream()
	}, engine.CloseReason{Code: frame.CloseAbnormal}},
	{"terminate", nil, func(_ *server, c *client, session *engine.Session) {
		session.Terminate()
		if f, err := c.readFrame(); err == nil {
			c.t.Errorf("got %v, want no frame", f)
		}
	}, engine.CloseReason{Code: frame.CloseAbnormal}},
	{"ping timeout", func(d time.Duration) []engine.RouteOption {
		return []engine.RouteOption{engine.WithPingInterval(time.Millisecond), engine.WithPingTimeout(d)}
	}, func(_ *server, c *client, _ *engine.Session) {
		c.answerClose(frame.CloseInternalError, "Ping timeout")
	}, engine.CloseReason{Code: frame.CloseInternalError, Text: "Ping timeout", Err: engine.ErrPingTimeout}},
	{"breach", nil, func(_ *server, c *client, _ *engine.Session) {
		c.send(head(0x83))
		c.expectClose(frame.CloseProtocolError)
	}, engine.CloseReason{Code: frame.CloseProtocolError, Text: frame.ErrReservedOpCode.Reason, Err: frame.ErrReservedOpCode}},
	{"close payload of one byte", nil, func(_ *server, c *client, _ *engine.Session) {
		c.write(frame.Close, []byte{3})
		c.expectClose(frame.CloseProtocolError)
	}, engine.CloseReason{Code: frame.CloseProtocolError, Text: frame.ErrClosePayload.Reason, Err: frame.ErrClosePayload}},
	{"close code that may not be sent", nil, func(_ *server, c *client, _ *engine.Session) {
		c.write(frame.Close, closePayload(frame.CloseAbnormal, ""))
		c.expectClose(frame.CloseProtocolError)
	}, engine.CloseReason{Code: frame.CloseProtocolError, Text: frame.ErrCloseCode.Reason, Err: frame.ErrCloseCode}},
	{"idle timeout", func(d time.Duration) []engine.RouteOption {
		return []engine.RouteOption{engine.WithIdleTimeout(d)}
	}, func(_ *server, c *client, _ *engine.Session) {
		c.answerClose(frame.CloseGoingAway, "idle timeout")
	}, engine.CloseReason{Code: frame.CloseGoingAway, Text: "idle timeout", Err: engine.ErrIdleTimeout}},
	{"lifetime", func(d time.Duration) []engine.RouteOption {
		return []engine.RouteOption{engine.WithLifetime(d)}
	}, func(_ *server, c *client, _ *engine.Session) {
		c.answerClose(frame.CloseGoingAway, "maximum lifetime reached")
	}, engine.CloseReason{Code: frame.CloseGoingAway, Text: "maximum lifetime reached", Err: engine.ErrLifetime}},
	{"shutdown", nil, func(s *server, c *client, _ *engine.Session) {
		s.beginShutdown(patience)
		c.answerClose(frame.CloseGoingAway, goingDown)
	}, engine.CloseReason{Code: frame.CloseGoingAway, Text: goingDown}},
	{"engine's Close", nil, func(s *server, _ *client, _ *engine.Session) { s.Engine.Close() },
		engine.CloseReason{Code: frame.CloseAbnormal, Err: engine.ErrServerClosed}},
}

// Whatever ends the connection: those who wait for the reason before and those who ask after get the same one, and every
// call of the session agrees with it. What was received before comes first.
func TestCloseReasonOfASessionSaysHowItEnded(t *testing.T) {
	for _, row := range sessionEnds {
		t.Run(row.name, func(t *testing.T) {
			onEachTransportAtAnyPace(t, 30*time.Millisecond, func(t testing.TB, start func(...engine.Option) *server, unit time.Duration) {
				s := start(engine.WithPingInterval(0), engine.WithCloseTimeout(patience))
				var opts []engine.RouteOption
				if row.opts != nil {
					opts = row.opts(unit)
				}
				h := s.handOut("/", opts...)
				c := s.open("/")
				c.write(frame.Text, []byte("before"))
				session := h.next(t)
				s.until("the message is queued", func() bool { return s.Stats().MessagesIn == 1 })
				reasons := make(chan engine.CloseReason, 3)
				for range 3 {
					go func() {
						r, err := session.CloseReason(context.Background())
						if err != nil {
							t.Errorf("CloseReason: %v", err)
						}
						reasons <- r
					}()
				}
				row.end(s, c, session)
				for range 3 {
					if r := within(t, reasons); !sameReason(r, row.want) {
						t.Errorf("reason %+v, want %+v", r, row.want)
					}
				}
				expectMessage(t, session, frame.Text, []byte("before"))
				expectEnd(t, session, row.want)
			})
		})
	}
}

// Over sockets alone: a stream in memory has no reset.
func TestCloseReasonOfASessionAfterAReset(t *testing.T) {
	onGoroutinesToo(t, func(t *testing.T, start func(...engine.Option) *server) {
		if !overSockets(t) {
			t.Skip("about sockets")
		}
		s := start(engine.WithPingInterval(0))
		h := s.handOut("/")
		c := s.open("/")
		session := h.next(t)
		c.Conn.(*net.TCPConn).SetLinger(0)
		c.Close()
		r, err := session.CloseReason(patiently(t))
		if err != nil || r.Code != frame.CloseAbnormal || r.Remote || r.Text != "" {
			t.Errorf("reason %+v, %v", r, err)
		}
		expectEnd(t, session, r)
	})
}

func TestPeersCloseReachesTheSessionWithEveryCodeAndText(t *testing.T) {
	onGoroutinesToo(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithPingInterval(0))
		h := s.handOut("/")
		for _, code := range wireCodes {
			for _, text := range []string{"", "bye €", strings.Repeat("x", 123)} {
				c := s.open("/")
				session := h.next(t)
				c.write(frame.Close, closePayload(code, text))
				c.expectClose(code)
				c.Close()
				expectEnd(t, session, engine.CloseReason{Code: code, Text: text, Remote: true})
				h.finish(nil)
			}
		}
	})
}

func TestTextThatIsNotUTF8EndsASession(t *testing.T) {
	onGoroutinesToo(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithPingInterval(0))
		h := s.handOut("/")
		for _, wire := range [][]byte{
			encode(true, frame.Text, []byte("a\xFFb")),
			encode(true, frame.Text, []byte("a\xE2\x82")),
			append(fragment(frame.Text, "\xE2"), encode(false, frame.Continuation, []byte("("))...),
		} {
			c := s.open("/")
			session := h.next(t)
			c.send(wire)
			text := c.expectClose(frame.CloseInvalidPayload)
			c.Close()
			r, err := session.CloseReason(patiently(t))
			if err != nil || r.Code != frame.CloseInvalidPayload || r.Text != text || r.Text == "" || r.Err == nil || r.Remote {
				t.Errorf("reason %+v, %v; the peer was told %q", r, err, text)
			}
			expectEnd(t, session, r)
			h.finish(nil)
		}
	})
}

// A peer that takes nothing of what is queued.
func TestCloseReasonOfASessionAfterAWriteTimeout(t *testing.T) {
	onGoroutinesToo(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithPingInterval(0), engine.WithWriteTimeout(100*time.Millisecond))
		h := s.handOut("/")
		s.narrow()
		s.open("/")
		session := h.next(t)
		if err := session.SendBinary(patiently(t), pattern(s.glut())); err != nil {
			t.Fatal(err)
		}
		expectEnd(t, session, engine.CloseReason{Code: frame.CloseAbnormal, Err: engine.ErrWriteTimeout})
	})
}

func TestSessionsCloseRefusesWhatMayNotBeSent(t *testing.T) {
	onGoroutinesToo(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithPingInterval(0))
		h := s.handOut("/")
		c := s.open("/")
		session := h.next(t)
		for _, code := range []frame.CloseCode{0, 999, 1004, 1006, 1015, 2999, 5000, 65535} {
			if err := session.Close(code, ""); err != engine.ErrCloseCode {
				t.Errorf("Close(%d): %v, want ErrCloseCode", code, err)
			}
		}
		for _, text := range []string{strings.Repeat("a", 124), strings.Repeat("я", 62), "a\xFF"} {
			if err := session.Close(frame.CloseNormal, text); err != engine.ErrCloseReason {
				t.Errorf("Close with a text of %d bytes: %v, want ErrCloseReason", len(text), err)
			}
		}
		c.write(frame.Text, []byte("still here"))
		expectMessage(t, session, frame.Text, []byte("still here"))
		if err := session.Close(frame.CloseNormal, strings.Repeat("a", 123)); err != nil {
			t.Errorf("Close with a text of 123 bytes: %v", err)
		}
		c.answerClose(frame.CloseNormal, strings.Repeat("a", 123))
	})
}

// The close frame goes behind what was sent before, ours and the answer to the peer's.
func TestSessionsCloseFramesQueueBehindData(t *testing.T) {
	onGoroutinesToo(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithPingInterval(0), engine.WithCloseTimeout(patience), engine.WithMaxBackpressure(64<<20))
		h := s.handOut("/")
		s.narrow()
		glut := pattern(s.glut())
		for _, ours := range []bool{true, false} {
			c := s.open("/")
			session := h.next(t)
			if err := session.SendBinary(patiently(t), glut); err != nil {
				t.Fatal(err)
			}
			want := closePayload(4000, "ours")
			if ours {
				session.Close(4000, "ours")
			} else {
				want = closePayload(3000, "")
				c.write(frame.Close, closePayload(3000, "theirs"))
				if r, err := session.CloseReason(patiently(t)); err != nil || r.Code != 3000 || !r.Remote {
					t.Errorf("reason %+v, %v", r, err)
				}
			}
			if err := session.SendText(patiently(t), "late"); !errors.Is(err, engine.ErrClosed) {
				t.Errorf("Send after the close: %v", err)
			}
			c.expect(frame.Binary, glut)
			c.expect(frame.Close, want)
			if ours {
				c.write(frame.Close, want)
			}
			c.expectEOF()
			h.finish(nil)
		}
	})
}

// Data that comes behind a close frame, the peer's or ours, is not received; what came before ours is.
func TestSessionIgnoresDataBehindACloseFrame(t *testing.T) {
	onGoroutinesToo(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithPingInterval(0), engine.WithCloseTimeout(patience))
		h := s.handOut("/")
		late := bytes.Join([][]byte{encode(true, frame.Text, []byte("late")), encode(true, frame.Ping, []byte("late")), fragment(frame.Binary, "late")}, nil)
		c := s.open("/")
		session := h.next(t)
		c.send(bytes.Join([][]byte{encode(true, frame.Text, []byte("before")), encode(true, frame.Close, closePayload(1000, "bye")), late}, nil))
		c.expect(frame.Close, closePayload(1000, ""))
		c.expectEOF()
		c.Close()
		expectMessage(t, session, frame.Text, []byte("before"))
		expectEnd(t, session, engine.CloseReason{Code: 1000, Text: "bye", Remote: true})
		h.finish(nil)

		c = s.open("/")
		session = h.next(t)
		c.send(append(encode(true, frame.Text, []byte("before")), fragment(frame.Text, "half a message")...))
		c.ping("they are there")
		session.Close(4000, "ours")
		c.expect(frame.Close, closePayload(4000, "ours"))
		c.send(append(encode(true, frame.Continuation, nil), late...))
		c.send(encode(true, frame.Continuation, []byte("the end of late")))
		expectMessage(t, session, frame.Text, []byte("before"))
		if m, err := session.Receive(patiently(t)); !errors.Is(err, engine.ErrClosed) {
			t.Errorf("received %q, %v", m.Payload, err)
		}
		if session.Context().Err() != nil {
			t.Error("the context has ended before the peer answered")
		}
		c.write(frame.Close, nil)
		c.expectEOF()
		expectEnd(t, session, engine.CloseReason{Code: 4000, Text: "ours"})
	})
}

// Both sides close without having seen the other's close frame: either may win, the reason is the winner's, and one
// close frame is sent.
func TestSessionAndPeerCloseAtOnce(t *testing.T) {
	onGoroutinesToo(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithPingInterval(0), engine.WithCloseTimeout(patience))
		h := s.handOut("/")
		for range 30 {
			c := s.open("/")
			session := h.next(t)
			closed := make(chan error, 1)
			go func() { closed <- session.Close(4000, "ours") }()
			c.write(frame.Close, closePayload(3000, "theirs"))
			list := c.closes()
			c.Close()
			if len(list) != 1 {
				t.Fatalf("%d close frames, want one", len(list))
			}
			err := within(t, closed)
			switch code := frame.CloseCode(binary.BigEndian.Uint16(list[0])); {
			case code == 4000 && err == nil:
				expectEnd(t, session, engine.CloseReason{Code: 4000, Text: "ours"})
			case code == 3000 && err == engine.ErrClosed:
				expectEnd(t, session, engine.CloseReason{Code: 3000, Text: "theirs", Remote: true})
			default:
				t.Errorf("close frame %v, Close returned %v", code, err)
			}
			h.finish(nil)
		}
	})
}

// A pong that does not come ends the calls that wait at that moment, with the session's context or one made of it: they
// need not wait for the closing handshake.
func TestPingTimeoutEndsWaitingCallsAtOnce(t *testing.T) {
	onGoroutinesToo(t, func(t *testing.T, start func(...engine.Option) *server) {
		limit := 1 << 20
		if !overSockets(t) {
			limit = 2 << 10
		}
		s := start(engine.WithPingInterval(20*time.Millisecond), engine.WithPingTimeout(50*time.Millisecond),
			engine.WithCloseTimeout(patience), engine.WithWriteTimeout(0), engine.WithMaxBackpressure(limit))
		h := s.handOut("/")
		s.narrow()
		s.open("/")
		session := h.next(t)
		derived, cancel := context.WithTimeout(session.Context(), patience)
		defer cancel()
		calls := map[string]func() error{
			"Receive": func() error { _, err := session.Receive(derived); return err },
		}
		for name, ctx := range map[string]context.Context{"derived": derived, "own": session.Context(), "background": context.Background()} {
			calls["Send, context "+name] = func() error {
				for {
					if err := session.SendBinary(ctx, pattern(limit/2)); err != nil {
						return err
					}
				}
			}
			calls["CloseReason, context "+name] = func() error {
				r, err := session.CloseReason(ctx)
				return errors.Join(err, r.Err)
			}
		}
		type result struct {
			name string
			err  error
		}
		results := make(chan result, len(calls))
		for name, f := range calls {
			go func() { results <- result{name, f()} }()
		}
		for range calls {
			if r := within(t, results); !errors.Is(r.err, engine.ErrPingTimeout) {
				t.Errorf("%s: %v, want ErrPingTimeout", r.name, r.err)
			}
		}
		if session.Context().Err() != nil {
			t.Error("the calls have waited for the end of the closing handshake")
		}
		session.Terminate()
	})
}
