//go:build !noasm

package mask

import (
	"golang.org/x/sys/cpu"
)

// The kernels are chosen by a branch on a bool, which predicts perfectly and
// costs less than a call through a function value. The flags of x/sys/cpu are
// set only if the operating system saves the wide registers as well.
var (
	useAVX512 = cpu.X86.HasAVX512F && cpu.X86.HasAVX512BW && cpu.X86.HasAVX512VL
	useAVX2   = cpu.X86.HasAVX2
)

// xorAVX2 masks the n bytes at p, n >= 32.
//
//go:noescape
func xorAVX2(p *byte, n int, key uint32)

// xorAVX512 masks the n bytes at p, n >= 1.
//
//go:noescape
func xorAVX512(p *byte, n int, key uint32)
