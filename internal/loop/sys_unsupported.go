//go:build !(linux || darwin || dragonfly || freebsd || netbsd || openbsd)

package loop

import (
	"net"
	"net/netip"
	"syscall"
	"time"
)

const sendMore = 0

// Without a poller NewGroup fails, and nothing here is ever called; it lets the packages above compile.

type (
	rawVector struct{}
	spareFile struct{}
	sockaddr  = any
)

func (*spareFile) open()  {}
func (*spareFile) close() {}

func recv(int, []byte) (int, error)                         { return 0, ErrUnsupported }
func send(int, []byte, int) (int, error)                    { return 0, ErrUnsupported }
func sendVector(int, *vector, int) (int, error)             { return 0, ErrUnsupported }
func closeFD(int)                                           {}
func shutdownWrite(int) error                               { return ErrUnsupported }
func mayNotBlock(int)                                       {}
func readsStop(int) bool                                    { return true }
func accept(int) (int, sockaddr, error)                     { return -1, nil, ErrUnsupported }
func acceptUnnamed(int) (int, error)                        { return -1, ErrUnsupported }
func acceptFault(error) acceptFailure                       { return acceptNone }
func addrPort(sockaddr) netip.AddrPort                      { return netip.AddrPort{} }
func peerAddr(int) net.Addr                                 { return nil }
func localAddr(int) net.Addr                                { return nil }
func dupConn(syscall.Conn) (int, error)                     { return -1, ErrUnsupported }
func netConn(int, []byte) (net.Conn, error)                 { return nil, ErrUnsupported }
func discardInput(int, []byte)                              {}
func tuneTCP(int, bool, time.Duration, time.Duration) error { return ErrUnsupported }
