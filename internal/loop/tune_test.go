//go:build unix

package loop_test

import (
	"net"
	"testing"

	"golang.org/x/sys/unix"

	"zeroframe/internal/loop"
)

// accepted returns this process's descriptor of the other end of c.
func accepted(t *testing.T, c net.Conn) int {
	t.Helper()
	port := c.LocalAddr().(*net.TCPAddr).Port
	for fd := 3; fd < 1000; fd++ {
		if sa, err := unix.Getpeername(fd); err == nil {
			if sa, ok := sa.(*unix.SockaddrInet4); ok && sa.Port == port {
				return fd
			}
		}
	}
	t.Fatal("no descriptor for the connection")
	return -1
}

// A connection inherits its socket options from the listener at its handshake, which may be over before the listener is
// served: socket activation, or a client that is quick.
func TestConnectionsFromBeforeServeHaveTheirSocketOptions(t *testing.T) {
	for _, noDelay := range []bool{true, false} {
		ln, err := (&net.ListenConfig{KeepAlive: -1}).Listen(t.Context(), "tcp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		raw, err := ln.(*net.TCPListener).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		raw.Control(func(fd uintptr) { unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NODELAY, 0) })
		before := dial(t, ln.Addr())
		a := startAccepting(t, ln, loop.Config{NoDelay: noDelay})
		within(t, a.accepted)
		after, _ := a.open()
		for name, c := range map[string]net.Conn{"before": before, "after": after} {
			got, err := unix.GetsockoptInt(accepted(t, c), unix.IPPROTO_TCP, unix.TCP_NODELAY)
			if err != nil || (got != 0) != noDelay {
				t.Errorf("TCP_NODELAY of a connection from %s Serve: %d, %v; want %v", name, got, err, noDelay)
			}
		}
	}
}
