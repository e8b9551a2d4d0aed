//go:build darwin || dragonfly || freebsd || netbsd || openbsd

package loop

import "time"

// sendMore has no counterpart here.
const sendMore = 0

// setUserTimeout has no counterpart here: the write timeout ends peers that take nothing.
func setUserTimeout(int, time.Duration) error { return nil }
