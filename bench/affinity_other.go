//go:build !linux

package bench

// cores returns nil: processes are not pinned here.
func cores() []int { return nil }

func pin(int) (restore func(), err error) { return func() {}, nil }

func onCore(_ int, f func() error) error { return f() }
