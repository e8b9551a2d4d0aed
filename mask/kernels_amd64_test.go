//go:build !noasm

package mask

import "unsafe"

// AVX-512, where there is one, is what XOR itself uses; here it is told to do
// without.
func archKernels() (ks []kernel) {
	if useAVX2 {
		ks = append(ks, kernel{"AVX2", 32, func(b []byte, key uint32) { xorAVX2(unsafe.SliceData(b), len(b), key) }})
	}
	avx512, avx2 := useAVX512, useAVX2
	return append(ks,
		kernel{"SSE2", 16, func(b []byte, key uint32) { xorSSE2(unsafe.SliceData(b), len(b), key) }},
		kernel{"XOR without AVX-512", 0, func(b []byte, key uint32) {
			useAVX512 = false
			XOR(b, key, 0)
			useAVX512 = avx512
		}},
		kernel{"XOR without AVX", 0, func(b []byte, key uint32) {
			useAVX512, useAVX2 = false, false
			XOR(b, key, 0)
			useAVX512, useAVX2 = avx512, avx2
		}},
	)
}
