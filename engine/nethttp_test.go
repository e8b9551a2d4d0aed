package engine_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"zeroframe/engine"
	"zeroframe/frame"
)

func TestAHandlerInNetHTTPEchoes(t *testing.T) {
	onEachListener(t, func(t *testing.T, start func(...engine.Option) *mounted) {
		m := start()
		h := newEcho()
		m.mux.Handle("/echo", m.Handler(h))
		c := m.open("/echo")
		for _, n := range []int{0, 1, 125, 126, 65_535, 65_536, 1_000_000} {
			go c.write(frame.Binary, pattern(n))
			c.expect(frame.Binary, pattern(n))
		}
		c.write(frame.Close, closePayload(3000, "bye"))
		c.expectClose(3000)
		if r := h.wait(t); r.Code != 3000 || r.Text != "bye" || !r.Remote {
			t.Errorf("reason %+v", r)
		}
		eventually(t, "the handshake is counted", func() bool { s := m.Stats(); return s.Handshakes == 1 && len(s.Refused) == 0 })
	})
}

// What the client sends together with its request is the first that is delivered, however much of it net/http has read.
func TestFramesBehindTheRequestAreDeliveredFirst(t *testing.T) {
	small := func(i int) []byte { return pattern(i % 300) }
	var many, wantMany []byte
	for i := range 200 {
		many = append(many, encode(true, frame.Binary, small(i))...)
		wantMany = append(wantMany, answerTo(frame.Binary, small(i))...)
	}
	big := encode(true, frame.Binary, pattern(100_000))
	for _, row := range []struct {
		name  string
		first []byte // in one write with the request
		then  []byte
		want  []byte // the answers, byte for byte
	}{
		{"one", encode(true, frame.Text, []byte("first")), encode(true, frame.Text, []byte("second")),
			append(answerTo(frame.Text, []byte("first")), answerTo(frame.Text, []byte("second"))...)},
		{"many", many, nil, wantMany},
		{"a part of a header", encode(true, frame.Text, pattern(200))[:3], encode(true, frame.Text, pattern(200))[3:],
			answerTo(frame.Text, pattern(200))},
		{"a part of a payload", encode(true, frame.Text, pattern(200))[:100], encode(true, frame.Text, pattern(200))[100:],
			answerTo(frame.Text, pattern(200))},
		{"fragments", slices.Concat(encode(false, frame.Text, []byte("one ")), encode(true, frame.Ping, []byte("p")),
			encode(false, frame.Continuation, []byte("two "))), encode(true, frame.Continuation, []byte("three")),
			append(answerTo(frame.Pong, []byte("p")), answerTo(frame.Text, []byte("one two three"))...)},
		{"more than net/http reads", big, nil, append([]byte{0x82, 127, 0, 0, 0, 0, 0, 1, 0x86, 0xa0}, pattern(100_000)...)},
		{"a close frame", encode(true, frame.Close, closePayload(4000, "")), nil, answerTo(frame.Close, closePayload(4000, ""))},
	} {
		t.Run(row.name, func(t *testing.T) {
			onEachListener(t, func(t *testing.T, start func(...engine.Option) *mounted) {
				m := start(engine.WithPingInterval(0))
				m.mux.Handle("/", m.Handler(newEcho()))
				c := m.connect()
				go func() {
					c.Write(append(upgradeRequest("/"), row.first...))
					c.Write(row.then)
				}()
				if status, head := c.readHead(); status != 101 {
					t.Fatal(head)
				}
				got := make([]byte, len(row.want))
				if _, err := io.ReadFull(c.r, got); err != nil {
					t.Fatal(err)
				}
				if string(got) != string(row.want) {
					t.Errorf("answers %.100q, want %.100q", got, row.want)
				}
			})
		})
	}
}

// hesitant pauses as soon as it is open, and says what it gets.
type hesitant struct {
	*echo
	opened chan *engine.Conn
}

func (h hesitant) OnOpen(c *engine.Conn) { c.Pause(); h.opened <- c }

func TestFramesBehindTheRequestWaitForAPausedHandler(t *testing.T) {
	onEachListener(t, func(t *testing.T, start func(...engine.Option) *mounted) {
		m := start(engine.WithPingInterval(0))
		h := hesitant{newEcho(), make(chan *engine.Conn, 1)}
		m.mux.Handle("/", m.Handler(h))
		c := m.connect()
		c.send(slices.Concat(upgradeRequest("/"), encode(true, frame.Text, []byte("one")), encode(true, frame.Text, []byte("two"))))
		if status, head := c.readHead(); status != 101 {
			t.Fatal(head)
		}
		conn := within(t, h.opened)
		c.write(frame.Text, []byte("three"))
		c.quiet(20 * time.Millisecond)
		conn.Resume()
		for _, want := range []string{"one", "two", "three"} {
			c.expect(frame.Text, []byte(want))
		}
	})
}

// greedy sends more when it opens than a queue takes that is not empty.
type greedy struct {
	engine.NopHandler
	payload []byte
	errs    chan error
}

func (h greedy) OnOpen(c *engine.Conn) { h.errs <- c.Send(frame.Binary, h.payload) }

// The answer to the request is out of the way when OnOpen is called, as on a connection of the engine's own.
func TestOnOpenInNetHTTPFindsAnEmptyQueue(t *testing.T) {
	onEachListener(t, func(t *testing.T, start func(...engine.Option) *mounted) {
		m := start(engine.WithMaxBackpressure(100))
		h := greedy{payload: pattern(5000), errs: make(chan error, 1)}
		m.mux.Handle("/", m.Handler(h))
		c := m.open("/")
		if err := within(t, h.errs); err != nil {
			t.Error(err)
		}
		c.expect(frame.Binary, h.payload)
	})
}

func TestEveryLayerWorksInNetHTTP(t *testing.T) {
	onEachListener(t, func(t *testing.T, start func(...engine.Option) *mounted) {
		m := start(engine.WithPingInterval(0), engine.WithCompression(engine.Compression{Threshold: 1}))
		raw := newRawScript()
		m.mux.Handle("/raw", m.RawHandler(raw))
		m.mux.Handle("/session", m.SessionHandler(echoSession, engine.Subprotocols("b", "a")))
		c := m.open("/raw")
		within(t, raw.opened)
		c.write(frame.Ping, []byte("p"))
		c.quiet(10 * time.Millisecond) // a raw route answers nothing by itself
		s := m.connect()
		s.send(upgradeRequest("/session", "Sec-WebSocket-Protocol: a, c", "Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover"))
		status, head := s.readHead()
		if status != 101 || !strings.Contains(head, "\r\nSec-WebSocket-Protocol: a\r\n") ||
			!strings.Contains(head, "\r\nSec-WebSocket-Extensions: permessage-deflate") {
			t.Fatal(head)
		}
		s.write(frame.Text, pattern(500))
		if f := s.next(); f.op != frame.Text || f.rsv != 0x40 || len(f.payload) > 400 {
			t.Errorf("%v is not compressed", f)
		}
		s.write(frame.Close, closePayload(1000, ""))
		s.expectClose(1000)
	})
}

// A session keeps the router's request, but not the end of its context.
func TestASessionInNetHTTPKeepsTheRoutersRequest(t *testing.T) {
	for _, asked := range []bool{false, true} {
		onEachListener(t, func(t *testing.T, start func(...engine.Option) *mounted) {
			m := start(engine.WithPingInterval(0))
			h := &handout{make(chan *engine.Session, 1), make(chan error, 1)}
			var opts []engine.RouteOption
			if asked {
				opts = append(opts, engine.WithOnUpgrade(noticing))
			}
			requests := make(chan *http.Request, 1)
			sessions := http.MaxBytesHandler(m.SessionHandler(h.serve, opts...), 1000) // which wraps the body
			m.mux.HandleFunc("GET /chat/{room}", func(w http.ResponseWriter, r *http.Request) {
				r = r.WithContext(context.WithValue(r.Context(), ctxKey{}, "of the router"))
				sessions.ServeHTTP(w, r)
				requests <- r
			})
			c := m.open("/chat/caf%C3%A9?token=1", "Cookie: user=zoe")
			session := h.next(t)
			<-within(t, requests).Context().Done() // the handler has returned
			req := session.Request()
			if req.PathValue("room") != "café" || req.Pattern != "GET /chat/{room}" || req.URL.RawQuery != "token=1" || req.Host != "example.test" ||
				req.Body != http.NoBody || session.Request() != req {
				t.Errorf("request %+v", req)
			}
			if cookie, err := req.Cookie("user"); err != nil || cookie.Value != "zoe" {
				t.Errorf("cookie %v, %v", cookie, err)
			}
			ctx := session.Context()
			if req.Context() != ctx || ctx.Err() != nil || ctx.Value(ctxKey{}) != "of the router" || (ctx.Value(requestKey{}) == "seen") != asked {
				t.Errorf("context: %v, %v, %v", ctx.Err(), ctx.Value(ctxKey{}), ctx.Value(requestKey{}))
			}
			c.write(frame.Text, []byte("hello"))
			expectMessage(t, session, frame.Text, []byte("hello"))
			c.write(frame.Close, nil)
			c.expectClose(frame.CloseNoStatus)
			<-ctx.Done()
			h.finish(nil)
		})
	}
}

type ctxKey struct{}

func TestOnUpgradeInNetHTTPSeesTheRoutersRequest(t *testing.T) {
	onEachListener(t, func(t *testing.T, start func(...engine.Option) *mounted) {
		m := start()
		m.mux.Handle("GET /room/{id}", m.Handler(newUpgrader(func(u *engine.Upgrade) error {
			if u.Request.PathValue("id") == "0" {
				return &engine.Rejection{Status: 401, Reason: "who are you?", Header: http.Header{
					"Www-Authenticate": {"Bearer"}, "Set-Cookie": {"a=1", "b=2"}, "Content-Length": {"99"}, "X-Bad\r\nX": {"1"}, "X-Evil": {"a\r\nb\x00"}}}
			}
			u.UserData = u.Request.PathValue("id") + " " + u.Subprotocol
			u.Subprotocol = "b"
			u.Header.Set("X-Answer", "42\r\nX-Injected: 1")
			u.Header.Set("Sec-WebSocket-Accept", "mine")
			u.Header.Add("Set-Cookie", "c=3")
			return nil
		}), engine.Subprotocols("a", "b")))
		c := m.connect()
		for range 2 { // the connection stays in use
			c.send(upgradeRequest("/room/0"))
			resp, body := c.readAnswer("GET")
			if resp.StatusCode != 401 || body != "who are you?\n" || resp.Header.Get("Www-Authenticate") != "Bearer" || resp.Close ||
				!slices.Equal(resp.Header["Set-Cookie"], []string{"a=1", "b=2"}) || resp.Header.Get("X-Evil") != "a  b" || len(resp.Header) != 7 {
				t.Errorf("%d %q %v", resp.StatusCode, body, resp.Header)
			}
		}
		c.send(upgradeRequest("/room/7", "Sec-WebSocket-Protocol: a, b"))
		resp, _ := c.readAnswer("GET")
		if resp.StatusCode != 101 || resp.Header.Get("X-Answer") != "42  X-Injected: 1" || resp.Header.Get("Sec-WebSocket-Protocol") != "b" ||
			len(resp.Header["Sec-Websocket-Accept"]) != 1 || resp.Header.Get("Set-Cookie") != "c=3" {
			t.Fatalf("%d %v", resp.StatusCode, resp.Header)
		}
		if got := c.ask(); got != "7 a|b" {
			t.Errorf("got %q", got)
		}
		eventually(t, "all is counted", func() bool { s := m.Stats(); return s.Refused[401] == 2 && s.Handshakes == 1 })
	})
}

// A panic of OnUpgrade is the engine's to deal with, as natively, wherever it is.
func TestAPanicInOnUpgradeInNetHTTPIsAnswered500(t *testing.T) {
	onEachListener(t, func(t *testing.T, start func(...engine.Option) *mounted) {
		m := start()
		errs := make(chan error, 10)
		h := newUpgrader(func(u *engine.Upgrade) error {
			switch u.Request.URL.Path {
			case "/panic":
				panic("of the handler")
			case "/abort":
				panic(http.ErrAbortHandler)
			}
			return errors.New("not a rejection")
		})
		m.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
			_, err := m.Upgrade(w, r, h)
			errs <- err
		})
		m.mux.Handle("/origin", m.Handler(newEcho(), engine.WithCheckOrigin(func(*http.Request) bool { panic("of the check") })))
		c := m.connect()
		expect500 := func(path, logged string) {
			t.Helper()
			c.send(upgradeRequest(path))
			if resp, body := c.readAnswer("GET"); resp.StatusCode != 500 || resp.Close || body != "Internal Server Error\n" {
				t.Errorf("%s: %d %q", path, resp.StatusCode, body)
			}
			if !strings.Contains(m.logs.String(), logged) {
				t.Errorf("%s: log %q", path, m.logs)
			}
		}
		expect500("/panic", "of the handler")
		var p *engine.PanicError
		if err := within(t, errs); !errors.As(err, &p) || p.Value != "of the handler" || len(p.Stack) == 0 {
			t.Errorf("error %v", err)
		}
		expect500("/origin", "of the check")
		expect500("/other", "not a rejection")
		var no *engine.Rejection
		if err := within(t, errs); !errors.As(err, &no) || no.Status != 500 {
			t.Errorf("error %v", err)
		}
		if m.Stats().Refused[500] != 3 {
			t.Errorf("%v refused", m.Stats().Refused)
		}
		c.send(upgradeRequest("/abort"))
		c.expectEOF()
	})
}

// The same heads are refused as natively, with the same fields, and the connection serves the next request.
func TestNetHTTPRequestsAreRefusedAsNativeOnes(t *testing.T) {
	onEachListener(t, func(t *testing.T, start func(...engine.Option) *mounted) {
		m := start()
		m.mux.Handle("/echo", m.Handler(newEcho()))
		m.mux.Handle("/only", m.Handler(newEcho(), engine.RequireSubprotocol("v1"), engine.WithAllowedOrigins("https://good.test")))
		c := m.connect()
		expect := func(status int, head string, header map[string]string) {
			t.Helper()
			c.send([]byte(head))
			method, _, _ := strings.Cut(head, " ")
			resp, body := c.readAnswer(method)
			if resp.StatusCode != status || resp.Close || (body == "") != (method == "HEAD") ||
				resp.Header.Get("Content-Type") != "text/plain; charset=utf-8" {
				t.Errorf("%.200q: %d %q %v", head, resp.StatusCode, body, resp.Header)
			}
			for name, value := range header {
				if resp.Header.Get(name) != value {
					t.Errorf("%.200q: %s is %q, want %q", head, name, resp.Header.Get(name), value)
				}
			}
		}
		refused := 0
		for _, row := range refusals {
			switch row.name { // those that net/http takes, and a route
			case "method", "plain request", "no Connection", "other upgrade", "no version", "version 8", "version list", "no key",
				"short key", "key not base64", "two keys", "body", "foreign page":
				expect(row.status, row.head, row.header)
				refused++
			}
		}
		if refused != 13 {
			t.Errorf("%d heads were tried", refused)
		}
		all := []string{hostField, upgradeField, connectField, keyField, versionField}
		expect(405, request("HEAD /echo", all...), map[string]string{"Allow": "GET"})
		expect(400, request("GET /echo", append(all, "Transfer-Encoding: chunked")...)+"0\r\n\r\n", nil)
		expect(400, request("GET /only", all...), nil)
		expect(403, request("GET /only", append(all, "Sec-WebSocket-Protocol: v1", "Origin: https://evil.test")...), nil)
		expect(403, request("GET /echo", append(all, "Origin: http://example.test", "Origin: http://example.test")...), nil)
		for name, head := range map[string]string{
			"GET /echo": request("GET /echo", append(all, "Origin: http://EXAMPLE.test")...),
			"GET /only": request("GET /only", append(all, "Origin: https://good.test", "Sec-WebSocket-Protocol: v0", "Sec-WebSocket-Protocol: v1")...),
			"tokens": request("GET /echo", hostField, "Connection: keep-alive", "Connection: foo, UPGRADE", "Upgrade: h2c,  WebSocket",
				keyField, versionField),
		} {
			c := m.connect()
			c.send([]byte(head))
			if resp, body := c.readAnswer("GET"); resp.StatusCode != 101 {
				t.Errorf("%s: %d %q", name, resp.StatusCode, body)
			}
		}
		old := m.connect()
		old.send([]byte("GET /echo HTTP/1.0\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"))
		if resp, body := old.readAnswer("GET"); resp.StatusCode != 400 || !strings.Contains(body, "HTTP/1.1") {
			t.Errorf("HTTP/1.0: %d %q", resp.StatusCode, body)
		}
	})
}

func TestAFullEngineRefusesNetHTTPRequests(t *testing.T) {
	onEachListener(t, func(t *testing.T, start func(...engine.Option) *mounted) {
		m := start(engine.WithMaxConns(1))
		h := newEcho()
		m.mux.Handle("/", m.Handler(h))
		first, second := m.open("/"), m.connect()
		second.send(upgradeRequest("/"))
		if resp, _ := second.readAnswer("GET"); resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" || resp.Close {
			t.Errorf("%d %v", resp.StatusCode, resp.Header)
		}
		first.Close()
		h.wait(t)
		eventually(t, "the place is free", func() bool { return m.Stats().Conns == 0 })
		second.send(upgradeRequest("/"))
		if status, head := second.readHead(); status != 101 {
			t.Error(head)
		}
		if s := m.Stats(); s.RefusedMaxConns != 1 || s.Refused[503] != 1 {
			t.Errorf("%+v", s)
		}
	})
}

// A writer that hides net/http's from us, or leads to it.
type (
	hiding    struct{ http.ResponseWriter }
	unwrapped struct{ http.ResponseWriter }
	hijacking struct{ http.ResponseWriter }
)

func (w unwrapped) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w hijacking) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return http.NewResponseController(w.ResponseWriter).Hijack()
}

func TestMiddlewareThatWrapsTheWriter(t *testing.T) {
	onEachListener(t, func(t *testing.T, start func(...engine.Option) *mounted) {
		m := start()
		h := m.Handler(newEcho())
		for path, wrap := range map[string]func(http.ResponseWriter) http.ResponseWriter{
			"/unwrap": func(w http.ResponseWriter) http.ResponseWriter { return unwrapped{unwrapped{w}} },
			"/hijack": func(w http.ResponseWriter) http.ResponseWriter { return hijacking{w} },
			"/both":   func(w http.ResponseWriter) http.ResponseWriter { return unwrapped{hijacking{w}} },
			"/hidden": func(w http.ResponseWriter) http.ResponseWriter { return hiding{w} },
		} {
			m.mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("X-Request-Id", "7")
				w.Header().Set("Content-Type", "text/html")
				w.Header().Set("Content-Encoding", "gzip")
				h.ServeHTTP(wrap(w), r)
			})
		}
		m.mux.Handle("/timeout", http.TimeoutHandler(h, patience, ""))
		for _, path := range []string{"/unwrap", "/hijack", "/both"} {
			c := m.connect()
			c.send(append(upgradeRequest(path), encode(true, frame.Text, []byte("first"))...))
			resp, _ := c.readAnswer("GET")
			if resp.StatusCode != 101 || resp.Header.Get("X-Request-Id") != "7" || len(resp.Header) != 4 {
				t.Fatalf("%s: %d %v", path, resp.StatusCode, resp.Header)
			}
			c.expect(frame.Text, []byte("first"))
		}
		c := m.connect()
		for _, path := range []string{"/hidden", "/timeout"} {
			c.send(upgradeRequest(path))
			if resp, body := c.readAnswer("GET"); resp.StatusCode != 500 || resp.Close || body == "" {
				t.Errorf("%s: %d %q %v", path, resp.StatusCode, body, resp.Header)
			}
		}
		if log := m.logs.String(); !strings.Contains(log, "engine_test.hiding") || !strings.Contains(log, "timeoutWriter") {
			t.Errorf("the log names no culprit: %q", log)
		}
		eventually(t, "nothing is left of those", func() bool { return m.Stats().Conns == 3 })
	})
}

func TestUpgradeChoosesByRequest(t *testing.T) {
	onEachListener(t, func(t *testing.T, start func(...engine.Option) *mounted) {
		m := start(engine.WithPingInterval(0))
		h := newOpener()
		type result struct {
			conn *engine.Conn
			err  error
		}
		results := make(chan result, 10)
		m.mux.HandleFunc("/{size}", func(w http.ResponseWriter, r *http.Request) {
			opts := []engine.RouteOption{engine.Subprotocols("v1")}
			switch r.PathValue("size") {
			case "small":
				opts = append(opts, engine.WithMaxMessageSize(10))
			case "bad":
				opts = append(opts, engine.WithMaxMessageSize(-1))
			}
			c, err := m.Upgrade(w, r, h, opts...)
			if err == nil {
				err = c.SendText("welcome") // before OnOpen, or after it
			}
			results <- result{c, err}
		})
		c := m.open("/small", "Sec-WebSocket-Protocol: v1")
		c.expect(frame.Text, []byte("welcome"))
		got := within(t, results)
		if got.err != nil || got.conn != within(t, h.opened) || got.conn.Subprotocol() != "v1" {
			t.Errorf("Upgrade: %v", got.err)
		}
		c.write(frame.Text, pattern(11))
		c.expectClose(frame.CloseMessageTooBig)
		c.Close()
		h.wait(t)

		c = m.connect()
		var no *engine.Rejection
		c.send([]byte(request("GET /large", hostField)))
		if resp, _ := c.readAnswer("GET"); resp.StatusCode != 426 {
			t.Errorf("%d", resp.StatusCode)
		}
		if err := within(t, results).err; !errors.As(err, &no) || no.Status != 426 || no.Reason == "" || no.Header.Get("Upgrade") != "websocket" {
			t.Errorf("error %v", err)
		}
		c.send(upgradeRequest("/bad"))
		if resp, _ := c.readAnswer("GET"); resp.StatusCode != 500 {
			t.Errorf("%d", resp.StatusCode)
		}
		var option *engine.OptionError
		if err := within(t, results).err; !errors.As(err, &option) || option.Option != "WithMaxMessageSize" {
			t.Errorf("error %v", err)
		}
		m.shutdown()
		c.send(upgradeRequest("/large"))
		if resp, _ := c.readAnswer("GET"); resp.StatusCode != 503 {
			t.Errorf("%d", resp.StatusCode)
		}
		if err := within(t, results).err; !errors.Is(err, engine.ErrServerClosed) || !errors.As(err, &no) || no.Status != 503 {
			t.Errorf("error %v", err)
		}
	})
}

// Who hijacks the connection first has it.
func TestUpgradeOfAHijackedConnectionLeavesItAlone(t *testing.T) {
	onEachListener(t, func(t *testing.T, start func(...engine.Option) *mounted) {
		m := start()
		errs := make(chan error, 1)
		m.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
			nc, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			_, err = m.Upgrade(w, r, newEcho())
			errs <- err
			io.WriteString(nc, "mine")
			nc.Close()
		})
		c := m.connect()
		c.send(upgradeRequest("/"))
		if err := within(t, errs); !errors.Is(err, http.ErrHijacked) {
			t.Errorf("error %v", err)
		}
		if b, err := io.ReadAll(c.r); string(b) != "mine" || err != nil {
			t.Errorf("%q, %v", b, err)
		}
	})
}

func TestMountingPanicsOnBadOptions(t *testing.T) {
	e, err := engine.New()
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	bad := engine.WithMaxFrameSize(1)
	for name, f := range map[string]func(){
		"Handler":            func() { e.Handler(newEcho(), bad) },
		"SessionHandler":     func() { e.SessionHandler(echoSession, bad) },
		"RawHandler":         func() { e.RawHandler(newRawScript(), bad) },
		"no Handler":         func() { e.Handler(nil) },
		"no SessionHandler":  func() { e.SessionHandler(nil) },
		"no RawHandler":      func() { e.RawHandler(nil) },
		"reserved bits":      func() { e.Handler(newEcho(), engine.WithReservedBits(frame.RSV1)) },
		"no name, required ": func() { e.Handler(newEcho(), engine.RequireSubprotocol()) },
	} {
		func() {
			defer func() {
				if _, ok := recover().(*engine.OptionError); !ok {
					t.Errorf("%s: no OptionError", name)
				}
			}()
			f()
		}()
	}
}

var answering = engine.HandlerFunc(func(c *engine.Conn, op frame.OpCode, payload []byte) { c.Reply(op, payload) })

// The loops have the connections: of net/http nothing is left, and of goroutines.
func TestNoGoroutineStaysWithAConnectionOfNetHTTP(t *testing.T) {
	onEachListener(t, func(t *testing.T, start func(...engine.Option) *mounted) {
		m := start(engine.WithPingInterval(0))
		m.mux.Handle("/", m.Handler(answering))
		m.open("/").echoes([]byte("warm"))
		before := runtime.NumGoroutine()
		files := descriptors()
		const conns = 200
		var clients []*client
		for range conns {
			c := m.open("/")
			c.echoes(pattern(100))
			clients = append(clients, c)
		}
		if m.fed {
			before += conns
		}
		eventually(t, "no goroutine more than before", func() bool { return runtime.NumGoroutine() <= before })
		eventually(t, "two descriptors each", func() bool { return descriptors() <= files+2*conns })
		if n := len(slices.Collect(m.Conns())); n != conns+1 {
			t.Errorf("%d connections", n)
		}
		for _, c := range clients {
			c.echoes(pattern(200))
			c.Close()
		}
		eventually(t, "descriptors as before", func() bool { return descriptors() <= files })
	})
}

func TestDeadlinesOfNetHTTPDoNotReachAWebSocket(t *testing.T) {
	for i := range listeners {
		atAnyPace(t, 40*time.Millisecond, func(t testing.TB, d time.Duration) {
			m := mount(t, i, &http.Server{ReadTimeout: d, ReadHeaderTimeout: d, WriteTimeout: d, IdleTimeout: d}, engine.WithPingInterval(0))
			m.mux.Handle("/", m.Handler(newEcho()))
			plain, c := m.connect(), m.open("/")
			plain.expectEOF() // its deadline has passed
			c.echoes(pattern(100))
			c.quiet(2 * d)
			c.echoes(pattern(1000))
		})
	}
}

// The engine ends its connections, wherever they came from; the HTTP server has nothing to do with them any more.
func TestWhoEndsConnectionsOfNetHTTP(t *testing.T) {
	onEachListener(t, func(t *testing.T, start func(...engine.Option) *mounted) {
		m := start(engine.WithPingInterval(0))
		h := newEcho()
		m.mux.Handle("/", m.Handler(h))
		m.mux.Handle("/session", m.SessionHandler(echoSession))
		c, s := m.open("/"), m.open("/session")
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := m.http.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		m.http.Close()
		c.echoes([]byte("still there"))
		s.echoes([]byte("still there"))
		ended := m.beginShutdown(patience)
		c.answerClose(frame.CloseGoingAway, "Server is going down")
		s.answerClose(frame.CloseGoingAway, "Server is going down")
		c.Close()
		s.Close()
		if err := within(t, ended); err != nil {
			t.Error(err)
		}
		if r := h.wait(t); r.Code != frame.CloseGoingAway || r.Remote {
			t.Errorf("reason %+v", r)
		}
	})
}

// Requests come, connections end, and the engine with them, all at once: each client is served or told, and nothing is left.
func TestNetHTTPRequestsWhileTheEngineEnds(t *testing.T) {
	onEachListener(t, func(t *testing.T, start func(...engine.Option) *mounted) {
		for _, end := range []func(*mounted){func(m *mounted) { m.shutdown() }, func(m *mounted) { m.Close() }} {
			m := start(engine.WithPingInterval(0), engine.WithCloseTimeout(50*time.Millisecond))
			m.mux.Handle("/", m.Handler(answering))
			m.mux.Handle("/session", m.SessionHandler(echoSession, engine.WithCompression(engine.Compression{})))
			var clients sync.WaitGroup
			served := make(chan struct{}, 10_000)
			for i := range 8 {
				clients.Go(func() {
					for n := range 200 {
						nc := m.dial()
						nc.SetDeadline(time.Now().Add(patience))
						path := []string{"/", "/session"}[(i+n)%2]
						nc.Write(append(upgradeRequest(path), encode(true, frame.Text, []byte("hello"))...))
						b := make([]byte, 12)
						io.ReadFull(nc, b)
						switch string(b) {
						case "HTTP/1.1 101":
							served <- struct{}{}
						case "HTTP/1.1 503", strings.Repeat("\x00", 12):
							nc.Close()
							return
						default:
							t.Errorf("answer %q", b)
						}
						nc.Close()
					}
				})
			}
			for range 50 {
				within(t, served)
			}
			end(m)
			clients.Wait()
		}
	})
}

// Without a descriptor to duplicate the hijacked one the client is told so, and nothing is left.
func TestAnUpgradeInNetHTTPWithoutDescriptors(t *testing.T) {
	m := mount(t, 0, new(http.Server))
	h := m.Handler(newEcho())
	var giveBack func()
	m.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if giveBack == nil {
			giveBack = useUpDescriptors(t)
		}
		h.ServeHTTP(w, r)
	})
	c := m.connect()
	c.send(append(upgradeRequest("/"), encode(true, frame.Text, []byte("first"))...))
	resp, _ := c.readAnswer("GET")
	giveBack()
	if resp.StatusCode != 500 || !resp.Close {
		t.Errorf("%d %v", resp.StatusCode, resp.Header)
	}
	eventually(t, "nothing is left", func() bool { return m.Stats().Conns == 0 })
	m.open("/").echoes([]byte("again"))
}

// hijackedByNobody is a ResponseWriter whose Hijack returns no connection.
type hijackedByNobody struct {
	http.ResponseWriter
	err error
}

func (h hijackedByNobody) Hijack() (net.Conn, *bufio.ReadWriter, error) { return nil, nil, h.err }

func TestAHijackThatReturnsNoConnectionIs500(t *testing.T) {
	e := bare(t)
	for _, why := range []error{nil, errors.New("not by me")} {
		w := httptest.NewRecorder()
		r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(upgradeRequest("/"))))
		if err != nil {
			t.Fatal(err)
		}
		if c, err := e.Upgrade(hijackedByNobody{w, why}, r, newEcho()); c != nil || err == nil || !errors.Is(err, why) && why != nil || w.Code != 500 {
			t.Errorf("%v, %v, answered %d", c, err, w.Code)
		}
	}
}

// An extension that has agreed is told when the connection does not come to be.
func TestTransformersAreClosedWhenNetHTTPKeepsItsConnection(t *testing.T) {
	onEachListener(t, func(t *testing.T, start func(...engine.Option) *mounted) {
		m := start(engine.WithPingInterval(0))
		x := &closing{sealing: sealA}
		h := m.Handler(newEcho(), engine.WithExtensions(x, sealB))
		m.mux.Handle("/", h)
		m.mux.Handle("/timeout", http.TimeoutHandler(h, patience, ""))
		m.mux.Handle("/closed", m.Handler(newUpgrader(func(*engine.Upgrade) error { return m.Close() }), engine.WithExtensions(x)))
		c := m.connect()
		for path, extensions := range map[string]string{"/": "x-a, x-b; panic", "/timeout": "x-a, x-b"} {
			c.send(upgradeRequest(path, extensionsField+extensions))
			if resp, _ := c.readAnswer("GET"); resp.StatusCode != 500 {
				t.Errorf("%s: status %d", path, resp.StatusCode)
			}
		}
		x.expectClosed(t, 2)
		c.send(upgradeRequest("/closed", extensionsField+"x-a"))
		io.Copy(io.Discard, c.r) // 503, or nothing where the connection could not be had back
		x.expectClosed(t, 3)
	})
}
