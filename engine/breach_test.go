package engine_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"zeroframe/engine"
	"zeroframe/frame"
)

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
