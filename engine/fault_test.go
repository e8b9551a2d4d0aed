package engine_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"zeroframe/engine"
	"zeroframe/frame"
)

// A panic ends its connection and nothing else: another one on the same loop, with a half-sent message and a reply
// owed, goes on. The peer is told 1011 and not why; the log is told why and where.
func TestPanicInACallbackEndsItsConnectionWith1011(t *testing.T) {
	boom := func() { panic("boom went the handler") }
	for _, row := range []struct {
		callback string
		arm      func(h *script)
		wire     []byte
		code     frame.CloseCode // told to the peer and to OnClose
		later    bool            // comes when the read is over, so that what stood behind has been delivered
	}{
		{"OnOpen", func(h *script) { h.onOpen = func(*engine.Conn) { boom() } }, nil, 1011, false},
		{"OnMessage", func(h *script) { h.onMessage = func(*engine.Conn, frame.OpCode, []byte) { boom() } },
			encode(true, frame.Text, []byte("a")), 1011, false},
		{"OnMessage of an assembled message", func(h *script) { h.onMessage = func(*engine.Conn, frame.OpCode, []byte) { boom() } },
			append(fragment(frame.Binary, "abc"), encode(true, frame.Continuation, []byte("def"))...), 1011, false},
		{"OnPing", func(h *script) { h.onPing = func(*engine.Conn, []byte) { boom() } }, encode(true, frame.Ping, []byte("a")), 1011, false},
		{"OnPing inside a message", func(h *script) { h.onPing = func(*engine.Conn, []byte) { boom() } },
			append(fragment(frame.Text, "abc"), encode(true, frame.Ping, nil)...), 1011, false},
		{"OnPong", func(h *script) { h.onPong = func(*engine.Conn, []byte) { boom() } }, encode(true, frame.Pong, []byte("a")), 1011, false},
		{"OnDrain", func(h *script) {
			h.onMessage = func(c *engine.Conn, op frame.OpCode, p []byte) {
				c.Send(op, p) // an empty queue takes it; the second is refused, and OnDrain owed
				if err := c.Send(op, p); err != engine.ErrBackpressure {
					panic("not what this row tests")
				}
			}
			h.onDrain = func(*engine.Conn) { boom() }
		}, encode(true, frame.Binary, pattern(200)), 1011, true},
		{"Post", func(h *script) {
			h.onMessage = func(c *engine.Conn, _ frame.OpCode, _ []byte) { c.Post(boom) }
		}, encode(true, frame.Text, nil), 1011, true},
		// The close frame has been answered by then.
		{"OnClose", func(h *script) { h.onClose = func(*engine.Conn, engine.CloseReason) { boom() } },
			encode(true, frame.Close, closePayload(4000, "")), 4000, false},
		{"OnClose after a breach", func(h *script) { h.onClose = func(*engine.Conn, engine.CloseReason) { boom() } }, head(0x83), 1002, false},
	} {
		t.Run(row.callback, func(t *testing.T) {
			onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
				s := start(engine.WithLoops(1), engine.WithMaxBackpressure(100))
				h := newScript()
				row.arm(h)
				s.handle("/", h)
				s.handle("/other", replying())
				other := s.open("/other")
				half := encode(true, frame.Text, []byte("abcd"))
				other.send(half[:8])
				c := s.open("/")
				c.send(row.wire)
				if !row.later {
					c.send(encode(true, frame.Text, []byte("behind")))
				}
				if text := c.expectClose(row.code); row.code == 1011 && text != "" {
					t.Errorf("the peer was told %q", text)
				}
				c.Close()
				r := h.wait(t)
				var pe *engine.PanicError
				switch {
				case r.Code != row.code || row.code == 1011 && (r.Text != "" || r.Remote):
					t.Errorf("reason %+v", r)
				case row.code == 1011 && (!errors.As(r.Err, &pe) || pe.Value != "boom went the handler"):
					t.Errorf("reason's error is %v, want a *PanicError", r.Err)
				case pe != nil && !bytes.Contains(pe.Stack, []byte("fault_test.go")):
					t.Errorf("stack does not lead here:\n%s", pe.Stack)
				}
				s.until("the panic is logged", func() bool { return strings.Contains(s.logs.String(), "boom went the handler") })
				if log := s.logs.String(); !strings.Contains(log, "fault_test.go") {
					t.Errorf("log without the stack:\n%s", log)
				}
				for len(h.heard) > 0 {
					if m := <-h.heard; m == "behind" {
						t.Errorf("a message was delivered after the panic")
					}
				}
				h.nothingMore(t)
				other.send(half[8:])
				other.expect(frame.Text, []byte("abcd"))
				late := s.open("/other")
				late.write(frame.Text, []byte("late"))
				late.expect(frame.Text, []byte("late"))
				other.Close()
				late.Close()
				s.gone()
			})
		})
	}
}

func TestPanicInOnUpgradeIsAnswered500(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithLoops(1))
		h := newScript()
		h.onUpgrade = func(*engine.Upgrade) error { panic("boom went the handler") }
		s.handle("/", h)
		s.handle("/other", replying())
		other := s.open("/other")
		request := upgradeRequest("/")
		s.until("upgraded", func() bool { return s.Stats().Handshakes == 1 })
		for i, cut := range []int{0, 50, len(request) - 1} {
			c := s.connect()
			before := s.Stats().BytesIn
			c.send(request[:cut]) // a head that comes in pieces stands in a buffer of its own
			s.until("the beginning of the request taken", func() bool { return s.Stats().BytesIn == before+uint64(cut) })
			c.send(append(request[cut:], encode(true, frame.Text, []byte("behind"))...))
			status, head := c.readHead()
			if status != 500 || strings.Contains(head, "boom") {
				t.Errorf("answer\n%s", head)
			}
			if body := readAll(c); strings.Contains(body, "boom") || strings.Contains(body, ".go:") {
				t.Errorf("the body tells the peer %q", body)
			}
			c.Close()
			s.until("refused", func() bool { return s.Stats().Refused[500] == uint64(i+1) })
		}
		if log := s.logs.String(); strings.Count(log, "boom went the handler") != 3 || !strings.Contains(log, "fault_test.go") {
			t.Errorf("log:\n%s", log)
		}
		other.write(frame.Text, []byte("still here"))
		other.expect(frame.Text, []byte("still here"))
		other.Close()
		s.gone()
		if len(h.opened) != 0 {
			t.Error("OnOpen was called")
		}
		h.nothingMore(t)
	})
}

func readAll(c *client) string {
	c.t.Helper()
	var b strings.Builder
	if _, err := c.r.WriteTo(&b); err != nil {
		c.t.Fatalf("reading to the end: %v", err)
	}
	return b.String()
}

// What was replied before the panic goes out, whole and in order, before the close frame.
func TestRepliesBeforeAPanicAreSent(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start()
		h := newScript()
		big := pattern(20_000)
		h.onMessage = func(c *engine.Conn, op frame.OpCode, p []byte) {
			switch {
			case bytes.HasPrefix(p, []byte("big")):
				c.Reply(op, bytes.Clone(big))
			case bytes.HasPrefix(p, []byte("fragment")):
				c.SendFragment(op, p, false)
			default:
				c.Reply(op, p)
			}
			if bytes.HasSuffix(p, []byte("boom")) {
				panic("boom went the handler")
			}
		}
		s.handle("/", h)
		for _, row := range []struct {
			wire []byte
			want []string
		}{
			{encode(true, frame.Text, []byte("boom")), []string{"boom"}},
			{append(encode(true, frame.Text, []byte("first")), encode(true, frame.Text, []byte("boom"))...), []string{"first", "boom"}},
			{append(fragment(frame.Text, "in pieces, "), encode(true, frame.Continuation, []byte("boom"))...), []string{"in pieces, boom"}},
			{encode(true, frame.Text, []byte("big boom")), []string{string(big)}},
			{encode(true, frame.Text, []byte("fragment boom")), []string{"fragment boom"}},
		} {
			c := s.open("/")
			c.send(append(bytes.Clone(row.wire), encode(true, frame.Text, []byte("behind"))...))
			for _, want := range row.want {
				if f := c.next(); f.op != frame.Text || string(f.payload) != want {
					t.Fatalf("got %v, want %.40q", f, want)
				}
			}
			if text := c.expectClose(1011); text != "" {
				t.Errorf("the peer was told %q", text)
			}
			c.Close()
			var pe *engine.PanicError
			if r := h.wait(t); !errors.As(r.Err, &pe) {
				t.Errorf("reason %+v", r)
			}
		}
		s.gone()
	})
}

// After Close, or on its own way out, a connection has no second close frame to send for a panic.
func TestPanicAfterCloseSendsNoSecondCloseFrame(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start()
		h := newScript()
		h.onMessage = func(c *engine.Conn, _ frame.OpCode, _ []byte) {
			c.Close(4000, "ours")
			panic("boom went the handler")
		}
		s.handle("/", h)
		c := s.open("/")
		c.write(frame.Text, nil)
		c.expect(frame.Close, closePayload(4000, "ours"))
		c.write(frame.Close, closePayload(4000, ""))
		c.expectEOF()
		if r := h.wait(t); r.Code != 4000 || r.Text != "ours" {
			t.Errorf("reason %+v", r)
		}
		if !strings.Contains(s.logs.String(), "boom went the handler") {
			t.Error("the panic is not in the log")
		}
		c.Close()
		s.gone()
		h.nothingMore(t, "")
	})
}

// A runtime error is a panic like any other, and its value reaches OnClose.
func TestRuntimeErrorOfAHandlerReachesTheReason(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start()
		h := newScript()
		h.onMessage = func(_ *engine.Conn, _ frame.OpCode, p []byte) { p[len(p)] = 0 }
		s.handle("/", h)
		c := s.open("/")
		c.write(frame.Text, []byte("abc"))
		c.expectClose(1011)
		var pe *engine.PanicError
		if r := h.wait(t); !errors.As(r.Err, &pe) || !strings.Contains(pe.Error(), "index out of range") {
			t.Errorf("reason %+v", r)
		}
	})
}
