//go:build !race && linux && !netpoll

package engine_test

// readsPerBatch is what one batch of messages costs where a short read says that nothing is left.
const readsPerBatch = 1
