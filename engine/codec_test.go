package engine_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"zeroframe/engine"
	"zeroframe/frame"
)

type point struct {
	X    int     `json:"x"`
	Name *string `json:"name"`
}

// asked runs a session's handler for one client and returns what it returned, with the reason that it ended for.
func asked(t testing.TB, s *server, opts []engine.RouteOption, h engine.SessionHandler, peer func(c *client)) {
	t.Helper()
	done := make(chan error, 1)
	s.session("/", func(ctx context.Context, ss *engine.Session) error {
		done <- h(ctx, ss)
		return nil
	}, opts...)
	c := s.open("/")
	peer(c)
	if err := within(t, done); err != nil {
		t.Error(err)
	}
}

func TestValuesTravelAsJSON(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		name := "é\"\n"
		asked(t, start(), nil, func(ctx context.Context, s *engine.Session) error {
			for {
				p, err := engine.ReceiveValue[point](ctx, s)
				if errors.Is(err, engine.ErrClosed) {
					return nil
				}
				if err != nil {
					return err
				}
				p.X++
				if err := engine.SendValue(ctx, s, p); err != nil {
					return err
				}
			}
		}, func(c *client) {
			for i, in := range []string{`{"x":1}`, ` {"name":"é\"\n","x":41,"other":[]} `, `{}`, `null`} {
				c.write(frame.Text, []byte(in))
				want := point{X: []int{2, 42, 1, 1}[i]}
				if i == 1 {
					want.Name = &name
				}
				b, _ := json.Marshal(want)
				c.expect(frame.Text, b)
			}
			c.send(encode(false, frame.Text, []byte(`{"x"`))) // in fragments, as any message
			c.send(encode(true, frame.Continuation, []byte(`:6}`)))
			c.expect(frame.Text, []byte(`{"x":7,"name":null}`))
			c.write(frame.Close, nil)
		})
	})
}

// The values of every shape come back as they were, null for those that may be.
func TestValuesOfEveryShapeRoundTrip(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		asked(t, start(), nil, func(ctx context.Context, s *engine.Session) error {
			return errors.Join(
				roundTrip(ctx, s, 42, ""),
				roundTrip(ctx, s, "text\u2028", ""),
				roundTrip(ctx, s, true, ""),
				roundTrip(ctx, s, []int{1, 2}, ""),
				roundTrip(ctx, s, map[string]any{"a": nil}, ""),
				roundTrip(ctx, s, (*point)(nil), "null"),
				roundTrip(ctx, s, &point{X: 3}, `{"x":3,"name":null}`),
				roundTrip[any](ctx, s, nil, "null"),
				roundTrip(ctx, s, json.RawMessage(`{"as":"it is"}`), `{"as":"it is"}`),
			)
		}, func(c *client) {
			for range 9 {
				f := c.next()
				if f.op != frame.Text || !f.fin {
					t.Errorf("got %v", f)
				}
				c.write(f.op, f.payload)
			}
		})
	})
}

// roundTrip sends v, which the peer sends back, and compares.
func roundTrip[T any](ctx context.Context, s *engine.Session, v T, wire string) error {
	if err := engine.SendValue(ctx, s, v); err != nil {
		return err
	}
	got, err := engine.ReceiveValue[T](ctx, s)
	if err != nil {
		return err
	}
	a, _ := json.Marshal(v)
	b, _ := json.Marshal(got)
	if string(a) != string(b) || wire != "" && string(b) != wire {
		return fmt.Errorf("%s came back as %s", a, b)
	}
	return nil
}

// A message that is no such value is the caller's to keep, and the session goes on.
func TestDecodeErrorCarriesTheMessageAndTheSessionGoesOn(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		bad := []struct {
			op   frame.OpCode
			text string
		}{
			{frame.Text, `{"x":"not a number"}`},
			{frame.Text, `{"x":1`},
			{frame.Text, ``},
			{frame.Text, `[1]`},
			{frame.Text, `{"x":1} {"x":2}`},
			{frame.Text, `"` + strings.Repeat("long", 20_000) + `"`},
			{frame.Binary, `{"x":1}`}, // JSON, but not text
			{frame.Binary, ``},
		}
		asked(t, start(), nil, func(ctx context.Context, s *engine.Session) error {
			var kept []*engine.DecodeError
			for i, b := range bad {
				p, err := engine.ReceiveValue[point](ctx, s)
				var de *engine.DecodeError
				if !errors.As(err, &de) {
					return fmt.Errorf("message %d: %v, %v; want a DecodeError", i, p, err)
				}
				if p != (point{}) || de.Err == nil || errors.Unwrap(err) != de.Err || !strings.Contains(err.Error(), de.Err.Error()) {
					return fmt.Errorf("message %d: %v and %v", i, p, err)
				}
				if syntax := new(json.SyntaxError); strings.Contains(b.text, `:1} {`) && !errors.As(err, &syntax) {
					return fmt.Errorf("message %d: %v hides the codec's error", i, err)
				}
				kept = append(kept, de)
				// Between the bad ones a good one, whose buffer the bad one's may be.
				if p, err := engine.ReceiveValue[point](ctx, s); err != nil || p.X != i {
					return fmt.Errorf("value %d after a DecodeError: %v, %v", i, p, err)
				}
			}
			for i, b := range bad {
				if m := kept[i].Message; m.OpCode != b.op || string(m.Payload) != b.text {
					return fmt.Errorf("message %d was kept as %v %.50q", i, m.OpCode, m.Payload)
				}
			}
			return engine.SendValue(ctx, s, "fine")
		}, func(c *client) {
			for i, b := range bad {
				c.write(b.op, []byte(b.text))
				c.write(frame.Text, fmt.Appendf(nil, `{"x":%d}`, i))
			}
			c.expect(frame.Text, []byte(`"fine"`))
		})
	})
}

// What cannot be encoded is the caller's error: nothing is sent and the session goes on.
func TestValuesThatDoNotEncodeAreRefused(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		asked(t, start(), nil, func(ctx context.Context, s *engine.Session) error {
			var unsupported *json.UnsupportedValueError
			if err := engine.SendValue(ctx, s, math.Inf(1)); !errors.As(err, &unsupported) || errors.Is(err, engine.ErrClosed) {
				return fmt.Errorf("infinity: %v", err)
			}
			var kind *json.UnsupportedTypeError
			if err := engine.SendValue(ctx, s, make(chan int)); !errors.As(err, &kind) {
				return fmt.Errorf("a channel: %v", err)
			}
			return engine.SendValue(ctx, s, "first")
		}, func(c *client) { c.expect(frame.Text, []byte(`"first"`)) })
	})
}

// How the connection, or the caller's patience, ended is said as Receive and Send say it.
func TestErrorsOfTheConnectionPassThroughTheCodec(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		asked(t, start(), nil, func(ctx context.Context, s *engine.Session) error {
			gone, cancel := context.WithCancel(ctx)
			cancel()
			if _, err := engine.ReceiveValue[int](gone, s); err != context.Canceled {
				return fmt.Errorf("a cancelled context: %v", err)
			}
			if err := engine.SendValue(gone, s, 1); err != context.Canceled {
				return fmt.Errorf("a cancelled context: %v", err)
			}
			if err := engine.SendValue(ctx, s, "go on"); err != nil {
				return err
			}
			if n, err := engine.ReceiveValue[int](ctx, s); n != 7 || err != nil { // what came before the end
				return fmt.Errorf("%d, %v", n, err)
			}
			_, err := engine.ReceiveValue[int](ctx, s)
			for _, err := range []error{err, engine.SendValue(ctx, s, 1)} {
				var end *engine.CloseError
				if de := new(engine.DecodeError); errors.As(err, &de) || !errors.As(err, &end) || end.Reason.Code != 4002 || !end.Reason.Remote || !errors.Is(err, engine.ErrClosed) {
					return fmt.Errorf("after the end: %v", err)
				}
			}
			var kind *json.UnsupportedTypeError
			if err := engine.SendValue(ctx, s, make(chan int)); !errors.As(err, &kind) {
				return fmt.Errorf("a value that never encodes: %v", err)
			}
			return nil
		}, func(c *client) {
			c.expect(frame.Text, []byte(`"go on"`))
			c.send(append(encode(true, frame.Text, []byte("7")), encode(true, frame.Close, closePayload(4002, "enough"))...))
			c.expectClose(4002)
		})
	})
}

// tagged is a codec of the test's own: binary messages of a tag and the value's text.
type tagged byte

var errForeign = errors.New("another codec's message")

func (g tagged) Encode(v any) (frame.OpCode, []byte, error) {
	if v == nil {
		return 0, nil, errForeign
	}
	return frame.Binary, append([]byte{byte(g)}, fmt.Sprint(v)...), nil
}

func (g tagged) Decode(m engine.Message, v any) error {
	if m.OpCode != frame.Binary || len(m.Payload) == 0 || m.Payload[0] != byte(g) {
		return errForeign
	}
	*v.(*string) = string(m.Payload[1:])
	return nil
}

// The engine's codec is every route's, but for those that have their own.
func TestACodecIsTheEnginesOrTheRoutes(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithCodec(tagged('e')))
		done := make(chan error, 10)
		handler := func(ctx context.Context, s *engine.Session) error {
			// JSON has a null, the codec of the test has not.
			if err := engine.SendValue(ctx, s, nil); s.Request().URL.Path != "/json" && !errors.Is(err, errForeign) {
				done <- fmt.Errorf("a value that does not encode: %v", err)
				return nil
			}
			for {
				v, err := engine.ReceiveValue[string](ctx, s)
				if errors.Is(err, errForeign) {
					v = "?"
				} else if err != nil {
					done <- nil
					return nil
				}
				if err := engine.SendValue(ctx, s, v+"!"); err != nil {
					done <- err
					return nil
				}
			}
		}
		s.session("/engine", handler)
		s.session("/route", handler, engine.WithCodec(tagged('r')))
		s.session("/json", handler, engine.WithCodec(engine.JSON))
		for path, tag := range map[string]string{"/engine": "e", "/route": "r"} {
			c := s.open(path)
			c.write(frame.Binary, []byte(tag+"hello"))
			c.expect(frame.Binary, []byte(tag+"hello!"))
			c.write(frame.Binary, []byte("xhello"))
			c.expect(frame.Binary, []byte(tag+"?!"))
			c.write(frame.Close, nil)
			if err := within(t, done); err != nil {
				t.Errorf("%s: %v", path, err)
			}
		}
		c := s.open("/json")
		c.expect(frame.Text, []byte("null"))
		c.write(frame.Text, []byte(`"hello"`))
		c.expect(frame.Text, []byte(`"hello!"`))
		c.write(frame.Close, nil)
		within(t, done)
	})
}

// A client's sessions speak values as well.
func TestDialledSessionsHaveACodec(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		if !overSockets(t) {
			t.Skip("Dial needs an address")
		}
		p := newPeer(t)
		s := start(engine.WithCodec(tagged('e')))
		accepted := make(chan *client, 1)
		go func() {
			c, _ := p.accept(switching + "\r\n")
			accepted <- c
		}()
		ss, err := s.DialSession(context.Background(), p.url("/"), nil, engine.WithCodec(tagged('d')))
		if err != nil {
			t.Fatal(err)
		}
		c := within(t, accepted)
		if err := engine.SendValue(context.Background(), ss, "hello"); err != nil {
			t.Error(err)
		}
		if f, _ := c.readMasked(); f.op != frame.Binary || string(f.payload) != "dhello" {
			t.Errorf("got %v", f)
		}
		c.send(answerTo(frame.Binary, []byte("dback")))
		if v, err := engine.ReceiveValue[string](context.Background(), ss); v != "back" || err != nil {
			t.Errorf("received %q, %v", v, err)
		}
		ss.Terminate()
		if _, err := engine.ReceiveValue[string](context.Background(), ss); !errors.Is(err, engine.ErrClosed) {
			t.Errorf("after Terminate: %v", err)
		}
	})
}
