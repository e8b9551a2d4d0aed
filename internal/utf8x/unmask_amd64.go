//go:build !noasm

package utf8x

import (
	"unsafe"

	"golang.org/x/sys/cpu"
)

// The kernels are chosen by a branch on a bool, which predicts perfectly and
// costs less than a call through a function value. The flags of x/sys/cpu are
// set only if the operating system saves the wide registers as well.
var (
	hasAVX512 = cpu.X86.HasAVX512F && cpu.X86.HasAVX512BW && cpu.X86.HasAVX512VL
	hasAVX2   = cpu.X86.HasAVX2

	useAVX512 = hasAVX512
	useVector = hasAVX512 || hasAVX2
	vectorMin = leastVector()
)

// leastVector is from which length on unmaskVector is better than other ways.
func leastVector() int {
	if useAVX512 {
		return 16
	}
	return 32
}

// unmask inlines into Unmask, and that into one call, of assembly: another would
// cost as much as the rest for short messages.
func unmask(b []byte, key uint32, offset int, s *State) bool {
	return unmaskAny(unsafe.SliceData(b), len(b), key, offset, s)
}

// unmaskAny unmasks ASCII of 4 to 64 bytes with SSE2, and leaves all else to
// unmaskRest.
//
//go:noescape
func unmaskAny(p *byte, n int, key uint32, offset int, s *State) (ok bool)

// unmaskRest is called by unmaskAny in its place: with the same arguments, for
// the same result.
//
//lint:ignore U1000 assembly jumps here
func unmaskRest(p *byte, n int, key uint32, offset int, s *State) (ok bool) {
	return unmaskPiece(unsafe.Slice(p, n), key, offset, s)
}

// unmaskVector unmasks b, of at least vectorMin bytes that begin at a rune boundary, and reports whether they can be
// UTF-8 but for a beginning at the end. It may be called if useVector is set.
func unmaskVector(b []byte, key uint32) (ok bool) {
	if useAVX512 {
		return unmaskAVX512(unsafe.SliceData(b), len(b), key)
	}
	return unmaskAVX2(unsafe.SliceData(b), len(b), key)
}

// unmaskAVX2 is unmaskVector for n >= 32.
//
//go:noescape
func unmaskAVX2(p *byte, n int, key uint32) (ok bool)

// unmaskAVX512 is unmaskVector for n >= 1.
//
//go:noescape
func unmaskAVX512(p *byte, n int, key uint32) (ok bool)

// judgeVector is unmaskVector for text that is not masked.
func judgeVector(b []byte) (ok bool) {
	if useAVX512 {
		return judgeAVX512(unsafe.SliceData(b), len(b))
	}
	return judgeAVX2(unsafe.SliceData(b), len(b))
}

// judgeAVX2 is judgeVector for n >= 32.
//
//go:noescape
func judgeAVX2(p *byte, n int) (ok bool)

// judgeAVX512 is judgeVector for n >= 1.
//
//go:noescape
func judgeAVX512(p *byte, n int) (ok bool)

func vectorKernels() (names []string) {
	if hasAVX512 {
		names = append(names, "AVX-512")
	}
	if hasAVX2 {
		names = append(names, "AVX2")
	}
	return names
}

func forceKernel(name string) {
	useAVX512 = name == "AVX-512"
	useVector = name != portable
	vectorMin = leastVector()
}
