//go:build !race

package engine_test

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"runtime"
	"testing"
	"time"

	"zeroframe/engine"
	"zeroframe/frame"
	"zeroframe/pool"
)

// socketServer serves h on one loop over TCP, with the pools as they are in production.
func socketServer(t testing.TB, h engine.Handler, opts ...engine.Option) (addr string, e *engine.Engine) {
	t.Helper()
	pool.Verify(false)
	e, err := engine.New(append([]engine.Option{engine.WithLoops(1), engine.WithPingInterval(0)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := e.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Handle("/", h); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { defer close(done); e.Serve(ln) }()
	t.Cleanup(func() {
		e.Close()
		<-done
		pool.Verify(true)
	})
	return ln.Addr().String(), e
}

// netHTTPServer serves h with a server of net/http's.
func netHTTPServer(t testing.TB, h http.Handler) (addr string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: h}
	done := make(chan struct{})
	go func() { defer close(done); srv.Serve(ln) }()
	t.Cleanup(func() {
		srv.Close()
		<-done
	})
	return ln.Addr().String()
}

// dialRaw upgrades a TCP connection.
func dialRaw(t testing.TB, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if _, err := c.Write(upgradeRequest("/")); err != nil {
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

// exchange writes request and reads as many bytes as the answer has.
func exchange(t testing.TB, c net.Conn, request, answer []byte) {
	if _, err := c.Write(request); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, answer); err != nil {
		t.Fatal(err)
	}
}

// expectNoAllocs runs f often enough for a rare allocation to show, after a warm-up that fills the pools.
func expectNoAllocs(t testing.TB, runs int, f func()) {
	t.Helper()
	for range runs/10 + 20 {
		f()
	}
	runtime.GC()
	for range 20 {
		f()
	}
	if n := testing.AllocsPerRun(runs, f); n != 0 {
		t.Errorf("%v allocations per message", n)
	}
}

type replier struct{ engine.NopHandler }

func (replier) OnMessage(c *engine.Conn, op frame.OpCode, p []byte) { c.Reply(op, p) }

type sender struct{ engine.NopHandler }

func (sender) OnMessage(c *engine.Conn, op frame.OpCode, p []byte) { c.Send(op, p) }

// capturer hands its connection to the test.
type capturer struct {
	engine.NopHandler
	conns chan *engine.Conn
}

func (h capturer) OnOpen(c *engine.Conn) { h.conns <- c }

func TestEchoAllocatesNothing(t *testing.T) {
	for _, test := range []struct {
		name    string
		handler engine.Handler
		op      frame.OpCode
		size    int
		batch   int
	}{
		{"reply 32 B", replier{}, frame.Binary, 32, 1},
		{"reply text", replier{}, frame.Text, 1000, 1},
		{"reply 16 pipelined", replier{}, frame.Binary, 32, 16},
		{"reply 16 KiB", replier{}, frame.Binary, 16 << 10, 1},
		{"reply 1 MiB, assembled", replier{}, frame.Binary, 1 << 20, 1},
		{"send on the loop", sender{}, frame.Binary, 32, 1},
		{"send 16 pipelined", sender{}, frame.Binary, 1000, 16},
	} {
		t.Run(test.name, func(t *testing.T) {
			addr, _ := socketServer(t, test.handler)
			c := dialRaw(t, addr)
			one := encode(true, test.op, bytes.Repeat([]byte("x"), test.size))
			request := bytes.Repeat(one, test.batch)
			answer := make([]byte, (len(one)-4)*test.batch)
			runs := 500
			if test.size > 100_000 {
				runs = 50
			}
			if test.size < 100_000 {
				expectNoAllocs(t, runs, func() { exchange(t, c, request, answer) })
				return
			}
			// More than the sockets hold: write and read at the same time.
			requests := make(chan struct{})
			defer close(requests)
			go func() {
				for range requests {
					c.Write(request)
				}
			}()
			expectNoAllocs(t, runs, func() {
				requests <- struct{}{}
				io.ReadFull(c, answer)
			})
		})
	}
}

func TestSendFromAnotherGoroutineAllocatesNothing(t *testing.T) {
	h := capturer{conns: make(chan *engine.Conn, 1)}
	addr, _ := socketServer(t, h)
	c := dialRaw(t, addr)
	conn := within(t, h.conns)
	payload := bytes.Repeat([]byte("x"), 200)
	answer := make([]byte, len(payload)+4)
	expectNoAllocs(t, 500, func() {
		if err := conn.Send(frame.Binary, payload); err != nil {
			t.Fatal(err)
		}
		io.ReadFull(c, answer)
	})
}

func TestPreparedBroadcastAllocatesNothing(t *testing.T) {
	h := capturer{conns: make(chan *engine.Conn, 1)}
	addr, _ := socketServer(t, h)
	var clients []net.Conn
	var conns []*engine.Conn
	for range 10 {
		clients = append(clients, dialRaw(t, addr))
		conns = append(conns, within(t, h.conns))
	}
	p, err := engine.Prepare(frame.Text, bytes.Repeat([]byte("x"), 1000))
	if err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, p.Len())
	expectNoAllocs(t, 200, func() {
		for _, c := range conns {
			c.SendPrepared(p)
		}
		for _, c := range clients {
			io.ReadFull(c, answer)
		}
	})
}

func TestPongAllocatesNothing(t *testing.T) {
	addr, _ := socketServer(t, replier{})
	c := dialRaw(t, addr)
	request := encode(true, frame.Ping, []byte("12345678"))
	answer := make([]byte, 10)
	expectNoAllocs(t, 500, func() { exchange(t, c, request, answer) })
}

// TestPingAllocatesNothing covers the timer too: each ping is sent from the wheel, and its pong arms the next.
func TestPingAllocatesNothing(t *testing.T) {
	addr, e := socketServer(t, replier{}, engine.WithPingInterval(5*time.Millisecond))
	c := dialRaw(t, addr)
	ping := make([]byte, 2+16)
	pong := make([]byte, 2+4+16) // masked with the key 0: as it is
	pong[0], pong[1] = 0x8A, 0x80|16
	expectNoAllocs(t, 20, func() {
		if _, err := io.ReadFull(c, ping); err != nil {
			t.Fatal(err)
		}
		copy(pong[6:], ping[2:])
		if _, err := c.Write(pong); err != nil {
			t.Fatal(err)
		}
	})
	if s := e.Stats(); s.RTT.Count() < 40 || s.PingTimeouts != 0 {
		t.Errorf("%d pongs matched, %d timeouts", s.RTT.Count(), s.PingTimeouts)
	}
}

// TestPipelinedBatchCostsOneReadAndOneWrite is a gate: a client that sends 16 messages at once costs those two system calls,
// and, when the loop has nothing else to do, the two that wait for the next batch: one that looks, one that sleeps.
func TestPipelinedBatchCostsOneReadAndOneWrite(t *testing.T) {
	for name, h := range map[string]engine.Handler{"Reply": replier{}, "Send": sender{}} {
		t.Run(name, func(t *testing.T) {
			addr, e := socketServer(t, h)
			c := dialRaw(t, addr)
			one := encode(true, frame.Binary, bytes.Repeat([]byte("x"), 32))
			request := bytes.Repeat(one, 16)
			answer := make([]byte, (len(one)-4)*16)
			const batches = 100
			before := settledStats(t, e, 0)
			for range batches {
				exchange(t, c, request, answer)
			}
			after := settledStats(t, e, before.MessagesIn+16*batches)
			if n := after.Writes - before.Writes; n != batches {
				t.Errorf("%d writes for %d batches", n, batches)
			}
			if n := after.Reads - before.Reads; n > batches*readsPerBatch+batches/10 {
				t.Errorf("%d reads for %d batches", n, batches)
			}
			if n := after.Waits - before.Waits; n > 2*batches+batches/10 {
				t.Errorf("%d waits for %d batches", n, batches)
			}
		})
	}
}

// settledStats waits until the loops have published that many messages.
func settledStats(t testing.TB, e *engine.Engine, messages uint64) engine.Stats {
	t.Helper()
	for end := time.Now().Add(patience); ; runtime.Gosched() {
		s := e.Stats()
		if s.MessagesIn >= messages && s.Open == 1 {
			return s
		}
		if time.Now().After(end) {
			t.Fatalf("%d messages counted, want %d", s.MessagesIn, messages)
		}
	}
}

// upToThreeTimes repeats a measurement of memory until it is as meant: in a process full of tests other things move now and
// then. What measure finds wrong is an error the last time.
func upToThreeTimes(t *testing.T, measure func(t *testing.T, wrong func(format string, args ...any))) {
	for i, right := 1, false; !right && i <= 3; i++ {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			right = true
			measure(t, func(format string, args ...any) {
				right = false
				if i == 3 {
					t.Errorf(format, args...)
				} else {
					t.Logf("measured again: "+format, args...)
				}
			})
		})
	}
}

// liveHeap collects until no more is found: what earlier tests left with cleanups and in pools takes several rounds, and
// would be taken off what is measured meanwhile.
func liveHeap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	for last := uint64(math.MaxUint64); ; last = m.HeapAlloc {
		runtime.GC()
		runtime.ReadMemStats(&m)
		if m.HeapAlloc >= last {
			return m.HeapAlloc
		}
	}
}
