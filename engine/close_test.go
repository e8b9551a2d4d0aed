package engine_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"zeroframe/engine"
	"zeroframe/frame"
)

// wireCodes are close codes of every class that a frame may carry (RFC 6455, section 7.4).
var wireCodes = []frame.CloseCode{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999}

// closes reads to the end of the stream and returns the payloads of the close frames on the way. Whether the end is an
// orderly one does not matter.
func (c *client) closes() (list [][]byte) {
	c.t.Helper()
	for {
		f, err := c.readFrame()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			c.t.Fatal("the stream does not end")
		}
		if err != nil {
			return list
		}
		if f.op == frame.Close {
			list = append(list, f.payload)
		}
	}
}

func TestPeersCloseIsEchoedWithItsCode(t *testing.T) {
	onGoroutinesToo(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start()
		h := newScript()
		s.handle("/", h)
		for _, code := range wireCodes {
			for _, text := range []string{"", "bye €", strings.Repeat("x", 123)} {
				c := s.open("/")
				c.write(frame.Close, closePayload(code, text))
				c.expectClose(code)
				c.Close()
				if r, want := h.wait(t), (engine.CloseReason{Code: code, Text: text, Remote: true}); r != want {
					t.Errorf("reason %+v, want %+v", r, want)
				}
			}
		}
		s.gone()
		h.nothingMore(t)
	})
}

func TestPeersCloseWithoutCodeIsEchoedWithoutCode(t *testing.T) {
	onGoroutinesToo(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start()
		h := newScript()
		s.handle("/", h)
		c := s.open("/")
		c.write(frame.Close, nil)
		c.expect(frame.Close, nil)
		c.expectEOF()
		if r, want := h.wait(t), (engine.CloseReason{Code: frame.CloseNoStatus, Remote: true}); r != want {
			t.Errorf("reason %+v, want %+v", r, want)
		}
	})
}

// A close frame between the fragments of a message ends the connection all the same (RFC 6455, section 5.4).
func TestPeerClosesInsideAFragmentedMessage(t *testing.T) {
	onGoroutinesToo(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start()
		h := newScript()
		s.handle("/", h)
		c := s.open("/")
		c.send(append(fragment(frame.Text, "begun"), encode(true, frame.Close, closePayload(1001, ""))...))
		c.expectClose(1001)
		h.wait(t)
		h.nothingMore(t)
	})
}

func TestServerClosesFirstWithAnyCodeAndReason(t *testing.T) {
	onGoroutinesToo(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start()
		h := newScript()
		s.handle("/", h)
		type row struct {
			code frame.CloseCode
			text string
		}
		rows := []row{
			{1000, strings.Repeat("a", 123)},
			{1000, strings.Repeat("€", 41)},       // 123 bytes
			{4000, "x" + strings.Repeat("é", 61)}, // 123 bytes
			{frame.CloseNoStatus, ""},             // a close frame without a payload
		}
		for _, code := range wireCodes {
			rows = append(rows, row{code, ""}, row{code, "because"})
		}
		for _, r := range rows {
			c := s.open("/")
			if err := within(t, h.opened).Close(r.code, r.text); err != nil {
				t.Fatalf("Close(%v, %q): %v", r.code, r.text, err)
			}
			if r.code == frame.CloseNoStatus {
				c.expect(frame.Close, nil)
			} else {
				c.expect(frame.Close, closePayload(r.code, r.text))
			}
			c.write(frame.Close, closePayload(1000, "as you wish"))
			c.expectEOF()
			c.Close()
			if got, want := h.wait(t), (engine.CloseReason{Code: r.code, Text: r.text}); got != want {
				t.Errorf("reason %+v, want %+v", got, want)
			}
		}
		s.gone()
		h.nothingMore(t)
	})
}

// A refused Close leaves the connection as it was.
func TestCloseRefusesWhatMayNotBeSent(t *testing.T) {
	onGoroutinesToo(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start()
		h := replying()
		s.handle("/", h)
		c := s.open("/")
		conn := within(t, h.opened)
		for _, code := range []frame.CloseCode{0, 1, 999, 1004, 1006, 1015, 1016, 2000, 2999, 5000, 65535} {
			if err := conn.Close(code, ""); err != engine.ErrCloseCode {
				t.Errorf("Close(%d): %v, want ErrCloseCode", code, err)
			}
		}
		for _, text := range []string{
			strings.Repeat("a", 124),
			strings.Repeat("€", 40) + "abcd",        // 124 bytes, 44 runes
			"xx" + strings.Repeat("é", 61),          // 124 bytes
			"a\xFF", "\xE2\x82", "\xED\xA0\x80", "", // the last one for the code below
		} {
			code := frame.CloseNormal
			if text == "" {
				code, text = frame.CloseNoStatus, "a reason without a code"
			}
			if err := conn.Close(code, text); err != engine.ErrCloseReason {
				t.Errorf("Close(%d, %q): %v, want ErrCloseReason", code, text, err)
			}
		}
		c.write(frame.Text, []byte("still here"))
		c.expect(frame.Text, []byte("still here"))
	})
}

// expectClosed requires that everything that sends on c fails with ErrClosed.
func expectClosed(t testing.TB, c *engine.Conn) {
	t.Helper()
	prepared, err := engine.Prepare(frame.Text, []byte("late"))
	if err != nil {
		t.Fatal(err)
	}
	for name, f := range map[string]func() error{
		"Send":         func() error { return c.Send(frame.Text, []byte("late")) },
		"SendText":     func() error { return c.SendText("late") },
		"SendFragment": func() error { return c.SendFragment(frame.Text, []byte("late"), false) },
		"SendPrepared": func() error { return c.SendPrepared(prepared) },
		"Ping":         func() error { return c.Ping(nil) },
		"Close":        func() error { return c.Close(frame.CloseGoingAway, "again") },
	} {
		if err := f(); err != engine.ErrClosed {
			t.Errorf("%s after the close: %v, want ErrClosed", name, err)
		}
	}
}

func TestNothingIsSentOrDeliveredAfterOurClose(t *testing.T) {
	onGoroutinesToo(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start()
		h := newScript()
		h.onPing = func(*engine.Conn, []byte) { h.heard <- "ping" }
		h.onPong = func(*engine.Conn, []byte) { h.heard <- "pong" }
		h.onMessage = func(c *engine.Conn, op frame.OpCode, p []byte) {
			c.Close(4000, "enough")
			if err := c.Reply(op, p); err != engine.ErrClosed {
				t.Errorf("Reply after Close: %v, want ErrClosed", err)
			}
			expectClosed(t, c)
		}
		s.handle("/", h)
		later := bytes.Join([][]byte{
			encode(true, frame.Text, []byte("second")),
			encode(true, frame.Ping, []byte("unanswered")),
			encode(true, frame.Pong, nil),
			fragment(frame.Binary, "third"),
		}, nil)
		// What follows in the same read, and what comes when the close frame has arrived.
		c := s.open("/")
		conn := within(t, h.opened)
		c.send(append(encode(true, frame.Text, []byte("first")), later...))
		c.expect(frame.Close, closePayload(4000, "enough"))
		expectClosed(t, conn)
		c.send(append(encode(true, frame.Continuation, nil), later...))
		c.write(frame.Close, closePayload(4000, ""))
		c.expectEOF()
		if r, want := h.wait(t), (engine.CloseReason{Code: 4000, Text: "enough"}); r != want {
			t.Errorf("reason %+v, want %+v", r, want)
		}
		expectClosed(t, conn)
		c.Close()
		s.gone()
		expectClosed(t, conn)
		h.nothingMore(t, "first")
	})
}

// A fault of the peer after our close frame changes nothing about the reason, and is not answered by a second one.
func TestBreachAfterOurCloseEndsTheWait(t *testing.T) {
	onGoroutinesToo(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithCloseTimeout(time.Hour))
		h := newScript()
		h.onOpen = func(c *engine.Conn) { c.Close(4000, "enough") }
		s.handle("/", h)
		for _, wire := range [][]byte{head(0x83), encode(true, frame.Close, []byte{3}), encode(true, frame.Close, closePayload(1006, ""))} {
			c := s.open("/")
			c.expect(frame.Close, closePayload(4000, "enough"))
			c.send(wire)
			c.expectEOF()
			c.Close()
			if r, want := h.wait(t), (engine.CloseReason{Code: 4000, Text: "enough"}); r != want {
				t.Errorf("reason %+v, want %+v", r, want)
			}
		}
		s.gone()
	})
}

func TestDataAfterThePeersCloseIsIgnored(t *testing.T) {
	onGoroutinesToo(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start()
		h := replying()
		s.handle("/", h)
		c := s.open("/")
		c.send(bytes.Join([][]byte{
			encode(true, frame.Text, []byte("before")),
			encode(true, frame.Close, closePayload(1000, "bye")),
			encode(true, frame.Text, []byte("after")),
			encode(true, frame.Ping, []byte("after")),
			encode(true, frame.Close, closePayload(1001, "again")),
			head(0x83),
		}, nil))
		c.expect(frame.Text, []byte("before"))
		c.expect(frame.Close, closePayload(1000, ""))
		c.expectEOF()
		if r, want := h.wait(t), (engine.CloseReason{Code: 1000, Text: "bye", Remote: true}); r != want {
			t.Errorf("reason %+v, want %+v", r, want)
		}
		c.Close()
		s.gone()
		h.nothingMore(t, "before")
	})
}

// Both sides close before either has seen the other's close frame. The one that the handler sent first wins here: the
// peer's lies behind it in the same bytes.
func TestBothCloseAtOnce(t *testing.T) {
	onGoroutinesToo(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start()
		h := newScript()
		h.onMessage = func(c *engine.Conn, op frame.OpCode, p []byte) { c.Close(4000, "ours") }
		s.handle("/", h)
		c := s.open("/")
		within(t, h.opened)
		c.send(append(encode(true, frame.Text, nil), encode(true, frame.Close, closePayload(3000, "theirs"))...))
		c.expect(frame.Close, closePayload(4000, "ours"))
		c.expectEOF()
		c.Close()
		if r, want := h.wait(t), (engine.CloseReason{Code: 4000, Text: "ours"}); r != want {
			t.Errorf("reason %+v, want %+v", r, want)
		}

		// From a goroutine of its own either may win, and only one close frame is sent.
		for range 20 {
			c := s.open("/")
			conn := within(t, h.opened)
			done := make(chan error, 1)
			go func() { done <- conn.Close(4000, "ours") }()
			c.write(frame.Close, closePayload(3000, "theirs"))
			list := c.closes()
			c.Close()
			r, err := h.wait(t), within(t, done)
			if len(list) != 1 {
				t.Fatalf("%d close frames, want one", len(list))
			}
			switch code := frame.CloseCode(binary.BigEndian.Uint16(list[0])); {
			case code == 4000 && err == nil && r == engine.CloseReason{Code: 4000, Text: "ours"}:
			case code == 3000 && err == engine.ErrClosed && r == engine.CloseReason{Code: 3000, Text: "theirs", Remote: true}:
			default:
				t.Errorf("close frame %v, Close returned %v, reason %+v", code, err, r)
			}
		}
		s.gone()
		h.nothingMore(t, "")
	})
}

func TestCloseInsideOnOpenFollowsTheAnswer(t *testing.T) {
	onGoroutinesToo(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start()
		h := newScript()
		h.onOpen = func(c *engine.Conn) {
			c.SendText("hello")
			c.Close(1013, "come back")
		}
		s.handle("/", h)
		c := s.connect()
		// The first message comes with the head, and is too late even so.
		c.send(append(upgradeRequest("/"), encode(true, frame.Text, []byte("hi"))...))
		if status, head := c.readHead(); status != 101 {
			t.Fatal(head)
		}
		c.expect(frame.Text, []byte("hello"))
		c.expect(frame.Close, closePayload(1013, "come back"))
		c.write(frame.Close, closePayload(1013, ""))
		c.expectEOF()
		if r := h.wait(t); r.Code != 1013 || r.Remote {
			t.Errorf("reason %+v", r)
		}
		h.nothingMore(t)
	})
}

func TestCloseFramesQueueBehindData(t *testing.T) {
	onGoroutinesToo(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithMaxBackpressure(64 << 20))
		size := 500
		if overSockets(t) {
			size = 1 << 20 // more than the kernel takes
		}
		h := newScript()
		h.onMessage = func(c *engine.Conn, op frame.OpCode, p []byte) {
			c.Reply(op, p)
			for i := range 4 {
				c.Send(frame.Binary, bytes.Repeat([]byte{byte(i)}, size))
			}
			if string(p) == "close" {
				c.Close(4000, "ours")
			}
		}
		s.handle("/", h)
		for _, first := range []string{"close", "echo"} {
			c := s.open("/")
			wire := encode(true, frame.Text, []byte(first))
			want := closePayload(4000, "ours")
			if first == "echo" {
				wire = append(wire, encode(true, frame.Close, closePayload(3000, "theirs"))...)
				want = closePayload(3000, "")
			}
			c.send(wire)
			h.waitHeard(t, first)
			c.expect(frame.Text, []byte(first))
			for i := range 4 {
				c.expect(frame.Binary, bytes.Repeat([]byte{byte(i)}, size))
			}
			c.expect(frame.Close, want)
			if first == "close" {
				c.write(frame.Close, nil)
			}
			c.expectEOF()
			c.Close()
			h.wait(t)
		}
		s.gone()
	})
}

// A Close behind Terminate does nothing, also before the loop has acted on the first.
func TestCloseBehindTerminateSendsNothing(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithLoops(1), engine.WithPingInterval(0))
		h := newScript()
		s.handle("/", h)
		c := s.open("/")
		conn := within(t, h.opened)
		held, release := make(chan struct{}), make(chan struct{})
		conn.Post(func() { close(held); <-release })
		within(t, held)
		conn.Terminate()
		if err := conn.Close(frame.CloseNormal, ""); err != engine.ErrClosed {
			t.Errorf("Close: %v, want ErrClosed", err)
		}
		close(release)
		if f, err := c.readFrame(); err == nil {
			t.Errorf("the peer got %+v", f)
		}
		if r := h.wait(t); r.Code != frame.CloseAbnormal {
			t.Errorf("reason %+v, want 1006", r)
		}
	})
}
