//go:build !race && unix

package engine_test

import (
	"net"
	"net/http"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"zeroframe/engine"
	"zeroframe/frame"
)

// TestIdleConnectionCostsLittleLiveHeap is a gate on memory that does not depend on the machine: what the collector
// keeps per open connection, all included. Both ends have their descriptors in this process, so the server's table has
// two slots per connection, 17 B; a server alone pays 9. A connection that net/http accepted, and read the
// request of, costs the same; one with a route of its own costs that more.
func TestIdleConnectionCostsLittleLiveHeap(t *testing.T) {
	if !alone(t) {
		return
	}
	for _, way := range []struct {
		name  string
		limit int
		mount func(*engine.Engine) http.Handler // in net/http; nil: it is not there
	}{
		{"of the engine's own", 245, nil},
		{"from net/http", 245, func(e *engine.Engine) http.Handler { return e.Handler(replier{}) }},
		{"by Upgrade", 245 + 480, func(e *engine.Engine) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { e.Upgrade(w, r, replier{}) })
		}},
	} {
		t.Run(way.name, func(t *testing.T) {
			upToThreeTimes(t, func(t *testing.T, wrong func(string, ...any)) {
				addr, e := socketServer(t, replier{}, engine.WithPingInterval(30*time.Second))
				if way.mount != nil {
					addr = netHTTPServer(t, way.mount(e))
				}
				if n := idleHeap(t, addr, e); n > way.limit {
					wrong("%d B of live heap per idle connection, at most %d are meant", n, way.limit)
				}
			})
		})
	}
}

// idleHeap returns what an idle connection keeps alive.
func idleHeap(t testing.TB, addr string, e *engine.Engine) int {
	const conns = 2000
	warm := dialRaw(t, addr)
	request := encode(true, frame.Binary, []byte("hello"))
	answer := make([]byte, 7)
	exchange(t, warm, request, answer)
	clients := make([]net.Conn, 0, conns)
	before := liveHeap()
	clientCost := 0
	for range conns {
		c := dialRaw(t, addr)
		exchange(t, c, request, answer)
		clients = append(clients, c)
	}
	after := liveHeap()
	// The same number of client ends without an engine behind them: what the test itself holds.
	clientCost = clientHeap(t, conns)
	perConn := (int(after) - int(before) - clientCost) / conns
	t.Logf("%d B of live heap per idle connection, %d B of it by the test's own clients taken off", perConn, clientCost/conns)
	if s := e.Stats(); s.Open != conns+1 {
		t.Fatalf("%d connections open, want %d", s.Open, conns+1)
	}
	runtime.KeepAlive(clients)
	return perConn
}

// clientHeap returns what n client connections of the net package, and their cleanups, keep alive.
func clientHeap(t testing.TB, n int) int {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	files := make([]int, 0, n)
	accepted := make(chan struct{})
	go func() {
		defer close(accepted)
		for range n {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			files = append(files, detach(c))
		}
	}()
	before := liveHeap()
	for range n {
		c, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
	}
	<-accepted
	after := liveHeap()
	closeAll(files)
	return int(after) - int(before)
}

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
