package utf8x

import "math/bits"

// unmaskGeneric is the portable kernel for len(b) >= 8. It is compiled
// everywhere, so that the tests can hold the assembly against it.
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
