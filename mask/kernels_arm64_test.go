//go:build !noasm

package mask

import "unsafe"

func archKernels() []kernel {
	return []kernel{{"NEON", 16, func(b []byte, key uint32) { xorNEON(unsafe.SliceData(b), len(b), key) }}}
}
