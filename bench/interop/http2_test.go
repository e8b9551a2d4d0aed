package interop

//lint:file-ignore SA1019 http.Transport, which http2.Transport is to be replaced by, has no extended CONNECT

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
	"golang.org/x/net/http2"

	"zeroframe/engine"
	"zeroframe/frame"
)

// extendedConnect runs f in a process in which net/http offers, and http2.Transport uses, extended CONNECT (RFC 8441):
// both read GODEBUG when they are initialized.
func extendedConnect(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	const on = "http2xconnect=1"
	if strings.Contains(os.Getenv("GODEBUG"), on) {
		f(t)
		return
	}
	exe, err := os.Executable()
	if err != nil {
		t.Skip(err)
	}
	cmd := exec.Command(exe, "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=60s")
	cmd.Env = append(os.Environ(), "GODEBUG="+on)
	out, err := cmd.CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("--- PASS: "+t.Name())) {
		t.Errorf("with GODEBUG=%s: %v\n%s", on, err, out)
	}
}

// h2Server is an engine behind net/http's server, which speaks HTTP/2, and a client of it.
type h2Server struct {
	*httptest.Server
	engine *engine.Engine
	client *http2.Transport
	served *served
}

// serveHTTP2 mounts f's handler at /ws, over TLS or with prior knowledge.
func serveHTTP2(t *testing.T, secure bool, f func(*engine.Engine, *served) http.Handler) *h2Server {
	t.Helper()
	e, err := engine.New(engine.WithLoops(2), engine.WithPingInterval(0))
	if err != nil {
		t.Fatal(err)
	}
	seen := &served{closed: make(chan engine.CloseReason, 1000), pongs: make(chan string, 100)}
	mux := http.NewServeMux()
	mux.Handle("/ws", f(e, seen))
	mux.Handle("/ws/{room}", f(e, seen))
	mux.HandleFunc("/plain", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Proto) })
	s := startHTTP2(t, secure, mux)
	s.engine, s.served = e, seen
	return s
}

// startHTTP2 serves h over HTTP/2. The handler's connections must have ended when the test is over.
func startHTTP2(t *testing.T, secure bool, h http.Handler) *h2Server {
	t.Helper()
	s := &h2Server{Server: httptest.NewUnstartedServer(h)}
	// Deadlines of requests are none of connections.
	s.Config.ReadTimeout, s.Config.WriteTimeout, s.Config.IdleTimeout = 100*time.Millisecond, 100*time.Millisecond, 100*time.Millisecond
	if secure {
		s.EnableHTTP2 = true
		s.StartTLS()
		s.client = &http2.Transport{TLSClientConfig: s.Client().Transport.(*http.Transport).TLSClientConfig}
	} else {
		var p http.Protocols
		p.SetUnencryptedHTTP2(true)
		s.Config.Protocols = &p
		s.Start()
		s.client = &http2.Transport{AllowHTTP: true, DialTLSContext: func(ctx context.Context, network, addr string, _ *tls.Config) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, addr)
		}}
	}
	t.Cleanup(func() {
		if s.engine != nil {
			s.engine.Close()
		}
		s.client.CloseIdleConnections()
		s.Close()
	})
	return s
}

// h2Stream is the client's end of a WebSocket over HTTP/2.
type h2Stream struct {
	io.Reader
	*io.PipeWriter
	resp *http.Response
}

// open sends an extended CONNECT for path.
func (s *h2Server) open(t *testing.T, path string, header ...string) (*h2Stream, *http.Response) {
	t.Helper()
	body, w := io.Pipe()
	req, err := http.NewRequest(http.MethodConnect, s.URL+path, body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set(":protocol", "websocket")
	req.Header.Set("Sec-WebSocket-Version", "13")
	for i := 0; i < len(header); i += 2 {
		req.Header[header[i]] = []string{header[i+1]}
	}
	resp, err := s.client.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close(); resp.Body.Close() })
	return &h2Stream{resp.Body, w, resp}, resp
}

// echoes sends a message, which must come back.
func (c *h2Stream) echoes(t *testing.T, op ws.OpCode, payload []byte) {
	t.Helper()
	sent := make(chan error, 1)
	go func() { sent <- wsutil.WriteClientMessage(c, op, payload) }()
	got, gotOp, err := wsutil.ReadServerData(c)
	if err != nil || gotOp != op || !bytes.Equal(got, payload) {
		t.Fatalf("got %v of %d bytes, %v; want %v of %d", gotOp, len(got), err, op, len(payload))
	}
	if err := within(t, sent); err != nil {
		t.Fatal(err)
	}
}

func TestAWebSocketOverHTTP2(t *testing.T) {
	extendedConnect(t, func(t *testing.T) {
		for _, secure := range []bool{true, false} {
			s := serveHTTP2(t, secure, func(e *engine.Engine, seen *served) http.Handler {
				return e.Handler(echo{served: seen}, engine.Subprotocols("v2", "v1"), engine.WithOnUpgrade(func(u *engine.Upgrade) error {
					if (u.Request.TLS != nil) != secure || u.Request.ProtoMajor != 2 {
						t.Errorf("request %+v", u.Request)
					}
					u.Header.Set("X-Room", u.Request.PathValue("room"))
					u.Header.Set("Connection", "close")
					return nil
				}))
			})
			c, resp := s.open(t, "/ws/blue", "Sec-Websocket-Protocol", "v1", "Origin", s.URL)
			if resp.StatusCode != 200 || resp.Header.Get("Sec-WebSocket-Protocol") != "v1" || resp.Header.Get("X-Room") != "blue" ||
				resp.Header.Get("Sec-WebSocket-Accept") != "" {
				t.Fatalf("%d %v", resp.StatusCode, resp.Header)
			}
			for _, n := range []int{0, 1, 125, 126, 4096, 65_535, 65_536, 3_000_000} {
				c.echoes(t, ws.OpBinary, pattern(n))
			}
			time.Sleep(300 * time.Millisecond) // three times the server's timeouts
			c.echoes(t, ws.OpText, []byte("still there"))
			for conn := range s.engine.Conns() {
				if (conn.TLS() != nil) != secure || conn.RemoteAddr() == nil || conn.LocalAddr().String() != s.Listener.Addr().String() ||
					conn.Subprotocol() != "v1" {
					t.Errorf("TLS %v, addresses %v and %v", conn.TLS(), conn.RemoteAddr(), conn.LocalAddr())
				}
			}
			if err := wsutil.WriteClientMessage(c, ws.OpClose, ws.NewCloseFrameBody(4000, "bye")); err != nil {
				t.Fatal(err)
			}
			h, err := ws.ReadFrame(c)
			if code, _ := ws.ParseCloseFrameData(h.Payload); err != nil || h.Header.OpCode != ws.OpClose || code != 4000 {
				t.Fatalf("%v %v", h, err)
			}
			if rest, err := io.ReadAll(c); err != nil || len(rest) != 0 {
				t.Errorf("behind the close frame: %q, %v", rest, err)
			}
			if r := within(t, s.served.closed); r.Code != 4000 || !r.Remote {
				t.Errorf("reason %+v", r)
			}
		}
	})
}

// expectClose reads the server's close frame, with any code of a peer's before it, and then the end of the stream.
func (c *h2Stream) expectClose(t *testing.T, code ws.StatusCode) {
	t.Helper()
	f, err := ws.ReadFrame(c)
	if got, _ := ws.ParseCloseFrameData(f.Payload); err != nil || f.Header.OpCode != ws.OpClose || got != code {
		t.Fatalf("frame %v, code %d, %v; want close %d", f.Header, got, err, code)
	}
	if rest, err := io.ReadAll(c); err != nil || len(rest) != 0 {
		t.Errorf("behind the close frame: %q, %v", rest, err)
	}
}

// eventually polls until ok.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not in %v", what, patience)
		}
	}
}

// Each stream of a connection is a WebSocket of its own, beside plain requests; when they have ended, nothing is left.
func TestManyWebSocketsOnOneHTTP2Connection(t *testing.T) {
	extendedConnect(t, func(t *testing.T) {
		s := serveHTTP2(t, true, func(e *engine.Engine, seen *served) http.Handler { return e.Handler(echo{served: seen}) })
		get := func() {
			req, _ := http.NewRequest(http.MethodGet, s.URL+"/plain", nil)
			resp, err := s.client.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if b, _ := io.ReadAll(resp.Body); string(b) != "HTTP/2.0" {
				t.Errorf("%d %s", resp.StatusCode, b)
			}
		}
		get() // what one connection has is there now
		before := runtime.NumGoroutine()
		const streams = 100
		all := make([]*h2Stream, streams)
		for i := range all {
			all[i], _ = s.open(t, "/ws")
		}
		var done sync.WaitGroup
		for _, c := range all {
			done.Go(func() {
				for n := range 20 {
					c.echoes(t, ws.OpBinary, pattern(n*997))
				}
			})
		}
		done.Wait()
		get()
		for i, c := range all {
			switch i % 3 {
			case 0: // in order
				wsutil.WriteClientMessage(c, ws.OpClose, ws.NewCloseFrameBody(1000, ""))
				c.expectClose(t, 1000)
			case 1: // the client resets the stream
				c.resp.Body.Close()
			case 2: // or ends it
				c.Close()
			}
		}
		codes := make(map[frame.CloseCode]int)
		for range all {
			codes[within(t, s.served.closed).Code]++
		}
		if codes[1000] != (streams+2)/3 || codes[1006] != streams-codes[1000] {
			t.Errorf("close codes %v", codes)
		}
		eventually(t, "no goroutine is left of them", func() bool { return runtime.NumGoroutine() <= before })
		get()
	})
}

// Upgrade holds on to the stream, which ends when the handler returns.
func TestUpgradeOverHTTP2ReturnsAtTheEndOfTheConnection(t *testing.T) {
	extendedConnect(t, func(t *testing.T) {
		returned := make(chan error, 1)
		s := serveHTTP2(t, true, func(e *engine.Engine, seen *served) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				c, err := e.Upgrade(w, r, echo{served: seen})
				if c.SendText("too late") == nil {
					t.Error("the connection is open still")
				}
				returned <- err
			})
		})
		c, _ := s.open(t, "/ws")
		c.echoes(t, ws.OpText, []byte("hello"))
		select {
		case err := <-returned:
			t.Fatalf("Upgrade returned: %v", err)
		default:
		}
		wsutil.WriteClientMessage(c, ws.OpClose, ws.NewCloseFrameBody(1000, ""))
		c.expectClose(t, 1000)
		if err := within(t, returned); err != nil {
			t.Error(err)
		}
	})
}

// A session over HTTP/2, compressed, with a request that outlives its handler's context.
func TestASessionOverHTTP2(t *testing.T) {
	extendedConnect(t, func(t *testing.T) {
		s := serveHTTP2(t, true, func(e *engine.Engine, seen *served) http.Handler {
			return e.SessionHandler(func(ctx context.Context, s *engine.Session) error {
				for m, err := range s.Messages(ctx) {
					if err != nil {
						return err
					}
					if string(m.Payload) == "end" {
						return nil
					}
					room := s.Request().PathValue("room")
					if err := s.SendText(ctx, room+" "+strings.Join(s.Conn().Extensions(), ",")+" "+string(m.Payload)); err != nil {
						return err
					}
				}
				return nil
			}, engine.WithCompression(engine.Compression{}))
		})
		c, resp := s.open(t, "/ws/blue", "Sec-Websocket-Extensions", "permessage-deflate; client_no_context_takeover")
		if got := resp.Header.Get("Sec-WebSocket-Extensions"); !strings.HasPrefix(got, "permessage-deflate") {
			t.Fatalf("extensions %q", got)
		}
		if err := wsutil.WriteClientMessage(c, ws.OpText, []byte("hi")); err != nil { // not compressed, as it may be
			t.Fatal(err)
		}
		got, _, err := wsutil.ReadServerData(c) // too short to be compressed
		if err != nil || string(got) != "blue permessage-deflate hi" {
			t.Fatalf("got %q, %v", got, err)
		}
		wsutil.WriteClientMessage(c, ws.OpText, []byte("end"))
		f, err := ws.ReadFrame(c)
		if code, _ := ws.ParseCloseFrameData(f.Payload); err != nil || code != 1000 {
			t.Fatalf("%v %v", f.Header, err)
		}
		ws.WriteFrame(c, ws.MaskFrame(ws.NewCloseFrame(ws.NewCloseFrameBody(1000, ""))))
		if _, err := io.ReadAll(c); err != nil {
			t.Error(err)
		}
	})
}

// A client that does not read is dropped, though a write to it is stuck, and the other streams never notice.
func TestAnHTTP2StreamThatIsNotReadIsDropped(t *testing.T) {
	extendedConnect(t, func(t *testing.T) {
		stuck := make(chan *engine.Conn, 1)
		s := serveHTTP2(t, true, func(e *engine.Engine, seen *served) http.Handler {
			good := e.Handler(echo{served: seen})
			bad := e.Handler(opener{echo{served: seen}, stuck}, engine.WithWriteTimeout(50*time.Millisecond))
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.PathValue("room") == "" {
					good.ServeHTTP(w, r)
				} else {
					bad.ServeHTTP(w, r)
				}
			})
		})
		good, _ := s.open(t, "/ws")
		good.echoes(t, ws.OpText, []byte("before"))
		before := runtime.NumGoroutine()
		s.open(t, "/ws/bad")
		if err := within(t, stuck).Send(frame.Binary, make([]byte, 12<<20)); err != nil {
			t.Fatal(err)
		}
		good.echoes(t, ws.OpText, []byte("meanwhile"))
		if r := within(t, s.served.closed); r.Err != engine.ErrWriteTimeout {
			t.Errorf("reason %+v", r)
		}
		good.echoes(t, ws.OpText, []byte("after"))
		eventually(t, "its goroutines are gone", func() bool { return runtime.NumGoroutine() <= before+2 }) // the client's own two
	})
}

// opener tells of each connection.
type opener struct {
	echo
	conns chan *engine.Conn
}

func (h opener) OnOpen(c *engine.Conn) { h.conns <- c }

func TestTheEndOfTheEngineEndsItsHTTP2Streams(t *testing.T) {
	extendedConnect(t, func(t *testing.T) {
		s := serveHTTP2(t, true, func(e *engine.Engine, seen *served) http.Handler { return e.Handler(echo{served: seen}) })
		c, _ := s.open(t, "/ws")
		c.echoes(t, ws.OpText, []byte("hello"))
		ended := make(chan error, 1)
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			ended <- s.engine.Shutdown(ctx)
		}()
		f, err := ws.ReadFrame(c)
		if code, _ := ws.ParseCloseFrameData(f.Payload); err != nil || code != 1001 {
			t.Fatalf("%v %v", f.Header, err)
		}
		ws.WriteFrame(c, ws.MaskFrame(ws.NewCloseFrame(ws.NewCloseFrameBody(1001, ""))))
		if rest, err := io.ReadAll(c); err != nil || len(rest) != 0 {
			t.Errorf("behind the close frame: %q, %v", rest, err)
		}
		if err := within(t, ended); err != nil {
			t.Error(err)
		}
		if _, resp := s.open(t, "/ws"); resp.StatusCode != 503 {
			t.Errorf("after Shutdown: %d", resp.StatusCode)
		}
	})
}

// What does not open a WebSocket over HTTP/2 is answered, and the connection goes on.
func TestHTTP2RequestsThatAreRefused(t *testing.T) {
	extendedConnect(t, func(t *testing.T) {
		s := serveHTTP2(t, true, func(e *engine.Engine, seen *served) http.Handler {
			h := e.Handler(echo{served: seen}, engine.RequireSubprotocol("v1"))
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.PathValue("room") == "slow" {
					http.TimeoutHandler(h, patience, "").ServeHTTP(w, r)
					return
				}
				h.ServeHTTP(w, r)
			})
		})
		const version, protocol = "Sec-Websocket-Version", "Sec-Websocket-Protocol"
		for _, row := range []struct {
			path   string
			header []string
			status int
		}{
			{"/ws", []string{protocol, "v1"}, 200},
			{"/ws", []string{protocol, "v1", ":protocol", "connect-udp"}, 501},
			{"/ws", []string{protocol, "v1", version, "8"}, 426},
			{"/ws", []string{protocol, "v1", version, ""}, 426},
			{"/ws", []string{protocol, "v3"}, 400},
			{"/ws", []string{protocol, "v1", "Origin", "https://evil.test"}, 403},
			{"/ws/slow", []string{protocol, "v1"}, 500},
			{"/nowhere", []string{protocol, "v1"}, 404},
		} {
			c, resp := s.open(t, row.path, row.header...)
			if resp.StatusCode != row.status || resp.Header.Get("Upgrade") != "" {
				t.Errorf("%v: %d %v", row, resp.StatusCode, resp.Header)
			}
			if row.status == 426 && resp.Header.Get("Sec-WebSocket-Version") != "13" {
				t.Errorf("%v: %v", row, resp.Header)
			}
			if row.status == 200 {
				c.echoes(t, ws.OpText, []byte("hello"))
			} else if b, err := io.ReadAll(resp.Body); err != nil || len(b) == 0 {
				t.Errorf("%v: body %q, %v", row, b, err)
			}
		}
	})
}

// Without extended CONNECT a client over HTTP/2 is told so, whatever it tries.
func TestHTTP2WithoutExtendedConnect(t *testing.T) {
	if strings.Contains(os.Getenv("GODEBUG"), "http2xconnect=1") {
		t.Skip("it is on")
	}
	s := serveHTTP2(t, true, func(e *engine.Engine, seen *served) http.Handler { return e.Handler(echo{served: seen}) })
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodHead} {
		req, _ := http.NewRequest(method, s.URL+"/ws", nil)
		req.Header.Set("Sec-WebSocket-Version", "13")
		req.Header.Set("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
		resp, err := s.client.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != 400 || resp.Header.Get("Upgrade") != "" || method != http.MethodHead && !strings.Contains(string(b), "HTTP/1.1") {
			t.Errorf("%s: %d %v %q", method, resp.StatusCode, resp.Header, b)
		}
	}
	if got := s.engine.Stats().Refused; got[400] != 3 || len(got) != 1 {
		t.Errorf("refused: %v", got)
	}
}

// Middleware that compresses answers has no part in a stream.
func TestMiddlewareBeforeAnHTTP2Stream(t *testing.T) {
	extendedConnect(t, func(t *testing.T) {
		s := serveHTTP2(t, true, func(e *engine.Engine, seen *served) http.Handler {
			h := e.Handler(echo{served: seen})
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Encoding", "shout")
				w.Header().Set("X-Request-Id", "7")
				h.ServeHTTP(shouting{w}, r)
			})
		})
		c, resp := s.open(t, "/ws")
		if resp.Header.Get("X-Request-Id") != "7" || resp.Header.Get("Content-Encoding") != "" {
			t.Errorf("%v", resp.Header)
		}
		c.echoes(t, ws.OpText, []byte("hello"))
	})
}

// shouting is a writer that changes what is written.
type shouting struct{ http.ResponseWriter }

func (w shouting) Write(p []byte) (int, error) {
	return w.ResponseWriter.Write(bytes.ToUpper(slices.Clone(p)))
}
func (w shouting) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// With WithHTTPHandler the engine's own port speaks HTTP/2 too, and its routes are found there.
func TestAWebSocketOverHTTP2OnTheEnginesOwnPort(t *testing.T) {
	extendedConnect(t, func(t *testing.T) {
		e, err := engine.New(engine.WithLoops(2), engine.WithPingInterval(0), engine.WithTLSConfig(secured().server.Clone()),
			engine.WithHTTPHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Proto) })))
		if err != nil {
			t.Fatal(err)
		}
		if err := e.HandleSession("/session/{room}", talk); err != nil {
			t.Fatal(err)
		}
		ln, err := e.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- e.ServeTLS(ln, "", "") }()
		s := &h2Server{Server: &httptest.Server{URL: "https://" + ln.Addr().String()}, engine: e, client: &http2.Transport{TLSClientConfig: trusting()}}
		c, resp := s.open(t, "/session/blue")
		if resp.StatusCode != 200 {
			t.Fatalf("%d", resp.StatusCode)
		}
		if err := wsutil.WriteClientMessage(c, ws.OpText, []byte("hello")); err != nil {
			t.Fatal(err)
		}
		if got, _, err := wsutil.ReadServerData(c); err != nil || string(got) != "blue: hello" {
			t.Fatalf("%q, %v", got, err)
		}
		if _, resp := s.open(t, "/nowhere"); resp.StatusCode != 200 {
			t.Errorf("no route, so the handler's: %d", resp.StatusCode)
		} else if b, _ := io.ReadAll(resp.Body); string(b) != "HTTP/2.0" {
			t.Errorf("%q", b)
		}
		if s := e.Stats(); s.Open != 1 || s.HTTP != 1 || s.Conns != 2 {
			t.Errorf("%+v", s)
		}
		ended := make(chan error, 1)
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			ended <- e.Shutdown(ctx)
		}()
		f, err := ws.ReadFrame(c)
		if code, _ := ws.ParseCloseFrameData(f.Payload); err != nil || code != 1001 {
			t.Fatalf("%v %v", f.Header, err)
		}
		ws.WriteFrame(c, ws.MaskFrame(ws.NewCloseFrame(ws.NewCloseFrameBody(1001, ""))))
		if err := within(t, ended); err != nil {
			t.Error(err)
		}
		within(t, done)
		s.client.CloseIdleConnections()
	})
}
