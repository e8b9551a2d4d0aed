package nats

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"zeroframe/frame"
)

// patience is how long a test waits for what must happen; it is never waited for in full unless the test fails.
const patience = time.Minute

func TestMain(m *testing.M) {
	before := runtime.NumGoroutine()
	code := m.Run()
	for end := time.Now().Add(patience / 4); code == 0 && runtime.NumGoroutine() > before; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			buf := make([]byte, 1<<20)
			fmt.Fprintf(os.Stderr, "goroutines are left:\n%s\n", buf[:runtime.Stack(buf, true)])
			code = 1
		}
	}
	os.Exit(code)
}

// until waits for what nobody announces.
func until(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !f(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// fakeServer says what a NATS server says, and what none should. It hands over each line that it is sent.
type fakeServer struct {
	net.Listener
	t     *testing.T
	conns chan *fakeConn
	ended sync.WaitGroup
}

type fakeConn struct {
	net.Conn
	lines chan string   // but for PING
	stall chan struct{} // close it to read no more
}

// newFakeServer starts one. A mute one accepts and is silent.
func newFakeServer(t *testing.T, mute bool) *fakeServer {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &fakeServer{Listener: ln, t: t, conns: make(chan *fakeConn, 100)}
	s.ended.Go(func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			c := &fakeConn{nc, make(chan string, 10_000), make(chan struct{})}
			if !mute {
				fmt.Fprint(nc, `INFO {"server_id":"fake","version":"2.10.0","proto":1,"headers":true,"max_payload":1048576}`+"\r\n")
				s.ended.Go(c.serve)
			}
			t.Cleanup(func() { nc.Close() })
			s.conns <- c
		}
	})
	t.Cleanup(func() {
		ln.Close()
		s.ended.Wait()
	})
	return s
}

func (c *fakeConn) serve() {
	defer close(c.lines)
	for r := bufio.NewReader(c); ; {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		switch line = strings.TrimSpace(line); {
		case line == "PING":
			fmt.Fprint(c, "PONG\r\n")
			continue
		case strings.HasPrefix(line, "PUB "):
			var n int
			fmt.Sscan(line[strings.LastIndexByte(line, ' '):], &n)
			io.CopyN(io.Discard, r, int64(n+2))
		}
		select {
		case <-c.stall:
			return
		case c.lines <- line:
		}
	}
}

// conn returns the next connection.
func (s *fakeServer) conn() *fakeConn {
	s.t.Helper()
	select {
	case c := <-s.conns:
		return c
	case <-time.After(patience):
		s.t.Fatal("nobody has connected")
		return nil
	}
}

// expect waits for a line with that beginning, past others.
func (c *fakeConn) expect(t *testing.T, beginning string) string {
	t.Helper()
	for end := time.After(patience); ; {
		select {
		case line, open := <-c.lines:
			if strings.HasPrefix(line, beginning) {
				return line
			} else if !open {
				t.Fatalf("the connection ended before %q", beginning)
			}
		case <-end:
			t.Fatalf("no %q", beginning)
		}
	}
}

// attached returns a backplane that connects to s, what it has logged, and what it does with messages.
func attached(t *testing.T, s *fakeServer, deliver func(topic string, op frame.OpCode, payload []byte),
	opts ...Option) (*Backplane, *logged) {
	t.Helper()
	if deliver == nil {
		deliver = func(string, frame.OpCode, []byte) {}
	}
	b, err := New("nats://"+s.Addr().String(), append([]Option{WithReconnect(time.Millisecond, 10*time.Millisecond)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	l := new(logged)
	if err := b.Attach(deliver, slog.New(slog.NewTextHandler(l, nil))); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b, l
}

type logged struct {
	mu sync.Mutex
	strings.Builder
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Builder.Write(p)
}

func (l *logged) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.String(), text)
}
