package loop_test

import (
	"bytes"
	"net"
	"os"
	"path/filepath"
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

// One of a unix socket stops at descriptors that are passed along with the bytes. They are not kept.
func TestWhatStandsBehindPassedDescriptorsIsRead(t *testing.T) {
	for _, how := range []string{"accepted", "adopted"} {
		t.Run(how, func(t *testing.T) {
			p := newProbe(t)
			w := start(t, loop.Config{NewConn: func(func()) *loop.Conn { return &p.Conn }})
			got := make(chan []byte, 1)
			var all []byte
			p.onOpened = func() { p.PauseReading() }
			p.onData = func(b []byte) {
				if all = append(all, b...); bytes.HasSuffix(all, []byte("end")) {
					got <- all
				}
			}
			ln, err := net.Listen("unix", filepath.Join(t.TempDir(), "socket"))
			if err != nil {
				t.Fatal(err)
			}
			if how == "accepted" {
				go w.Serve(ln, nil, nil)
			}
			c := dial(t, ln.Addr()).(*net.UnixConn)
			if how == "adopted" {
				nc, err := ln.Accept()
				if err != nil {
					t.Fatal(err)
				}
				ln.Close()
				if err := w.Adopt(&p.Conn, nc, nil); err != nil {
					t.Fatal(err)
				}
			}
			within(t, p.opened)
			r, passed, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			if _, _, err := c.WriteMsgUnix([]byte("before"), unix.UnixRights(int(passed.Fd())), nil); err != nil {
				t.Fatal(err)
			}
			if _, err := c.Write([]byte("end")); err != nil {
				t.Fatal(err)
			}
			passed.Close()
			p.onLoop(p.ResumeReading)
			if b := within(t, got); string(b) != "beforeend" {
				t.Errorf("%q", b)
			}
			if n, err := r.Read(make([]byte, 1)); n != 0 || err == nil { // returns when nobody has the other end
				t.Errorf("%d, %v", n, err)
			}
		})
	}
}
