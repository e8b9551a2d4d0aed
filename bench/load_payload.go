package bench

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"unicode/utf8"
)

// Kind is what the payload of messages is cut from.
type Kind uint8

const (
	// Random is ASCII at random, the same in all messages of a connection but for their stamps: little can be saved
	// without context takeover, and nearly everything with it.
	Random Kind = iota
	// JSON is records that differ in most fields, others in each message.
	JSON
	// CJK is Han characters at random, three bytes of UTF-8 each, the same in all messages of a connection but for their
	// stamps, which are ASCII.
	CJK
)

var kinds = []string{Random: "random", JSON: "json", CJK: "cjk"}

// String returns the kind's name in lower case.
func (k Kind) String() string {
	if int(k) < len(kinds) {
		return kinds[k]
	}
	return fmt.Sprintf("kind %d", k)
}

// MarshalText writes the name.
func (k Kind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText reads the name.
func (k *Kind) UnmarshalText(b []byte) error {
	i := slices.Index(kinds, string(b))
	if i < 0 {
		return fmt.Errorf("%q is none of %s", b, strings.Join(kinds, ", "))
	}
	*k = Kind(i)
	return nil
}

// payloads makes the messages of a load and knows each again. The body of a message depends on its connection, JSON on
// its number too, and is a cut from one pattern, so that bytes which come back shifted, or from another connection, do
// not match; the stamp at the front, and at the end where there is room, tells connection and sequence number, so that a
// message which is lost, repeated, out of order or joined from two is noticed. All of it is valid as text too: where a
// stamp or the end would cut a character of several bytes in two, there is padding.
type payloads struct {
	size    int
	kind    Kind
	shifts  int    // where a body may begin
	pattern []byte // size bytes from every offset below shifts

	head, tail int // what is between the stamps, and the padding that may follow and precede them
}

const (
	stampSize  = 11        // 64 bits, six in each character
	shifts     = 4095      // a multiple of the bytes of a character
	jsonShifts = 256 << 10 // far more than the 32 KiB that a compressed message can refer back to
)

func newPayloads(kind Kind, size int) *payloads {
	p := &payloads{size: size, kind: kind, shifts: shifts, head: min(size, stampSize), tail: size}
	if size >= 2*stampSize {
		p.tail -= stampSize
	}
	rnd := rand.New(rand.NewPCG(1, 2)) // every run sends the same bytes
	switch kind {
	case JSON:
		p.shifts = jsonShifts
		p.pattern = Records(rnd, size+jsonShifts)
	case CJK:
		for len(p.pattern) < size+shifts {
			p.pattern = utf8.AppendRune(p.pattern, 0x4E00+rnd.Int32N(0x5000))
		}
		if p.head < size {
			p.head = min((p.head+2)/3*3, p.tail) // bodies are cut between characters, which begin at multiples of 3
			p.tail = max(p.tail/3*3, p.head)
		}
	default:
		p.pattern = make([]byte, size+shifts)
		for i := range p.pattern {
			p.pattern[i] = '0' + byte(rnd.Uint32()&63)
		}
	}
	return p
}

// Records returns n bytes of JSON records that differ in most fields, cut where n ends.
func Records(r *rand.Rand, n int) []byte {
	names := []string{"alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi"}
	b := make([]byte, 0, n+200)
	for len(b) < n {
		b = fmt.Appendf(b, `{"id":%d,"user":%q,"price":%.2f,"ts":%d,"tags":[%q,"%x"],"active":%v},`, r.IntN(1e6), names[r.IntN(8)],
			r.Float64()*1000, 1700000000+r.IntN(1e7), names[r.IntN(8)], r.Uint32(), r.IntN(2) == 0)
	}
	return b[:n]
}

func (p *payloads) body(id, sequence uint32) []byte {
	at := uint64(id) * 61 * 3
	if p.kind == JSON {
		at += uint64(sequence) * uint64(p.size|1)
	}
	at %= uint64(p.shifts)
	return p.pattern[at:][:p.size]
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

// readStamp reads back what putStamp wrote at the front of b; both are the largest there are if b is too short for one.
func readStamp(b []byte) (id, sequence uint32) {
	if len(b) < stampSize {
		return math.MaxUint32, math.MaxUint32
	}
	v := uint64(0)
	for i, c := range b[:stampSize] {
		v |= uint64(c-'0') << (6 * i)
	}
	return uint32(v >> 32), uint32(v)
}

// fill writes a whole message to b, which is p.size long.
func (p *payloads) fill(b []byte, id, sequence uint32) {
	copy(b, p.body(id, sequence))
	pad(b[min(stampSize, p.head):p.head])
	pad(b[p.tail:])
	p.stamp(b, id, sequence)
}

// restamp turns a message of the same connection into the one with another sequence number.
func (p *payloads) restamp(b []byte, id, sequence uint32) {
	if p.kind == JSON {
		p.fill(b, id, sequence)
		return
	}
	p.stamp(b, id, sequence)
}

func (p *payloads) stamp(b []byte, id, sequence uint32) {
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
	first, last := min(p.size, stampSize), p.size
	if !bytes.Equal(b[:first], stamp[:first]) {
		return false
	}
	if p.size >= 2*stampSize {
		last -= stampSize
		if !bytes.Equal(b[last:], stamp[:]) {
			return false
		}
	}
	return bytes.Equal(b[p.head:p.tail], p.body(id, sequence)[p.head:p.tail]) && padded(b[first:p.head]) && padded(b[p.tail:last])
}

// padding is what stands where a character would be cut in two.
const padding = '_'

func pad(b []byte) {
	for i := range b {
		b[i] = padding
	}
}

func padded(b []byte) bool {
	for _, c := range b {
		if c != padding {
			return false
		}
	}
	return true
}
