//go:build !noasm

package utf8x

import "golang.org/x/sys/cpu"

// The kernels are chosen by a branch on a bool, which predicts perfectly and
// costs less than a call through a function value. The flags of x/sys/cpu are
// set only if the operating system saves the wide registers as well.
var (
	useAVX512 = cpu.X86.HasAVX512F && cpu.X86.HasAVX512BW && cpu.X86.HasAVX512VL
	useAVX2   = cpu.X86.HasAVX2
)

// unmaskAVX2 unmasks the n bytes at p, n >= 32, and reports whether all are ASCII.
//
//go:noescape
func unmaskAVX2(p *byte, n int, key uint32) (ascii bool)

// unmaskAVX512 unmasks the n bytes at p, n >= 1, and reports whether all are ASCII.
//
//go:noescape
func unmaskAVX512(p *byte, n int, key uint32) (ascii bool)
