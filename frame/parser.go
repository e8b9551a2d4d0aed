package frame

import (
	"encoding/binary"

	"zeroframe/mask"
)

// Parser takes one direction of a connection apart into frames. It is fed the
// stream in pieces of any size, and finds the same frames and the same error
// however it was cut. It takes 24 bytes, needs no release, and its zero value is
// ready at the start of a stream. One goroutine at a time may use it.
type Parser struct {
	length int64  // payload length of the current frame, as far as read
	left   int64  // payload bytes still to come; 0 outside a payload
	key    uint32 // masking key, as far as read
	b0, b1 byte   // the first two bytes of the header
	stage  stage
	open   bool // the next data frame must be a continuation
}

// stage is where in a frame the stream stands. Between atBoundary and inPayload
// it is the number of header bytes seen, at most MaxHeaderSize-1 between calls;
// from failed on it is failed plus the fault that ended the parse.
type stage uint8

const (
	atBoundary stage = 0
	inPayload  stage = MaxHeaderSize
	failed     stage = 0x80
)

// Next consumes the beginning of b, at most to the end of the current frame, and
// describes it in c. It returns the number of bytes consumed; the caller passes
// the rest to the next call. b is neither modified nor kept.
//
// A header that is still incomplete consumes all of b and leaves c zero. A frame
// without payload has First and Last set in one call. An empty b consumes
// nothing.
//
// The error is one of the *Error variables that concern headers. It is found at
// the earliest byte that proves it, and n counts that byte as the last one: the
// first byte for opcode, reserved bits and fragmentation; the second for
// masking and the length of a control frame; the first of eight length bytes for
// its top bit; the last length byte, before the key, for its form and for
// Rules.MaxFrame. c is then zero. An error is final: every further call consumes
// nothing and returns it again.
//
// r must not be nil. It may change between calls; a frame is judged by the rules
// at hand when the byte in question arrives.
func (p *Parser) Next(b []byte, r *Rules, c *Chunk) (n int, err error) {
	// The usual case, a whole header in b, is decoded here. Whatever is unusual,
	// wrong or incomplete is left, before anything has changed, to the path that
	// goes byte by byte: so there is one place where errors are found.
	if p.stage != atBoundary || len(b) < 2 {
		return p.resume(b, r, c)
	}
	b0, b1 := b[0], b[1]
	// An unfragmented text or binary message needs no closer look.
	if plain := b0-(finBit|byte(Text)) <= 1 && !p.open; !plain && r.checkFirst(b0, p.open) != noFault {
		return p.resume(b, r, c)
	}
	if r.checkSecond(b0, b1) != noFault {
		return p.resume(b, r, c)
	}
	size, length := 2, int64(b1&lenBits)
	if length >= len16 {
		switch {
		case length == len16 && len(b) >= 4:
			size, length = 4, int64(binary.BigEndian.Uint16(b[2:]))
		case length == len64 && len(b) >= 10:
			// With the top bit set this is negative, so it is not minimal.
			size, length = 10, int64(binary.BigEndian.Uint64(b[2:]))
		default:
			return p.resume(b, r, c)
		}
	}
	if r.checkLength(b1, length) != noFault {
		return p.resume(b, r, c)
	}
	var key uint32
	if b1&maskBit != 0 {
		if len(b) < size+4 {
			return p.resume(b, r, c)
		}
		key = binary.LittleEndian.Uint32(b[size:])
		size += 4
	}

	n = len(b)
	last := length <= int64(n-size)
	if last {
		n = size + int(length)
	} else {
		p.length, p.left, p.key = length, length-int64(n-size), key
		p.b0, p.b1, p.stage = b0, b1, inPayload
	}
	if b0&controlBit == 0 {
		p.open = b0&finBit == 0
	}
	c.Header.unpack(b0, b1, length, key)
	c.Payload = b[size:n:n]
	c.Key = key
	c.Room = size
	c.First, c.Last = true, last
	return n, nil
}

// resume is Next from wherever the stream stands.
func (p *Parser) resume(b []byte, r *Rules, c *Chunk) (n int, err error) {
	*c = Chunk{}
	if p.stage >= failed {
		return 0, faultErrors[p.stage-failed]
	}
	if p.stage < inPayload {
		for {
			if n == len(b) {
				return n, nil
			}
			done, f := p.headerByte(b[n], r)
			n++
			if f != noFault {
				p.stage = failed + stage(f)
				return n, faultErrors[f]
			}
			if done {
				break
			}
		}
		p.left, p.stage = p.length, inPayload
		if p.b0&controlBit == 0 {
			p.open = p.b0&finBit == 0
		}
		// Room stays 0: a header that began in this call would have been decoded
		// by Next itself.
		c.First = true
	}
	c.Header.unpack(p.b0, p.b1, p.length, p.key)
	c.Key = mask.Rotate(p.key, int((p.length-p.left)&3))
	start := n
	if n = len(b); p.left < int64(n-start) {
		n = start + int(p.left)
	}
	c.Payload = b[start:n:n]
	if p.left -= int64(n - start); p.left == 0 {
		p.stage = atBoundary
		c.Last = true
	}
	return n, nil
}

// headerByte takes the next byte of a header and reports whether it was the last
// one, or what is wrong with it.
func (p *Parser) headerByte(x byte, r *Rules) (done bool, f fault) {
	at := int(p.stage)
	p.stage++
	if at == 0 {
		p.b0, p.b1, p.length, p.key = x, 0, 0, 0
		return false, r.checkFirst(x, p.open)
	}
	if at == 1 {
		p.b1 = x
		if f = r.checkSecond(p.b0, x); f != noFault {
			return false, f
		}
	}
	form := p.b1 & lenBits
	lengthEnd := 2 // where the length ends and the key begins
	switch form {
	case len16:
		lengthEnd = 4
	case len64:
		lengthEnd = 10
	}
	switch {
	case at == 1 && form < len16:
		p.length = int64(form)
	case at == 1:
		return false, noFault
	case at == 2 && form == len64 && x&0x80 != 0:
		return false, lengthTopBit
	case at < lengthEnd:
		p.length = p.length<<8 | int64(x)
	default:
		p.key |= uint32(x) << (8 * (at - lengthEnd))
	}
	if at+1 == lengthEnd {
		if f = r.checkLength(p.b1, p.length); f != noFault {
			return false, f
		}
	}
	end := lengthEnd
	if p.b1&maskBit != 0 {
		end += 4
	}
	return at+1 == end, noFault
}

// Remaining returns the number of payload bytes of the current frame still to
// come. It is 0 between frames and inside a header.
func (p *Parser) Remaining() int64 { return p.left }

// InFrame reports whether some byte of a frame, but not all of it, has been
// consumed. After an error it stays true.
func (p *Parser) InFrame() bool { return p.stage != atBoundary }

// InMessage reports whether the stream is inside a fragmented message (RFC 6455,
// section 5.4): from the end of its first frame's header to the last byte of its
// last frame. A message of one frame does not count.
func (p *Parser) InMessage() bool {
	return p.open || p.left > 0 && OpCode(p.b0&opBits) == Continuation
}

// Announced returns the payload length that the current frame's header announces, in bytes: after ErrFrameTooBig the
// length that was too big, of the frame that Next stopped at.
func (p *Parser) Announced() int64 { return p.length }
