//go:build !noasm

package mask

import "unsafe"

// xorLong masks b, len(b) > 32. Every arm64 processor that Go runs on has NEON.
func xorLong(b []byte, key uint32) { xorNEON(unsafe.SliceData(b), len(b), key) }

// xorNEON masks the n bytes at p, n >= 16.
//
//go:noescape
func xorNEON(p *byte, n int, key uint32)
