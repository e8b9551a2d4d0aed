//go:build !race

package engine_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"zeroframe/engine"
	"zeroframe/frame"
)

// socketSessions is socketServer with a session route at "/session".
func socketSessions(t testing.TB, h engine.SessionHandler, opts ...engine.Option) (addr string, e *engine.Engine) {
	t.Helper()
	addr, e = socketServer(t, replier{}, opts...)
	if err := e.HandleSession("/session", h); err != nil {
		t.Fatal(err)
	}
	return addr, e
}

func TestSessionEchoAllocatesNothing(t *testing.T) {
	for _, test := range []struct {
		name  string
		op    frame.OpCode
		size  int
		batch int
	}{
		{"32 B", frame.Binary, 32, 1},
		{"1 KiB of text", frame.Text, 1 << 10, 1},
		{"16 KiB", frame.Binary, 16 << 10, 1},
		{"1 MiB, assembled", frame.Binary, 1 << 20, 1},
		{"16 pipelined", frame.Binary, 32, 16},
		{"16 of 1 KiB pipelined", frame.Binary, 1 << 10, 16},
	} {
		t.Run(test.name, func(t *testing.T) {
			addr, _ := socketSessions(t, echoSession)
			c := dialAt(t, addr, "/session")
			one := encode(true, test.op, bytes.Repeat([]byte("x"), test.size))
			expectExchangesWithoutAllocs(t, c, bytes.Repeat(one, test.batch), (len(one)-4)*test.batch)
		})
	}
}

// expectExchangesWithoutAllocs writes request and reads an answer of so many bytes, again and again.
func expectExchangesWithoutAllocs(t testing.TB, c net.Conn, request []byte, answer int) {
	t.Helper()
	got := make([]byte, answer)
	if len(request) < 100_000 {
		expectNoAllocs(t, 500, func() { exchange(t, c, request, got) })
		return
	}
	requests := make(chan struct{}) // more than the sockets hold: write and read at the same time
	defer close(requests)
	go func() {
		for range requests {
			c.Write(request)
		}
	}()
	expectNoAllocs(t, 50, func() {
		requests <- struct{}{}
		io.ReadFull(c, got)
	})
}

// A reader and a writer are made for each streamed message; what flows through them costs nothing.
func TestStreamedBytesAllocateNothing(t *testing.T) {
	addr, _ := socketSessions(t, streamSession)
	perMessage := func(size int) float64 {
		c := dialAt(t, addr, "/session")
		request := encode(true, frame.Binary, bytes.Repeat([]byte("x"), size))
		header := 2
		if size > 125 {
			header = 4
		}
		answer := make([]byte, header+size)
		for range 100 {
			exchange(t, c, request, answer)
		}
		return testing.AllocsPerRun(300, func() { exchange(t, c, request, answer) })
	}
	small, large := perMessage(10), perMessage(32<<10)
	t.Logf("%v allocations for a message of 10 B, %v for one of 32 KiB", small, large)
	if small > 2 || large > 2 {
		t.Errorf("%v and %v allocations per message, 2 are meant: its reader and its writer", small, large)
	}
}

func TestSessionSendsAllocateNothing(t *testing.T) {
	sessions := make(chan *engine.Session, 1)
	addr, _ := socketSessions(t, func(ctx context.Context, s *engine.Session) error {
		sessions <- s
		<-ctx.Done()
		return nil
	})
	c := dialAt(t, addr, "/session")
	s := within(t, sessions)
	payload := bytes.Repeat([]byte("x"), 1000)
	text := string(payload)
	p, err := engine.Prepare(frame.Binary, payload)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	answer := make([]byte, len(payload)+4)
	for name, send := range map[string]func() error{
		"Send":         func() error { return s.Send(ctx, frame.Binary, payload) },
		"SendText":     func() error { return s.SendText(ctx, text) },
		"SendBinary":   func() error { return s.SendBinary(ctx, payload) },
		"SendPrepared": func() error { return s.SendPrepared(ctx, p) },
	} {
		t.Run(name, func(t *testing.T) {
			expectNoAllocs(t, 500, func() {
				if err := send(); err != nil {
					t.Fatal(err)
				}
				io.ReadFull(c, answer)
			})
		})
	}
}

// TestWaitingForThePeerAllocatesNothing is the slow peer's case: nearly every Send and Receive of the session has to wait.
func TestWaitingForThePeerAllocatesNothing(t *testing.T) {
	addr, _ := socketSessions(t, echoSession, engine.WithMaxBackpressure(1), engine.WithSessionQueue(1, 1))
	c := dialAt(t, addr, "/session")
	one := encode(true, frame.Binary, bytes.Repeat([]byte("x"), 200))
	expectExchangesWithoutAllocs(t, c, bytes.Repeat(one, 100), 100*(len(one)-4))
}

// cost is what something takes of this process, in bytes.
type cost struct{ heap, stack int }

// settledCost collects until nothing more is given back: what earlier tests have left, and what waits for a cleanup.
func settledCost() cost {
	var m runtime.MemStats
	for last := uint64(1 << 62); ; last = m.HeapAlloc {
		runtime.GC()
		runtime.ReadMemStats(&m)
		if m.HeapAlloc+10_000 > last {
			return cost{int(m.HeapAlloc), int(m.StackInuse)}
		}
	}
}

// per is what one of n takes when all take what c has grown by since before.
func (c cost) per(n int, before cost) cost {
	return cost{(c.heap - before.heap) / n, (c.stack - before.stack) / n}
}

// idle opens n connections at path, which take and answer a message each, and returns the cost of one: that of its
// client here is in it.
func idle(t testing.TB, addr, path string, n int) cost {
	t.Helper()
	request := encode(true, frame.Binary, []byte("hello"))
	answer := make([]byte, 7)
	exchange(t, dialAt(t, addr, path), request, answer)
	before := settledCost()
	clients := make([]net.Conn, 0, n)
	for range n {
		c := dialAt(t, addr, path)
		exchange(t, c, request, answer)
		clients = append(clients, c)
	}
	after := settledCost()
	runtime.KeepAlive(clients)
	return after.per(n, before)
}

// parked returns what a goroutine costs that waits.
func parked(n int) cost {
	before := settledCost()
	end, ended, started := make(chan struct{}), make(chan struct{}), make(chan struct{})
	for range n {
		go func() {
			started <- struct{}{}
			<-end
			ended <- struct{}{}
		}()
	}
	for range n {
		<-started
	}
	after := settledCost()
	close(end)
	for range n {
		<-ended
	}
	return after.per(n, before)
}

// TestIdleSessionCostsLittleLiveHeap is a gate: what a session in Receive keeps beyond a callback connection and a
// goroutine that waits. The runtime keeps the descriptors of goroutines that have ended, so the first ones are made, and
// paid, before anything is measured.
func TestIdleSessionCostsLittleLiveHeap(t *testing.T) {
	if !alone(t) {
		return
	}
	upToThreeTimes(t, func(t *testing.T, wrong func(string, ...any)) {
		const conns, limit = 1500, 1 << 10
		descriptor := parked(3 * conns)
		addr, e := socketSessions(t, echoSession, engine.WithPingInterval(30*time.Second))
		plain := idle(t, addr, "/", conns)
		session := idle(t, addr, "/session", conns)
		waiting := parked(conns)
		beyond := session.heap - plain.heap - waiting.heap
		t.Logf("beyond a callback connection an idle session keeps %d B of live heap and %d B of stack; a goroutine that waits %d B of heap, %d B when its descriptor is new, and %d B of stack",
			beyond, session.stack-plain.stack, waiting.heap, descriptor.heap, waiting.stack)
		if beyond > limit {
			wrong("%d B of live heap per idle session, at most %d are meant", beyond, limit)
		}
		if n, limit := session.stack-plain.stack, 2*waiting.stack+512; n > limit {
			wrong("%d B of stack per idle session, at most %d are meant", n, limit)
		}
		if s := e.Stats(); s.Open < 2*conns {
			t.Fatalf("%d connections open, want %d", s.Open, 2*conns)
		}
	})
}

// dialAt is dialRaw at a path.
func dialAt(t testing.TB, addr, path string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if _, err := c.Write(upgradeRequest(path)); err != nil {
		t.Fatal(err)
	}
	var head []byte
	for !bytes.HasSuffix(head, []byte("\r\n\r\n")) {
		var b [1]byte
		if _, err := io.ReadFull(c, b[:]); err != nil {
			t.Fatal(err)
		}
		head = append(head, b[0])
	}
	return c
}

// streamServer, in the environment, makes the test binary a server that streams what it gets back.
const streamServer = "ZEROFRAME_TEST_STREAM_SERVER"

// TestServeStreams is that server: it prints its address, and what its process takes for each line that it reads.
func TestServeStreams(t *testing.T) {
	if os.Getenv(streamServer) == "" {
		t.Skip("it serves TestAGibibyteFlowsThroughASessionInLittleMemory")
	}
	addr, _ := socketSessions(t, streamSession, engine.WithMaxFrameSize(1<<40), engine.WithMaxMessageSize(1<<40))
	fmt.Println("serving", addr)
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		fmt.Println("memory", processStatus(t, "RssAnon:"), processStatus(t, "VmHWM:"))
	}
}

// processStatus returns a field of this process's status, in bytes.
func processStatus(t testing.TB, field string) (bytes int64) {
	t.Helper()
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Skip(err)
	}
	_, rest, _ := strings.Cut(string(text), field)
	if _, err := fmt.Sscan(rest, &bytes); err != nil {
		t.Fatal(err)
	}
	return bytes << 10
}

// streamProcess is a process that runs TestServeStreams alone.
type streamProcess struct {
	t    testing.TB
	addr string
	in   io.Writer
	out  *bufio.Reader
}

func startStreamProcess(t testing.TB) *streamProcess {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestServeStreams$")
	cmd.Env = append(os.Environ(), streamServer+"=1")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	})
	p := &streamProcess{t: t, in: in, out: bufio.NewReader(out)}
	p.scan("serving %s\n", &p.addr)
	return p
}

func (p *streamProcess) scan(format string, values ...any) {
	p.t.Helper()
	if _, err := fmt.Fscanf(p.out, format, values...); err != nil {
		p.t.Fatal(err)
	}
}

// memory returns the anonymous memory of the process, and the peak of all its memory, in bytes.
func (p *streamProcess) memory() (anonymous, peak int64) {
	p.t.Helper()
	fmt.Fprintln(p.in)
	p.scan("memory %d %d\n", &anonymous, &peak)
	return anonymous, peak
}

// TestAGibibyteFlowsThroughASessionInLittleMemory is a gate: a message of 1 GiB is echoed by a session that never holds
// more of it than its queues, whether the peer sends it in one frame or in many.
func TestAGibibyteFlowsThroughASessionInLittleMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes seconds")
	}
	const total, limit = 1 << 30, 8 << 20
	for _, test := range []struct {
		name     string
		fragment int
	}{{"one frame", total}, {"frames of 1 MiB", 1 << 20}, {"frames of 10000 B", 10_000}} {
		t.Run(test.name, func(t *testing.T) {
			p := startStreamProcess(t)
			c := dialAt(t, p.addr, "/session")
			small := encode(true, frame.Binary, []byte("hello"))
			exchange(t, c, small, make([]byte, 7))
			before, peakBefore := p.memory()
			start := time.Now()
			sent := later(func() error { return sendStream(c, total, test.fragment) })
			most := before
			got := 0
			r := bufio.NewReaderSize(c, 1<<20)
			for next, fin := 0, false; !fin; {
				var n int
				fin, n = frameHeader(t, r)
				checkStream(t, r, got, n)
				if got += n; got >= next {
					anonymous, _ := p.memory()
					most = max(most, anonymous)
					next += total / 64
				}
			}
			took := time.Since(start)
			if err := within(t, sent); err != nil {
				t.Fatal(err)
			}
			_, peak := p.memory()
			t.Logf("anonymous memory %.1f MiB before, %.1f at most; the peak of the process grew by %.1f; %.0f MiB/s each way",
				float64(before)/(1<<20), float64(most)/(1<<20), float64(peak-peakBefore)/(1<<20), total/took.Seconds()/(1<<20))
			if got != total {
				t.Errorf("%d bytes came back, want %d", got, total)
			}
			if most-before > limit || peak-peakBefore > limit {
				t.Errorf("the process grew by %d B, and at its peak by %d, at most %d are meant", most-before, peak-peakBefore, limit)
			}
		})
	}
}

// streamBlock is what a stream repeats: its length is prime, so that what is missing or double shows.
var streamBlock = pattern(65_521)

// sendStream sends total bytes in frames of the given length. The masking key is 0, so the payload goes out as it is.
func sendStream(c net.Conn, total, fragment int) error {
	w := bufio.NewWriterSize(c, 256<<10)
	for at := 0; at < total; {
		n := min(fragment, total-at)
		op := frame.Continuation
		if at == 0 {
			op = frame.Binary
		}
		w.Write(header(at+n == total, op, uint64(n)))
		for end := at + n; at < end; {
			part := streamBlock[at%len(streamBlock):]
			part = part[:min(len(part), end-at)]
			if _, err := w.Write(part); err != nil {
				return err
			}
			at += len(part)
		}
	}
	return w.Flush()
}

// frameHeader reads the header of a server's frame.
func frameHeader(t testing.TB, r *bufio.Reader) (fin bool, n int) {
	t.Helper()
	var h [10]byte
	if _, err := io.ReadFull(r, h[:2]); err != nil {
		t.Fatal(err)
	}
	fin, n = h[0]&0x80 != 0, int(h[1])
	switch n {
	case 126:
		io.ReadFull(r, h[2:4])
		n = int(binary.BigEndian.Uint16(h[2:]))
	case 127:
		io.ReadFull(r, h[2:10])
		n = int(binary.BigEndian.Uint64(h[2:]))
	}
	return fin, n
}

// checkStream reads n bytes of the stream, which stand at at in it.
func checkStream(t testing.TB, r *bufio.Reader, at, n int) {
	t.Helper()
	for n > 0 {
		got, err := r.Peek(min(n, 32<<10))
		if err != nil {
			t.Fatal(err)
		}
		for len(got) > 0 {
			want := streamBlock[at%len(streamBlock):]
			m := min(len(want), len(got))
			if !bytes.Equal(got[:m], want[:m]) {
				t.Fatalf("the bytes from %d on are not those that were sent", at)
			}
			r.Discard(m)
			got, at, n = got[m:], at+m, n-m
		}
	}
}
