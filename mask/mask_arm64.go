//go:build !noasm

package mask

import "unsafe"

// Every arm64 processor that Go runs on has NEON.
func xor(b []byte, key uint32) {
	if len(b) > 32 {
		xorNEON(unsafe.SliceData(b), len(b), key)
		return
	}
	xorPortable(b, key)
}

// xorNEON masks the n bytes at p, n >= 16.
//
//go:noescape
func xorNEON(p *byte, n int, key uint32)
