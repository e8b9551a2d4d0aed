//go:build !noasm

package mask

import (
	"unsafe"

	"golang.org/x/sys/cpu"
)

// The assembly branches on these, which predicts perfectly. The flags of
// x/sys/cpu are set only if the operating system saves the wide registers as
// well.
var (
	useAVX512 = cpu.X86.HasAVX512F && cpu.X86.HasAVX512BW && cpu.X86.HasAVX512VL
	useAVX2   = cpu.X86.HasAVX2
)

func xor(b []byte, key uint32) { xorAny(unsafe.SliceData(b), len(b), key) }

// xorAny masks the n bytes at p, n >= 0, with the widest vectors there are.
//
//go:noescape
func xorAny(p *byte, n int, key uint32)

// xorAVX2 masks the n bytes at p, n >= 32.
//
//go:noescape
func xorAVX2(p *byte, n int, key uint32)

// xorSSE2 masks the n bytes at p, n >= 16.
//
//go:noescape
func xorSSE2(p *byte, n int, key uint32)
