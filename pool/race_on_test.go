//go:build race

package pool

// raceEnabled says that sync.Pool drops one put in four, so that what the shared
// pools keep and allocate cannot be asserted.
const raceEnabled = true
