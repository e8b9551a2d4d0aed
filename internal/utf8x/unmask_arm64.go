//go:build !noasm

package utf8x

import "unsafe"

// useVector is off in tests alone: every arm64 processor that Go runs on has NEON.
var useVector = true

// vectorMin is from which length on unmaskVector is better than words.
const vectorMin = 33

func unmask(b []byte, key uint32, offset int, s *State) bool { return unmaskPiece(b, key, offset, s) }

// unmaskVector unmasks b, of at least 20 bytes that begin at a rune boundary, and reports whether they can be UTF-8 but
// for a beginning at the end.
func unmaskVector(b []byte, key uint32) (ok bool) {
	return unmaskNEON(unsafe.SliceData(b), len(b), key)
}

// unmaskNEON is unmaskVector for the n bytes at p, n >= 20.
//
//go:noescape
func unmaskNEON(p *byte, n int, key uint32) (ok bool)

// judgeVector is unmaskVector for text that is not masked.
func judgeVector(b []byte) (ok bool) { return judgeNEON(unsafe.SliceData(b), len(b)) }

// judgeNEON is judgeVector for the n bytes at p, n >= 20.
//
//go:noescape
func judgeNEON(p *byte, n int) (ok bool)

func vectorKernels() []string { return []string{"NEON"} }
func forceKernel(name string) { useVector = name == "NEON" }
