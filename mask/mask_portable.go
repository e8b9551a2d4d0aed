package mask

import (
	"encoding/binary"
	"math/bits"
)

// xorPortable masks b, of any length. It is compiled everywhere, so that the
// tests can hold the assembly against it.
func xorPortable(b []byte, key uint32) {
	// Words from both ends that overlap in the middle cover every length up to
	// 32; all are loaded before any is stored, so no byte is XORed twice.
	n := len(b)
	k := uint64(key)<<32 | uint64(key)
	t := bits.RotateLeft64(k, -8*(n&3)) // the key from b[n], the same from any b[n-4*i]
	switch {
	case n > 32:
		xorLong(b, k, t)
	case n >= 16:
		h, l := (*[16]byte)(b), (*[16]byte)(b[n-16:])
		h0, h1 := load(h[0:])^k, load(h[8:])^k
		l0, l1 := load(l[0:])^t, load(l[8:])^t
		store(h[0:], h0)
		store(h[8:], h1)
		store(l[0:], l0)
		store(l[8:], l1)
	case n >= 8:
		h, l := load(b)^k, load(b[n-8:])^t
		store(b, h)
		store(b[n-8:], l)
	case n >= 4:
		h := binary.LittleEndian.Uint32(b) ^ key
		l := binary.LittleEndian.Uint32(b[n-4:]) ^ uint32(t)
		binary.LittleEndian.PutUint32(b, h)
		binary.LittleEndian.PutUint32(b[n-4:], l)
	default:
		for i := range b {
			b[i] ^= byte(key)
			key >>= 8
		}
	}
}

// xorLong masks b, of at least 8 bytes, with k, and its last word with t.
func xorLong(b []byte, k, t uint64) {
	// The last word overlaps what the loops below write. It is read before
	// them and stored after them, so that no tail is left to do by bytes.
	last := b[len(b)-8:]
	tail := load(last) ^ t

	for len(b) >= 64 {
		p := (*[64]byte)(b) // one bounds check for eight words
		store(p[0:], load(p[0:])^k)
		store(p[8:], load(p[8:])^k)
		store(p[16:], load(p[16:])^k)
		store(p[24:], load(p[24:])^k)
		store(p[32:], load(p[32:])^k)
		store(p[40:], load(p[40:])^k)
		store(p[48:], load(p[48:])^k)
		store(p[56:], load(p[56:])^k)
		b = b[64:]
	}
	for len(b) >= 8 {
		store(b, load(b)^k)
		b = b[8:]
	}
	store(last, tail)
}

// load and store inline to one instruction where the processor takes unaligned
// words, with a byte swap on big-endian machines.
func load(b []byte) uint64     { return binary.LittleEndian.Uint64(b) }
func store(b []byte, v uint64) { binary.LittleEndian.PutUint64(b, v) }
