//go:build !noasm

package utf8x

import "unsafe"

func archKernels() (ks []kernel) {
	if useAVX2 {
		ks = append(ks, kernel{"AVX2", 32, func(b []byte, key uint32) bool {
			return unmaskAVX2(unsafe.SliceData(b), len(b), key)
		}})
	}
	if useAVX512 {
		ks = append(ks, kernel{"AVX512", 1, func(b []byte, key uint32) bool {
			return unmaskAVX512(unsafe.SliceData(b), len(b), key)
		}})
	}
	return ks
}
