//go:build !linux

package bench

import "time"

func sharpen() (blunt func()) { return func() {} }

func nap(d time.Duration) { time.Sleep(d) }
