package engine_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"

	"zeroframe/engine"
	"zeroframe/frame"
)

// startBoth serves TLS with a handler beside the routes that tells what it sees of a request.
func startBoth(t testing.TB, opts ...engine.Option) (*engine.Engine, string) {
	t.Helper()
	e, err := engine.New(append([]engine.Option{
		engine.WithLoops(2),
		engine.WithTLSConfig(serverCertificate()),
		engine.WithHTTPHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			if r.TLS == nil || !r.TLS.HandshakeComplete {
				t.Error("a request without its TLS state")
				return
			}
			fmt.Fprintf(w, "%s %s %s %d", r.Proto, r.Method, r.URL.Path, len(body))
		})),
	}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Handle("/echo", newEcho()); err != nil {
		t.Fatal(err)
	}
	ln, err := e.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- e.ServeTLS(ln, "", "") }()
	t.Cleanup(func() {
		e.Close()
		if err := <-served; !errors.Is(err, engine.ErrServerClosed) {
			t.Errorf("ServeTLS returned %v", err)
		}
		expectNothingOut(t)
	})
	return e, ln.Addr().String()
}

func TestHTTPOverTLSOnTheSamePortInBothVersionsOfHTTP(t *testing.T) {
	e, addr := startBoth(t)
	for _, two := range []bool{false, true} {
		transport := &http.Transport{TLSClientConfig: trusting(), ForceAttemptHTTP2: two}
		client := http.Client{Transport: transport}
		proto := "HTTP/1.1"
		if two {
			proto = "HTTP/2.0"
		}
		for i := range 5 {
			body := pattern(i * 100_000)
			r, err := client.Post(fmt.Sprintf("https://%s/page/%d", addr, i), "", bytes.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			answer, err := io.ReadAll(r.Body)
			r.Body.Close()
			if want := fmt.Sprintf("%s POST /page/%d %d", proto, i, len(body)); err != nil || string(answer) != want {
				t.Errorf("answered %q, %v, want %q", answer, err, want)
			}
		}
		if n := e.Stats().Conns; n != 1 {
			t.Errorf("%d connections are counted, want 1", n)
		}
		transport.CloseIdleConnections()
		eventually(t, "the connection is off the books", func() bool { return e.Stats().Conns == 0 })
	}
}

// A request that net/http answers, then an upgrade, with a frame right behind it, on one connection over TLS.
func TestUpgradeAfterARequestOverTLS(t *testing.T) {
	e, addr := startBoth(t)
	for _, before := range []int{0, 1, 3} {
		nc, err := tls.Dial("tcp", addr, trusting())
		if err != nil {
			t.Fatal(err)
		}
		c := &client{Conn: nc, t: t, r: bufio.NewReader(nc)}
		for i := range before {
			fmt.Fprintf(nc, "GET /%d HTTP/1.1\r\nHost: localhost\r\n\r\n", i)
			r, err := http.ReadResponse(c.r, nil)
			if err != nil {
				t.Fatal(err)
			}
			if answer, _ := io.ReadAll(r.Body); string(answer) != fmt.Sprintf("HTTP/1.1 GET /%d 0", i) {
				t.Errorf("answered %q", answer)
			}
		}
		c.send(append(upgradeRequest("/echo"), encode(true, frame.Text, []byte("right behind"))...))
		if status, head := c.readHead(); status != 101 {
			t.Fatalf("%d\n%s", status, head)
		}
		c.expect(frame.Text, []byte("right behind"))
		for conn := range e.Conns() {
			if state := conn.TLS(); state == nil || !state.HandshakeComplete {
				t.Error("an upgraded connection without its TLS state")
			}
		}
		big := pattern(300_000)
		go c.write(frame.Binary, big)
		c.expect(frame.Binary, big)
		c.write(frame.Close, closePayload(1000, ""))
		c.expectClose(1000)
		nc.Close()
		eventually(t, "the connection is off the books", func() bool { return e.Stats().Conns == 0 })
	}
}

func TestPlainHTTPOnATLSPortIsToldSo(t *testing.T) {
	_, addr := startBoth(t)
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	fmt.Fprintf(nc, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
	answer, err := io.ReadAll(nc)
	if want := "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n"; err != nil || string(answer) != want {
		t.Errorf("answered %q, %v", answer, err)
	}
}
