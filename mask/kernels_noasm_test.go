//go:build noasm || !amd64

package mask

func archKernels() []kernel { return nil }
