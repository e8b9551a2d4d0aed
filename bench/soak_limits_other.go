//go:build !linux

package bench

import (
	"errors"
	"syscall"
)

// ReadSoakLimits fails: elsewhere than on Linux, 127.0.0.1 is the only address of its kind, and what the processes took is
// not known.
func ReadSoakLimits() (SoakLimits, error) {
	return SoakLimits{}, errors.New("bench: a soak over sockets needs Linux; one in memory runs everywhere")
}

func slab() uint64 { return 0 }

func bindLate(_, _ string, _ syscall.RawConn) error { return nil }
