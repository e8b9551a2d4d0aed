//go:build darwin || dragonfly || freebsd || netbsd || openbsd || (linux && (race || msan || asan || !(amd64 || arm64 || loong64 || ppc64le || riscv64)))

package loop

import (
	"io"

	"golang.org/x/sys/unix"
)

// Reads and writes through x/sys, which tells the race detector and the sanitizers what memory the kernel touched. The
// descriptors are non-blocking.

type rawVector struct{}

// acceptUnnamed is accept without the peer's address.
func acceptUnnamed(fd int) (nfd int, err error) {
	nfd, _, err = accept(fd)
	return nfd, err
}

func recv(fd int, p []byte) (int, error) {
	for {
		n, err := unix.Read(fd, p)
		switch {
		case n > 0:
			return n, nil
		case err == nil:
			return 0, io.EOF
		case err == unix.EAGAIN:
			return 0, ErrAgain
		case err != unix.EINTR:
			return 0, err
		}
	}
}

func send(fd int, p []byte, flags int) (n int, err error) {
	for {
		if flags == 0 {
			n, err = unix.Write(fd, p)
		} else {
			n, err = unix.SendmsgN(fd, p, nil, nil, flags)
		}
		if err == nil {
			return n, nil
		}
		if err != unix.EINTR {
			return 0, sendError(err)
		}
	}
}

func sendVector(fd int, v *vector, flags int) (int, error) {
	for {
		n, err := unix.SendmsgBuffers(fd, v.bytes, nil, nil, flags)
		if err == nil {
			return n, nil
		}
		if err != unix.EINTR {
			return 0, sendError(err)
		}
	}
}

func sendError(err error) error {
	if err == unix.EAGAIN {
		return ErrAgain
	}
	return err
}
