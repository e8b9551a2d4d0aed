package utf8x

import "math/bits"

// block is how much unmaskPortable unmasks before it validates: little enough
// to be still in the first-level cache, and a multiple of 4, so that the key
// stays.
const block = 4 << 10

// unmaskPortable unmasks b, of at least 8 bytes that begin at a rune boundary,
// and returns the state after it.
func unmaskPortable(b []byte, key uint32) State {
	state := boundary
	for len(b) > 0 {
		// What is left after a block is none or has 8 bytes.
		n := len(b)
		if n >= block+8 {
			n = block
		}
		if !unmaskGeneric(b[:n], key) || state != boundary {
			if state = advance(state, b[:n]); state == refused {
				return refused
			}
		}
		b = b[n:]
	}
	return state
}

// unmaskGeneric is the portable kernel for len(b) >= 8; it reports whether the
// result is ASCII. It is compiled everywhere, so that the tests can hold the
// assembly against it.
func unmaskGeneric(b []byte, key uint32) (ascii bool) {
	k := uint64(key)<<32 | uint64(key)

	// The last word overlaps what the loops below write. It is read before
	// them and stored after them, so that no tail is left to do by bytes.
	end := b[len(b)-8:]
	tail := load(end) ^ bits.RotateLeft64(k, -8*(len(b)&3))

	seen := tail
	for len(b) >= 32 {
		p := (*[32]byte)(b) // one bounds check for four words
		w0, w1, w2, w3 := load(p[0:])^k, load(p[8:])^k, load(p[16:])^k, load(p[24:])^k
		store(p[0:], w0)
		store(p[8:], w1)
		store(p[16:], w2)
		store(p[24:], w3)
		seen |= (w0 | w1) | (w2 | w3)
		b = b[32:]
	}
	for len(b) >= 8 {
		w := load(b) ^ k
		store(b, w)
		seen |= w
		b = b[8:]
	}
	store(end, tail)
	return seen&highBits == 0
}
