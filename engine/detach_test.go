//go:build !race && unix

package engine_test

import (
	"net"

	"golang.org/x/sys/unix"
)

// detach keeps a connection open by its bare descriptor, so that only its peer costs heap.
func detach(c net.Conn) (fd int) {
	raw, _ := c.(*net.TCPConn).SyscallConn()
	raw.Control(func(p uintptr) { fd, _ = unix.FcntlInt(p, unix.F_DUPFD_CLOEXEC, 0) })
	c.Close()
	return fd
}

func closeAll(fds []int) {
	for _, fd := range fds {
		unix.Close(fd)
	}
}
