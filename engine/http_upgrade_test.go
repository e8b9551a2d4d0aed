package engine_test

import (
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"zeroframe/engine"
	"zeroframe/frame"
)

// An upgrade opens a WebSocket wherever in a connection's requests it stands, with frames already behind it.
func TestAnUpgradeBehindOtherRequests(t *testing.T) {
	s := startHTTP(t, inspect())
	h := newEcho()
	s.handle("/ws", h)
	for before := range 4 {
		for _, frames := range [][][]byte{
			nil,
			{pattern(20)},
			{pattern(5), pattern(3000), pattern(20_000), pattern(100_000), {}, pattern(7)},
		} {
			c := s.connect()
			b := []byte(strings.Repeat(ok, before))
			b = append(b, upgradeRequest("/ws")...)
			for _, f := range frames {
				b = append(b, encode(true, frame.Binary, f)...)
			}
			go c.Write(b)
			for range before {
				if r, _ := c.readAnswer("GET"); r.StatusCode != http.StatusOK {
					t.Fatal(r.Status)
				}
			}
			if status, head := c.readHead(); status != http.StatusSwitchingProtocols {
				t.Fatalf("behind %d requests: %s", before, head)
			}
			for _, f := range frames {
				c.expect(frame.Binary, f)
			}
			c.echoes([]byte("later"))
			c.write(frame.Close, closePayload(frame.CloseNormal, ""))
			c.expectClose(frame.CloseNormal)
			c.Close()
			h.wait(t)
		}
	}
	s.gone()
}

// The same with the stream cut at every byte, and byte by byte.
func TestAnUpgradeBehindARequestCutAnywhere(t *testing.T) {
	s := startHTTP(t, inspect())
	h := newEcho()
	s.handle("/ws", h)
	b := append([]byte(post("/x", "body")), upgradeRequest("/ws")...)
	b = append(b, encode(true, frame.Text, []byte("hello"))...)
	b = append(b, encode(true, frame.Close, closePayload(4000, "bye"))...)
	run := func(pieces [][]byte) {
		t.Helper()
		got := conversation(t, s.dial, pieces, nil)
		_, frames, _ := strings.Cut(got, "\r\n\r\nPOST /x")
		_, frames, found := strings.Cut(frames, "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n")
		if want := "\x81\x05hello\x88\x02\x0f\xa0"; !found || frames != want {
			t.Fatalf("%q, want %q in the end", got, want)
		}
		if r := h.wait(t); r.Code != 4000 {
			t.Errorf("reason %+v", r)
		}
	}
	run(cutAt(b, upTo(len(b))...))
	for at := range b {
		run(cutAt(b, at))
	}
}

// An upgrade that net/http has parsed finds the same routes, and the handler the same request, as one that a loop has.
func TestRoutesAreFoundByEitherWay(t *testing.T) {
	s := startHTTP(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "no route: %s %s", r.URL.Path, r.Pattern)
	}))
	tell := func(u *engine.Upgrade) error {
		r := u.Request
		u.UserData = strings.Join([]string{r.Pattern, r.URL.Path, r.PathValue("id"), r.Host, r.Header.Get("X-A"), r.Method}, " ")
		if r.RemoteAddr == "" {
			return fmt.Errorf("no RemoteAddr")
		}
		return nil
	}
	for _, pattern := range []string{"/{$}", "/room/{id}", "GET /get", "a.test/host", "/tree/"} {
		s.handle(pattern, newUpgrader(tell))
	}
	for _, target := range []string{
		"/", "/room/1", "/room/a%20b?q=1", "/get", "/host", "/tree/x/y", "/tree", "/nowhere", "//room/1", "/room/1/2",
		"http://a.test/host", "http://b.test", "http://a.test/room/2",
	} {
		for _, host := range []string{"a.test", "b.test"} {
			req := strings.Replace(string(upgradeRequest(target, "X-A: "+target)), "example.test", host, 1)
			direct, behind := s.connect(), s.connect()
			behind.expectOK("/first")
			var said [2]string
			for i, c := range []*client{direct, behind} {
				c.send([]byte(req))
				if r, body := c.readAnswer("GET"); r.StatusCode == http.StatusSwitchingProtocols {
					said[i] = c.ask()
				} else {
					said[i] = body
				}
			}
			if said[0] != said[1] || said[0] == "" {
				t.Errorf("%s of %s: %q by the loop, %q by net/http", target, host, said[0], said[1])
			}
		}
	}
}

// A refused upgrade is answered by the engine once, wherever it stands, and leaves the connection in use: requests behind it
// are answered in order, and the next upgrade may succeed.
func TestARefusedUpgradeLeavesTheConnectionInUse(t *testing.T) {
	var asked atomic.Int32
	s := startHTTP(t, inspect())
	s.handle("/{$}", newEcho())
	s.handle("/echo", newEcho())
	s.handle("/protocol", newEcho(), engine.RequireSubprotocol("v1"))
	s.handle("/no", newUpgrader(func(u *engine.Upgrade) error {
		asked.Add(1)
		return &engine.Rejection{Status: 401, Reason: "because", Header: http.Header{"Www-Authenticate": {"Bearer"}, "Set-Cookie": {"a=1", "b=2"}}}
	}))
	s.handle("/broken", newUpgrader(func(u *engine.Upgrade) error { return fmt.Errorf("secret") }))
	tries := []struct {
		name   string
		head   string
		status int
		body   string
		header map[string]string
	}{
		{"no key", request("GET /echo", hostField, upgradeField, connectField, versionField), 400, "missing Sec-WebSocket-Key\n", nil},
		{"a bad key", request("GET /echo", hostField, upgradeField, connectField, versionField, "Sec-WebSocket-Key: x"), 400, "", nil},
		{"version 8", request("GET /echo", hostField, upgradeField, connectField, keyField, "Sec-WebSocket-Version: 8"), 426, "",
			map[string]string{"Sec-WebSocket-Version": "13", "Upgrade": "websocket"}},
		{"a body", request("GET /echo", hostField, upgradeField, connectField, keyField, versionField, "Content-Length: 5") + "hello", 400, "", nil},
		{"a POST", request("POST /echo", hostField, upgradeField, connectField, keyField, versionField, "Content-Length: 5") + "hello", 405, "",
			map[string]string{"Allow": "GET"}},
		{"a HEAD", request("HEAD /echo", hostField, upgradeField, connectField, keyField, versionField), 405, "", map[string]string{"Allow": "GET"}},
		{"a foreign page", string(upgradeRequest("/echo", "Origin: https://evil.test")), 403, "origin not allowed\n", nil},
		{"no subprotocol", string(upgradeRequest("/protocol")), 400, "", nil},
		{"OnUpgrade", string(upgradeRequest("/no")), 401, "because\n", map[string]string{"Www-Authenticate": "Bearer"}},
		{"an error in OnUpgrade", string(upgradeRequest("/broken")), 500, "Internal Server Error\n", nil},
	}
	for _, tt := range tries {
		for _, before := range []int{0, 1} {
			asked.Store(0)
			was := s.Stats().Refused[tt.status]
			c := s.connect()
			c.t = t
			// All at once: the answers must come in order.
			go c.Write([]byte(strings.Repeat(ok, before) + tt.head + post("/p", "body") + tt.head + ok + string(upgradeRequest("/echo"))))
			for range before {
				c.readAnswer("GET")
			}
			refused := func() {
				t.Helper()
				method, _, _ := strings.Cut(tt.head, " ")
				r, body := c.readAnswer(method)
				if r.StatusCode != tt.status || tt.body != "" && body != tt.body {
					t.Fatalf("%s: %s %q, want %d %q", tt.name, r.Status, body, tt.status, tt.body)
				}
				for name, want := range tt.header {
					if got := r.Header.Get(name); got != want {
						t.Errorf("%s: %s: %q, want %q", tt.name, name, got, want)
					}
				}
				if method == "HEAD" && body != "" || r.Close || r.Header.Get("Content-Type") == "" {
					t.Errorf("%s: %q with %v, close %v", tt.name, body, r.Header, r.Close)
				}
			}
			refused()
			if r, body := c.readAnswer("POST"); r.StatusCode != 200 || !strings.HasPrefix(body, "POST /p") {
				t.Fatalf("%s: then %s %q", tt.name, r.Status, body)
			}
			refused()
			if r, body := c.readAnswer("GET"); r.StatusCode != 200 || !strings.HasPrefix(body, "GET /") {
				t.Fatalf("%s: then %s %q", tt.name, r.Status, body)
			}
			if status, head := c.readHead(); status != http.StatusSwitchingProtocols {
				t.Fatalf("%s: then %s", tt.name, head)
			}
			c.echoes([]byte("good"))
			if n := asked.Load(); tt.status == 401 && n != 2 {
				t.Errorf("OnUpgrade was asked %d times about 2 requests", n)
			}
			s.until("2 refusals are counted", func() bool { return s.Stats().Refused[tt.status] == was+2 })
			c.Close()
		}
	}
}

// A head that net/http takes, and the engine's rules for a handshake do not, opens no WebSocket; it is the user's handler's on
// a path without a route.
func TestAnUpgradeWithAHeadThatOnlyNetHTTPTakes(t *testing.T) {
	s := startHTTP(t, inspect(), engine.WithMaxHead(2<<10))
	s.handle("/ws", newEcho())
	fields := []string{hostField, upgradeField, connectField, keyField, versionField}
	for _, tt := range []struct {
		name   string
		head   func(path string) string
		status int
	}{
		{"a folded field", func(path string) string { return request("GET "+path, append(fields, "X-A: 1", " 2")...) }, 400},
		{"LF for CRLF", func(path string) string {
			return strings.ReplaceAll(request("GET "+path, fields...), "\r\n", "\n")
		}, 400},
		{"many fields", func(path string) string {
			return request("GET "+path, append(fields, strings.Split(strings.Repeat("A: b\n", 110), "\n")[:110]...)...)
		}, 431},
		{"larger than WithMaxHead", func(path string) string {
			return request("GET "+path, append(fields, "X-Long: "+strings.Repeat("l", 2500))...)
		}, 431},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := s.connect()
			c.t = t
			c.send([]byte(tt.head("/ws") + ok + string(upgradeRequest("/ws"))))
			if r, body := c.readAnswer("GET"); r.StatusCode != tt.status || r.Close {
				t.Errorf("%s %q", r.Status, body)
			}
			if r, body := c.readAnswer("GET"); r.StatusCode != 200 {
				t.Errorf("then %s %q", r.Status, body)
			}
			if status, head := c.readHead(); status != http.StatusSwitchingProtocols {
				t.Error(head)
			}
			c = s.connect()
			c.t = t
			c.send([]byte(tt.head("/elsewhere")))
			if r, body := c.readAnswer("GET"); r.StatusCode != 200 || !strings.HasPrefix(body, "GET /elsewhere") {
				t.Errorf("without a route: %s %q", r.Status, body)
			}
		})
	}
}

// net/http answers one request before any handler is asked: the refusal that its head would have met with is not the next
// one's.
func TestARefusalIsForTheFirstRequestAlone(t *testing.T) {
	s := startHTTP(t, inspect())
	s.handle("/ws", newEcho())
	c := s.connect()
	c.send([]byte(request("OPTIONS *", hostField, "X-A: 1", " 2") + string(upgradeRequest("/ws"))))
	if r, body := c.readAnswer("OPTIONS"); r.StatusCode != 200 {
		t.Errorf("%s %q", r.Status, body)
	}
	if status, head := c.readHead(); status != http.StatusSwitchingProtocols {
		t.Fatal(head)
	}
	c.echoes([]byte("a"))
}

// A connection that was net/http's and is a WebSocket again is a loop's alone: no goroutine of its own, and not more
// descriptors or deadlines than one that was never handed over.
func TestAnUpgradedConnectionIsTheLoopsAgain(t *testing.T) {
	s := startHTTP(t, inspect(), engine.WithPingInterval(0))
	h := newEcho()
	s.handle("/ws", h)
	s.open("/ws").echoes([]byte("whatever starts once has started"))
	goroutines, files := runtime.NumGoroutine(), descriptors()
	const n = 20
	list := make([]*client, n)
	for i := range list {
		list[i] = s.connect()
		list[i].expectOK("/x")
		list[i].upgrade("/ws")
		list[i].echoes(pattern(300))
	}
	s.until("only loops serve them", func() bool { return runtime.NumGoroutine() <= goroutines })
	s.until("one descriptor at each end", func() bool { return files < 0 || descriptors() <= files+2*n })
	s.until("all have come back", func() bool { st := s.Stats(); return st.HTTP == 0 && st.Open == n+1 && st.HandedOver == n })
	for _, c := range list {
		c.echoes([]byte("still"))
	}
}

// net/http's timeouts end what is net/http's, and never a connection that has been upgraded: another's idle timeout, over
// and over, shows that the time has passed.
func TestTimeoutsOfHTTPDoNotReachAWebSocket(t *testing.T) {
	atAnyPace(t, 40*time.Millisecond, func(t testing.TB, d time.Duration) {
		s := startHTTP(t, inspect(), engine.WithHTTPServer(func(srv *http.Server) {
			srv.IdleTimeout = d * 3 / 4
			srv.ReadTimeout = d
			srv.WriteTimeout = d
			srv.ReadHeaderTimeout = d * 3 / 4
		}))
		s.handle("/ws", newEcho())
		behind, first := s.connect(), s.connect()
		behind.expectOK("/")
		behind.upgrade("/ws")
		first.upgrade("/ws")
		for range 3 {
			idle := s.connect()
			idle.expectOK("/")
			idle.expectEOF()
			behind.echoes([]byte("unharmed"))
			first.echoes([]byte("unharmed"))
		}
	})
}

// An engine's handler that is mounted in the HTTP handler, or called by it, gives the connection to a loop as a route does.
func TestHandlersMountedInTheHTTPHandler(t *testing.T) {
	mux := http.NewServeMux()
	s := startHTTP(t, mux)
	h := newEcho()
	mux.Handle("/mounted", s.Handler(h))
	mux.HandleFunc("/called", func(w http.ResponseWriter, r *http.Request) {
		if _, err := s.Upgrade(w, r, h); err != nil {
			t.Error(err)
		}
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "hello") })
	for _, path := range []string{"/mounted", "/called"} {
		for before := range 2 {
			c := s.connect()
			for range before {
				c.expectOK("/")
			}
			go c.Write(append(upgradeRequest(path), encode(true, frame.Binary, pattern(50_000))...))
			if status, head := c.readHead(); status != http.StatusSwitchingProtocols {
				t.Fatal(head)
			}
			c.expect(frame.Binary, pattern(50_000))
			c.echoes([]byte("x"), pattern(70_000))
			s.until("none is net/http's", func() bool { return s.Stats().HTTP == 0 })
			c.Close()
			h.wait(t)
		}
	}
}
