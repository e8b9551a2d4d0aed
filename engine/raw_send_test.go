package engine_test

import (
	"fmt"
	"strings"
	"testing"

	"zeroframe/engine"
	"zeroframe/frame"
)

// sendFrameRows are frames that a raw route with RSV1 sends or refuses, one after the other on one connection.
func sendFrameRows() []struct {
	f   engine.Frame
	err error
} {
	type row = struct {
		f   engine.Frame
		err error
	}
	f := func(fin bool, rsv byte, op frame.OpCode, payload string) engine.Frame {
		return engine.Frame{Fin: fin, RSV: rsv, OpCode: op, Payload: []byte(payload)}
	}
	long := strings.Repeat("x", 126)
	rows := []row{
		{f(true, 0, frame.Text, "whole"), nil},
		{f(true, 0, frame.Binary, ""), nil},
		{f(true, frame.RSV1, frame.Text, "rsv1"), nil},
		{f(true, 0, frame.Text, "not UTF-8: \xff"), nil},
		{f(true, 0, frame.Continuation, "continues nothing"), engine.ErrFragment},
		{f(false, 0, frame.Continuation, "continues nothing"), engine.ErrFragment},
		{f(false, frame.RSV1, frame.Text, "one, "), nil},
		{f(true, 0, frame.Text, "inside a message"), engine.ErrFragment},
		{f(false, 0, frame.Binary, "inside a message"), engine.ErrFragment},
		{f(true, frame.RSV1, frame.Binary, "inside a message"), engine.ErrFragment},
		{f(true, 0, frame.Ping, "between"), nil},
		{f(true, 0, frame.Pong, "between"), nil},
		{f(false, 0, frame.Continuation, "two, "), nil},
		{f(true, frame.RSV2, frame.Continuation, "bits the route has not"), engine.ErrFrame},
		{f(true, frame.RSV1, frame.Continuation, "three"), nil},
		{f(true, 0, frame.Continuation, "continues nothing"), engine.ErrFragment},
		{f(false, 0, frame.Binary, ""), nil},
		{f(true, 0, frame.Continuation, ""), nil},
		{f(true, 0, frame.Ping, ""), nil},
		{f(true, 0, frame.Ping, long[:125]), nil},
		{f(true, 0, frame.Pong, long[:125]), nil},
		{f(true, 0, frame.Ping, long), engine.ErrMessageTooBig},
		{f(true, 0, frame.Pong, long), engine.ErrMessageTooBig},
		{f(true, 0, frame.Close, "\x03\xe8"+long[:124]), engine.ErrMessageTooBig},
		{f(false, 0, frame.Ping, ""), engine.ErrFrame},
		{f(false, 0, frame.Pong, ""), engine.ErrFrame},
		{f(false, 0, frame.Close, ""), engine.ErrFrame},
		{f(true, frame.RSV1, frame.Ping, ""), engine.ErrFrame},
		{f(true, frame.RSV1, frame.Pong, ""), engine.ErrFrame},
		{f(true, frame.RSV1, frame.Close, ""), engine.ErrFrame},
		{f(true, frame.RSV3, frame.Text, ""), engine.ErrFrame},
		{f(true, frame.RSV1|frame.RSV3, frame.Binary, ""), engine.ErrFrame},
		{f(true, 1, frame.Text, "no such bit"), engine.ErrFrame},
		{f(true, 0x80, frame.Text, "no such bit"), engine.ErrFrame},
		{f(true, 0, frame.Close, "\x03"), engine.ErrCloseCode},
		{f(true, 0, frame.Close, "\x03\xe8\xff"), engine.ErrCloseReason},
		{f(true, 0, frame.Close, "\x03\xe8half a rune \xe2"), engine.ErrCloseReason},
	}
	for _, op := range []frame.OpCode{3, 7, 11, 15, 16, 129} {
		rows = append(rows, row{f(true, 0, op, ""), engine.ErrFrame})
	}
	for _, code := range []frame.CloseCode{0, 999, 1004, 1005, 1006, 1015, 2999, 5000} {
		rows = append(rows, row{f(true, 0, frame.Close, string(closePayload(code, ""))), engine.ErrCloseCode})
	}
	return append(rows, row{f(true, 0, frame.Close, string(closePayload(4321, "bye €"))), nil},
		row{f(true, 0, frame.Text, ""), engine.ErrClosed}, row{f(true, 0, frame.Ping, ""), engine.ErrClosed},
		row{f(true, 0, frame.Continuation, ""), engine.ErrClosed}, row{f(false, 0, frame.Text, ""), engine.ErrClosed},
		row{f(true, 0, frame.Close, ""), engine.ErrClosed}, row{f(true, 0, 3, ""), engine.ErrFrame})
}

// Every kind of frame, and why it is refused. A refused frame leaves no trace.
func TestFramesAreSentAsTheyAreOrRefused(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start()
		rows := sendFrameRows()
		run := func(send func(engine.Frame) error) error {
			for _, r := range rows {
				if err := send(r.f); err != r.err {
					return fmt.Errorf("%v of %q: %v, want %v", r.f.OpCode, r.f.Payload, err, r.err)
				}
			}
			return nil
		}
		h := newRawScript()
		done := make(chan error, 1)
		h.onFrame = func(c *engine.Conn, f engine.Frame) {
			switch string(f.Payload) {
			case "ReplyFrame":
				done <- run(c.ReplyFrame)
			case "SendFrame":
				done <- run(c.SendFrame)
			case "elsewhere":
				go func() { done <- run(c.SendFrame) }()
			case "posted":
				c.Post(func() { done <- run(c.ReplyFrame) })
			}
		}
		s.raw("/", h, engine.WithReservedBits(frame.RSV1))
		for _, how := range []string{"ReplyFrame", "SendFrame", "elsewhere", "posted"} {
			c := s.open("/")
			c.write(frame.Text, []byte(how))
			if err := within(t, done); err != nil {
				t.Fatalf("%s: %v", how, err)
			}
			for _, r := range rows {
				if r.err == nil {
					c.expectFrame(wireFrame{r.f.Fin, r.f.RSV, r.f.OpCode, r.f.Payload})
				}
			}
			c.write(frame.Close, nil)
			c.expectEOF()
			c.Close()
			if r, want := h.wait(t), (engine.CloseReason{Code: 4321, Text: "bye €"}); r != want {
				t.Errorf("%s: reason %+v, want %+v", how, r, want)
			}
		}
	})
}

// A handler may change the payload it was given, and reply with it more than once.
func TestReplyFrameSendsThePayloadAsTheHandlerLeftIt(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithReadBuffer(4 << 10))
		h := newRawScript()
		h.onFrame = func(c *engine.Conn, f engine.Frame) {
			if f.OpCode.IsControl() {
				return
			}
			f.Payload[0]++
			f.OpCode = frame.Binary
			for _, n := range []int{len(f.Payload), len(f.Payload) / 2, 1} { // in place, then copied
				f.Payload = f.Payload[:n]
				if err := c.ReplyFrame(f); err != nil {
					t.Error(err)
				}
			}
			for _, fin := range []bool{false, true} {
				if !fin {
					f.OpCode = frame.Text
				} else {
					f.OpCode = frame.Continuation
				}
				f.Fin = fin
				if err := c.ReplyFrame(f); err != nil {
					t.Error(err)
				}
			}
		}
		s.raw("/", h)
		c := s.open("/")
		for _, n := range []int{2, 200, 30_000} { // the last one is assembled
			p := pattern(n)
			c.write(frame.Text, p)
			p[0]++
			for _, m := range []int{n, n / 2, 1} {
				c.expectFrame(wireFrame{true, 0, frame.Binary, p[:m]})
			}
			c.expectFrame(wireFrame{false, 0, frame.Text, p[:1]})
			c.expectFrame(wireFrame{true, 0, frame.Continuation, p[:1]})
		}
	})
}

// SendFrame speaks on other routes too, where SendFragment may go on with its message.
func TestSendFrameOnACallbackRoute(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start()
		h := newOpener()
		s.handle("/", h)
		c := s.open("/")
		conn := within(t, h.opened)
		for i, err := range []error{
			conn.SendFrame(engine.Frame{OpCode: frame.Text, Payload: []byte("one, ")}),
			conn.SendFragment(frame.Text, []byte("two, "), false),
			conn.SendFrame(engine.Frame{OpCode: frame.Pong, Fin: true, Payload: []byte("unasked")}),
			conn.SendFrame(engine.Frame{OpCode: frame.Continuation, Fin: true, Payload: []byte("three")}),
			conn.SendFragment(frame.Binary, []byte("four, "), false),
			conn.SendFrame(engine.Frame{OpCode: frame.Continuation, Fin: true, Payload: []byte("five")}),
			conn.Send(frame.Text, []byte("whole")),
		} {
			if err != nil {
				t.Errorf("call %d: %v", i, err)
			}
		}
		if err := conn.SendFrame(engine.Frame{OpCode: frame.Text, Fin: true, RSV: frame.RSV1}); err != engine.ErrFrame {
			t.Errorf("reserved bits: %v", err)
		}
		for _, want := range []wireFrame{
			{false, 0, frame.Text, []byte("one, ")},
			{false, 0, frame.Continuation, []byte("two, ")},
			{true, 0, frame.Pong, []byte("unasked")},
			{true, 0, frame.Continuation, []byte("three")},
			{false, 0, frame.Binary, []byte("four, ")},
			{true, 0, frame.Continuation, []byte("five")},
			{true, 0, frame.Text, []byte("whole")},
		} {
			c.expectFrame(want)
		}
	})
}

// A fragment is never dropped behind its sender's back: the rest of its message would make another of what is left.
func TestFragmentsAreRefusedWhereMessagesAreDropped(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithMaxBackpressure(1000), engine.WithBackpressurePolicy(engine.PolicyDrop))
		h := newOpener()
		s.handle("/", h)
		s.narrow()
		sends := map[string]func(c *engine.Conn, p string, first, fin bool) error{
			"SendFragment": func(c *engine.Conn, p string, _, fin bool) error { return c.SendFragment(frame.Text, []byte(p), fin) },
			"SendFrame": func(c *engine.Conn, p string, first, fin bool) error {
				f := engine.Frame{OpCode: frame.Continuation, Fin: fin, Payload: []byte(p)}
				if first {
					f.OpCode = frame.Text
				}
				return c.SendFrame(f)
			},
		}
		for name, send := range sends {
			c := s.open("/")
			conn := within(t, h.opened)
			s.until("the answer has left the queue", func() bool { return conn.Buffered() == 0 })
			glut := pattern(s.glut())
			if err := conn.Send(frame.Binary, glut); err != nil {
				t.Fatal(err)
			}
			if err := send(conn, strings.Repeat("x", 2000), true, false); err != engine.ErrBackpressure {
				t.Fatalf("%s of a first fragment: %v, want ErrBackpressure", name, err)
			}
			if err := conn.SendText(strings.Repeat("x", 2000)); err != nil {
				t.Errorf("a message that is dropped: %v", err)
			}
			c.expect(frame.Binary, glut)
			within(t, h.drained)
			if err := send(conn, "one, ", true, false); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if err := send(conn, "two", false, true); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if op, p := c.nextMessage(); op != frame.Text || string(p) != "one, two" {
				t.Errorf("%s: got %v %q", name, op, p)
			}
		}
	})
}
