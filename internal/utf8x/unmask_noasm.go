//go:build noasm || !(amd64 || arm64)

package utf8x

const (
	useVector = false
	vectorMin = 0
)

func unmask(b []byte, key uint32, offset int, s *State) bool { return unmaskPiece(b, key, offset, s) }

// The compiler drops the calls to these along with the branches that lead there.
func unmaskVector([]byte, uint32) bool { return false }
func judgeVector([]byte) bool          { return false }

func vectorKernels() []string { return nil }
func forceKernel(string)      {}
