//go:build !race && linux && !netpoll

package engine_test

// readsPerBatch is what one batch of messages costs on a level-triggered poller.
const readsPerBatch = 1
