//go:build unix

package loop_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"zeroframe/internal/loop"
)

// fewFiles, in the environment, makes the test binary a server that is short of descriptors.
const fewFiles = "ZEROFRAME_TEST_FEW_FILES"

// echoer sends back what it gets.
type echoer struct{ loop.Conn }

func (e *echoer) Opened() {}
func (e *echoer) Data(b []byte) {
	if !e.WriteInPlace(b) {
		e.Lock()
		copy(e.Append(len(b)), b)
		e.Unlock(true)
	}
}
func (e *echoer) Target() []byte { return nil }
func (e *echoer) EOF()           { e.Close(nil) }
func (e *echoer) Written(int)    {}
func (e *echoer) Mail(loop.Mail) {}
func (e *echoer) Timeout()       {}
func (e *echoer) Closed(error)   {}

// serveWithFewFiles prints its address and serves until its input ends.
func serveWithFewFiles() int {
	// The limit is on the number a descriptor may have: enough for the loops and a few connections.
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 40, Max: 40}); err != nil {
		fmt.Println(err)
		return 1
	}
	g, err := loop.NewGroup(loop.Config{
		Loops:      2,
		ReadBuffer: 4096,
		Refusal:    []byte("busy"),
		Logger:     slog.New(slog.NewTextHandler(os.Stderr, nil)),
		NewConn: func(func()) *loop.Conn {
			e := new(echoer)
			e.Init(e)
			return &e.Conn
		},
	})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return 1
	}
	served := make(chan error)
	go func() { served <- g.Serve(ln, nil, nil) }()
	fmt.Println(ln.Addr())
	io.Copy(io.Discard, os.Stdin)
	g.Close()
	if err := <-served; err != loop.ErrClosed {
		fmt.Println(err)
		return 1
	}
	return 0
}

// Out of descriptors, the server serves those it has, tells the others, and accepts again once descriptors return.
func TestOutOfDescriptorsTheServerGoesOn(t *testing.T) {
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), fewFiles+"=1")
	var logged bytes.Buffer
	child.Stderr = &logged
	began := time.Now()
	in, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	defer child.Process.Kill()
	said := bufio.NewReader(out)
	line, err := said.ReadString('\n')
	if err != nil {
		t.Fatalf("%q, %v", line, err)
	}
	addr := strings.TrimSpace(line)

	// answer is what a client hears to its first bytes.
	connect := func() net.Conn {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		c.SetDeadline(time.Now().Add(patience))
		return c
	}
	answer := func(c net.Conn) string {
		c.Write([]byte("ping")) // may fail on a connection that was refused
		b := make([]byte, 4)
		if _, err := io.ReadFull(c, b); err != nil {
			return err.Error()
		}
		return string(b)
	}
	var served []net.Conn
	refused := 0
	for range 60 {
		c := connect()
		switch a := answer(c); a {
		case "ping":
			served = append(served, c)
		case "busy":
			refused++
			c.Close()
		default: // a reset that overtook the refusal
			c.Close()
		}
	}
	if len(served) < 5 || len(served) > 40 || refused == 0 {
		t.Fatalf("%d served, %d refused", len(served), refused)
	}
	for _, c := range served {
		if a := answer(c); a != "ping" {
			t.Fatalf("a served connection heard %q", a)
		}
	}
	for _, c := range served[:5] {
		c.Close()
	}
	// The server learns of the closed ones and wakes from its rest, sooner or later.
	back := 0
	soon(func() bool {
		c := connect()
		if answer(c) == "ping" {
			back++
		} else {
			c.Close()
		}
		return back == 5
	})
	if back != 5 {
		t.Errorf("%d of 5 accepted after descriptors returned", back)
	}
	in.Close()
	if rest, _ := io.ReadAll(said); len(rest) > 0 {
		t.Errorf("the server said %q", rest)
	}
	if err := child.Wait(); err != nil {
		t.Errorf("%v\n%s", err, &logged)
	}
	// Whoever can bring this about must not fill the log as well: one line in ten seconds.
	lines := strings.Count(logged.String(), "out of descriptors")
	if most := 1 + int(time.Since(began)/(10*time.Second)); lines < 1 || lines > most {
		t.Errorf("%d refusals logged in %d lines, want 1 to %d", refused, lines, most)
	}
}
