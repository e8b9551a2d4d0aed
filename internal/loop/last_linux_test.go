package loop_test

import (
	"io"
	"net"
	"testing"

	"golang.org/x/sys/unix"

	"zeroframe/internal/loop"
)

// waiting returns how many bytes a client has not read yet.
func waiting(t *testing.T, c net.Conn) (n int) {
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	raw.Control(func(fd uintptr) { n, err = unix.IoctlGetInt(int(fd), unix.TIOCINQ) })
	if err != nil {
		t.Error(err)
	}
	return n
}

// Over loopback a segment that leaves has arrived when the system call returns: between the write and CloseWrite nothing
// may have, since a close frame and the FIN in a segment each cost both ends twice.
func TestTheLastOutputLeavesInOneSegmentWithTheEnd(t *testing.T) {
	for _, tt := range []struct {
		name string
		send func(p *probe)
	}{
		{"queued", func(p *probe) { p.send([]byte("last")) }},
		{"in place", func(p *probe) { p.WriteInPlace([]byte("last")) }},
		{"both", func(p *probe) { p.WriteInPlace([]byte("la")); p.send([]byte("st")) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := start(t, loop.Config{NoDelay: true})
			p := newProbe(t)
			client := make(chan net.Conn, 1)
			early := make(chan int, 1)
			p.onData = func([]byte) {
				p.LastOutput(true)
				tt.send(p)
			}
			p.onWritten = func(queued int) {
				if queued == 0 && len(early) == 0 {
					early <- waiting(t, <-client)
					p.CloseWrite()
					p.LastOutput(false)
				}
			}
			c := w.connect(p)
			client <- c
			c.Write([]byte("?"))
			if n := within(t, early); n != 0 {
				t.Errorf("%d bytes went before the end", n)
			}
			if b, err := io.ReadAll(c); string(b) != "last" || err != nil {
				t.Errorf("%q, %v", b, err)
			}
		})
	}
}
