//go:build unix

package loop_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"zeroframe/internal/loop"
	"zeroframe/internal/memconn"
	"zeroframe/pool"
)

func TestMain(m *testing.M) {
	if os.Getenv(fewFiles) != "" {
		os.Exit(serveWithFewFiles())
	}
	pool.Verify(true)
	before := runtime.NumGoroutine()
	code := m.Run()
	if code == 0 && !soon(func() bool { return runtime.NumGoroutine() <= before }) {
		stacks := make([]byte, 1<<20)
		fmt.Fprintf(os.Stderr, "%d goroutines before the tests, %d after:\n%s\n",
			before, runtime.NumGoroutine(), stacks[:runtime.Stack(stacks, true)])
		code = 1
	}
	os.Exit(code)
}

// patience is how long a test waits for what must happen.
const patience = time.Minute

// soon reports whether ok becomes true, for what no event announces.
func soon(ok func() bool) bool {
	for end := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			return false
		}
	}
	return true
}

// within receives from ch, or fails the test.
func within[T any](t *testing.T, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(patience):
		t.Fatal("nothing came in time")
		panic("unreachable")
	}
}

// probe is an endpoint made of functions; those that are nil do nothing, except that the end of the stream closes. It
// checks that nothing is called after Closed. Its plain fields also let the race detector see calls off the loop.
type probe struct {
	loop.Conn
	t *testing.T

	onOpened  func()
	onData    func(b []byte)
	onTarget  func() []byte
	onEOF     func()
	onWritten func(queued int)
	onMail    func(loop.Mail)
	onTimeout func()
	onClosed  func(error)

	ended  bool
	opened chan struct{}
	closed chan error
}

func newProbe(t *testing.T) *probe {
	p := &probe{t: t, opened: make(chan struct{}), closed: make(chan error, 1)}
	p.Init(p)
	return p
}

func (p *probe) alive(call string) {
	if p.ended {
		p.t.Errorf("%s after Closed", call)
	}
}

func (p *probe) Opened() {
	p.alive("Opened")
	if p.onOpened != nil {
		p.onOpened()
	}
	close(p.opened)
}

func (p *probe) Data(b []byte) {
	p.alive("Data")
	if p.onData != nil {
		p.onData(b)
	}
}

func (p *probe) Target() []byte { p.alive("Target"); return p.onTarget() }

func (p *probe) EOF() {
	p.alive("EOF")
	if p.onEOF != nil {
		p.onEOF()
	} else {
		p.Close(nil)
	}
}

func (p *probe) Written(queued int) {
	p.alive("Written")
	if p.onWritten != nil {
		p.onWritten(queued)
	}
}

func (p *probe) Mail(bits loop.Mail) {
	p.alive("Mail")
	if p.onMail != nil {
		p.onMail(bits)
	}
}

func (p *probe) Timeout() {
	p.alive("Timeout")
	if p.onTimeout != nil {
		p.onTimeout()
	}
}

func (p *probe) Closed(err error) {
	p.alive("Closed")
	p.ended = true
	if p.onClosed != nil {
		p.onClosed(err)
	}
	p.closed <- err
}

// send queues b from any goroutine.
func (p *probe) send(b []byte) bool {
	p.Lock()
	dst := p.Append(len(b))
	copy(dst, b)
	p.Unlock(dst != nil)
	return dst != nil
}

// onLoop runs f on the probe's loop and waits for it.
func (p *probe) onLoop(f func()) {
	p.t.Helper()
	onLoop(p.t, p.Loop(), f)
}

func onLoop(t *testing.T, l *loop.Loop, f func()) {
	t.Helper()
	done := make(chan struct{})
	if !l.Do(func() { defer close(done); f() }) {
		t.Fatal("the loop has ended")
	}
	within(t, done)
}

// world is a group of loops and a way to connect a probe to a client.
type world struct {
	*loop.Group
	t       *testing.T
	connect func(p *probe) net.Conn
}

// start opens a group of loops. When the test ends they are closed, and no descriptor and no buffer may be left.
func start(t *testing.T, cfg loop.Config) *world {
	t.Helper()
	files := openFiles(t)
	cfg.Loops = max(cfg.Loops, 1)
	if cfg.ReadBuffer == 0 {
		cfg.ReadBuffer = 64 << 10
	}
	cfg.IdleBuffers = 1 << 20
	cfg.Poison = true
	g, err := loop.NewGroup(cfg)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{Group: g, t: t}
	w.connect = w.overSocket
	t.Cleanup(func() {
		g.Close()
		if n := g.Len(); n != 0 {
			t.Errorf("%d connections after Close", n)
		}
		if out := pool.Outstanding(); len(out) != 0 {
			t.Errorf("buffers still out after Close: %v", out)
		}
		var left []string
		if !soon(func() bool { left = openFiles(t); return len(left) <= len(files) }) {
			t.Errorf("descriptors before: %q\nafter: %q", files, left)
		}
	})
	return w
}

// overSocket makes a pair of TCP connections and gives one end to the loops.
func (w *world) overSocket(p *probe) net.Conn {
	w.t.Helper()
	client, server := tcpPair(w.t)
	if err := w.Adopt(&p.Conn, server, nil); err != nil {
		w.t.Fatal(err)
	}
	return client
}

// overStream makes connections in memory with the given faults.
func (w *world) overStream(f memconn.Faults) func(*probe) net.Conn {
	return func(p *probe) net.Conn {
		w.t.Helper()
		f.Seed++
		s, c := memconn.Pipe(f)
		if err := w.NewStreamConn(&p.Conn, s); err != nil {
			w.t.Fatal(err)
		}
		w.t.Cleanup(func() { c.Close() })
		c.SetDeadline(time.Now().Add(patience))
		return c
	}
}

// onEach runs f over sockets, over whole streams in memory, and over streams that cut everything to pieces.
func onEach(t *testing.T, f func(t *testing.T, w *world)) {
	t.Run("socket", func(t *testing.T) { f(t, start(t, loop.Config{})) })
	t.Run("stream", func(t *testing.T) {
		w := start(t, loop.Config{})
		w.connect = w.overStream(memconn.Faults{})
		f(t, w)
	})
	t.Run("cut", func(t *testing.T) {
		w := start(t, loop.Config{})
		w.connect = w.overStream(memconn.Faults{Cut: 7, Again: 0.3})
		f(t, w)
	})
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return ln
}

func dial(t *testing.T, addr net.Addr) net.Conn {
	t.Helper()
	c, err := net.Dial(addr.Network(), addr.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	return c
}

func tcpPair(t *testing.T) (client, server net.Conn) {
	t.Helper()
	ln := listen(t)
	defer ln.Close()
	client = dial(t, ln.Addr())
	server, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	return client, server
}

// expect reads exactly want.
func expect(t *testing.T, c net.Conn, want []byte) {
	t.Helper()
	got := make([]byte, len(want))
	n, err := io.ReadFull(c, got)
	if !bytes.Equal(got[:n], want) {
		at := 0
		for at < n && got[at] == want[at] {
			at++
		}
		t.Fatalf("read %d bytes of %d (%v), which differ from %d on", n, len(want), err, at)
	}
}

// expectEnd reads the end of the stream.
func expectEnd(t *testing.T, c net.Conn) {
	t.Helper()
	if b, err := io.ReadAll(c); err != nil || len(b) != 0 {
		t.Fatalf("%d bytes and %v, want the end", len(b), err)
	}
}

// numbered returns n bytes that tell their place.
func numbered(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i) ^ byte(i>>8)*31 ^ byte(i>>16)*17
	}
	return b
}

// openFiles lists the process's descriptors, without those of the Go runtime; nil where there is no such list.
func openFiles(t *testing.T) (list []string) {
	t.Helper()
	dir, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return nil
	}
	for _, d := range dir {
		to, err := os.Readlink(filepath.Join("/proc/self/fd", d.Name()))
		if err == nil && !strings.HasPrefix(to, "/proc/") {
			list = append(list, d.Name()+" "+to)
		}
	}
	return list
}
