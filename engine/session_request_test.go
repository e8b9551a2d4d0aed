package engine_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"

	"zeroframe/engine"
	"zeroframe/frame"
)

type requestKey struct{}

// noticing is an OnUpgrade that sees the request and hands a value on in its context.
func noticing(u *engine.Upgrade) error {
	u.Request = u.Request.WithContext(context.WithValue(u.Request.Context(), requestKey{}, "seen"))
	return nil
}

// The request is the same for literal patterns, which are found without making one, and for others; whether or not
// somebody was shown it before the answer.
func TestSessionKeepsItsRequest(t *testing.T) {
	for _, row := range []struct {
		pattern, target string
		values          map[string]string
	}{
		{"/chat", "/chat?token=a%20b", map[string]string{"room": ""}},
		{"/", "/any/where?token=a%20b", nil},
		{"/{$}", "/?token=a%20b", nil},
		{"/chat/{room}", "/chat/caf%C3%A9?token=a%20b", map[string]string{"room": "café", "other": ""}},
		{"GET /chat/{room}/{rest...}", "/chat/1/2/3?token=a%20b", map[string]string{"room": "1", "rest": "2/3"}},
		{"example.test/chat", "/chat?token=a%20b", nil},
	} {
		t.Run(row.pattern, func(t *testing.T) {
			onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
				for _, asked := range []bool{false, true} {
					s := start(engine.WithPingInterval(0))
					var opts []engine.RouteOption
					if asked {
						opts = append(opts, engine.WithOnUpgrade(noticing))
					}
					h := s.handOut(row.pattern, opts...)
					c := s.open(row.target, "X-Twice: one", "X-Twice: two", "Cookie: user=zoe")
					session := h.next(t)
					c.write(frame.Text, pattern(300)) // over what the head was read into
					expectMessage(t, session, frame.Text, pattern(300))
					var addr net.Addr = c.LocalAddr()
					req := session.Request()
					if req == nil {
						t.Fatal("no request")
					}
					for name, want := range row.values {
						if got := req.PathValue(name); got != want {
							t.Errorf("path value %s is %q, want %q", name, got, want)
						}
					}
					if req.Pattern != row.pattern {
						t.Errorf("pattern %q, want %q", req.Pattern, row.pattern)
					}
					if req.Method != http.MethodGet || req.Host != "example.test" || req.RequestURI != row.target ||
						req.URL.Query().Get("token") != "a b" || req.ProtoMajor != 1 || req.RemoteAddr != addr.String() {
						t.Errorf("request %+v, from %v", req, addr)
					}
					if session.RemoteAddr().String() != addr.String() {
						t.Errorf("RemoteAddr %v, want %v", session.RemoteAddr(), addr)
					}
					if twice := req.Header.Values("X-Twice"); len(twice) != 2 || twice[0] != "one" || twice[1] != "two" {
						t.Errorf("header %q", req.Header)
					}
					if cookie, err := req.Cookie("user"); err != nil || cookie.Value != "zoe" {
						t.Errorf("cookie %v, %v", cookie, err)
					}
					if b, err := io.ReadAll(req.Body); len(b) != 0 || err != nil {
						t.Errorf("body %q, %v", b, err)
					}
					if again := session.Request(); again != req {
						t.Error("another request at the second call")
					}
					if req.Context() != session.Context() || req.Context().Err() != nil {
						t.Error("the request's context is not the session's")
					}
					want := any(nil)
					if asked {
						want = "seen"
					}
					if got := session.Context().Value(requestKey{}); got != want {
						t.Errorf("the context's value is %v, want %v", got, want)
					}
					c.write(frame.Close, nil)
					c.expectClose(frame.CloseNoStatus)
					<-req.Context().Done()
					if session.Request() != req || req.Header.Get("Cookie") != "user=zoe" {
						t.Error("the request has changed after the end")
					}
					h.finish(nil)
				}
			})
		})
	}
}

// Asked for the first time when the connection is over.
func TestSessionsRequestAfterTheEnd(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithPingInterval(0))
		h := s.handOut("/room/{id}")
		c := s.open("/room/7", "X-Name: zoe")
		session := h.next(t)
		c.Close()
		<-session.Context().Done()
		req := session.Request()
		if req == nil || req.PathValue("id") != "7" || req.Header.Get("X-Name") != "zoe" || req.Context() != session.Context() {
			t.Errorf("request %+v", req)
		}
	})
}

// Request parses the head and asks for the address when it is called first, while others decide the connection's end.
func TestSessionsRequestWhileTheConnectionCloses(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithPingInterval(0))
		h := s.handOut("/room/{id}")
		var fields []string // so many that to parse them takes a while
		for i := range 80 {
			fields = append(fields, fmt.Sprintf("X-Field-%d: %d", i, i))
		}
		for range 100 {
			c := s.open("/room/7", fields...)
			session := h.next(t)
			requests := make(chan *http.Request, 2)
			closed := make(chan error, 1)
			begin := make(chan struct{})
			for range 2 {
				go func() { <-begin; requests <- session.Request() }()
			}
			go func() { <-begin; runtime.Gosched(); closed <- session.Close(4000, "ours") }()
			close(begin)
			within(t, closed)
			if first, second := within(t, requests), within(t, requests); first == nil || first != second || first.PathValue("id") != "7" {
				t.Fatalf("requests %p and %p: %+v", first, second, first)
			}
			c.answerClose(4000, "ours")
			c.Close()
			h.finish(nil)
		}
	})
}

// The end of a context that OnUpgrade made, for a look-up say, is not the session's: its values are.
func TestSessionOutlivesTheContextOfItsUpgrade(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithPingInterval(0))
		h := s.handOut("/", engine.WithOnUpgrade(func(u *engine.Upgrade) error {
			ctx, cancel := context.WithCancel(context.WithValue(u.Request.Context(), requestKey{}, "seen"))
			defer cancel()
			u.Request = u.Request.WithContext(ctx)
			return nil
		}))
		c := s.open("/")
		session := h.next(t)
		if err := session.Context().Err(); err != nil || session.Context().Value(requestKey{}) != "seen" {
			t.Errorf("context: %v, value %v", err, session.Context().Value(requestKey{}))
		}
		if err := session.SendText(session.Context(), "hello"); err != nil {
			t.Error(err)
		}
		c.expect(frame.Text, []byte("hello"))
		c.write(frame.Text, []byte("hi"))
		if m, err := session.Receive(session.Context()); err != nil || string(m.Payload) != "hi" {
			t.Errorf("received %q, %v", m.Payload, err)
		}
		c.write(frame.Close, closePayload(3000, ""))
		c.expectClose(3000)
		expectEnd(t, session, engine.CloseReason{Code: 3000, Remote: true})
	})
}

func TestOnUpgradeRefusesASession(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithPingInterval(0))
		h := s.handOut("/", engine.WithOnUpgrade(func(u *engine.Upgrade) error {
			if u.Request.Header.Get("X-Name") == "" {
				return &engine.Rejection{Status: 401, Reason: "who are you?"}
			}
			u.Subprotocol = "chat.v2"
			u.UserData = u.Request.Header.Get("X-Name")
			u.Header.Set("X-Answer", "42")
			u.Request = nil // as if it had not been looked at
			return nil
		}))
		c := s.connect()
		c.send(upgradeRequest("/"))
		c.expectRefusal(401)
		c = s.connect()
		c.send(upgradeRequest("/", "X-Name: zoe", "Sec-WebSocket-Protocol: chat.v1, chat.v2"))
		if status, head := c.readHead(); status != 101 || !strings.Contains(head, "\r\nX-Answer: 42\r\n") {
			t.Fatalf("%d %s", status, head)
		}
		session := h.next(t)
		if session.Subprotocol() != "chat.v2" || session.Conn().UserData() != "zoe" || session.Engine() != s.Engine {
			t.Errorf("subprotocol %q, user data %v", session.Subprotocol(), session.Conn().UserData())
		}
		if req := session.Request(); req == nil || req.Header.Get("X-Name") != "zoe" || req.Context() != session.Context() {
			t.Errorf("request %+v", req)
		}
	})
}

// A route that is registered while the session is open takes nothing from its request.
func TestSessionsRequestKeepsItsRoute(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithPingInterval(0))
		h := s.handOut("GET /chat/{room}/{rest...}")
		c := s.open("/chat/one/2/3")
		session := h.next(t)
		for _, specific := range []string{"GET /chat/one/2/3", "GET /chat/one/{other}/{more}"} {
			s.session(specific, echoSession)
		}
		later := s.open("/chat/one/2/3")
		later.write(frame.Text, []byte("another route's"))
		later.expect(frame.Text, []byte("another route's"))
		req := session.Request()
		if req.Pattern != "GET /chat/{room}/{rest...}" || req.PathValue("room") != "one" || req.PathValue("rest") != "2/3" || req.PathValue("other") != "" {
			t.Errorf("pattern %q, room %q, rest %q", req.Pattern, req.PathValue("room"), req.PathValue("rest"))
		}
		c.write(frame.Close, nil)
		c.expectClose(frame.CloseNoStatus)
	})
}
