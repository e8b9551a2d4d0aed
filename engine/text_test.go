package engine_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"zeroframe/engine"
	"zeroframe/frame"
)

// badText are byte sequences that stop being the beginning of UTF-8 at their last byte and not before (RFC 3629, section
// 4).
var badText = []string{
	"\x80", "\xBF", // continuation bytes alone
	"ab\xFF", "\xFE", "\xF5", "\xF8", "\xC0", "\xC1", // bytes that never occur
	"\xC3\x28", "é\xC3\xC3", "\xE2\x28", "\xE2\x82\x28", "\xE2\x82\xE2", // a rune broken off by another
	"\xF0\x9F\x98a", "\xF0\x9F\xF0", "\xF0a",
	"\xE0\x9F", "\xE0\x80", "\xF0\x8F", "\xF0\x80", // overlong
	"€\xED\xA0", "\xED\xBF", // surrogates
	"\xF4\x90", "\xF4\xBF", // above U+10FFFF
	"κόσμε, a longer text with 30 bytes and more \xE2\x82\xC0",
}

// announce is a frame of which only the beginning of the payload is sent: missing more bytes are announced.
func announce(fin bool, op frame.OpCode, payload string, missing int) []byte {
	b := encode(fin, op, append([]byte(payload), make([]byte, missing)...))
	return b[:len(b)-missing]
}

// The peer sends the bad byte in a frame that is not complete, and nothing more.
func TestBadTextIsAnsweredAtTheBadByteAcrossEveryCut(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start()
		h := newScript()
		s.handle("/", h)
		for _, bad := range badText {
			cuts := []int{-1}
			for i := max(0, len(bad)-5); i < len(bad); i++ {
				cuts = append(cuts, i)
			}
			for _, cut := range cuts {
				name := fmt.Sprintf("%q cut at %d", bad, cut)
				c := s.open("/")
				if cut < 0 {
					c.send(announce(true, frame.Text, bad, 10))
				} else {
					// What came before the bad byte is no reason to close: the ping behind it is answered.
					c.send(append(fragment(frame.Text, bad[:cut]), encode(true, frame.Ping, []byte("\xFF"))...))
					c.expect(frame.Pong, []byte("\xFF"))
					c.send(announce(cut%2 == 0, frame.Continuation, bad[cut:], 10))
				}
				text := c.expectClose(frame.CloseInvalidPayload)
				c.Close()
				r := h.wait(t)
				if r.Code != frame.CloseInvalidPayload || r.Text != text || text == "" || r.Err == nil || r.Remote {
					t.Errorf("%s: reason %+v, the peer was told %q", name, r, text)
				}
				h.nothingMore(t)
			}
		}
		s.gone()
	})
}

// A large frame is read straight into the message's buffer, and checked there as it comes.
func TestBadTextIsAnsweredInsideALargeFrame(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start()
		h := newScript()
		s.handle("/", h)
		sizes := []int{0, 100, 2000}
		if overSockets(t) {
			sizes = append(sizes, 70_000, 300_000)
		}
		for _, n := range sizes {
			c := s.open("/")
			wire := announce(true, frame.Text, string(pattern(n))+"€\xE2\x82\x28", 400_000)
			c.send(wire[:len(wire)-1])
			c.send(wire[len(wire)-1:])
			c.expectClose(frame.CloseInvalidPayload)
			c.Close()
			h.wait(t)
			h.nothingMore(t)
		}
	})
}

// Without its last byte each of them may still become text.
func TestTextThatMayStillBecomeValidIsWaitedFor(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start()
		h := newScript()
		s.handle("/", h)
		for _, bad := range badText {
			good := bad[:len(bad)-1]
			c := s.open("/")
			c.send(append(fragment(frame.Text, good), encode(true, frame.Ping, nil)...))
			c.expect(frame.Pong, nil)
			c.Close()
			if r := h.wait(t); r.Code != frame.CloseAbnormal {
				t.Errorf("%q: reason %+v", good, r)
			}
		}
		s.gone()
	})
}

func TestTextThatEndsInsideARuneIsRefused(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start()
		h := newScript()
		s.handle("/", h)
		for _, part := range []string{"\xC3", "a\xE2", "\xE2\x82", "\xF0", "\xF0\x9F", "abcdefghijklmnopqrstuvwxyz 0123456789 \xF0\x9F\x98"} {
			for name, wire := range map[string][]byte{
				"whole":              encode(true, frame.Text, []byte(part)),
				"in the last frame":  append(fragment(frame.Text, "€"), encode(true, frame.Continuation, []byte(part))...),
				"empty last frame":   append(fragment(frame.Text, part), encode(true, frame.Continuation, nil)...),
				"a byte and nothing": append(append(fragment(frame.Text, ""), fragment(frame.Continuation, part)...), encode(true, frame.Continuation, nil)...),
			} {
				c := s.open("/")
				c.send(wire)
				c.expectClose(frame.CloseInvalidPayload)
				c.Close()
				if r := h.wait(t); r.Code != frame.CloseInvalidPayload {
					t.Errorf("%s %q: reason %+v", name, part, r)
				}
				h.nothingMore(t)
			}
		}
		s.gone()
	})
}

func TestTextIsTakenAtEveryCutOfItsRunes(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start()
		s.handle("/", replying())
		c := s.open("/")
		text := "aé€😀\U0010FFFF\uD7FF\uE000\x00z"
		for i := 0; i <= len(text); i++ {
			for j := i; j <= len(text); j += 3 {
				c.send(bytes.Join([][]byte{
					fragment(frame.Text, text[:i]),
					encode(true, frame.Ping, []byte("\xC0")), // no text: the state of the message is not touched
					fragment(frame.Continuation, text[i:j]),
					encode(true, frame.Continuation, []byte(text[j:])),
				}, nil))
				c.expect(frame.Pong, []byte("\xC0"))
				c.expect(frame.Text, []byte(text))
			}
		}
	})
}

func TestOnlyTextIsChecked(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start()
		s.handle("/", replying())
		s.handle("/unchecked", replying(), engine.WithUTF8Check(false))
		c := s.open("/")
		for _, bad := range badText {
			c.write(frame.Binary, []byte(bad))
			c.expect(frame.Binary, []byte(bad))
			c.send(append(fragment(frame.Binary, bad), encode(true, frame.Continuation, []byte(bad))...))
			c.expect(frame.Binary, []byte(bad+bad))
		}
		// A text after a fragmented binary message, and the other way round, begins afresh.
		c.write(frame.Text, []byte("€"))
		c.expect(frame.Text, []byte("€"))
		u := s.open("/unchecked")
		for _, bad := range badText {
			u.write(frame.Text, []byte(bad))
			u.expect(frame.Text, []byte(bad))
		}
	})
}

// Half of a close frame may lie in the network for long; what is wrong with it is known before.
func TestBadCloseFrameIsAnsweredAtTheBadByte(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start()
		h := newScript()
		s.handle("/", h)
		for _, row := range []struct {
			payload []byte
			want    *frame.Error
		}{
			{closePayload(1005, ""), frame.ErrCloseCode},
			{closePayload(999, ""), frame.ErrCloseCode},
			{closePayload(5000, "a"), frame.ErrCloseCode},
			{closePayload(1000, "\xFF"), frame.ErrCloseReason},
			{closePayload(1000, "bye \xE2\x82\x28"), frame.ErrCloseReason},
			{closePayload(4000, "\xED\xA0"), frame.ErrCloseReason},
		} {
			c := s.open("/")
			c.send(announce(true, frame.Close, string(row.payload), 20))
			if text := c.expectClose(row.want.Code); text != row.want.Reason {
				t.Errorf("close %q: told %q, want %q", row.payload, text, row.want.Reason)
			}
			c.Close()
			if r := h.wait(t); !errors.Is(r.Err, row.want) {
				t.Errorf("close %q: reason %+v, want %v", row.payload, r, row.want)
			}
		}
		s.gone()
	})
}
