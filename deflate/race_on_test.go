//go:build race

package deflate

// raceEnabled says that sync.Pool drops one put in four, so that allocations of
// what comes from it cannot be asserted, and that everything takes ten times as
// long.
const raceEnabled = true
