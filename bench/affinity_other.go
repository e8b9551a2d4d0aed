//go:build !linux

package bench

// Cores returns nil: processes are not pinned here.
func Cores() []int { return nil }

// Pin does nothing here.
func Pin(int) (restore func(), err error) { return func() {}, nil }

// OnCore runs f, and does nothing else here.
func OnCore(_ int, f func() error) error { return f() }
