//go:build !(linux || darwin || dragonfly || freebsd || netbsd || openbsd)

package engine

func defaultMaxConns() int { return 0 }

func setReusePort(int) error { return ErrUnsupported }
