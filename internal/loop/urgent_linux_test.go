package loop_test

import (
	"bytes"
	"net"
	"testing"

	"golang.org/x/sys/unix"

	"zeroframe/internal/loop"
)

// A read of a TCP socket stops short at urgent data, and no event announces what stands behind it.
func TestWhatStandsBehindUrgentDataIsRead(t *testing.T) {
	w := start(t, loop.Config{})
	p := newProbe(t)
	got := make(chan []byte, 1)
	var all []byte
	p.onOpened = func() { p.PauseReading() }
	p.onData = func(b []byte) {
		if all = append(all, b...); bytes.HasSuffix(all, []byte("end")) {
			got <- all
		}
	}
	c := w.connect(p)
	within(t, p.opened)
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	send := func(b string, flags int) {
		var err error
		raw.Control(func(fd uintptr) { err = unix.Send(int(fd), []byte(b), flags) })
		if err != nil {
			t.Fatal(err)
		}
	}
	send("before", 0)
	send("!", unix.MSG_OOB)
	send("end", 0)
	p.onLoop(p.ResumeReading)
	if b := within(t, got); string(b) != "beforeend" {
		t.Errorf("%q", b)
	}
}
