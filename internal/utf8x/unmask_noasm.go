//go:build noasm || !amd64

package utf8x

const (
	useAVX512 = false
	useAVX2   = false
)

// The compiler drops the calls to these along with the branches that lead there.
func unmaskAVX512(*byte, int, uint32) bool { return false }
func unmaskAVX2(*byte, int, uint32) bool   { return false }
