// Package mask applies and removes the masking of WebSocket payloads
// (RFC 6455, section 5.3) in place.
//
// Masking is its own inverse: the same call masks and unmasks. On amd64 the
// work is done with AVX-512, AVX2 or SSE2, whatever the processor and the
// operating system offer, and on arm64 with NEON; the build tag noasm, and
// every other architecture, select portable Go with the same results.
package mask

import "math/bits"

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
	// On amd64 this inlines to one call, into assembly: a second one would cost
	// as much as masking 64 bytes.
	xor(b, Rotate(key, offset))
}

// Rotate returns key as it stands after n more bytes of payload: the key whose
// byte 0 applies to the byte at position n. n may be any value; only n&3
// matters. It may be called from any goroutine.
func Rotate(key uint32, n int) uint32 {
	return bits.RotateLeft32(key, -8*(n&3))
}
