//go:build !linux

package bench

import (
	"errors"
	"time"
)

// CPUOf fails: what another process uses is known on Linux only.
func CPUOf(int) (time.Duration, error) {
	return 0, errors.New("bench: the CPU time of another process is known on Linux only")
}

// ResidentOf returns 0: unknown.
func ResidentOf(int) uint64 { return 0 }

func processor() string { return "" }

func peakOf(int) uint64 { return 0 }
