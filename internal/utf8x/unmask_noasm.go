//go:build noasm || !(amd64 || arm64)

package utf8x

const useVector = false

// The compiler drops the call to this along with the branch that leads there.
func unmaskVector([]byte, uint32) bool { return false }

func vectorKernels() []string { return nil }
func forceKernel(string)      {}
