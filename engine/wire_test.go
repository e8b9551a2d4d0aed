package engine_test

import (
	"bytes"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"zeroframe/engine"
	"zeroframe/frame"
)

// script is a handler whose callbacks a test writes as it needs them. Whatever is delivered is noted in heard, and every
// connection comes out of opened.
type script struct {
	ending
	opened    chan *engine.Conn
	heard     chan string
	onUpgrade func(*engine.Upgrade) error
	onOpen    func(*engine.Conn)
	onMessage func(*engine.Conn, frame.OpCode, []byte)
	onPing    func(*engine.Conn, []byte)
	onPong    func(*engine.Conn, []byte)
	onDrain   func(*engine.Conn)
	onClose   func(*engine.Conn, engine.CloseReason)
}

func newScript() *script {
	return &script{ending: newEnding(), opened: make(chan *engine.Conn, 1000), heard: make(chan string, 10000)}
}

// replying is a script that echoes.
func replying() *script {
	h := newScript()
	h.onMessage = func(c *engine.Conn, op frame.OpCode, p []byte) { c.Reply(op, p) }
	return h
}

func (h *script) OnUpgrade(u *engine.Upgrade) error {
	if h.onUpgrade != nil {
		return h.onUpgrade(u)
	}
	return nil
}

func (h *script) OnOpen(c *engine.Conn) {
	h.opened <- c
	if h.onOpen != nil {
		h.onOpen(c)
	}
}

func (h *script) OnMessage(c *engine.Conn, op frame.OpCode, p []byte) {
	h.heard <- string(p)
	if h.onMessage != nil {
		h.onMessage(c, op, p)
	}
}

func (h *script) OnPing(c *engine.Conn, p []byte) {
	if h.onPing != nil {
		h.onPing(c, p)
	}
}

func (h *script) OnPong(c *engine.Conn, p []byte) {
	if h.onPong != nil {
		h.onPong(c, p)
	}
}

func (h *script) OnDrain(c *engine.Conn) {
	if h.onDrain != nil {
		h.onDrain(c)
	}
}

func (h *script) OnClose(c *engine.Conn, r engine.CloseReason) {
	h.ending.OnClose(c, r)
	if h.onClose != nil {
		h.onClose(c, r)
	}
}

// nothingMore requires that the handler heard exactly these messages, in order, and that no further end was reported.
func (h *script) nothingMore(t *testing.T, heard ...string) {
	t.Helper()
	var got []string
	for len(h.heard) > 0 {
		got = append(got, <-h.heard)
	}
	if !slices.Equal(got, heard) {
		t.Errorf("delivered %.200q, want %.200q", got, heard)
	}
	for len(h.ending.ch) > 0 {
		t.Errorf("OnClose was called once more, with %+v", <-h.ending.ch)
	}
}

// overSockets reports whether the running test has real sockets under it, where bulk is cheap.
func overSockets(t *testing.T) bool { return strings.Contains(t.Name(), "/socket") }

// gone waits until the engine has no connection left.
func (s *server) gone() {
	s.t.Helper()
	s.until("connections left", func() bool { return s.Stats().Conns == 0 })
}

// until waits for what only Stats tells.
func (s *server) until(what string, ok func() bool) {
	s.t.Helper()
	for end := time.Now().Add(patience); !ok(); runtime.Gosched() {
		if time.Now().After(end) {
			s.t.Fatalf("%s: still not so: %+v", what, s.Stats())
		}
	}
}

// fragment is a frame of a message that goes on.
func fragment(op frame.OpCode, payload string) []byte { return encode(false, op, []byte(payload)) }

// head is the first bytes of a client's frame, up to the one that proves it wrong.
func head(b ...byte) []byte { return b }

// breach is one way to break the protocol: bytes that end with the one that proves it.
type breach struct {
	name string
	wire []byte
	want *frame.Error
}

// breaches is the table of RFC 6455 in the order of its sections.
func breaches() []breach {
	var list []breach
	add := func(want *frame.Error, name string, parts ...[]byte) {
		list = append(list, breach{name, bytes.Join(parts, nil), want})
	}
	begun := fragment(frame.Text, "begun")
	for _, op := range []byte{1, 2, 8, 9, 10} {
		for _, rsv := range []byte{0x40, 0x20, 0x10} {
			add(frame.ErrReservedBits, fmt.Sprintf("5.2 rsv %x on opcode %x", rsv, op), head(0x80|rsv|op))
		}
	}
	add(frame.ErrReservedBits, "5.2 rsv on a continuation", begun, head(0xC0))
	for _, op := range []byte{3, 4, 5, 6, 7, 0xB, 0xC, 0xD, 0xE, 0xF} {
		add(frame.ErrReservedOpCode, fmt.Sprintf("5.2 opcode %x", op), head(0x80|op))
	}
	add(frame.ErrLengthTopBit, "5.2 top bit", head(0x82, 0xFF, 0x80))
	add(frame.ErrLengthTopBit, "5.2 all bits", head(0x81, 0xFF, 0xFF))
	add(frame.ErrLengthNotMinimal, "5.2 16 bits for 0", head(0x82, 0xFE, 0, 0))
	add(frame.ErrLengthNotMinimal, "5.2 16 bits for 125", head(0x82, 0xFE, 0, 125))
	add(frame.ErrLengthNotMinimal, "5.2 64 bits for 0", head(0x82, 0xFF, 0, 0, 0, 0, 0, 0, 0, 0))
	add(frame.ErrLengthNotMinimal, "5.2 64 bits for 126", head(0x81, 0xFF, 0, 0, 0, 0, 0, 0, 0, 126))
	add(frame.ErrLengthNotMinimal, "5.2 64 bits for 65535", head(0x82, 0xFF, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF))
	for _, op := range []byte{1, 2, 8, 9, 10} {
		add(frame.ErrUnmasked, fmt.Sprintf("5.1 unmasked opcode %x", op), head(0x80|op, 5))
	}
	add(frame.ErrUnmasked, "5.1 unmasked continuation", begun, head(0x80, 0))
	add(frame.ErrStrayContinuation, "5.4 stray continuation", head(0x80))
	add(frame.ErrStrayContinuation, "5.4 stray continuation that goes on", head(0x00))
	add(frame.ErrStrayContinuation, "5.4 continuation after the end", begun, encode(true, frame.Continuation, nil), head(0x80))
	add(frame.ErrInterleavedData, "5.4 text inside a message", begun, head(0x81))
	add(frame.ErrInterleavedData, "5.4 binary inside a message", begun, head(0x02))
	add(frame.ErrInterleavedData, "5.4 text behind a ping inside a message", begun, head(0x89, 0x80, 0, 0, 0, 0), head(0x81))
	for _, op := range []byte{8, 9, 10} {
		add(frame.ErrFragmentedControl, fmt.Sprintf("5.5 fragmented opcode %x", op), head(op))
		add(frame.ErrControlTooLong, fmt.Sprintf("5.5 opcode %x of 126 bytes", op), head(0x80|op, 0xFE))
		add(frame.ErrControlTooLong, fmt.Sprintf("5.5 opcode %x with 64 bits of length", op), head(0x80|op, 0xFF))
	}
	add(frame.ErrControlTooLong, "5.5 long ping inside a message", begun, head(0x89, 0xFE))
	add(frame.ErrClosePayload, "5.5.1 close payload of one byte", encode(true, frame.Close, []byte{3}))
	for _, code := range []frame.CloseCode{0, 1, 125, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 5001, 65535} {
		add(frame.ErrCloseCode, fmt.Sprintf("7.4 close code %d", code), encode(true, frame.Close, closePayload(code, "")))
	}
	add(frame.ErrCloseCode, "7.4 close code 1005 with a reason", encode(true, frame.Close, closePayload(1005, "why")))
	add(frame.ErrCloseReason, "5.5.1 close reason not UTF-8", encode(true, frame.Close, closePayload(1000, "a\xC0")))
	add(frame.ErrCloseReason, "5.5.1 close reason ends inside a rune", encode(true, frame.Close, closePayload(1000, "a\xE2\x82")))
	add(frame.ErrCloseReason, "5.5.1 close reason with a surrogate", encode(true, frame.Close, closePayload(3000, "\xED\xA0\x80")))
	return list
}

// The peer sends the bytes that prove the breach and nothing more: the close frame must come all the same, behind what
// was answered before.
func TestBreachOfTheProtocolIsAnsweredAtTheByteThatProvesIt(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start()
		h := replying()
		s.handle("/", h)
		for _, b := range breaches() {
			t.Run(b.name, func(t *testing.T) {
				c := s.open("/")
				c.t = t
				before := "before " + b.name
				c.send(append(encode(true, frame.Text, []byte(before)), b.wire...))
				c.expect(frame.Text, []byte(before))
				text := c.expectClose(b.want.Code)
				c.Close()
				r := h.wait(t)
				if r.Code != b.want.Code || r.Text != text || text != b.want.Reason || r.Remote {
					t.Errorf("reason %+v, the peer was told %q, want %q", r, text, b.want.Reason)
				}
				var fe *frame.Error
				if !errors.Is(r.Err, b.want) || !errors.As(r.Err, &fe) || fe != b.want {
					t.Errorf("reason's error is %v, want %v", r.Err, b.want)
				}
				if b.want == frame.ErrStrayContinuation && strings.Contains(b.name, "after the end") {
					h.nothingMore(t, before, "begun")
					return
				}
				h.nothingMore(t, before)
			})
		}
		s.gone()
	})
}

func TestNothingIsDeliveredAfterABreach(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start()
		h := replying()
		s.handle("/", h)
		behind := bytes.Join([][]byte{
			encode(true, frame.Text, []byte("behind")),
			encode(true, frame.Ping, []byte("unanswered")),
			encode(true, frame.Continuation, []byte("more")),
			encode(true, frame.Close, closePayload(1000, "bye")),
		}, nil)
		for _, b := range breaches() {
			c := s.open("/")
			c.send(append(bytes.Clone(b.wire), behind...))
			var pongs, closes int
			for {
				f, err := c.readFrame()
				if err != nil {
					break
				}
				switch f.op {
				case frame.Close:
					closes++
				case frame.Pong:
					if closes > 0 || string(f.payload) == "unanswered" {
						pongs++
					}
				}
			}
			if closes != 1 || pongs != 0 {
				t.Errorf("%s: %d close frames and %d pongs, want one close frame alone", b.name, closes, pongs)
			}
			c.Close()
			if r := h.wait(t); r.Code != b.want.Code {
				t.Errorf("%s: reason %+v, want %v", b.name, r, b.want.Code)
			}
			for len(h.heard) > 0 {
				if m := <-h.heard; m != "begun" {
					t.Errorf("%s: %q was delivered", b.name, m)
				}
			}
		}
		s.gone()
		h.nothingMore(t)
	})
}

// Closing a socket with unread input sends a reset, which would take the close frame from a client that has not read
// yet: so the client here sends all it has before it reads.
func TestCloseFrameSurvivesInputThatIsStillComing(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithMaxFrameSize(1000))
		h := replying()
		h.onPing = func(*engine.Conn, []byte) { panic("for the test") }
		s.handle("/", h)
		bulk := make([]byte, 4<<10)
		if overSockets(t) {
			bulk = make([]byte, 1<<20)
		}
		for _, row := range []struct {
			name string
			wire []byte
			code frame.CloseCode
		}{
			{"breach", head(0x83), 1002},
			{"not UTF-8", head(0x81, 0xFE, 0x03, 0xE8, 0, 0, 0, 0, 0xFF), 1007},
			{"too big", head(0x82, 0xFF, 0, 0, 0, 0, 0, 0x10, 0, 0), 1009},
			{"panic", encode(true, frame.Ping, nil), 1011},
			{"close", encode(true, frame.Close, closePayload(4321, "")), 4321},
		} {
			c := s.open("/")
			c.send(bytes.Join([][]byte{encode(true, frame.Text, []byte("before")), row.wire, bulk}, nil))
			c.expect(frame.Text, []byte("before"))
			c.expectClose(row.code)
			c.Close()
			if r := h.wait(t); r.Code != row.code {
				t.Errorf("%s: reason %+v, want %v", row.name, r, row.code)
			}
			h.nothingMore(t, "before")
		}
		s.gone()
	})
}

// A peer that never stops sending is not listened to until the close timeout.
func TestPeerThatKeepsSendingAfterItsErrorIsCutOff(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		if !overSockets(t) {
			t.Skip("megabytes, a few bytes at a time")
		}
		s := start(engine.WithCloseTimeout(time.Hour))
		h := newScript()
		s.handle("/", h)
		c := s.open("/")
		c.send(head(0x83))
		sent := 0
		for chunk := make([]byte, 64<<10); ; sent += len(chunk) {
			if _, err := c.Write(chunk); err != nil {
				break
			}
			if sent > 64<<20 {
				t.Fatal("64 MiB were taken after the error")
			}
		}
		s.gone()
		if r := h.wait(t); r.Code != frame.CloseProtocolError {
			t.Errorf("reason %+v", r)
		}
	})
}

// replies is what a row of TestReplies sends, with the payload it got: how a handler may answer one message.
type reply struct {
	name string
	do   func(c *engine.Conn, op frame.OpCode, p []byte) error
	want func(p string) []string
}

// bulky is a payload of the handler's own that is large enough to be written from where it stands.
var bulky = pattern(17 << 10)

// join returns the first error, so that a row of replies reads as a list.
func join(errs ...error) error { return errors.Join(errs...) }

var replies = []reply{
	{"whole", (*engine.Conn).Reply, func(p string) []string { return []string{p} }},
	{"changed in place", func(c *engine.Conn, op frame.OpCode, p []byte) error {
		for i := range p {
			p[i] ^= 1
		}
		return c.Reply(op, p)
	}, func(p string) []string {
		b := []byte(p)
		for i := range b {
			b[i] ^= 1
		}
		return []string{string(b)}
	}},
	{"prefix", func(c *engine.Conn, op frame.OpCode, p []byte) error {
		return c.Reply(op, p[:len(p)/2])
	}, func(p string) []string { return []string{p[:len(p)/2]} }},
	{"prefix with room for more behind it", func(c *engine.Conn, op frame.OpCode, p []byte) error {
		return join(c.Reply(op, p[:len(p)/2:len(p)/2]), c.Reply(op, p[len(p)/2:]))
	}, func(p string) []string { return []string{p[:len(p)/2], p[len(p)/2:]} }},
	{"nothing of it", func(c *engine.Conn, op frame.OpCode, p []byte) error {
		return join(c.Reply(op, p[:0]), c.Reply(op, nil))
	}, func(p string) []string { return []string{"", ""} }},
	{"twice", func(c *engine.Conn, op frame.OpCode, p []byte) error {
		return join(c.Reply(op, p), c.Reply(op, p))
	}, func(p string) []string { return []string{p, p} }},
	{"middle", func(c *engine.Conn, op frame.OpCode, p []byte) error {
		return c.Reply(op, p[len(p)/3:len(p)-1])
	}, func(p string) []string { return []string{p[len(p)/3 : len(p)-1]} }},
	{"middle, then whole, then middle", func(c *engine.Conn, op frame.OpCode, p []byte) error {
		return join(c.Reply(op, p[1:]), c.Reply(op, p), c.Reply(op, p[2:]))
	}, func(p string) []string { return []string{p[1:], p, p[2:]} }},
	{"whole, then middle", func(c *engine.Conn, op frame.OpCode, p []byte) error {
		return join(c.Reply(op, p), c.Reply(op, p[1:]))
	}, func(p string) []string { return []string{p, p[1:]} }},
	{"around Send", func(c *engine.Conn, op frame.OpCode, p []byte) error {
		return join(c.Reply(op, p), c.Send(op, []byte("sent")), c.Reply(op, p))
	}, func(p string) []string { return []string{p, "sent", p} }},
	{"behind Send", func(c *engine.Conn, op frame.OpCode, p []byte) error {
		return join(c.Send(op, p), c.Reply(op, p))
	}, func(p string) []string { return []string{p, p} }},
	{"bulky", func(c *engine.Conn, op frame.OpCode, p []byte) error {
		return c.Reply(op, bytes.Clone(bulky))
	}, func(string) []string { return []string{string(bulky)} }},
	{"bulky twice", func(c *engine.Conn, op frame.OpCode, p []byte) error {
		own := bytes.Clone(bulky)
		return join(c.Reply(op, own), c.Reply(op, own))
	}, func(string) []string { return []string{string(bulky), string(bulky)} }},
	{"bulky between two", func(c *engine.Conn, op frame.OpCode, p []byte) error {
		return join(c.Reply(op, p), c.Reply(op, bytes.Clone(bulky)), c.Reply(op, p))
	}, func(p string) []string { return []string{p, string(bulky), p} }},
	{"bulky, then whole", func(c *engine.Conn, op frame.OpCode, p []byte) error {
		return join(c.Reply(op, bytes.Clone(bulky)), c.Reply(op, p))
	}, func(p string) []string { return []string{string(bulky), p} }},
	{"prepared, text and fragments", func(c *engine.Conn, op frame.OpCode, p []byte) error {
		m, err := engine.Prepare(op, p)
		return join(err, c.Reply(op, p), c.SendPrepared(m), c.SendFragment(op, []byte("only"), true), c.SendPrepared(m))
	}, func(p string) []string { return []string{p, p, "only", p} }},
}

// Each way to reply, to messages that come alone, in pieces, and many in one read.
func TestRepliesKeepPayloadAndOrder(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start()
		long := []int{20_000, 70_000}
		if !overSockets(t) {
			long = []int{300}
		}
		for i, r := range replies {
			h := newScript()
			h.onMessage = func(c *engine.Conn, op frame.OpCode, p []byte) {
				if err := r.do(c, op, p); err != nil {
					t.Errorf("%s: %v", r.name, err)
				}
			}
			path := fmt.Sprintf("/%d", i)
			s.handle(path, h)
			c := s.open(path)
			var wire []byte
			var want []string
			sizes := append([]int{3, 3, 10, 130, 5}, long...)
			if strings.Contains(r.name, "bulky") && !overSockets(t) {
				sizes = []int{5, 5}
			}
			for i, n := range sizes {
				p := string(bytes.Repeat([]byte{byte('a' + i)}, n-1)) + "."
				wire = append(wire, encode(true, frame.Text, []byte(p))...)
				want = append(want, r.want(p)...)
				if n > 200 || i == 0 { // and once more through the assembly buffer
					wire = append(wire, fragment(frame.Text, p[:n/2])...)
					wire = append(wire, encode(true, frame.Continuation, []byte(p[n/2:]))...)
					want = append(want, r.want(p)...)
				}
			}
			go c.Write(wire)
			for j, p := range want {
				if f := c.next(); !f.fin || f.op != frame.Text || string(f.payload) != p {
					t.Fatalf("%s: answer %d is %v, want %d bytes %.40q", r.name, j, f, len(p), p)
				}
			}
			c.Close()
			h.wait(t)
		}
		s.gone()
	})
}

func TestPipelinedMixOfMessagesPingsAndFragmentsKeepsItsOrder(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start()
		s.handle("/", replying())
		c := s.open("/")
		type answer struct {
			op      frame.OpCode
			payload string
		}
		var wire []byte
		var want []answer
		for i := range 60 {
			p := fmt.Sprintf("%d %s", i, pattern(i*7%200))
			switch i % 5 {
			case 0, 1:
				wire = append(wire, encode(true, frame.Text, []byte(p))...)
				want = append(want, answer{frame.Text, p})
			case 2:
				ping := p[:min(len(p), 125)]
				wire = append(wire, encode(true, frame.Ping, []byte(ping))...)
				want = append(want, answer{frame.Pong, ping})
			case 3:
				wire = append(wire, fragment(frame.Binary, p[:1])...)
				wire = append(wire, encode(true, frame.Ping, nil)...)
				wire = append(wire, encode(true, frame.Pong, []byte("unasked"))...)
				wire = append(wire, encode(true, frame.Continuation, []byte(p[1:]))...)
				want = append(want, answer{frame.Pong, ""}, answer{frame.Binary, p})
			case 4:
				wire = append(wire, encode(true, frame.Binary, nil)...)
				want = append(want, answer{frame.Binary, ""})
			}
		}
		go c.Write(wire)
		for _, w := range want {
			c.expect(w.op, []byte(w.payload))
		}
	})
}

func TestReplyInsideOnPingAndOnPongFollowsThePong(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start()
		h := newScript()
		h.onPing = func(c *engine.Conn, p []byte) { c.Reply(frame.Text, p); c.Reply(frame.Binary, p) }
		h.onPong = func(c *engine.Conn, p []byte) { c.Reply(frame.Text, p); c.Reply(frame.Pong, p) }
		s.handle("/", h)
		c := s.open("/")
		for _, n := range []int{0, 1, 50, 125} {
			p := pattern(n)
			c.send(append(encode(true, frame.Ping, p), encode(true, frame.Pong, p)...))
			c.expect(frame.Pong, p)
			c.expect(frame.Text, p)
			c.expect(frame.Binary, p)
			c.expect(frame.Text, p)
			c.expect(frame.Pong, p)
		}
	})
}

// Elsewhere on the loop Reply is Send, to whichever connection it goes.
func TestReplyOutsideItsCallbackIsSend(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithLoops(1))
		h := newScript()
		h.onOpen = func(c *engine.Conn) { c.Reply(frame.Text, bytes.Clone(bulky)) }
		s.handle("/", h)
		first := s.open("/")
		first.expect(frame.Text, bulky)
		one := within(t, h.opened)
		second := s.open("/")
		second.expect(frame.Text, bulky)
		within(t, h.opened)
		h.onMessageOnLoop(t, one, func(c *engine.Conn, op frame.OpCode, p []byte) {
			one.Reply(op, p)                      // a payload of another connection, copied
			c.Reply(op, p)                        // and in place
			one.Reply(op, p)                      // and copied again
			one.Reply(frame.Binary, []byte("no")) // foreign to both
			c.Post(func() { c.Reply(frame.Text, []byte("posted")) })
		})
		second.write(frame.Text, []byte("to both"))
		second.expect(frame.Text, []byte("to both"))
		second.expect(frame.Text, []byte("posted"))
		first.expect(frame.Text, []byte("to both"))
		first.expect(frame.Text, []byte("to both"))
		first.expect(frame.Binary, []byte("no"))
	})
}

// onMessageOnLoop sets what OnMessage does, on the loop, so that it is no race.
func (h *script) onMessageOnLoop(t *testing.T, c *engine.Conn, f func(*engine.Conn, frame.OpCode, []byte)) {
	t.Helper()
	set := make(chan bool)
	c.Post(func() { h.onMessage = f; close(set) })
	within(t, set)
}

func TestSendersRefuseWhatIsNoMessage(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start()
		h := newScript()
		h.onMessage = func(c *engine.Conn, op frame.OpCode, p []byte) {
			for _, bad := range []frame.OpCode{frame.Continuation, frame.Close, frame.Ping, 3, 0xB, 0x10, 0x81} {
				if err := c.Reply(bad, p); err != engine.ErrFragment {
					t.Errorf("Reply(%d): %v", bad, err)
				}
			}
			for _, bad := range []frame.OpCode{frame.Continuation, frame.Close, frame.Ping, frame.Pong, 3, 0x10, 0x81} {
				if err := c.Send(bad, p); err != engine.ErrFragment {
					t.Errorf("Send(%d): %v", bad, err)
				}
				if err := c.SendFragment(bad, p, true); err != engine.ErrFragment {
					t.Errorf("SendFragment(%d): %v", bad, err)
				}
				if _, err := engine.Prepare(bad, p); err != engine.ErrFragment {
					t.Errorf("Prepare(%d): %v", bad, err)
				}
			}
			if err := c.Reply(frame.Pong, pattern(126)); err != engine.ErrMessageTooBig {
				t.Errorf("Reply of a pong of 126 bytes: %v", err)
			}
			if err := c.Ping(pattern(126)); err != engine.ErrMessageTooBig {
				t.Errorf("Ping of 126 bytes: %v", err)
			}
			c.Reply(frame.Pong, p)
			c.Ping(pattern(125))
		}
		s.handle("/", h)
		c := s.open("/")
		c.write(frame.Text, []byte("go"))
		c.expect(frame.Pong, []byte("go"))
		c.expect(frame.Ping, pattern(125))
	})
}

// Between the fragments of a message no other one may begin; control frames may pass (RFC 6455, section 5.4).
func TestSentFragmentsAreNotInterleaved(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start()
		h := newScript()
		prepared, _ := engine.Prepare(frame.Text, []byte("prepared"))
		h.onMessage = func(c *engine.Conn, op frame.OpCode, p []byte) {
			must := func(err error) {
				t.Helper()
				if err != nil {
					t.Error(err)
				}
			}
			if string(p) == "begin" {
				must(c.SendFragment(frame.Text, []byte("one, "), false))
				return
			}
			for name, err := range map[string]error{
				"Send":                    c.Send(frame.Text, p),
				"SendText":                c.SendText("no"),
				"Reply":                   c.Reply(frame.Text, p),
				"Reply, bulky":            c.Reply(frame.Text, bulky),
				"SendPrepared":            c.SendPrepared(prepared),
				"fragment of another op":  c.SendFragment(frame.Binary, p, false),
				"and its last":            c.SendFragment(frame.Binary, p, true),
				"fragment without opcode": c.SendFragment(frame.Continuation, p, true),
			} {
				if err != engine.ErrFragment {
					t.Errorf("%s inside a fragmented message: %v, want ErrFragment", name, err)
				}
			}
			must(c.Reply(frame.Pong, p))
			must(c.Ping([]byte("between")))
			must(c.SendFragment(frame.Text, nil, false))
			must(c.SendFragment(frame.Text, []byte("two"), true))
			must(c.SendPrepared(prepared))
			must(c.SendFragment(frame.Binary, []byte("whole"), true))
			must(c.SendText("text"))
		}
		s.handle("/", h)
		c := s.open("/")
		// The first fragment has left when the others are tried, so that the queue does not keep them off.
		c.write(frame.Text, []byte("begin"))
		if f := c.next(); f.fin || f.op != frame.Text || string(f.payload) != "one, " {
			t.Fatalf("first fragment is %v", f)
		}
		c.write(frame.Text, []byte("go"))
		for i, want := range []wireFrame{
			{true, 0, frame.Pong, []byte("go")},
			{true, 0, frame.Ping, []byte("between")},
			{false, 0, frame.Continuation, nil},
			{true, 0, frame.Continuation, []byte("two")},
			{true, 0, frame.Text, []byte("prepared")},
			{true, 0, frame.Binary, []byte("whole")},
			{true, 0, frame.Text, []byte("text")},
		} {
			if f := c.next(); f.fin != want.fin || f.op != want.op || !bytes.Equal(f.payload, want.payload) {
				t.Fatalf("frame %d is %v, want %v", i, f, want)
			}
		}
		// The close frame may come between fragments too.
		h.onMessageOnLoop(t, within(t, h.opened), func(c *engine.Conn, _ frame.OpCode, p []byte) {
			c.SendFragment(frame.Text, []byte("never ended"), false)
			c.Close(4000, "")
		})
		c.write(frame.Text, nil)
		if f := c.next(); f.fin || string(f.payload) != "never ended" {
			t.Errorf("got %v", f)
		}
		c.expect(frame.Close, closePayload(4000, ""))
	})
}

// A payload that was replied in place stays what it was until its callback ends, whatever is sent in between: the
// handler may reply with it once more.
func TestReplyInPlaceIsNotMovedWhileItsCallbackRuns(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start()
		h := newScript()
		h.onMessage = func(c *engine.Conn, op frame.OpCode, p []byte) {
			c.Reply(op, p)
			if p[0] == '3' {
				c.Reply(op, bytes.Clone(bulky))
				c.Reply(op, p)
			}
		}
		s.handle("/", h)
		c := s.open("/")
		c.send(bytes.Join([][]byte{
			encode(true, frame.Text, []byte("1 first")),
			encode(true, frame.Text, []byte("2 second")),
			encode(true, frame.Text, []byte("3 third, replied three times")),
			encode(true, frame.Text, []byte("4 fourth")),
		}, nil))
		for _, want := range []string{"1 first", "2 second", "3 third, replied three times", string(bulky),
			"3 third, replied three times", "4 fourth"} {
			c.expect(frame.Text, []byte(want))
		}
	})
}
