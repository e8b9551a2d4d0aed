//go:build !linux

package bench

import (
	"errors"
	"time"
)

func cpuOf(int) (time.Duration, error) {
	return 0, errors.New("bench: the CPU time of another process is known on Linux only")
}

// residentBytes returns 0: unknown.
func residentBytes() uint64 { return 0 }

func processor() string { return "" }
