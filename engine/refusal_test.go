package engine_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"zeroframe/engine"
)

// readAnswer reads a whole HTTP answer, with net/http's eyes.
func (c *client) readAnswer(method string) (*http.Response, string) {
	c.t.Helper()
	resp, err := http.ReadResponse(c.r, &http.Request{Method: method})
	if err != nil {
		c.t.Fatalf("reading the answer: %v", err)
	}
	if resp.StatusCode == http.StatusSwitchingProtocols {
		return resp, ""
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatalf("reading the body of a %d: %v", resp.StatusCode, err)
	}
	return resp, string(body)
}

// expectRefusal reads an answer that ends the connection: complete by its own length, and nothing behind it.
func (c *client) expectRefusal(status int) (*http.Response, string) {
	c.t.Helper()
	resp, body := c.readAnswer(http.MethodGet)
	switch {
	case resp.StatusCode != status:
		c.t.Fatalf("answer %d %q, want %d", resp.StatusCode, body, status)
	case !resp.Close:
		c.t.Errorf("%d without Connection: close", status)
	case resp.ContentLength != int64(len(body)) || body == "":
		c.t.Errorf("%d of length %d with a body of %d bytes", status, resp.ContentLength, len(body))
	case resp.Header.Get("Date") == "" && status < 500 || resp.Header.Get("Content-Type") == "":
		c.t.Errorf("%d lacks Date or Content-Type: %v", status, resp.Header)
	}
	c.expectEOF()
	return resp, body
}

// request is a head with the given request line and fields.
func request(line string, fields ...string) string {
	return line + " HTTP/1.1\r\n" + strings.Join(append(fields, ""), "\r\n") + "\r\n"
}

const (
	hostField    = "Host: example.test"
	upgradeField = "Upgrade: websocket"
	connectField = "Connection: Upgrade"
	keyField     = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
	versionField = "Sec-WebSocket-Version: 13"
)

// refusals are heads that open no connection, by status and by what the answer must carry.
var refusals = []struct {
	name   string
	head   string
	status int
	header map[string]string
}{
	{"no route", request("GET /nowhere", hostField, upgradeField, connectField, keyField, versionField), 404, nil},
	{"only the root", request("GET /x/", hostField, upgradeField, connectField, keyField, versionField), 404, nil},
	{"method", request("POST /echo", hostField, upgradeField, connectField, keyField, versionField), 405, map[string]string{"Allow": "GET"}},
	{"method of the pattern", request("POST /only", hostField, upgradeField, connectField, keyField, versionField), 405, map[string]string{"Allow": "GET, HEAD"}},
	{"plain request", request("GET /echo", hostField), 426, map[string]string{"Upgrade": "websocket"}},
	{"no Connection", request("GET /echo", hostField, upgradeField, keyField, versionField), 426, map[string]string{"Upgrade": "websocket"}},
	{"other upgrade", request("GET /echo", hostField, "Upgrade: h2c", connectField, keyField, versionField), 426, nil},
	{"no version", request("GET /echo", hostField, upgradeField, connectField, keyField), 400, nil},
	{"version 8", request("GET /echo", hostField, upgradeField, connectField, keyField, "Sec-WebSocket-Version: 8"), 426, map[string]string{"Sec-WebSocket-Version": "13"}},
	{"version list", request("GET /echo", hostField, upgradeField, connectField, keyField, "Sec-WebSocket-Version: 13, 8"), 426, map[string]string{"Sec-WebSocket-Version": "13"}},
	{"no key", request("GET /echo", hostField, upgradeField, connectField, versionField), 400, nil},
	{"short key", request("GET /echo", hostField, upgradeField, connectField, versionField, "Sec-WebSocket-Key: dGhlIHNhbXBsZQ=="), 400, nil},
	{"key not base64", request("GET /echo", hostField, upgradeField, connectField, versionField, "Sec-WebSocket-Key: !GhlIHNhbXBsZSBub25jZQ=="), 400, nil},
	{"two keys", request("GET /echo", hostField, upgradeField, connectField, versionField, keyField, keyField), 400, nil},
	{"HTTP/1.0", "GET /echo HTTP/1.0\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", 400, nil},
	{"HTTP/2.0", "GET /echo HTTP/2.0\r\nHost: a\r\n\r\n", 505, nil},
	{"body", request("GET /echo", hostField, upgradeField, connectField, keyField, versionField, "Content-Length: 5") + "hello", 400, nil},
	{"no Host", request("GET /echo", upgradeField, connectField, keyField, versionField), 400, nil},
	{"two Hosts", request("GET /echo", hostField, hostField, upgradeField, connectField, keyField, versionField), 400, nil},
	{"space before the colon", request("GET /echo", hostField, "Upgrade : websocket", connectField, keyField, versionField), 400, nil},
	{"bare CR", request("GET /echo", hostField, "X-A: a\rb", upgradeField, connectField, keyField, versionField), 400, nil},
	{"bare LF", "GET /echo HTTP/1.1\nHost: a\n\n", 400, nil},
	{"folded field", request("GET /echo", hostField, "X-A: a", " b", upgradeField, connectField, keyField, versionField), 400, nil},
	{"NUL in a field", request("GET /echo", hostField, "X-A: a\x00b", upgradeField, connectField, keyField, versionField), 400, nil},
	{"TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, nil},
	{"length and chunked", request("GET /echo", hostField, "Content-Length: 1", "Transfer-Encoding: chunked"), 400, nil},
	{"other coding", request("GET /echo", hostField, "Transfer-Encoding: gzip"), 501, nil},
	{"foreign page", request("GET /echo", hostField, upgradeField, connectField, keyField, versionField, "Origin: https://evil.test"), 403, nil},
	{"long head", request("GET /echo", hostField, "X-Long: "+strings.Repeat("x", 3000)), 431, nil},
	{"long request line", request("GET /" + strings.Repeat("x", 3000)), 431, nil},
	{"many fields", request("GET /echo", append([]string{hostField}, strings.Split(strings.Repeat("A: b\n", 120), "\n")[:120]...)...), 431, nil},
}

// serveRefusals starts a server with the routes that the table speaks of.
func serveRefusals(start func(...engine.Option) *server) *server {
	s := start(engine.WithMaxHead(2 << 10))
	s.handle("/{$}", newEcho())
	s.handle("/echo", newEcho())
	s.handle("GET /only", newEcho())
	return s
}

func TestRefusalsAreCompleteAnswers(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := serveRefusals(start)
		for _, tt := range refusals {
			c := s.connect()
			c.t = t
			c.send([]byte(tt.head))
			resp, _ := c.readAnswer(http.MethodGet)
			if resp.StatusCode != tt.status {
				t.Errorf("%s: %d, want %d", tt.name, resp.StatusCode, tt.status)
			}
			for name, want := range tt.header {
				if got := resp.Header.Get(name); got != want {
					t.Errorf("%s: %s: %q, want %q", tt.name, name, got, want)
				}
			}
			if !resp.Close || resp.ContentLength < 0 || resp.Header.Get("Sec-WebSocket-Accept") != "" {
				t.Errorf("%s: %v, length %d", tt.name, resp.Header, resp.ContentLength)
			}
			c.expectEOF()
			c.Close()
		}
	})
}

func TestARefusalIsReadableWhileTheClientKeepsSending(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := serveRefusals(start)
		for _, status := range []int{404, 405, 426, 400, 403, 431, 501, 505} {
			for _, tt := range refusals {
				if tt.status != status {
					continue
				}
				c := s.connect()
				sent := make(chan struct{})
				go func() {
					defer close(sent)
					c.Write([]byte(tt.head))
					for range 8 { // unread when the server is done with the answer
						c.Write(make([]byte, 512))
					}
				}()
				<-sent
				c.expectRefusal(status)
				c.Close()
				break
			}
		}
	})
}

// A refused peer that sends without end is cut off, so that it does not hold a connection.
func TestARefusedClientMayNotSendForever(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithCloseTimeout(50 * time.Millisecond))
		c := s.connect()
		c.send([]byte(request("GET /nowhere", hostField)))
		c.expectRefusal(404)
		for {
			if _, err := c.Write(make([]byte, 1024)); err != nil {
				if errors.Is(err, net.ErrClosed) {
					t.Fatal(err)
				}
				return
			}
		}
	})
}

func TestASlowHeadIsAnswered408(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithHandshakeTimeout(30 * time.Millisecond))
		s.handle("/echo", newEcho())
		for _, head := range []string{"", "GET /echo HT", "GET /echo HTTP/1.1\r\nHost: a\r\nUpgr"} {
			c := s.connect()
			c.send([]byte(head))
			c.expectRefusal(408)
			c.Close()
		}
	})
}

// The bytes of a head do not buy it time: the clock runs from accept.
func TestATricklingHeadDoesNotHoldItsConnection(t *testing.T) {
	onEachTransportAtAnyPace(t, 50*time.Millisecond, func(t testing.TB, start func(...engine.Option) *server, timeout time.Duration) {
		s := start(engine.WithHandshakeTimeout(timeout), engine.WithCloseTimeout(timeout))
		c := s.connect()
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			c.Write([]byte("GET / HTTP/1.1\r\n"))
			for i := 0; ; i++ {
				if _, err := fmt.Fprintf(c, "X-%d: y\r\n", i%10); err != nil {
					return
				}
				time.Sleep(timeout / 10) // the trickle itself, not a wait for anything
			}
		}()
		c.readAnswer("GET")
		within(t, ended)
	})
}

func TestARequestDuringShutdownIsAnswered503(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start()
		s.handle("/echo", newEcho())
		c := s.connect()
		c.send([]byte("GET /echo HTTP/1.1\r\n"))
		for s.Stats().Conns == 0 {
			time.Sleep(time.Millisecond)
		}
		done := make(chan error, 1)
		go func() { done <- s.shutdown() }()
		c.expectRefusal(503)
		c.Close()
		if err := within(t, done); err != nil {
			t.Fatal(err)
		}
	})
}
