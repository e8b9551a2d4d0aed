//go:build !race && (!linux || netpoll)

package engine_test

// readsPerBatch is what one batch of messages costs where only a read that finds nothing says so.
const readsPerBatch = 2
