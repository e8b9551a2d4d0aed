package bench

import (
	"bytes"
	"math/rand/v2"
)

// payloads makes the messages of a load and knows each again. The body of a message depends on its connection and is a
// cut from one pseudo-random pattern, so that bytes which come back shifted, or from another connection, do not match;
// the stamp at the front, and at the end where there is room, tells connection and sequence number, so that a message
// which is lost, repeated, out of order or joined from two is noticed. All bytes are ASCII: they do as text too.
type payloads struct {
	size    int
	pattern []byte // size bytes from every offset below shifts
}

const (
	stampSize = 11 // 64 bits, six in each character
	shifts    = 4096
)

func newPayloads(size int) *payloads {
	p := &payloads{size: size, pattern: make([]byte, size+shifts)}
	rnd := rand.New(rand.NewPCG(1, 2)) // every run sends the same bytes
	for i := range p.pattern {
		p.pattern[i] = '0' + byte(rnd.Uint32()&63)
	}
	return p
}

func (p *payloads) body(id uint32) []byte {
	at := int(id * 61 % shifts)
	return p.pattern[at : at+p.size]
}

// putStamp writes the stamp, the lowest bits of the sequence number first: a payload too short for all of it begins
// with what changes most.
func putStamp(b *[stampSize]byte, id, sequence uint32) {
	v := uint64(id)<<32 | uint64(sequence)
	for i := range b {
		b[i] = '0' + byte(v&63)
		v >>= 6
	}
}

// fill writes a whole message to b, which is p.size long.
func (p *payloads) fill(b []byte, id, sequence uint32) {
	copy(b, p.body(id))
	p.restamp(b, id, sequence)
}

// restamp turns a message of the same connection into the one with another sequence number.
func (p *payloads) restamp(b []byte, id, sequence uint32) {
	var stamp [stampSize]byte
	putStamp(&stamp, id, sequence)
	copy(b, stamp[:])
	if p.size >= 2*stampSize {
		copy(b[p.size-stampSize:], stamp[:])
	}
}

// matches reports whether b is, byte for byte, the message.
func (p *payloads) matches(b []byte, id, sequence uint32) bool {
	if len(b) != p.size {
		return false
	}
	var stamp [stampSize]byte
	putStamp(&stamp, id, sequence)
	head := min(p.size, stampSize)
	if !bytes.Equal(b[:head], stamp[:head]) {
		return false
	}
	body, end := p.body(id), p.size
	if p.size >= 2*stampSize {
		end -= stampSize
		if !bytes.Equal(b[end:], stamp[:]) {
			return false
		}
	}
	return bytes.Equal(b[head:end], body[head:end])
}
