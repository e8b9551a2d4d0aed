//go:build unix

package engine_test

import (
	"syscall"
	"testing"
)

// limitDescriptors sets how many descriptors the process may have, until setBack is called.
func limitDescriptors(t testing.TB, n int) (setBack func()) {
	t.Helper()
	var was syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &was); err != nil {
		t.Fatal(err)
	}
	now := was
	setLimit(&now.Cur, n)
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &now); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &was); err != nil {
			t.Error(err)
		}
	}
}

// setLimit bridges the types that systems give the same field.
func setLimit[T int64 | uint64](field *T, n int) { *field = T(n) }
