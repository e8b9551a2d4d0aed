//go:build noasm || !(amd64 || arm64)

package mask

// xorLong masks b, len(b) > 32.
func xorLong(b []byte, key uint32) { xorGeneric(b, key) }
