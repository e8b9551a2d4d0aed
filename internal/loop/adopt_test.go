//go:build unix

package loop_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"zeroframe/internal/loop"
	"zeroframe/internal/memconn"
)

func pipe() (loop.Stream, net.Conn) { return memconn.Pipe(memconn.Faults{}) }

// A connection hijacked from net/http, with bytes that its reader has taken already, is the loop's afterwards: the
// original is closed and unknown to every poller but the loop's, its deadline does not matter any more, and programs that
// are started do not inherit it.
func TestAHijackedConnectionIsTakenOver(t *testing.T) {
	w := start(t, loop.Config{})
	type taken struct {
		nc       net.Conn
		leftover []byte
	}
	hijacked := make(chan taken, 1)
	srv := &http.Server{Handler: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		nc, rd, err := rw.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		b, _ := rd.Reader.Peek(rd.Reader.Buffered())
		hijacked <- taken{nc, append([]byte(nil), b...)}
	})}
	ln := listen(t)
	go srv.Serve(ln)
	defer srv.Close()

	c := dial(t, ln.Addr())
	io.WriteString(c, "GET / HTTP/1.1\r\nHost: example.test\r\n\r\nleftover")
	h := within(t, hijacked)
	for deadline := time.Now().Add(patience); len(h.leftover) < len("leftover"); {
		// The server may have handed over before everything had come.
		h.nc.SetReadDeadline(deadline)
		b := make([]byte, 100)
		n, err := h.nc.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		h.leftover = append(h.leftover, b[:n]...)
	}
	h.nc.SetDeadline(time.Unix(1, 0)) // passed

	p := newProbe(t)
	got := append([]byte(nil), h.leftover...)
	fds := make(chan int, 1)
	p.onData = func(b []byte) {
		got = append(got, b...)
		p.send(b)
	}
	p.onMail = func(loop.Mail) {
		fd, err := p.Detach()
		if err != nil {
			t.Error(err)
		}
		fds <- fd
	}
	if err := w.Adopt(&p.Conn, h.nc, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := h.nc.Write([]byte("x")); err == nil {
		t.Error("the original still writes")
	}
	io.WriteString(c, " and more")
	expect(t, c, []byte(" and more"))
	p.onLoop(func() {
		if string(got) != "leftover and more" {
			t.Errorf("%q", got)
		}
	})
	if n := pollersOf(t, c.LocalAddr(), p.RemoteAddr()); n != 1 && runtime.GOOS == "linux" {
		t.Errorf("%d pollers know the connection's descriptor", n)
	}
	p.Notify(loop.MailUser)
	fd := within(t, fds)
	if !closeOnExec(t, fd) {
		t.Error("the descriptor is inherited by programs")
	}
	f := os.NewFile(uintptr(fd), "detached")
	f.Close()
	expectEnd(t, c) // no other descriptor keeps the connection
}

// pollersOf is a rough count, from /proc, of epoll instances that watch a socket which is not the client's.
func pollersOf(t *testing.T, client, remote net.Addr) (n int) {
	if remote == nil || client.String() != remote.String() {
		t.Fatalf("the peer of the connection is %v, not %v", remote, client)
	}
	infos, _ := filepath.Glob("/proc/self/fdinfo/*")
	var epolls []string
	for _, info := range infos {
		b, err := os.ReadFile(info)
		if err == nil && strings.Contains(string(b), "tfd:") {
			epolls = append(epolls, string(b))
		}
	}
	sockets := map[string]bool{} // descriptors of this process that lead to the served end
	for _, s := range openFiles(t) {
		fd, to, _ := strings.Cut(s, " ")
		if strings.HasPrefix(to, "socket:") && peerOf(fd) == client.String() {
			sockets[fd] = true
		}
	}
	for _, e := range epolls {
		for line := range strings.Lines(e) {
			fields := strings.Fields(line)
			if len(fields) > 1 && fields[0] == "tfd:" && sockets[fields[1]] {
				n++
			}
		}
	}
	return n
}

// peerOf returns the address of a descriptor's peer, "" for what has none.
func peerOf(fd string) string {
	n, err := strconv.Atoi(fd)
	if err != nil {
		return ""
	}
	sa, err := unix.Getpeername(n)
	if v4, ok := sa.(*unix.SockaddrInet4); ok && err == nil {
		return netip.AddrPortFrom(netip.AddrFrom4(v4.Addr), uint16(v4.Port)).String()
	}
	return ""
}

func TestWhatHasNoDescriptorIsNotAdopted(t *testing.T) {
	w := start(t, loop.Config{})
	a, b := net.Pipe()
	defer b.Close()
	p := newProbe(t)
	if err := w.Adopt(&p.Conn, a, nil); err == nil || err == loop.ErrClosed {
		t.Errorf("Adopt returned %v", err)
	}
	go a.Write([]byte("still the caller's\n"))
	if s, err := bufio.NewReader(b).ReadString('\n'); err != nil || s != "still the caller's\n" {
		t.Errorf("%q, %v", s, err)
	}
	a.Close()
	_, server := tcpPair(t)
	server.Close()
	if err := w.Adopt(&p.Conn, server, nil); err == nil {
		t.Error("a closed connection was adopted")
	}
}
