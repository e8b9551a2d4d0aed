//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd

package engine

import (
	"os"

	"golang.org/x/sys/unix"
)

// defaultMaxConns is the limit of descriptors less a reserve for files, listeners and other people's sockets.
func defaultMaxConns() int {
	var lim unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &lim); err != nil {
		return 0
	}
	n := int(min(uint64(lim.Cur), 1<<30))
	return max(n-min(64, n/8), 1)
}

func setReusePort(fd int) error {
	return os.NewSyscallError("setsockopt SO_REUSEPORT", unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1))
}
