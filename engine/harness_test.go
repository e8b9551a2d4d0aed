package engine_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
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

	"zeroframe/engine"
	"zeroframe/frame"
	"zeroframe/internal/bridge"
	"zeroframe/internal/memconn"
	"zeroframe/internal/netconn"
	"zeroframe/mask"
	"zeroframe/pool"
)

func TestMain(m *testing.M) {
	pool.Verify(true)
	before := runtime.NumGoroutine()
	code := m.Run()
	if code == 0 {
		code = leftGoroutines(before)
	}
	os.Exit(code)
}

// leftGoroutines fails the run when goroutines of a test outlive it.
func leftGoroutines(before int) int {
	for end := time.Now().Add(patience); runtime.NumGoroutine() > before; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			buf := make([]byte, 1<<20)
			fmt.Fprintf(os.Stderr, "%d goroutines before the tests, %d after:\n%s\n",
				before, runtime.NumGoroutine(), buf[:runtime.Stack(buf, true)])
			return 1
		}
	}
	return 0
}

// patience is how long a test waits for what must happen; it is never waited for in full unless the test fails.
const patience = time.Minute

// server is an engine under test and a way to connect to it.
type server struct {
	*engine.Engine
	t     testing.TB
	dial  func() net.Conn
	below func() net.Conn // below TLS, over which dial goes; nil: without
	logs  *logBuffer
}

// transport is a way the bytes can come.
type transport struct {
	name  string
	start func(t testing.TB, s *server)
}

// transports are those that each engine test runs over.
var transports = []transport{
	{"socket", func(t testing.TB, s *server) {
		ln, err := s.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		served := make(chan error, 1)
		go func() { served <- s.Serve(ln) }()
		t.Cleanup(func() {
			if err := <-served; !errors.Is(err, engine.ErrServerClosed) {
				t.Errorf("Serve returned %v", err)
			}
		})
		s.dial = func() net.Conn {
			c, err := net.Dial("tcp", ln.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			return c
		}
	}},
	{"cut", func(t testing.TB, s *server) {
		seed := uint64(0)
		s.dial = func() net.Conn {
			seed++
			stream, c := memconn.Pipe(memconn.Faults{Seed: seed, Cut: 7, Again: 0.3})
			if err := bridge.ServeStream(s.Engine, stream); err != nil {
				t.Fatal(err)
			}
			return c
		}
	}},
	{"tls", func(t testing.TB, s *server) {
		s.below = cutTLS(s, memconn.Faults{Cut: 7, Again: 0.3})
		s.dial = s.dialTLS
	}},
}

// cutTLS returns a dialler of connections in memory to a server that speaks TLS.
func cutTLS(s *server, f memconn.Faults) func() net.Conn {
	return func() net.Conn {
		f.Seed++
		stream, c := memconn.Pipe(f)
		if err := bridge.ServeTLS(s.Engine, serverCertificate(), stream); err != nil {
			s.t.Fatal(err)
		}
		return c
	}
}

// overGoroutines is a third transport, over connections that have no descriptor for a loop.
var overGoroutines = transport{"goroutines", func(t testing.TB, s *server) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	s.dial = func() net.Conn {
		c, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		nc, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if err := bridge.ServeStream(s.Engine, netconn.New(nc)); err != nil {
			t.Fatal(err)
		}
		return c
	}
}}

// onEachTransport runs f over real sockets, over a stream that cuts reads and writes into 1 to 7 bytes, and over TLS on such
// a stream, which takes too long with the race detector, where the tests of TLS itself must do; or over that one alone which
// ZEROFRAME_TRANSPORT names. When f has returned, the engine is closed and every pooled buffer must be back.
func onEachTransport(t *testing.T, f func(t *testing.T, start func(...engine.Option) *server)) {
	onTransports(t, transports, f)
}

// onGoroutinesToo is onEachTransport and a third, for tests of what the bytes' way has a part in.
func onGoroutinesToo(t *testing.T, f func(t *testing.T, start func(...engine.Option) *server)) {
	onTransports(t, withGoroutines(), f)
}

func withGoroutines() []transport {
	return append(transports[:len(transports):len(transports)], overGoroutines)
}

func onTransports(t *testing.T, list []transport, f func(t *testing.T, start func(...engine.Option) *server)) {
	onEachOf(t, list, func(t *testing.T, tr transport) { f(t, tr.starter(t)) })
}

// onEachOf runs f as a subtest for each transport of list that is asked for.
func onEachOf(t *testing.T, list []transport, f func(t *testing.T, tr transport)) {
	for _, tr := range list {
		switch only := os.Getenv("ZEROFRAME_TRANSPORT"); {
		case only != "" && tr.name != only, only == "" && raceEnabled && tr.name == "tls":
			continue
		}
		t.Run(tr.name, func(t *testing.T) { f(t, tr) })
	}
}

// starter returns what starts engines behind tr for the test t.
func (tr transport) starter(t testing.TB) func(...engine.Option) *server {
	return func(opts ...engine.Option) *server {
		t.Helper()
		logs := new(logBuffer)
		opts = append([]engine.Option{
			engine.WithLoops(2),
			engine.WithLogger(slog.New(slog.NewTextHandler(logs, nil))),
			bridge.PoisonOption().(engine.Option),
			engine.WithTLSConfig(serverCertificate()),
			engine.WithTLSBufferRelease(strings.HasPrefix(tr.name, releasing)),
		}, opts...)
		e, err := engine.New(opts...)
		if err != nil {
			t.Fatal(err)
		}
		s := &server{Engine: e, t: t, logs: logs}
		tr.start(t, s)
		t.Cleanup(func() { // before what start left to clean up: that waits for the end of Serve
			e.Close()
			expectNothingOut(t)
		})
		return s
	}
}

// expectNothingOut fails the test when buffers do not come back. Another engine of the same test may still be giving
// back its own, so they are given time.
func expectNothingOut(t testing.TB) {
	t.Helper()
	for end := time.Now().Add(patience / 4); len(pool.Outstanding()) != 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Errorf("buffers still out: %v", pool.Outstanding())
			return
		}
	}
}

// handle registers a handler and fails the test if that is refused.
func (s *server) handle(pattern string, h engine.Handler, opts ...engine.RouteOption) {
	s.t.Helper()
	if err := s.Handle(pattern, h, opts...); err != nil {
		s.t.Fatal(err)
	}
}

// shutdown ends the engine in order.
func (s *server) shutdown() error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return s.Shutdown(ctx)
}

// client speaks RFC 6455 byte by byte, independently of package frame's parser.
type client struct {
	net.Conn
	t testing.TB
	r *bufio.Reader
}

// connect returns a connection that has sent nothing.
func (s *server) connect() *client {
	c := &client{Conn: s.dial(), t: s.t}
	c.r = bufio.NewReader(c.Conn)
	s.t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	return c
}

// open returns a connection upgraded at path.
func (s *server) open(path string, headers ...string) *client {
	s.t.Helper()
	c := s.connect()
	c.send(upgradeRequest(path, headers...))
	if status, head := c.readHead(); status != 101 {
		s.t.Fatalf("upgrade at %s: %d\n%s", path, status, head)
	}
	return c
}

func upgradeRequest(path string, headers ...string) []byte {
	return []byte("GET " + path + " HTTP/1.1\r\nHost: example.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n" +
		strings.Join(append(headers, ""), "\r\n") + "\r\n")
}

// readHead reads a response head.
func (c *client) readHead() (status int, head string) {
	c.t.Helper()
	var b strings.Builder
	for {
		line, err := c.r.ReadString('\n')
		b.WriteString(line)
		if err != nil {
			c.t.Fatalf("reading a response head: %v after %q", err, b.String())
		}
		if line == "\r\n" {
			break
		}
	}
	fmt.Sscanf(b.String(), "HTTP/1.1 %d", &status)
	return status, b.String()
}

// send writes raw bytes.
func (c *client) send(b []byte) {
	c.t.Helper()
	if _, err := c.Write(b); err != nil {
		c.t.Fatalf("writing: %v", err)
	}
}

// encode is a frame as a client sends it.
func encode(fin bool, op frame.OpCode, payload []byte) []byte {
	var b []byte
	first := byte(op)
	if fin {
		first |= 0x80
	}
	b = append(b, first)
	switch n := len(payload); {
	case n < 126:
		b = append(b, 0x80|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), uint64(n))
	}
	key := [4]byte{0x37, 0xfa, 0x21, 0x3d}
	b = append(b, key[:]...)
	at := len(b)
	b = append(b, payload...)
	if len(payload) > 64<<10 { // byte by byte is slow under the race detector
		mask.XOR(b[at:], binary.LittleEndian.Uint32(key[:]), 0)
		return b
	}
	for i := range payload {
		b[at+i] ^= key[i%4]
	}
	return b
}

// write sends a frame.
func (c *client) write(op frame.OpCode, payload []byte) {
	c.t.Helper()
	c.send(encode(true, op, payload))
}

// wireFrame is a frame as it came.
type wireFrame struct {
	fin     bool
	rsv     byte
	op      frame.OpCode
	payload []byte
}

func (f wireFrame) String() string {
	return fmt.Sprintf("{fin %v rsv %x %v %d bytes %.40q}", f.fin, f.rsv, f.op, len(f.payload), f.payload)
}

// readFrame reads one unmasked frame.
func (c *client) readFrame() (f wireFrame, err error) {
	var h [8]byte
	if _, err = io.ReadFull(c.r, h[:2]); err != nil {
		return f, err
	}
	f.fin, f.rsv, f.op = h[0]&0x80 != 0, h[0]&0x70, frame.OpCode(h[0]&0x0f)
	if h[1]&0x80 != 0 {
		return f, errors.New("a server must not mask")
	}
	n := uint64(h[1])
	switch n {
	case 126:
		_, err = io.ReadFull(c.r, h[:2])
		n = uint64(binary.BigEndian.Uint16(h[:2]))
	case 127:
		_, err = io.ReadFull(c.r, h[:8])
		n = binary.BigEndian.Uint64(h[:8])
	}
	if err != nil {
		return f, err
	}
	f.payload = make([]byte, n)
	_, err = io.ReadFull(c.r, f.payload)
	return f, err
}

// next reads a frame and fails the test when none comes.
func (c *client) next() wireFrame {
	c.t.Helper()
	f, err := c.readFrame()
	if err != nil {
		c.t.Fatalf("reading a frame: %v", err)
	}
	return f
}

// expect reads a whole message frame and compares it.
func (c *client) expect(op frame.OpCode, payload []byte) {
	c.t.Helper()
	if f := c.next(); !f.fin || f.op != op || !bytes.Equal(f.payload, payload) {
		c.t.Fatalf("got %v, want %v of %d bytes %.40q", f, op, len(payload), payload)
	}
}

// expectClose reads frames up to the close frame, compares its code, and then the end of the stream.
func (c *client) expectClose(code frame.CloseCode) (reason string) {
	c.t.Helper()
	for {
		f, err := c.readFrame()
		if err != nil {
			c.t.Fatalf("waiting for close %d: %v", code, err)
		}
		if f.op != frame.Close {
			continue
		}
		got := frame.CloseNoStatus
		if len(f.payload) >= 2 {
			got = frame.CloseCode(binary.BigEndian.Uint16(f.payload))
			reason = string(f.payload[2:])
		}
		if got != code {
			c.t.Fatalf("close %d %q, want %d", got, reason, code)
		}
		c.expectEOF()
		return reason
	}
}

// expectEOF requires the end of the stream, without a reset and without another byte.
func (c *client) expectEOF() {
	c.t.Helper()
	if b, err := io.ReadAll(c.r); err != nil || len(b) != 0 {
		c.t.Fatalf("after the last frame: %d bytes %.40q, %v; want EOF", len(b), b, err)
	}
}

// closePayload is the payload of a close frame.
func closePayload(code frame.CloseCode, reason string) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(code)), reason...)
}

// ending collects the reasons given to OnClose; a handler embeds it or calls its method.
type ending struct{ ch chan engine.CloseReason }

func newEnding() ending { return ending{make(chan engine.CloseReason, 100)} }

func (e ending) OnClose(_ *engine.Conn, r engine.CloseReason) { e.ch <- r }

// wait returns the next reason.
func (e ending) wait(t testing.TB) engine.CloseReason {
	t.Helper()
	return within(t, e.ch)
}

// within receives from ch, or fails the test.
func within[T any](t testing.TB, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(patience):
		t.Fatal("nothing came in time")
		panic("unreachable")
	}
}

// echo is a handler that replies with what it gets and collects endings.
type echo struct {
	engine.NopHandler
	ending
}

func newEcho() *echo { return &echo{ending: newEnding()} }

func (h *echo) OnMessage(c *engine.Conn, op frame.OpCode, payload []byte) { c.Reply(op, payload) }

func (h *echo) OnClose(c *engine.Conn, r engine.CloseReason) { h.ending.OnClose(c, r) }

// logBuffer keeps what the engine logs.
type logBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
