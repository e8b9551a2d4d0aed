// Package utf8x validates UTF-8 that arrives in pieces (RFC 3629; RFC 6455,
// section 8.1) and unmasks it in the same pass.
//
// A verdict is exact at every cut: a stream is refused at the first byte after
// which no continuation could make it valid, wherever the pieces end. Overlong
// forms, surrogates and code points above U+10FFFF are refused at the earliest
// byte that gives them away.
package utf8x

import "encoding/binary"

// State is the position of a stream between two pieces: at a rune boundary
// (the zero value), inside a rune, or refused. It stands for the bytes of an
// unfinished rune without keeping them. It is a plain value of 4 bytes; calls
// on one State must not run at the same time.
type State uint32

// Next takes b as the continuation of the stream and reports whether the stream
// so far is the beginning of valid UTF-8. It is false as soon as it cannot be,
// and stays false from then on, for empty pieces too. b is only read and not
// kept; nothing is allocated.
func (s *State) Next(b []byte) bool {
	*s = after(*s, b)
	return *s != refused
}

// Complete reports whether the stream may end here: it is valid so far and not
// inside a rune.
func (s State) Complete() bool { return s == boundary }

// Valid reports whether b as a whole is valid UTF-8. It may be called from any
// goroutine.
func Valid(b []byte) bool { return after(boundary, b) == boundary }

// The states of the automaton, one for each set of bytes that may come next.
// The value of a state is the place of its 6-bit field in a word of transitions.
const (
	boundary  State = 6 * iota // any byte that can begin a rune
	refused                    // nothing: no way out
	last                       // 80..BF, the last byte of a rune
	lastTwo                    // 80..BF, two bytes to go
	lastThree                  // 80..BF, three bytes to go
	afterE0                    // A0..BF: less would be overlong
	afterED                    // 80..9F: more would be a surrogate
	afterF0                    // 90..BF: less would be overlong
	afterF4                    // 80..8F: more would be above U+10FFFF
)

// transitions holds, for every byte, the next state for each state: the field
// at bit s is where state s goes. A step is then one load that does not depend
// on the state, and one shift that does, without a branch to mispredict. The
// table is 2 KiB.
var transitions = func() (t [256]uint64) {
	allow := func(from State, low, high byte, to State) {
		for c := int(low); c <= int(high); c++ {
			t[c] &^= 63 << from
			t[c] |= uint64(to) << from
		}
	}
	for s := boundary; s <= afterF4; s += 6 {
		allow(s, 0x00, 0xFF, refused)
	}
	// RFC 3629, section 4.
	allow(boundary, 0x00, 0x7F, boundary)
	allow(boundary, 0xC2, 0xDF, last)
	allow(boundary, 0xE0, 0xE0, afterE0)
	allow(boundary, 0xE1, 0xEF, lastTwo)
	allow(boundary, 0xED, 0xED, afterED)
	allow(boundary, 0xF0, 0xF0, afterF0)
	allow(boundary, 0xF1, 0xF3, lastThree)
	allow(boundary, 0xF4, 0xF4, afterF4)
	allow(last, 0x80, 0xBF, boundary)
	allow(lastTwo, 0x80, 0xBF, last)
	allow(lastThree, 0x80, 0xBF, lastTwo)
	allow(afterE0, 0xA0, 0xBF, last)
	allow(afterED, 0x80, 0x9F, last)
	allow(afterF0, 0x90, 0xBF, lastTwo)
	allow(afterF4, 0x80, 0x8F, lastTwo)
	return t
}()

// step is the state after one more byte.
func step(s State, c byte) State { return State(transitions[c]>>s) & 63 }

// after is the state after b, by vectors where b is long enough for them.
func after(s State, b []byte) State {
	if !useVector || len(b) < vectorMin {
		return advance(s, b)
	}
	for s != boundary { // a vector begins at a rune boundary; it is 3 bytes away at most
		if s == refused {
			return refused
		}
		s = step(s, b[0])
		b = b[1:]
	}
	n := len(b)
	if n < vectorMin {
		return advance(boundary, b)
	}
	if !judgeVector(b) {
		return refused
	}
	return ending(binary.LittleEndian.Uint32(b[n-4:]))
}

// highBits selects the bit that no ASCII byte has.
const highBits = 0x8080808080808080

// advance runs the automaton from s over b, passing over ASCII by words.
func advance(s State, b []byte) State {
	state := uint64(s) // above bit 5 it holds leftovers of the last shift
	for len(b) >= 32 {
		p := (*[32]byte)(b)
		b = b[32:]
		if state == uint64(boundary) && (load(p[0:])|load(p[8:])|load(p[16:])|load(p[24:]))&highBits == 0 {
			continue
		}
		for _, c := range p {
			state = transitions[c] >> (state & 63)
		}
		state &= 63
		if state == uint64(refused) {
			return refused
		}
	}
	for len(b) >= 8 {
		p := (*[8]byte)(b)
		b = b[8:]
		if state == uint64(boundary) && load(p[:])&highBits == 0 {
			continue
		}
		for _, c := range p {
			state = transitions[c] >> (state & 63)
		}
		state &= 63
	}
	for _, c := range b {
		state = transitions[c] >> (state & 63)
	}
	return State(state & 63)
}

// load and store inline to one instruction where the processor takes unaligned
// words, with a byte swap on big-endian machines.
func load(b []byte) uint64     { return binary.LittleEndian.Uint64(b) }
func store(b []byte, v uint64) { binary.LittleEndian.PutUint64(b, v) }
