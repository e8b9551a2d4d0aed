//go:build noasm || !(amd64 || arm64)

package mask

func xor(b []byte, key uint32) { xorPortable(b, key) }
