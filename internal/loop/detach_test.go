//go:build unix

package loop_test

import (
	"io"
	"net"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"zeroframe/internal/loop"
)

// detached gives a connection to a loop and takes its descriptor away again.
func (w *world) detached(t *testing.T) (fd int, c net.Conn) {
	t.Helper()
	p := newProbe(t)
	c = w.overSocket(p)
	within(t, p.opened)
	p.onLoop(func() {
		var err error
		if fd, err = p.Detach(); err != nil {
			t.Error(err)
		}
	})
	return fd, c
}

// The net package has defaults of its own for a descriptor that it is given; those of the group stay in force.
func TestADetachedConnectionGoesToTheNetPackageWithItsOptions(t *testing.T) {
	for _, cfg := range []loop.Config{
		{NoDelay: true, KeepAlive: 77 * time.Second},
		{NoDelay: false, KeepAlive: 0},
	} {
		w := start(t, cfg)
		before := len(openFiles(t))
		fd, c := w.detached(t)
		nc, err := w.NetConn(fd, nil)
		if err != nil {
			t.Fatal(err)
		}
		if nc.RemoteAddr().String() != c.LocalAddr().String() || nc.LocalAddr().String() != c.RemoteAddr().String() {
			t.Errorf("%v to %v", nc.LocalAddr(), nc.RemoteAddr())
		}
		raw, err := nc.(*net.TCPConn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		raw.Control(func(p uintptr) {
			option := func(level, name int) int {
				v, err := unix.GetsockoptInt(int(p), level, name)
				if err != nil {
					t.Error(err)
				}
				return v
			}
			if on := option(unix.IPPROTO_TCP, unix.TCP_NODELAY) != 0; on != cfg.NoDelay {
				t.Errorf("TCP_NODELAY is %v", on)
			}
			if on := option(unix.SOL_SOCKET, unix.SO_KEEPALIVE) != 0; on != (cfg.KeepAlive != 0) {
				t.Errorf("SO_KEEPALIVE is %v", on)
			}
			if cfg.KeepAlive != 0 && runtime.GOOS == "linux" {
				if secs := option(unix.IPPROTO_TCP, 4 /* TCP_KEEPIDLE */); secs != 77 {
					t.Errorf("keep-alive probes after %d s", secs)
				}
			}
		})
		go io.WriteString(c, "to the new owner")
		nc.SetDeadline(time.Now().Add(patience))
		expect(t, nc, []byte("to the new owner"))
		go io.WriteString(nc, "and back")
		expect(t, c, []byte("and back"))
		nc.Close()
		expectEnd(t, c) // no other descriptor keeps the connection
		c.Close()
		if !soon(func() bool { return len(openFiles(t)) <= before }) {
			t.Errorf("descriptors left: %v", openFiles(t))
		}
	}
}

// The peer of a descriptor that nobody will serve is told, although it has sent what nobody read.
func TestADetachedConnectionIsRefused(t *testing.T) {
	w := start(t, loop.Config{})
	fd, c := w.detached(t)
	io.WriteString(c, "unread")
	w.Refuse(fd, []byte("busy"))
	expect(t, c, []byte("busy"))
	expectEnd(t, c)
	if _, err := w.NetConn(fd, nil); err == nil {
		t.Error("a closed descriptor became a connection")
	}
}

// What is counted outside counts for Len, and so for MaxConns.
func TestConnectionsOutsideCount(t *testing.T) {
	ln := listen(t)
	a := startAccepting(t, ln, loop.Config{MaxConns: 2, Refusal: []byte("busy")})
	a.CountOutside(1)
	a.open()
	if a.Len() != 2 || a.Outside() != 1 {
		t.Errorf("%d, %d outside", a.Len(), a.Outside())
	}
	c := dial(t, ln.Addr())
	expect(t, c, []byte("busy"))
	a.CountOutside(-1)
	a.open()
	if a.Len() != 2 || a.Outside() != 0 {
		t.Errorf("%d, %d outside", a.Len(), a.Outside())
	}
}
