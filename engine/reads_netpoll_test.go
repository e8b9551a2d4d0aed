//go:build !race && (!linux || netpoll)

package engine_test

// readsPerBatch is what one batch of messages costs on an edge-triggered poller: the second read finds nothing.
const readsPerBatch = 2
