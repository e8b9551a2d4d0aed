//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd

package loop

import (
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"github.com/panjf2000/gnet/v2/pkg/socket"
	"golang.org/x/sys/unix"
)

func closeFD(fd int) { unix.Close(fd) }

func shutdownWrite(fd int) error {
	return os.NewSyscallError("shutdown", unix.Shutdown(fd, unix.SHUT_WR))
}

// mayNotBlock undoes what os.File.Fd does to a listener whose descriptor is passed on to another process: the mode belongs
// to the socket, not to one descriptor of it, and accept would hold up the loop until somebody comes.
func mayNotBlock(fd int) { unix.SetNonblock(fd, true) }

// readsStop reports whether a read of the socket may stop short though more is there, and no event announces the rest: on
// a unix socket at descriptors that are passed along, which are dropped.
func readsStop(fd int) bool {
	sa, _ := unix.Getsockname(fd)
	switch sa.(type) {
	case *unix.SockaddrInet4, *unix.SockaddrInet6:
		return false
	}
	return true
}

// accept takes one connection off a listening descriptor; the new one is non-blocking and close-on-exec.
func accept(fd int) (nfd int, remote unix.Sockaddr, err error) { return socket.Accept(fd) }

// acceptFault sorts the errors of accept.
func acceptFault(err error) acceptFailure {
	switch err {
	case unix.EAGAIN:
		return acceptNone
	case unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM:
		return acceptNoFile
	case unix.ECONNABORTED, unix.EINTR, unix.EPROTO, unix.EPERM, unix.ENETDOWN, unix.EHOSTUNREACH, unix.ENETUNREACH:
		return acceptDied
	}
	return acceptBroken
}

// addrPort returns the address of a TCP peer, and the zero AddrPort for a unix socket's.
func addrPort(sa unix.Sockaddr) netip.AddrPort {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr).Unmap(), uint16(sa.Port))
	}
	return netip.AddrPort{}
}

// peerAddr and localAddr ask the kernel: an idle connection does not store its addresses.
func peerAddr(fd int) net.Addr {
	sa, err := unix.Getpeername(fd)
	if err != nil {
		return nil
	}
	return socket.SockaddrToTCPOrUnixAddr(sa)
}

func localAddr(fd int) net.Addr {
	sa, err := unix.Getsockname(fd)
	if err != nil {
		return nil
	}
	return socket.SockaddrToTCPOrUnixAddr(sa)
}

// dupConn duplicates the descriptor of a net.Conn or net.Listener, close-on-exec, without the switch to blocking mode
// that its File method would make.
func dupConn(sc syscall.Conn) (fd int, err error) {
	raw, err := sc.SyscallConn()
	if err != nil {
		return -1, err
	}
	var dupErr error
	if err := raw.Control(func(orig uintptr) {
		fd, dupErr = unix.FcntlInt(orig, unix.F_DUPFD_CLOEXEC, 0)
	}); err != nil {
		return -1, err
	}
	return fd, os.NewSyscallError("fcntl", dupErr)
}

// netConn gives a socket's descriptor to the net package, which takes a duplicate, and closes it.
func netConn(fd int, refusal []byte) (net.Conn, error) {
	f := os.NewFile(uintptr(fd), "socket")
	defer f.Close()
	nc, err := net.FileConn(f)
	if err != nil {
		unix.SetNonblock(fd, true) // FileConn asks for the descriptor, and os.File makes it blocking for that
		refuse(fd, refusal, make([]byte, 4<<10))
	}
	return nc, err
}

// discardInput reads what has arrived and drops it: a descriptor closed with unread input sends a reset, and the peer
// may never see what was written to it.
func discardInput(fd int, scratch []byte) {
	for range 4 {
		if n, err := recv(fd, scratch); n <= 0 || err != nil {
			return
		}
	}
}

// tuneTCP sets the options of a listening socket; connections accepted from it inherit them, which saves the calls.
func tuneTCP(fd int, noDelay bool, keepAlive, userTimeout time.Duration) error {
	if noDelay {
		if err := socket.SetNoDelay(fd, 1); err != nil {
			return err
		}
	}
	if secs := int((keepAlive + time.Second - 1) / time.Second); secs > 0 {
		if err := socket.SetKeepAlivePeriod(fd, secs); err != nil {
			return err
		}
	} else if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 0); err != nil {
		return os.NewSyscallError("setsockopt SO_KEEPALIVE", err)
	}
	return setUserTimeout(fd, userTimeout)
}

// spareFile is a descriptor held in reserve, so that a client can be accepted and told why when there are no more.
type spareFile struct{ fd int }

func (s *spareFile) open() {
	fd, err := unix.Open(os.DevNull, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		fd = -1
	}
	s.fd = fd
}

func (s *spareFile) close() {
	if s.fd >= 0 {
		unix.Close(s.fd)
		s.fd = -1
	}
}
