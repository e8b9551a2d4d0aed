//go:build unix

package engine_test

import (
	"net"
	"net/http"
	"testing"

	"golang.org/x/sys/unix"

	"zeroframe/engine"
)

// noDelayOf returns TCP_NODELAY of this process's descriptor at the other end of c.
func noDelayOf(t *testing.T, c net.Conn) bool {
	t.Helper()
	port := func(a net.Addr) int { return a.(*net.TCPAddr).Port }
	of := func(sa unix.Sockaddr, err error) int {
		if in4, is := sa.(*unix.SockaddrInet4); is && err == nil {
			return in4.Port
		}
		return -1
	}
	for fd := 3; fd < 1000; fd++ {
		if of(unix.Getpeername(fd)) == port(c.LocalAddr()) && of(unix.Getsockname(fd)) == port(c.RemoteAddr()) {
			on, err := unix.GetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY)
			if err != nil {
				t.Fatal(err)
			}
			return on != 0
		}
	}
	t.Fatal("no descriptor at the other end of the connection")
	return false
}

func TestNoDelayReachesTheSocketsOfTheEngine(t *testing.T) {
	for _, on := range []bool{true, false} {
		expect := func(what string, c net.Conn) {
			t.Helper()
			if got := noDelayOf(t, c); got != on {
				t.Errorf("WithNoDelay(%v): TCP_NODELAY of %s is %v", on, what, got)
			}
		}
		s := startHTTP(t, http.NotFoundHandler(), engine.WithNoDelay(on))
		s.handle("/ws", engine.NopHandler{})
		expect("an accepted connection", s.open("/ws"))

		c := s.connect() // which net/http has in between
		c.send([]byte("HEAD / HTTP/1.1\r\nHost: example.test\r\n\r\n"))
		c.readHead()
		expect("a connection that net/http serves", c)
		c.send(upgradeRequest("/ws"))
		if status, head := c.readHead(); status != 101 {
			t.Fatal(head)
		}
		expect("a connection that net/http handed back", c)

		p, dialed := newPeer(t), make(chan error, 1)
		go func() { _, err := s.Dial(t.Context(), p.url("/"), nil, engine.NopHandler{}); dialed <- err }()
		c, _ = p.accept(switching + "\r\n")
		if err := within(t, dialed); err != nil {
			t.Fatal(err)
		}
		expect("a dialed connection", c)
		c.Close()
	}
}

// A connection of another server's listener is as that server has made it.
func TestNoDelayLeavesAdoptedConnectionsAsTheyAre(t *testing.T) {
	for _, theirs := range []bool{true, false} {
		srv := &http.Server{ConnState: func(c net.Conn, state http.ConnState) {
			if state == http.StateNew {
				c.(*net.TCPConn).SetNoDelay(theirs)
			}
		}}
		m := mount(t, 0, srv, engine.WithNoDelay(!theirs))
		m.mux.Handle("/ws", m.Handler(engine.NopHandler{}))
		if got := noDelayOf(t, m.open("/ws")); got != theirs {
			t.Errorf("TCP_NODELAY of an adopted connection is %v, and was %v", got, theirs)
		}
	}
}
