//go:build !unix

package engine_test

import "testing"

// limitDescriptors skips the test: a process has no such limit here.
func limitDescriptors(t testing.TB, _ int) (setBack func()) {
	t.Skip("descriptors are not limited here")
	return nil
}
