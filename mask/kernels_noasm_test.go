//go:build noasm || !(amd64 || arm64)

package mask

func archKernels() []kernel { return nil }
