package loop

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// sendMore is the flag of a write behind which there will be more, or CloseWrite: TCP holds back a last segment that is
// not full, for 200 ms at most.
const sendMore = unix.MSG_MORE

func setUserTimeout(fd int, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	ms := int((d + time.Millisecond - 1) / time.Millisecond)
	return os.NewSyscallError("setsockopt TCP_USER_TIMEOUT", unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, ms))
}
