//go:build !noasm

package utf8x

import "unsafe"

func archKernels() []kernel {
	return []kernel{{"NEON", 20, func(b []byte, key uint32) bool {
		return unmaskNEON(unsafe.SliceData(b), len(b), key)
	}}}
}
