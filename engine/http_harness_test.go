package engine_test

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"regexp"
	"runtime"
	"slices"
	"testing"
	"time"

	"zeroframe/engine"
	"zeroframe/frame"
	"zeroframe/internal/bridge"
)

// startHTTP returns an engine on a real socket that has h for what is no WebSocket. When the test ends it is closed, and
// no buffer or descriptor may be left.
func startHTTP(t testing.TB, h http.Handler, opts ...engine.Option) *server {
	t.Helper()
	before := descriptors()
	t.Cleanup(func() { expectDescriptors(t, before) })
	return onSocket(t, append([]engine.Option{bridge.PoisonOption().(engine.Option), engine.WithHTTPHandler(h)}, opts...)...)
}

// startHTTPS is startHTTP over TLS.
func startHTTPS(t testing.TB, h http.Handler, opts ...engine.Option) *server {
	t.Helper()
	before := descriptors()
	t.Cleanup(func() { expectDescriptors(t, before) })
	s := bare(t, append([]engine.Option{
		bridge.PoisonOption().(engine.Option), engine.WithHTTPHandler(h), engine.WithTLSConfig(serverCertificate()),
	}, opts...)...)
	ln := listenTCP(t, s, "127.0.0.1:0")
	served := make(chan error, 1)
	go func() { served <- s.ServeTLS(ln, "", "") }()
	t.Cleanup(func() {
		s.Close()
		if err := within(t, served); !errors.Is(err, engine.ErrServerClosed) {
			t.Errorf("ServeTLS returned %v", err)
		}
	})
	s.below = dialer(t, ln.Addr())
	s.dial = func() net.Conn { return tls.Client(s.below(), trusting()) }
	return s
}

// expectDescriptors waits until no more descriptors are open than before.
func expectDescriptors(t testing.TB, before int) {
	t.Helper()
	for end := time.Now().Add(patience / 4); descriptors() > before; runtime.Gosched() {
		if time.Now().After(end) {
			t.Errorf("%d descriptors open, %d before", descriptors(), before)
			return
		}
	}
}

// netHTTP is net/http's own server with the same handler and limits as an engine by default: what it answers is right.
func netHTTP(t testing.TB, h http.Handler, overTLS bool) (dial func() net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: engine.DefaultHandshakeTimeout,
		MaxHeaderBytes:    engine.DefaultMaxHead - 4<<10,
		ErrorLog:          slog.NewLogLogger(slog.DiscardHandler, 0),
	}
	served := make(chan error, 1)
	if overTLS {
		srv.TLSConfig = serverCertificate()
		go func() { served <- srv.ServeTLS(ln, "", "") }()
	} else {
		go func() { served <- srv.Serve(ln) }()
	}
	t.Cleanup(func() {
		srv.Close()
		within(t, served)
	})
	connect := dialer(t, ln.Addr())
	if overTLS {
		return func() net.Conn { return tls.Client(connect(), trusting()) }
	}
	return connect
}

// inspect is a handler that answers with all it was told, so that two servers can be compared.
func inspect() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		var b bytes.Buffer
		fmt.Fprintf(&b, "%s %s %s %d host %q length %d %v close %v\n",
			r.Method, r.URL, r.RequestURI, r.ProtoMinor, r.Host, r.ContentLength, r.TransferEncoding, r.Close)
		names := make([]string, 0, len(r.Header))
		for name := range r.Header {
			names = append(names, name)
		}
		slices.Sort(names)
		for _, name := range names {
			fmt.Fprintf(&b, "%s: %q\n", name, r.Header[name])
		}
		fmt.Fprintf(&b, "%d bytes %x %v trailer %v\n", len(body), sha256.Sum256(body), err, r.Trailer)
		w.Write(b.Bytes())
	})
	mux.HandleFunc("/unread", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "not looked at\n") })
	mux.HandleFunc("/last", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Connection", "close")
		io.WriteString(w, "the last\n")
	})
	mux.HandleFunc("/stream", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "X-Sum")
		for i := range 3 {
			fmt.Fprintf(w, "part %d\n", i)
			http.NewResponseController(w).Flush()
		}
		w.Header().Set("X-Sum", "3")
	})
	mux.HandleFunc("/large", func(w http.ResponseWriter, r *http.Request) {
		w.Write(bytes.Repeat([]byte("0123456789abcdef"), 16<<10))
	})
	mux.HandleFunc("/empty", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusNoContent) })
	mux.HandleFunc("/form", func(w http.ResponseWriter, r *http.Request) {
		f, head, err := r.FormFile("file")
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		defer f.Close()
		b, err := io.ReadAll(f)
		fmt.Fprintf(w, "%s %d %x %v\n", head.Filename, len(b), sha256.Sum256(b), err)
	})
	mux.HandleFunc("/panic", func(w http.ResponseWriter, r *http.Request) { panic("of the handler") })
	mux.HandleFunc("/hijack", func(w http.ResponseWriter, r *http.Request) {
		nc, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		defer nc.Close()
		line, err := rw.ReadString('\n')
		fmt.Fprintf(nc, "hijacked, and sent %q %v\r\n", line, err)
	})
	return mux
}

var dateField = regexp.MustCompile(`Date: [^\r]*\r\n`)

// conversation sends the pieces, each with a write of its own, ends the outgoing direction, and returns all that came back, up to
// the end of the stream, without dates. before, if not nil, is called before each piece but the first.
func conversation(t testing.TB, dial func() net.Conn, pieces [][]byte, before func(sent int)) string {
	t.Helper()
	c := dial()
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	back := make(chan []byte, 1)
	go func() {
		b, err := io.ReadAll(c) // a reset is as good an end: what came before it counts
		if errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("no end of the stream, after %.200q", b)
		}
		back <- b
	}()
	sent := 0
	for i, p := range pieces {
		if i > 0 && before != nil {
			before(sent)
		}
		n, err := c.Write(p)
		sent += n
		if err != nil {
			break // the server has had enough
		}
	}
	c.(interface{ CloseWrite() error }).CloseWrite()
	return string(dateField.ReplaceAll(<-back, nil))
}

// cutAt returns b in pieces that end at the offsets, which ascend.
func cutAt(b []byte, offsets ...int) (pieces [][]byte) {
	at := 0
	for _, o := range offsets {
		pieces = append(pieces, b[at:o])
		at = o
	}
	return append(pieces, b[at:])
}

// cutRandomly returns b in at most n pieces.
func cutRandomly(b []byte, n int, rng *rand.Rand) [][]byte {
	offsets := make([]int, n-1)
	for i := range offsets {
		offsets[i] = rng.IntN(len(b) + 1)
	}
	slices.Sort(offsets)
	return slices.DeleteFunc(cutAt(b, offsets...), func(p []byte) bool { return len(p) == 0 })
}

// get sends a plain request and returns the status and body of the answer.
func (c *client) get(path string) (int, string) {
	c.t.Helper()
	c.send([]byte("GET " + path + " HTTP/1.1\r\nHost: example.test\r\n\r\n"))
	r, body := c.readAnswer("GET")
	return r.StatusCode, body
}

// expectOK sends a plain request, which must be answered.
func (c *client) expectOK(path string) {
	c.t.Helper()
	if status, body := c.get(path); status != http.StatusOK {
		c.t.Fatalf("GET %s: %d %q", path, status, body)
	}
}

// echoes sends messages, which must come back.
func (c *client) echoes(payloads ...[]byte) {
	c.t.Helper()
	for _, p := range payloads {
		c.write(frame.Binary, p)
		c.expect(frame.Binary, p)
	}
}

// useUpDescriptors leaves the process without a free descriptor until giveBack is called.
func useUpDescriptors(t testing.TB) (giveBack func()) {
	t.Helper()
	setBack := limitDescriptors(t, descriptors()+100)
	var files []*os.File
	for {
		f, err := os.Open(os.DevNull)
		if err != nil {
			break
		}
		files = append(files, f)
	}
	return func() {
		setBack()
		for _, f := range files {
			f.Close()
		}
	}
}

// dialTCP connects with as much patience as any client of the tests.
func dialTCP(addr string) (net.Conn, error) {
	nc, err := net.Dial("tcp", addr)
	if err == nil {
		nc.SetDeadline(time.Now().Add(patience))
	}
	return nc, err
}
