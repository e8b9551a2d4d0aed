// Package mask applies and removes the masking of WebSocket payloads
// (RFC 6455, section 5.3) in place.
//
// Masking is its own inverse: the same call masks and unmasks. On amd64 the
// work is done with AVX-512 or AVX2 when the processor and the operating
// system offer them; the build tag noasm, and every other architecture, select
// portable Go with the same results.
package mask

import (
	"encoding/binary"
	"math/bits"
	"unsafe"
)

// XOR masks or unmasks b in place. key is the masking key as the four bytes on
// the wire read little-endian, and offset is the position of b[0] in the
// payload: b[i] is XORed with byte (offset+i)&3 of the key. A payload that
// arrives in pieces is unmasked by passing the number of payload bytes before
// each piece; only offset&3 matters, and offset may be any value.
//
// XOR reads and writes b only, keeps no reference to it and allocates nothing.
// It may be called from any goroutine as long as no other goroutine uses b at
// the same time. See RFC 6455, section 5.3.
func XOR(b []byte, key uint32, offset int) {
	key = Rotate(key, offset)
	n := len(b)
	if n > 32 {
		if useAVX512 {
			xorAVX512(unsafe.SliceData(b), n, key)
		} else if useAVX2 {
			xorAVX2(unsafe.SliceData(b), n, key)
		} else {
			xorGeneric(b, key)
		}
		return
	}

	// Up to 32 bytes the call into assembly costs more than it saves. Words
	// from both ends that overlap in the middle cover every length; all are
	// loaded before any is stored, so no byte is XORed twice.
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

// Rotate returns key as it stands after n more bytes of payload: the key whose
// byte 0 applies to the byte at position n. n may be any value; only n&3
// matters. It may be called from any goroutine.
func Rotate(key uint32, n int) uint32 {
	return bits.RotateLeft32(key, -8*(n&3))
}
