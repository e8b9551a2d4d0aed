package fuzz

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"zeroframe/engine"
	"zeroframe/frame"
	"zeroframe/internal/bridge"
	"zeroframe/internal/handshake"
)

// FuzzHTTPSamePort sends arbitrary bytes, cut into pieces at random, to an engine with an HTTP handler and to net/http's own
// server with the same one: what comes back is the same, unless the bytes speak of a WebSocket, in which case it must only
// come to an end.
func FuzzHTTPSamePort(f *testing.F) {
	h := http.HandlerFunc(describeRequest)
	e, err := engine.New(
		engine.WithLoops(1),
		engine.WithHTTPHandler(h),
		engine.WithPingInterval(0),
		engine.WithCloseTimeout(50*time.Millisecond),
		bridge.PoisonOption().(engine.Option),
	)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { e.Close() })
	echo := func(c *engine.Conn, op frame.OpCode, payload []byte) { c.Reply(op, payload) }
	for _, pattern := range []string{"/ws", "/room/{id}"} {
		if err := e.Handle(pattern, engine.HandlerFunc(echo)); err != nil {
			f.Fatal(err)
		}
	}
	ours := listenUnix(f)
	go e.Serve(ours)
	srv := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: engine.DefaultHandshakeTimeout,
		MaxHeaderBytes:    handshake.DefaultMaxBytes - 4<<10, // net/http takes 4 KiB more
		ErrorLog:          slog.NewLogLogger(slog.DiscardHandler, 0),
	}
	f.Cleanup(func() { srv.Close() })
	theirs := listenUnix(f)
	go srv.Serve(theirs)

	const get, upgrade = "GET / HTTP/1.1\r\nHost: h\r\n\r\n", "Host: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
	for _, s := range []string{
		get + get,
		"HEAD /ws HTTP/1.1\r\nHost: h\r\n\r\nGET /unread HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" + get,
		"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc" + get,
		"POST /unread HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n0\r\nX-T: 1\r\n\r\n" + get,
		"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + get,
		"POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc" + get,
		"GET / HTTP/1.1\r\nHost: h\r\nX-A: 1\r\n 2\r\n\r\n" + get,
		"GET / HTTP/1.1\nHost: h\n\n\r\n" + get,
		"GET /ws HTTP/1.1\r\n" + upgrade + "\x81\x85\x00\x00\x00\x00hello",
		get + "GET /room/1 HTTP/1.1\r\n" + upgrade + "\x88\x80\x00\x00\x00\x00",
		"GET /ws HTTP/1.1\r\n" + strings.Replace(upgrade, "13", "8", 1) + get + "GET /ws HTTP/1.1\r\n" + upgrade,
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
	} {
		f.Add([]byte(s), uint64(len(s)))
	}
	f.Fuzz(func(t *testing.T, stream []byte, seed uint64) {
		stream = stream[:min(len(stream), 40<<10)]
		pieces := cutPieces(stream, rand.New(rand.NewPCG(seed, 0)))
		got := answersTo(t, ours.Addr(), pieces)
		if bytes.Contains(bytes.ToLower(stream), []byte("websocket")) {
			return
		}
		// A server that closes with input unread may cut its own answer off: then net/http's is one of several.
		var could []string
		for range 5 {
			want := answersTo(t, theirs.Addr(), pieces)
			if got == want {
				return
			}
			could = append(could, want)
			got = answersTo(t, ours.Addr(), pieces)
			if slices.Contains(could, got) {
				return
			}
		}
		t.Fatalf("%q in pieces of %v\ngot  %q\nwant %q", stream, lengths(pieces), got, could)
	})
}

// describeRequest answers with what it was told.
func describeRequest(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/unread" {
		io.WriteString(w, "unread")
		return
	}
	body, err := io.ReadAll(r.Body)
	names := make([]string, 0, len(r.Header))
	for name, values := range r.Header {
		names = append(names, fmt.Sprintf("%s: %q", name, values))
	}
	slices.Sort(names)
	fmt.Fprintf(w, "%s %q %s %q %d %v %v %q %d %x %v %v", r.Method, r.RequestURI, r.Proto, r.Host, r.ContentLength, r.TransferEncoding,
		r.Close, names, len(body), sha256.Sum256(body), err, r.Trailer)
}

// listenUnix listens on a socket of its own: TCP would run out of ports.
func listenUnix(f *testing.F) net.Listener {
	f.Helper()
	ln, err := net.Listen("unix", filepath.Join(f.TempDir(), "socket"))
	if err != nil {
		f.Fatal(err)
	}
	return ln
}

func cutPieces(b []byte, rng *rand.Rand) (pieces [][]byte) {
	for len(b) > 0 {
		n := len(b)
		if len(pieces) < 20 && rng.IntN(4) > 0 {
			n = 1 + rng.IntN(min(len(b), 1<<rng.IntN(14)))
		}
		pieces = append(pieces, b[:n])
		b = b[n:]
	}
	return pieces
}

func lengths(pieces [][]byte) (list []int) {
	for _, p := range pieces {
		list = append(list, len(p))
	}
	return list
}

var dates = regexp.MustCompile(`Date: [^\r]*\r\n`)

// answersTo sends pieces, ends the outgoing direction, and returns all that comes back, less dates.
func answersTo(t *testing.T, addr net.Addr, pieces [][]byte) string {
	c, err := net.Dial(addr.Network(), addr.String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(connPatience))
	back := make(chan string, 1)
	go func() {
		b, err := io.ReadAll(c)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("no end of %q in pieces of %v, after %q", bytes.Join(pieces, nil), lengths(pieces), b)
		}
		back <- dates.ReplaceAllString(string(b), "")
	}()
	for _, p := range pieces {
		if _, err := c.Write(p); err != nil {
			break // the server has heard enough
		}
	}
	c.(*net.UnixConn).CloseWrite()
	return <-back
}
