//go:build !linux

package bench

import "time"

func sharpen() {}

func nap(d time.Duration) { time.Sleep(d) }
