package engine_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"zeroframe/engine"
	"zeroframe/frame"
	"zeroframe/internal/handshake"
)

// hijacker gives each connection that it hijacks to the test, with what net/http had read of it.
type hijacker struct {
	t     testing.TB
	conns chan hijacked
}

type hijacked struct {
	net.Conn
	buffered []byte
}

func newHijacker(t testing.TB) *hijacker { return &hijacker{t, make(chan hijacked, 10)} }

func (h *hijacker) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	nc, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		h.t.Error(err)
		return
	}
	b, _ := rw.Reader.Peek(rw.Reader.Buffered())
	h.conns <- hijacked{nc, bytes.Clone(b)}
}

// What a handler hijacks is a net.Conn like any other: bytes in order, deadlines that hold also for what the loop had read
// ahead, the peer's true address, both halves closed by themselves.
func TestAHijackedConnectionBehaves(t *testing.T) {
	hj := newHijacker(t)
	s := startHTTP(t, hj)
	c := s.connect()
	ahead := pattern(40_000) // more than net/http's reader takes
	c.send(append([]byte(ok), ahead...))
	nc := within(t, hj.conns)
	defer nc.Close()
	if got, want := nc.RemoteAddr().String(), c.LocalAddr().String(); got != want {
		t.Errorf("the peer's address is %s, want %s", got, want)
	}
	if got, want := nc.LocalAddr().String(), c.RemoteAddr().String(); got != want {
		t.Errorf("our address is %s, want %s", got, want)
	}
	if len(nc.buffered) >= len(ahead) {
		t.Fatal("nothing is left for the connection to return: the test tests nothing")
	}

	for _, set := range []func(time.Time) error{nc.SetReadDeadline, nc.SetDeadline} {
		set(time.Unix(1, 0))
		if n, err := nc.Read(make([]byte, 10)); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("past the deadline Read returned %d, %v", n, err)
		}
		set(time.Time{})
	}
	nc.SetWriteDeadline(time.Unix(1, 0))
	if _, err := nc.Write([]byte("x")); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("past the deadline Write returned %v", err)
	}
	nc.SetDeadline(time.Now().Add(patience))
	if n, err := nc.Read(nil); n != 0 || err != nil {
		t.Errorf("an empty Read returned %d, %v", n, err)
	}
	got := append([]byte(nil), nc.buffered...)
	for len(got) < len(ahead) {
		b := make([]byte, 1000)
		n, err := nc.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, b[:n]...)
	}
	if !bytes.Equal(got, ahead) {
		t.Error("the bytes behind the request came changed")
	}
	c.send([]byte("later"))
	expectRead(t, nc, "later")

	from, ok := nc.Conn.(io.ReaderFrom)
	if !ok {
		t.Fatal("no ReadFrom: files are not sent by sendfile")
	}
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, pattern(100_000), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	go func() {
		if n, err := from.ReadFrom(io.LimitReader(f, 90_000)); n != 90_000 || err != nil {
			t.Errorf("ReadFrom: %d, %v", n, err)
		}
		if err := nc.Conn.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
			t.Errorf("CloseWrite: %v", err)
		}
	}()
	if b, err := io.ReadAll(c.r); err != nil || !bytes.Equal(b, pattern(90_000)) {
		t.Errorf("%d bytes of the file, %v", len(b), err)
	}
	c.send([]byte("still read"))
	expectRead(t, nc, "still read")
	c.endStream()
	if _, err := nc.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("at the end of the stream: %v", err)
	}
}

func expectRead(t testing.TB, r io.Reader, want string) {
	t.Helper()
	b := make([]byte, len(want))
	if _, err := io.ReadFull(r, b); err != nil || string(b) != want {
		t.Fatalf("read %q, %v; want %q", b, err, want)
	}
}

// A deadline that passes while nothing has come wakes who reads, as net/http's own does when a handler ends.
func TestADeadlineWakesTheReaderOfAHijackedConnection(t *testing.T) {
	hj := newHijacker(t)
	s := startHTTP(t, hj)
	c := s.connect()
	c.send([]byte(ok))
	nc := within(t, hj.conns)
	defer nc.Close()
	woken := make(chan error, 1)
	go func() {
		_, err := nc.Read(make([]byte, 1))
		woken <- err
	}()
	nc.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
	if err := within(t, woken); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error(err)
	}
}

// A WebSocket of somebody else's works behind the engine's port, on a path without a route.
func TestAnotherWebSocketLibraryInTheHTTPHandler(t *testing.T) {
	s := startHTTP(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") == "" {
			io.WriteString(w, "hello")
			return
		}
		nc, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer nc.Close()
		rw.Write(handshake.AppendSwitching(nil, []byte(r.Header.Get("Sec-WebSocket-Key")), "", "", nil))
		rw.Flush()
		for { // frames of less than 126 bytes, echoed
			var h [6]byte
			if _, err := io.ReadFull(rw, h[:]); err != nil {
				return
			}
			p := make([]byte, h[1]&0x7f)
			if _, err := io.ReadFull(rw, p); err != nil {
				return
			}
			for i := range p {
				p[i] ^= h[2+i%4]
			}
			nc.Write(append([]byte{h[0], h[1] & 0x7f}, p...))
			if frame.OpCode(h[0]&0xf) == frame.Close {
				return
			}
		}
	}))
	s.handle("/ours", newEcho())
	for before := range 3 {
		c := s.connect()
		for range before {
			c.expectOK("/")
		}
		go c.Write(append(upgradeRequest("/theirs"), encode(true, frame.Text, []byte("at once"))...))
		if status, head := c.readHead(); status != http.StatusSwitchingProtocols {
			t.Fatal(head)
		}
		c.expect(frame.Text, []byte("at once"))
		c.echoes([]byte("later"))
		c.write(frame.Close, closePayload(frame.CloseNormal, ""))
		c.expectClose(frame.CloseNormal)
		c.Close()
	}
	s.gone()
}

// A handler that panics ends its own connection; the engine, and what else it serves, goes on, and the panic is in the log.
func TestAPanicInTheHTTPHandler(t *testing.T) {
	s := startHTTP(t, inspect())
	s.handle("/ws", newEcho())
	ws := s.open("/ws")
	c := s.connect()
	c.send([]byte("GET /panic HTTP/1.1\r\nHost: h\r\n\r\n"))
	c.expectEOF()
	ws.echoes([]byte("on"))
	s.connect().expectOK("/")
	s.until("the panic is logged", func() bool { return strings.Contains(s.logs.String(), "of the handler") })
	if !strings.Contains(s.logs.String(), "level=ERROR") {
		t.Error(s.logs)
	}
}

// Clients that do not read what they asked for hold their own answers up and nothing else.
func TestSlowReadersOfAnswers(t *testing.T) {
	const size = 16 << 20
	ended := make(chan error, 10)
	s := startHTTP(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/huge" {
			_, err := w.Write(make([]byte, size))
			ended <- err
		}
	}))
	s.handle("/ws", newEcho())
	slow := make([]*client, 3)
	for i := range slow {
		slow[i] = s.connect()
		slow[i].send([]byte("GET /huge HTTP/1.1\r\nHost: h\r\n\r\n"))
		if b, err := slow[i].r.Peek(1); err != nil {
			t.Fatalf("%q, %v", b, err)
		}
	}
	for range 5 {
		s.open("/ws").echoes(pattern(1000))
		s.connect().expectOK("/")
	}
	select {
	case err := <-ended:
		t.Fatalf("an answer of %d bytes that nobody reads was written: %v", size, err)
	default:
	}
	if _, body := slow[0].readAnswer("GET"); len(body) != size {
		t.Errorf("%d bytes", len(body))
	}
	slow[1].Close()
	slow[2].Conn.(*net.TCPConn).SetLinger(0)
	slow[2].Close()
	failed := 0
	for range slow {
		if within(t, ended) != nil {
			failed++
		}
	}
	if failed != 2 {
		t.Errorf("%d answers failed, want 2", failed)
	}
}

// Over a unix socket all is the same, but for the addresses.
func TestHTTPOverAUnixSocket(t *testing.T) {
	s := bare(t, engine.WithHTTPHandler(inspect()))
	h := newEcho()
	s.handle("/ws", h)
	ln, err := s.Listen("unix", filepath.Join(t.TempDir(), "socket"))
	if err != nil {
		t.Fatal(err)
	}
	served := s.serve(ln)
	t.Cleanup(func() { within(t, served) })
	t.Cleanup(func() { s.Close() })
	c := s.connect()
	c.expectOK("/")
	c.send([]byte(post("/", strings.Repeat("b", 100_000))))
	if r, body := c.readAnswer("POST"); r.StatusCode != 200 || !strings.Contains(body, "100000 bytes") {
		t.Errorf("%s %q", r.Status, body)
	}
	c.upgrade("/ws")
	c.echoes(pattern(70_000))
	c.write(frame.Close, nil)
	c.expectClose(frame.CloseNoStatus)
	h.wait(t)
}

// A head that does not come in time is answered 408 by the engine, on a fresh connection; one that came is net/http's.
func TestASlowHeadIs408WithAnHTTPHandlerToo(t *testing.T) {
	s := startHTTP(t, inspect(), engine.WithHandshakeTimeout(50*time.Millisecond))
	for _, head := range []string{"", "GET / HT", "GET / HTTP/1.1\r\nHost: a\r\nX-"} {
		c := s.connect()
		c.send([]byte(head))
		c.expectRefusal(http.StatusRequestTimeout)
		c.Close()
	}
	c := s.connect()
	c.expectOK("/")
	c.send([]byte("GET / HT"))
	if b, err := io.ReadAll(c.r); err != nil || strings.Contains(string(b), "408") { // net/http has a say of its own
		t.Errorf("%q, %v", b, err)
	}
	s.until("three timeouts are counted", func() bool { return s.Stats().HandshakeTimeouts == 3 })
}

// What HTTP/2 with prior knowledge needs is net/http's affair too, and behind the same port.
func TestHTTP2WithPriorKnowledge(t *testing.T) {
	s := startHTTP(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s %d %v", r.Proto, r.URL.Path, len(b), err)
	}), engine.WithHTTPServer(func(srv *http.Server) {
		srv.Protocols = new(http.Protocols)
		srv.Protocols.SetHTTP1(true)
		srv.Protocols.SetUnencryptedHTTP2(true)
	}))
	s.handle("/ws", newEcho())
	two := new(http.Protocols)
	two.SetUnencryptedHTTP2(true)
	tr := &http.Transport{Protocols: two}
	defer tr.CloseIdleConnections()
	for i := range 3 {
		path := fmt.Sprint("/", i)
		r, err := (&http.Client{Transport: tr, Timeout: patience}).Post("http://"+s.addr(t)+path, "text/plain", bytes.NewReader(pattern(100_000)))
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r.Body)
		r.Body.Close()
		if want := "HTTP/2.0 " + path + " 100000 <nil>"; string(b) != want || err != nil {
			t.Errorf("%q, %v; want %q", b, err, want)
		}
	}
	s.open("/ws").echoes([]byte("and WebSocket"))
	s.connect().expectOK("/and/1.1")
}

// What has no descriptor to hand over, as bytes in memory, is refused by the engine as without a handler, and upgraded as ever.
func TestWhatCannotBeHandedOverIsRefused(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		if overSockets(t) {
			t.Skip("these are handed over")
		}
		s := start(engine.WithHTTPHandler(inspect()))
		s.handle("/ws", newEcho())
		for head, status := range map[string]int{
			"GET /nowhere HTTP/1.1\r\nHost: h\r\n\r\n":                 404,
			"GET /ws HTTP/1.1\r\nHost: h\r\n\r\n":                      426,
			"malformed\r\n\r\n":                                        400,
			string(upgradeRequest("/ws", "Origin: https://evil.test")): 403,
		} {
			c := s.connect()
			c.send([]byte(head))
			c.expectRefusal(status)
			c.Close()
		}
		s.open("/ws").echoes(pattern(1000))
		if n := s.Stats(); n.HandedOver != 0 || n.HTTP != 0 {
			t.Errorf("%+v", n)
		}
	})
}
