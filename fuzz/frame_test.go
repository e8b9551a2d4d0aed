package fuzz

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"zeroframe/frame"
)

// FuzzFrameParser checks that a stream gives the same frames and the same error
// however it is cut, that whatever is accepted keeps the rules, and that it
// encodes to the same bytes again.
func FuzzFrameParser(f *testing.F) {
	masked := frame.Header{OpCode: frame.Text, Fin: true, Masked: true, Key: 0x3d21fa37}
	hello := frame.AppendFrame(nil, masked, []byte("Hello"))
	f.Add(hello, byte(0), uint16(0), uint64(1))
	f.Add(append(bytes.Clone(hello), hello...), byte(0), uint16(4), uint64(2))
	f.Add([]byte("\x01\x03Hel\x89\x02hi\x80\x02lo"), byte(1), uint16(0), uint64(3)) // a ping between fragments
	f.Add([]byte("\xc1\x01a\x41\x00\xa0\x00"), byte(1|2|4<<3), uint16(0), uint64(4))
	f.Add(frame.AppendFrame(nil, masked, make([]byte, 126)), byte(0), uint16(126), uint64(5))
	f.Add([]byte("\x82\xff\x00\x00\x00\x00\x00\x01\x00\x00keyand a part"), byte(0), uint16(0), uint64(6))
	f.Add([]byte("\x82\xff\x80"), byte(0), uint16(0), uint64(7))
	f.Add([]byte("\x88\x82\x00\x00\x00\x00\x03\xe8"), byte(0), uint16(0), uint64(8))

	f.Fuzz(func(t *testing.T, stream []byte, switches byte, maxFrame uint16, seed uint64) {
		r := frame.Rules{
			Role:     frame.Role(switches & 1),
			FirstRSV: switches << 3 & 0x70, // bits 1 to 3
			RSV:      switches & 0x70,
			MaxFrame: int64(maxFrame),
		}
		whole := observe(t, stream, r, func(left int) int { return left })
		keepsRules(t, whole, r)
		encodesAgain(t, whole, stream)

		rnd := rand.New(rand.NewPCG(seed, 0))
		cut := rnd.IntN(len(stream) + 1)
		for name, piece := range map[string]func(left int) int{
			"two pieces": func(left int) int {
				if left == len(stream) && cut > 0 {
					return cut
				}
				return left
			},
			"single bytes":  func(int) int { return 1 },
			"random pieces": func(int) int { return rnd.IntN(24) },
		} {
			if got := observe(t, stream, r, piece); !got.equal(whole) {
				t.Fatalf("%s: %v\nwhole: %v", name, got, whole)
			}
		}
	})
}

// frameEvent is one frame, unmasked, as far as it arrived.
type frameEvent struct {
	header  frame.Header
	payload []byte
	last    bool
}

// frameTrace is what became of a stream.
type frameTrace struct {
	events             []frameEvent
	err                error
	consumed           int
	remaining          int64
	inFrame, inMessage bool
}

func (a frameTrace) equal(b frameTrace) bool {
	if a.err != b.err || a.consumed != b.consumed || a.remaining != b.remaining ||
		a.inFrame != b.inFrame || a.inMessage != b.inMessage || len(a.events) != len(b.events) {
		return false
	}
	for i, e := range a.events {
		if o := b.events[i]; e.header != o.header || e.last != o.last || !bytes.Equal(e.payload, o.payload) {
			return false
		}
	}
	return true
}

func (a frameTrace) String() string {
	return fmt.Sprintf("%+v, err %v after %d, remaining %d, in frame %v, in message %v",
		a.events, a.err, a.consumed, a.remaining, a.inFrame, a.inMessage)
}

// observe feeds a copy of stream to a parser. piece gives the size of the next
// piece; it may be 0 and may exceed what is left.
func observe(t *testing.T, stream []byte, r frame.Rules, piece func(left int) int) (tr frameTrace) {
	var p frame.Parser
	var c frame.Chunk
	rest := bytes.Clone(stream)
	for len(rest) > 0 && tr.err == nil {
		in := rest[:min(piece(len(rest)), len(rest))]
		rest = rest[len(in):]
		for first := true; tr.err == nil && (first || len(in) > 0); first = false {
			n, err := p.Next(in, &r, &c)
			tr.consumed += n
			if tr.err = err; err != nil {
				break
			}
			if n == 0 && len(in) > 0 || n > len(in) {
				t.Fatalf("consumed %d of %d", n, len(in))
			}
			if c.Room+len(c.Payload) > n || c.Room > 0 && !c.First {
				t.Fatalf("room %d, payload %d, consumed %d", c.Room, len(c.Payload), n)
			}
			in = in[n:]
			if c.First {
				tr.events = append(tr.events, frameEvent{header: c.Header})
			}
			if !c.First && !c.Last && len(c.Payload) == 0 {
				continue // inside a header, or no input
			}
			e := &tr.events[len(tr.events)-1]
			if e.last || e.header != c.Header {
				t.Fatalf("chunk %+v after %+v", c, *e)
			}
			c.Unmask()
			e.payload = append(e.payload, c.Payload...)
			e.last = c.Last
			if left := e.header.Length - int64(len(e.payload)); left != p.Remaining() || (left == 0) != e.last {
				t.Fatalf("%d left, Remaining() = %d, last %v", left, p.Remaining(), e.last)
			}
		}
	}
	tr.remaining, tr.inFrame, tr.inMessage = p.Remaining(), p.InFrame(), p.InMessage()
	if tr.err != nil {
		if n, err := p.Next(stream, &r, &c); n != 0 || err != tr.err {
			t.Fatalf("after %v: consumed %d, %v", tr.err, n, err)
		}
	} else if tr.consumed != len(stream) {
		t.Fatalf("consumed %d of %d", tr.consumed, len(stream))
	}
	return tr
}

// keepsRules checks every frame that was accepted against RFC 6455.
func keepsRules(t *testing.T, tr frameTrace, r frame.Rules) {
	open := false
	for _, e := range tr.events {
		h := e.header
		rsv := r.RSV
		switch {
		case h.OpCode.IsControl():
			rsv = 0
			if !h.Fin || h.Length > frame.MaxControlPayload {
				t.Fatalf("control frame %+v", h)
			}
		case h.OpCode.IsData():
			rsv |= r.FirstRSV
			if open {
				t.Fatalf("interleaved %+v", h)
			}
			open = !h.Fin
		default:
			if !open {
				t.Fatalf("stray %+v", h)
			}
			open = !h.Fin
		}
		if h.OpCode.IsReserved() || h.RSV&^rsv != 0 || h.Masked != (r.Role == frame.Server) ||
			h.Length < 0 || r.MaxFrame > 0 && h.Length > r.MaxFrame {
			t.Fatalf("rules %+v: %+v", r, h)
		}
	}
}

// encodesAgain checks that the frames of tr are, byte for byte, the beginning of
// the stream they came from.
func encodesAgain(t *testing.T, tr frameTrace, stream []byte) {
	var b []byte
	for _, e := range tr.events {
		if e.last {
			b = frame.AppendFrame(b, e.header, e.payload)
			continue
		}
		b = frame.AppendHeader(b, e.header)
		body := frame.AppendFrame(nil, e.header, e.payload)
		b = append(b, body[len(body)-len(e.payload):]...)
	}
	if !bytes.HasPrefix(stream, b) {
		t.Fatalf("encoded again: % x\nstream: % x", b, stream)
	}
	if n := len(b); tr.err == nil && !tr.inFrame && n != tr.consumed {
		t.Fatalf("encoded again: %d bytes of %d", n, tr.consumed)
	}
}
