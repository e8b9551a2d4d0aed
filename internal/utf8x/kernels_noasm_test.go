//go:build noasm || !(amd64 || arm64)

package utf8x

func archKernels() []kernel { return nil }
