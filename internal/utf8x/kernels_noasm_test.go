//go:build noasm || !amd64

package utf8x

func archKernels() []kernel { return nil }
