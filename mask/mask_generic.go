package mask

import (
	"encoding/binary"
	"math/bits"
)

// xorGeneric is the portable kernel for len(b) >= 8. It is compiled everywhere,
// so that the tests can hold the assembly against it.
func xorGeneric(b []byte, key uint32) {
	k := uint64(key)<<32 | uint64(key)

	// The last word overlaps what the loops below write. It is read before
	// them and stored after them, so that no tail is left to do by bytes.
	last := b[len(b)-8:]
	tail := load(last) ^ bits.RotateLeft64(k, -8*(len(b)&3))

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
