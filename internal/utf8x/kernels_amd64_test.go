//go:build !noasm

package utf8x

import "unsafe"

func archKernels() (ks []kernel) {
	if hasAVX2 {
		ks = append(ks, kernel{"AVX2", 32, func(b []byte, key uint32) bool {
			return unmaskAVX2(unsafe.SliceData(b), len(b), key)
		}})
	}
	if hasAVX512 {
		ks = append(ks, kernel{"AVX-512", 1, func(b []byte, key uint32) bool {
			return unmaskAVX512(unsafe.SliceData(b), len(b), key)
		}})
	}
	return ks
}
