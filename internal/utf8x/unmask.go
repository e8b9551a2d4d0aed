package utf8x

import (
	"encoding/binary"
	"math/bits"
)

// Unmask unmasks b in place and takes it as the continuation of the stream of
// s, like Next. key is the masking key as the four bytes on the wire read
// little-endian, and offset is the position of b[0] in the payload of its
// frame (RFC 6455, section 5.3); only offset&3 matters.
//
// It is one pass over b, whatever the text, where there are vectors (AVX-512,
// AVX2, NEON), and elsewhere if the text is ASCII. If the result is false, b is
// unmasked in part and must be discarded. b is not kept; nothing is allocated.
// It may be called from any goroutine as long as no other one uses b or s at
// the same time.
func Unmask(b []byte, key uint32, offset int, s *State) bool {
	return unmask(b, key, offset, s)
}

// unmaskPiece is Unmask in full.
func unmaskPiece(b []byte, key uint32, offset int, s *State) bool {
	key = rotate(key, offset)
	if *s != boundary {
		b, key = finishRune(b, key, s)
		if *s != boundary {
			return *s != refused
		}
	}
	n := len(b)
	switch {
	case useVector && n >= vectorMin:
		// Read before the kernel stores there: a load from what several stores have written waits for all of them.
		end := binary.LittleEndian.Uint32(b[n-4:]) ^ rotate(key, n)
		if !unmaskVector(b, key) {
			*s = refused
			return false
		}
		if end>>31 == 0 {
			return true
		}
		*s = ending(end)
	case n > 32:
		*s = unmaskPortable(b, key)
	case !unmaskShort(b, key):
		*s = advance(boundary, b)
	}
	return *s != refused
}

// rotate returns key as it stands after n more bytes.
func rotate(key uint32, n int) uint32 { return bits.RotateLeft32(key, -8*(n&3)) }

// finishRune unmasks the bytes of b up to the end of the rune that s is in, or to the first wrong one, and returns what
// is left of b and the key there.
func finishRune(b []byte, key uint32, s *State) ([]byte, uint32) {
	state := *s
	for len(b) > 0 && state != boundary && state != refused {
		b[0] ^= byte(key)
		state = step(state, b[0])
		key = rotate(key, 1)
		b = b[1:]
	}
	*s = state
	return b, key
}

// ending is the state after a text in which every pair of bytes is right, by its last 4 bytes, the last on top: inside
// a rune if they end with the beginning of one, and refused if no rune begins so.
func ending(w uint32) State {
	b1, b2, b3 := byte(w>>24), byte(w>>16), byte(w>>8)
	switch {
	case b1 >= 0xC0:
		return step(boundary, b1)
	case b2 >= 0xE0:
		return step(step(boundary, b2), b1)
	case b3 >= 0xF0:
		return step(step(step(boundary, b3), b2), b1)
	}
	return boundary
}

// unmaskShort unmasks b, of at most 32 bytes, and reports whether it is ASCII.
//
// Words from both ends that overlap in the middle cover every length; all are
// loaded before any is stored, so no byte is XORed twice.
func unmaskShort(b []byte, key uint32) (ascii bool) {
	n := len(b)
	k := uint64(key)<<32 | uint64(key)
	t := bits.RotateLeft64(k, -8*(n&3)) // the key from b[n], the same from any b[n-4*i]
	switch {
	case n >= 16:
		h, l := (*[16]byte)(b), (*[16]byte)(b[n-16:])
		h0, h1 := load(h[0:])^k, load(h[8:])^k
		l0, l1 := load(l[0:])^t, load(l[8:])^t
		store(h[0:], h0)
		store(h[8:], h1)
		store(l[0:], l0)
		store(l[8:], l1)
		return (h0|h1|l0|l1)&highBits == 0
	case n >= 8:
		h, l := load(b)^k, load(b[n-8:])^t
		store(b, h)
		store(b[n-8:], l)
		return (h|l)&highBits == 0
	case n >= 4:
		h := binary.LittleEndian.Uint32(b) ^ key
		l := binary.LittleEndian.Uint32(b[n-4:]) ^ uint32(t)
		binary.LittleEndian.PutUint32(b, h)
		binary.LittleEndian.PutUint32(b[n-4:], l)
		return uint64(h|l)&highBits == 0
	default:
		var seen byte
		for i := range b {
			b[i] ^= byte(key)
			seen |= b[i]
			key >>= 8
		}
		return seen < 0x80
	}
}
