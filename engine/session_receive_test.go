package engine_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"zeroframe/engine"
	"zeroframe/frame"
)

func TestSessionReceivesWholeMessagesAndNoControlFrames(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithPingInterval(0))
		h := s.handOut("/")
		ping := func(text string) []byte { return encode(true, frame.Ping, []byte(text)) }
		pong := encode(true, frame.Pong, []byte("unasked"))
		for _, row := range []struct {
			name  string
			wire  [][]byte
			op    frame.OpCode
			want  string
			pongs int
		}{
			{"one frame", [][]byte{encode(true, frame.Text, []byte("one"))}, frame.Text, "one", 0},
			{"empty", [][]byte{encode(true, frame.Binary, nil)}, frame.Binary, "", 0},
			{"two fragments", [][]byte{fragment(frame.Binary, "one "), encode(true, frame.Continuation, []byte("two"))}, frame.Binary, "one two", 0},
			{"type from the first", [][]byte{fragment(frame.Text, ""), fragment(frame.Continuation, "a"), encode(true, frame.Continuation, nil)}, frame.Text, "a", 0},
			{"empty in three fragments", [][]byte{fragment(frame.Text, ""), fragment(frame.Continuation, ""), encode(true, frame.Continuation, nil)}, frame.Text, "", 0},
			{"a rune in three fragments", [][]byte{fragment(frame.Text, "\xE2"), fragment(frame.Continuation, "\x98"), encode(true, frame.Continuation, []byte("\x83"))}, frame.Text, "☃", 0},
			{"control frames between", [][]byte{
				ping("0"), fragment(frame.Text, "x"), ping("1"), pong, fragment(frame.Continuation, "y"), pong, ping("2"),
				encode(true, frame.Continuation, []byte("z")), pong,
			}, frame.Text, "xyz", 3},
			{"control frames alone first", [][]byte{pong, ping("0"), encode(true, frame.Binary, pattern(300))}, frame.Binary, string(pattern(300)), 1},
		} {
			t.Run(row.name, func(t *testing.T) {
				c := s.open("/")
				c.t = t
				session := h.next(t)
				all := bytes.Join(row.wire, nil)
				c.send(append(all, all...))
				for range 2 {
					expectMessage(t, session, row.op, []byte(row.want))
					for i := range row.pongs {
						c.expect(frame.Pong, fmt.Appendf(nil, "%d", i))
					}
				}
				c.write(frame.Close, closePayload(frame.CloseNormal, ""))
				if m, err := session.Receive(patiently(t)); !errors.Is(err, engine.ErrClosed) {
					t.Errorf("received %v, %v behind the messages", m, err)
				}
				c.expectClose(frame.CloseNormal)
				h.finish(nil)
			})
		}
	})
}

// Equality is allowed; one byte more is answered at the header with 1009 and the size, and what came before it is
// received before the error.
func TestSessionsLimitsOnFramesAndMessages(t *testing.T) {
	const max = 1024
	full := string(pattern(max))
	for _, row := range []struct {
		name  string
		limit []engine.RouteOption
		good  []byte
		want  string
		bad   []byte
		told  []string
	}{
		{"frame", []engine.RouteOption{engine.WithMaxFrameSize(max)},
			encode(true, frame.Binary, pattern(max)), full, header(true, frame.Binary, max+1), []string{"frame", "1025", "1024"}},
		{"message of one frame", []engine.RouteOption{engine.WithMaxMessageSize(max)},
			encode(true, frame.Binary, pattern(max)), full, header(true, frame.Text, max+1), []string{"message", "1025", "1024"}},
		{"sum of fragments", []engine.RouteOption{engine.WithMaxFrameSize(max), engine.WithMaxMessageSize(2 * max)},
			append(fragment(frame.Binary, full), encode(true, frame.Continuation, pattern(max))...), full + full,
			bytes.Join([][]byte{fragment(frame.Binary, full), fragment(frame.Continuation, full), header(false, frame.Continuation, 1)}, nil),
			[]string{"message", "2049", "2048"}},
		{"frame inside a message that would fit", []engine.RouteOption{engine.WithMaxFrameSize(max)},
			append(fragment(frame.Binary, full), encode(true, frame.Continuation, pattern(max))...), full + full,
			append(fragment(frame.Binary, "a"), header(true, frame.Continuation, 1<<40)...), []string{"frame", "1099511627776", "1024"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
				s := start(engine.WithPingInterval(0))
				h := s.handOut("/", row.limit...)
				c := s.open("/")
				session := h.next(t)
				c.send(row.good)
				expectMessage(t, session, frame.Binary, []byte(row.want))
				c.send(append(bytes.Clone(row.good), row.bad...))
				text := c.expectClose(frame.CloseMessageTooBig)
				for _, word := range row.told {
					if !strings.Contains(text, word) {
						t.Errorf("the peer is told %q, without %q", text, word)
					}
				}
				c.Close()
				expectMessage(t, session, frame.Binary, []byte(row.want))
				expectEnd(t, session, engine.CloseReason{Code: frame.CloseMessageTooBig, Text: text, Err: engine.ErrMessageTooBig})
			})
		})
	}
}

// givenUp runs f, which waits until its context ends, and ends that.
func givenUp(t testing.TB, f func(ctx context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	cancel()
	if err := within(t, done); !errors.Is(err, context.Canceled) || errors.Is(err, engine.ErrClosed) {
		t.Fatalf("given up with %v, want the context's error", err)
	}
}

func TestReceiveEndsWithItsContextAndLosesNothing(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithPingInterval(0))
		h := s.handOut("/")
		c := s.open("/")
		session := h.next(t)
		receive := func(ctx context.Context) error { _, err := session.Receive(ctx); return err }
		givenUp(t, receive)
		c.send(encode(false, frame.Text, []byte("be")))
		c.ping("passed the fragment")
		givenUp(t, receive)
		c.send(encode(true, frame.Continuation, []byte("gun")))
		expectMessage(t, session, frame.Text, []byte("begun"))
		givenUp(t, func(ctx context.Context) error {
			for _, err := range session.Messages(ctx) {
				return err
			}
			return errors.New("the iteration ended in silence")
		})
		givenUp(t, func(ctx context.Context) error { _, err := session.CloseReason(ctx); return err })
		// What is there already comes in spite of a context that has ended.
		c.write(frame.Text, []byte("queued"))
		c.ping("behind it")
		ended, cancel := context.WithCancel(context.Background())
		cancel()
		if m, err := session.Receive(ended); err != nil || string(m.Payload) != "queued" {
			t.Errorf("received %q, %v", m.Payload, err)
		}
		if m, err := session.Receive(ended); err != context.Canceled {
			t.Errorf("received %q, %v from an empty queue", m.Payload, err)
		}
	})
}

// ping makes sure that the server has looked at everything sent before.
func (c *client) ping(text string) {
	c.t.Helper()
	c.write(frame.Ping, []byte(text))
	c.expect(frame.Pong, []byte(text))
}

// A message that was handed over in pieces, because a reader was at work, and that Receive did not see the end of.
func TestReceiveGivenUpInTheMiddleOfAMessageInPieces(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithPingInterval(0))
		h := s.handOut("/")
		c := s.open("/")
		session := h.next(t)
		receive := func(ctx context.Context) error { _, err := session.Receive(ctx); return err }
		// piece makes the loop hand over what it has of a message: a reader says that it wants pieces.
		piece := func(first, begin string) {
			t.Helper()
			c.write(frame.Text, []byte(first))
			if _, r, err := session.NextReader(patiently(t)); err != nil {
				t.Fatal(err)
			} else if b, err := io.ReadAll(r); string(b) != first || err != nil {
				t.Fatalf("read %q, %v", b, err)
			}
			c.send(fragment(frame.Text, begin))
			c.ping("passed " + first)
		}
		piece("first", "be")
		givenUp(t, receive)
		givenUp(t, receive)
		c.send(fragment(frame.Continuation, "gu"))
		c.ping("the middle")
		givenUp(t, receive)
		c.send(append(encode(true, frame.Continuation, []byte("n")), encode(true, frame.Binary, []byte("next"))...))
		expectMessage(t, session, frame.Text, []byte("begun"))
		expectMessage(t, session, frame.Binary, []byte("next"))

		// A reader takes over where Receive gave up.
		piece("second", "read")
		givenUp(t, receive)
		c.send(encode(true, frame.Continuation, []byte(" by a reader")))
		op, r, err := session.NextReader(patiently(t))
		if err != nil || op != frame.Text {
			t.Fatal(op, err)
		}
		if b, err := io.ReadAll(r); string(b) != "read by a reader" || err != nil {
			t.Fatalf("read %q, %v", b, err)
		}

		// A reader given up before its message's end: the rest of that is skipped, whenever it comes.
		c.send(fragment(frame.Text, "left"))
		c.ping("is there")
		if _, _, err := session.NextReader(patiently(t)); err != nil {
			t.Fatal(err)
		}
		givenUp(t, receive)
		c.send(append(encode(true, frame.Continuation, pattern(100)), encode(true, frame.Binary, []byte("kept"))...))
		expectMessage(t, session, frame.Binary, []byte("kept"))

		// The connection ends inside: what has come of the message is not taken for one.
		piece("third", "never whole")
		givenUp(t, receive)
		c.write(frame.Close, closePayload(4000, "enough"))
		c.expectClose(4000)
		for range 2 {
			if err := receive(patiently(t)); !errors.Is(err, engine.ErrClosed) {
				t.Errorf("Receive: %v", err)
			}
		}
		if _, r, err := session.NextReader(patiently(t)); err != nil {
			t.Errorf("NextReader: %v", err)
		} else if b, err := io.ReadAll(r); string(b) != "never whole" || !errors.Is(err, engine.ErrClosed) {
			t.Errorf("read %q, %v", b, err)
		}
		expectEnd(t, session, engine.CloseReason{Code: 4000, Text: "enough", Remote: true})
	})
}

func TestMessagesEndsInSilenceAfterAnOrderlyEndAlone(t *testing.T) {
	type row struct {
		name string
		end  func(s *server, c *client, session *engine.Session)
		want error // nil: in silence
	}
	rows := []row{
		{"our close", func(_ *server, _ *client, session *engine.Session) { session.Close(4000, "ours") }, nil},
		{"shutdown", func(s *server, _ *client, _ *engine.Session) { s.beginShutdown(patience) }, nil},
		{"the end of the stream", func(_ *server, c *client, _ *engine.Session) { c.endStream() }, engine.ErrClosed},
		{"terminate", func(_ *server, _ *client, session *engine.Session) { session.Terminate() }, engine.ErrClosed},
		{"breach", func(_ *server, c *client, _ *engine.Session) { c.send(head(0x83)) }, frame.ErrReservedOpCode},
		{"peer's close without a code", func(_ *server, c *client, _ *engine.Session) { c.write(frame.Close, nil) }, nil},
	}
	for _, code := range wireCodes {
		want := engine.ErrClosed
		if code == frame.CloseNormal || code == frame.CloseGoingAway {
			want = nil
		}
		rows = append(rows, row{fmt.Sprintf("peer's close %d", code), func(_ *server, c *client, _ *engine.Session) {
			c.write(frame.Close, closePayload(code, "theirs"))
		}, want})
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
				s := start(engine.WithPingInterval(0), engine.WithCloseTimeout(patience))
				first, ended := make(chan *engine.Session, 1), make(chan error, 1)
				s.session("/", func(ctx context.Context, session *engine.Session) error {
					var got []string
					for m, err := range session.Messages(ctx) {
						if err != nil {
							ended <- err
							return err
						}
						if got = append(got, string(m.Payload)); len(got) == 2 {
							first <- session
						}
					}
					if len(got) != 2 {
						t.Errorf("received %q", got)
					}
					ended <- nil
					return nil
				})
				c := s.open("/")
				c.write(frame.Text, []byte("one"))
				c.write(frame.Text, []byte("two"))
				row.end(s, c, within(t, first))
				var end *engine.CloseError
				switch err := within(t, ended); {
				case row.want == nil && err != nil:
					t.Errorf("the iteration ended with %v, want silence", err)
				case row.want != nil && (!errors.Is(err, row.want) || !errors.As(err, &end)):
					t.Errorf("the iteration ended with %v, want %v", err, row.want)
				}
				c.Close()
			})
		})
	}
}

func TestMessagesCanBeLeftAndTakenUpAgain(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithPingInterval(0))
		h := s.handOut("/")
		c := s.open("/")
		session := h.next(t)
		for i := range 6 {
			c.write(frame.Text, fmt.Appendf(nil, "%d", i))
		}
		for i := range 3 {
			for m, err := range session.Messages(patiently(t)) {
				if want := fmt.Sprint(2 * i); err != nil || string(m.Payload) != want {
					t.Fatalf("got %q, %v, want %s", m.Payload, err, want)
				}
				break
			}
			expectMessage(t, session, frame.Text, fmt.Appendf(nil, "%d", 2*i+1))
		}
	})
}

// The payload is the receiver's, to change too, until the next Receive; verifying pools overwrite it then.
func TestPayloadIsValidUntilTheNextReceiveAndACloneForEver(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithPingInterval(0))
		h := s.handOut("/")
		c := s.open("/")
		session := h.next(t)
		want := pattern(200)
		for name, wire := range map[string][]byte{
			"one frame": encode(true, frame.Binary, want),
			"fragments": append(encode(false, frame.Binary, want[:90]), encode(true, frame.Continuation, want[90:])...),
		} {
			for next, receive := range map[string]func() error{
				"Receive":    func() error { _, err := session.Receive(patiently(t)); return err },
				"NextReader": func() error { _, _, err := session.NextReader(patiently(t)); return err },
			} {
				c.send(append(bytes.Clone(wire), encode(true, frame.Text, []byte("next"))...))
				c.ping("both are queued")
				m, err := session.Receive(patiently(t))
				if err != nil {
					t.Fatal(err)
				}
				clone := m.Clone()
				c.ping("the loop has used its buffer again")
				if !bytes.Equal(m.Payload, want) {
					t.Fatalf("%s: received %.20q", name, m.Payload)
				}
				m.Payload[0]++
				if err := receive(); err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(m.Payload, bytes.Repeat([]byte{0xDB}, len(want))) {
					t.Errorf("%s: after %s the payload still reads %.20q", name, next, m.Payload)
				}
				if clone.OpCode != frame.Binary || !bytes.Equal(clone.Payload, want) {
					t.Errorf("%s: after %s the clone reads %.20q", name, next, clone.Payload)
				}
				expectNothingMore(t, session)
			}
		}
	})
}

// expectNothingMore requires that nothing is queued; what a reader has left is skipped.
func expectNothingMore(t testing.TB, s *engine.Session) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if m, err := s.Receive(ctx); err != context.Canceled {
		t.Errorf("received %q, %v, want nothing", m.Payload, err)
	}
}
