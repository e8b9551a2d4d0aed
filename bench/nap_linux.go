package bench

import (
	"time"

	"golang.org/x/sys/unix"
)

// sharpen makes the thread's sleeps end when they are to, and not up to 50 us later as the kernel likes to, until blunt is
// called.
func sharpen() (blunt func()) {
	unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
	return func() { unix.Prctl(unix.PR_SET_TIMERSLACK, 0, 0, 0, 0) } // what it was when the thread began
}

// nap sleeps. Sleeps of the Go runtime's own are rounded up to a millisecond when nothing else is to do.
func nap(d time.Duration) {
	t := unix.NsecToTimespec(int64(d))
	unix.ClockNanosleep(unix.CLOCK_MONOTONIC, 0, &t, nil)
}
