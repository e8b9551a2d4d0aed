//go:build linux && (amd64 || arm64 || loong64 || ppc64le || riscv64) && !race && !msan && !asan

package loop

import (
	"io"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Reads and writes go through RawSyscall: with MSG_DONTWAIT they cannot block, so the runtime need not be told, which
// saves a quarter of the cost of a small message. Above rawLimit the kernel copies for long enough to hold up a
// collection that waits for every thread to stop, and the ordinary call is used.
const rawLimit = 64 << 10

const dontWait = unix.MSG_DONTWAIT | unix.MSG_NOSIGNAL

func recv(fd int, p []byte) (int, error) {
	for {
		n, errno := transfer(syscall.SYS_RECVFROM, fd, p, dontWait)
		switch {
		case errno == 0 && n > 0:
			return n, nil
		case errno == 0:
			return 0, io.EOF
		case errno == syscall.EAGAIN:
			return 0, ErrAgain
		case errno != syscall.EINTR:
			return 0, errno
		}
	}
}

func send(fd int, p []byte, flags int) (int, error) {
	for {
		n, errno := transfer(syscall.SYS_SENDTO, fd, p, dontWait|flags)
		switch errno {
		case 0:
			return n, nil
		case syscall.EINTR:
		default:
			return 0, sendError(errno)
		}
	}
}

// transfer is recvfrom or sendto without an address. n counts when errno is 0.
func transfer(trap uintptr, fd int, p []byte, flags int) (n int, errno syscall.Errno) {
	var r uintptr
	if len(p) > rawLimit {
		r, _, errno = syscall.Syscall6(trap, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), uintptr(flags), 0, 0)
	} else {
		r, _, errno = syscall.RawSyscall6(trap, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), uintptr(flags), 0, 0)
	}
	return int(r), errno
}

// acceptUnnamed is accept without the peer's address, and allocates nothing. The runtime is told: a listener that was made
// to block a moment ago must not hold up more than its loop.
func acceptUnnamed(fd int) (nfd int, err error) {
	r, _, errno := syscall.Syscall6(unix.SYS_ACCEPT4, uintptr(fd), 0, 0, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
	if errno != 0 {
		return -1, errno
	}
	return int(r), nil
}

type rawVector struct {
	iov [maxParts + maxVector]syscall.Iovec
	msg syscall.Msghdr
}

func sendVector(fd int, v *vector, flags int) (int, error) {
	total := 0
	raw := &v.raw
	for i, b := range v.bytes {
		raw.iov[i].Base = unsafe.SliceData(b)
		raw.iov[i].SetLen(len(b))
		total += len(b)
	}
	raw.msg.Iov = &raw.iov[0]
	raw.msg.Iovlen = uint64(len(v.bytes))
	for {
		var r uintptr
		var errno syscall.Errno
		if total > rawLimit {
			r, _, errno = syscall.Syscall(syscall.SYS_SENDMSG, uintptr(fd), uintptr(unsafe.Pointer(&raw.msg)), uintptr(dontWait|flags))
		} else {
			r, _, errno = syscall.RawSyscall(syscall.SYS_SENDMSG, uintptr(fd), uintptr(unsafe.Pointer(&raw.msg)), uintptr(dontWait|flags))
		}
		if errno == syscall.EINTR {
			continue
		}
		clear(raw.iov[:len(v.bytes)])
		if errno != 0 {
			return 0, sendError(errno)
		}
		return int(r), nil
	}
}

func sendError(errno syscall.Errno) error {
	switch errno {
	case 0:
		return nil
	case syscall.EAGAIN:
		return ErrAgain
	}
	return errno
}
