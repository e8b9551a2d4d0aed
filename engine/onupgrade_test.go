package engine_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"zeroframe/engine"
	"zeroframe/frame"
)

// upgrader asks a function about each request.
type upgrader struct {
	*echo
	ask func(u *engine.Upgrade) error
}

func (h upgrader) OnUpgrade(u *engine.Upgrade) error { return h.ask(u) }

func (h upgrader) OnMessage(c *engine.Conn, _ frame.OpCode, _ []byte) {
	c.SendText(fmt.Sprintf("%v|%s", c.UserData(), c.Subprotocol()))
}

func newUpgrader(ask func(u *engine.Upgrade) error) upgrader { return upgrader{newEcho(), ask} }

// ask sends a message and returns what the upgrader's connection knows: its user data and its subprotocol.
func (c *client) ask() string {
	c.t.Helper()
	c.write(frame.Text, []byte("?"))
	return string(c.next().payload)
}

func TestOnUpgradeSeesTheRequest(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start()
		s.handle("/rooms/{room}/{rest...}", newUpgrader(func(u *engine.Upgrade) error {
			r := u.Request
			cookie, err := r.Cookie("session")
			if err != nil {
				return err
			}
			u.UserData = strings.Join([]string{r.Method, r.PathValue("room"), r.PathValue("rest"), r.URL.Query().Get("q"),
				cookie.Value, r.Header.Get("X-Custom"), r.Host, r.Pattern}, " ")
			if r.RemoteAddr == "" || r.Body == nil || r.Context() == nil {
				return errors.New("a request without RemoteAddr, Body or Context")
			}
			return nil
		}))
		c := s.open("/rooms/red%20one/a/b?q=1", "Cookie: session=abc", "X-Custom: yes")
		want := "GET red one a/b 1 abc yes example.test /rooms/{room}/{rest...}|"
		if got := c.ask(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

// A literal path is found without a ServeMux, and its handler gets the request all the same.
func TestOnUpgradeOfALiteralPathSeesTheRequest(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start()
		s.handle("/plain", newUpgrader(func(u *engine.Upgrade) error {
			u.UserData = u.Request.URL.Path + " " + u.Request.URL.RawQuery + " " + u.Request.Pattern
			return nil
		}))
		if got := s.open("/plain?a=b").ask(); got != "/plain a=b /plain|" {
			t.Errorf("got %q", got)
		}
		s.handle("/item/{id}", newUpgrader(func(u *engine.Upgrade) error { u.UserData = u.Request.PathValue("id"); return nil }))
		if got := s.open("/item/{id}").ask(); got != "{id}|" { // no literal, though it is the pattern to the letter
			t.Errorf("got %q", got)
		}
	})
}

func TestOnUpgradeMayRefuse(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start()
		s.handle("/no/{status}", newUpgrader(func(u *engine.Upgrade) error {
			var status int
			fmt.Sscan(u.Request.PathValue("status"), &status)
			return fmt.Errorf("wrapped: %w", &engine.Rejection{Status: status, Reason: "because", Header: http.Header{
				"Www-Authenticate": {"Bearer"}, "Set-Cookie": {"a=1", "b=2"}, "Content-Length": {"99"}, "Connection": {"keep-alive"},
			}})
		}))
		for _, status := range []int{400, 401, 403, 429, 500, 599} {
			c := s.connect()
			c.send(upgradeRequest(fmt.Sprint("/no/", status)))
			resp, body := c.expectRefusal(status)
			if body != "because\n" || resp.Header.Get("Www-Authenticate") != "Bearer" || !slices.Equal(resp.Header["Set-Cookie"], []string{"a=1", "b=2"}) {
				t.Errorf("%d %q %v", status, body, resp.Header)
			}
			c.Close()
		}
		if logs := s.logs.String(); logs != "" {
			t.Errorf("a rejection is no error of ours, but was logged: %s", logs)
		}
		for _, status := range []int{0, 101, 200, 302, 600} { // not a refusal: our own fault
			c := s.connect()
			c.send(upgradeRequest(fmt.Sprint("/no/", status)))
			c.expectRefusal(500)
			c.Close()
		}
	})
}

func TestAnotherErrorOfOnUpgradeIs500AndLogged(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start()
		s.handle("/broken", newUpgrader(func(*engine.Upgrade) error { return errors.New("the database is secret") }))
		c := s.connect()
		c.send(upgradeRequest("/broken"))
		if _, body := c.expectRefusal(500); strings.Contains(body, "secret") {
			t.Errorf("the peer is told %q", body)
		}
		if logs := s.logs.String(); !strings.Contains(logs, "the database is secret") {
			t.Errorf("logged: %q", logs)
		}
	})
}

// Panics on the way to the upgrade are answered, logged, and leave no buffer behind: what the head was collected in, when
// it came in pieces, goes back.
func TestAPanicDuringTheUpgradeIs500(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start()
		s.handle("/panic", newUpgrader(func(*engine.Upgrade) error { panic("in OnUpgrade") }))
		s.handle("/origin", newEcho(), engine.WithCheckOrigin(func(*http.Request) bool { panic("in CheckOrigin") }))
		for path, text := range map[string]string{"/panic": "in OnUpgrade", "/origin": "in CheckOrigin"} {
			c := s.connect()
			head := upgradeRequest(path)
			c.send(head[:20])
			c.send(head[20:])
			c.expectRefusal(500)
			c.Close()
			if logs := s.logs.String(); !strings.Contains(logs, text) || !strings.Contains(logs, "onupgrade_test.go") {
				t.Errorf("%s is not logged with its stack: %.300s", text, logs)
			}
		}
	})
}

// crasher panics at the first message.
type crasher struct{ *echo }

func (crasher) OnMessage(*engine.Conn, frame.OpCode, []byte) { panic("in OnMessage") }

func TestAPanicOverAFrameBehindTheHeadCloses1011(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start()
		h := crasher{newEcho()}
		s.handle("/crash", h)
		c := s.connect()
		head := upgradeRequest("/crash")
		c.send(head[:20])
		c.send(append(head[20:], encode(true, frame.Text, []byte("boom"))...))
		if resp, _ := c.readAnswer("GET"); resp.StatusCode != 101 {
			t.Fatal(resp.StatusCode)
		}
		c.expectClose(frame.CloseInternalError)
		c.Close()
		if r := h.wait(t); r.Code != frame.CloseInternalError {
			t.Error(r)
		}
	})
}

func TestOnUpgradeAddsHeadersAndUserData(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start()
		s.handle("/extra", newUpgrader(func(u *engine.Upgrade) error {
			u.UserData = 42
			u.Header.Add("Set-Cookie", "a=1")
			u.Header.Add("Set-Cookie", "b=2")
			u.Header.Set("X-Node", "n7")
			for _, own := range []string{"Upgrade", "Connection", "Sec-WebSocket-Accept", "Sec-WebSocket-Protocol",
				"Sec-WebSocket-Extensions", "Content-Length", "Transfer-Encoding"} {
				u.Header.Set(own, "forged")
			}
			return nil
		}))
		c := s.connect()
		c.send(upgradeRequest("/extra"))
		_, head := c.readHead()
		if !strings.Contains(head, "\r\nX-Node: n7\r\n") || strings.Count(head, "\r\nSet-Cookie: ") != 2 || strings.Contains(head, "forged") {
			t.Errorf("answer:\n%s", head)
		}
		if got := c.ask(); got != "42|" {
			t.Errorf("user data %q", got)
		}
	})
}

// Nothing that comes from the application or the client can end a line of the answer.
func TestHeaderInjectionIsImpossible(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		const evil = "a\r\nX-Injected: 1\r\n\r\n<b>\x00\n"
		s := start()
		s.handle("/accept", newUpgrader(func(u *engine.Upgrade) error {
			u.Header.Set("X-Evil", evil)
			u.Header["X-Name: 1\r\nX-Injected"] = []string{"1"}
			u.Header[""] = []string{"1"}
			return nil
		}))
		s.handle("/refuse", newUpgrader(func(u *engine.Upgrade) error {
			return &engine.Rejection{Status: 403, Reason: evil, Header: http.Header{
				"X-Evil": {evil}, "Connection": {evil}, "X-Name\r\nX-Injected": {"1"}}}
		}))
		s.handle("/protocol", newUpgrader(func(u *engine.Upgrade) error { u.Subprotocol = evil; return nil }))
		s.handle("/tree/", newEcho())

		c := s.connect()
		c.send(upgradeRequest("/accept"))
		resp, _ := c.readAnswer("GET")
		if resp.StatusCode != 101 || resp.Header.Get("X-Injected") != "" || len(resp.Header) != 4 {
			t.Errorf("%d %v", resp.StatusCode, resp.Header)
		}
		if c.ask(); t.Failed() { // and no body
			t.Error("the stream is out of step")
		}
		for path, status := range map[string]int{"/refuse": 403, "/protocol": 500} {
			c := s.connect()
			c.send(upgradeRequest(path, "Sec-WebSocket-Protocol: a"))
			if resp, _ := c.expectRefusal(status); resp.Header.Get("X-Injected") != "" {
				t.Errorf("%s: %v", path, resp.Header)
			}
			c.Close()
		}
		for _, path := range []string{"/tree", "//tree/%0d%0aX-Injected:%201", "/%0d%0aX-Injected:%201"} {
			c := s.connect()
			c.send(upgradeRequest(path))
			if resp, _ := c.readAnswer("GET"); resp.Header.Get("X-Injected") != "" {
				t.Errorf("%s: %v", path, resp.Header)
			}
			c.Close()
		}
	})
}

// onEachKindOfRoute runs f over a callback route, a session's and a raw one, each of which sends back what WithOnUpgrade made of
// the connection: its user data and its subprotocol.
func onEachKindOfRoute(t *testing.T, f func(t *testing.T, start func(...engine.Option) *server, add func(s *server, pattern string, opts ...engine.RouteOption))) {
	for _, layer := range []struct {
		name string
		add  func(s *server, pattern string, opts ...engine.RouteOption)
	}{
		{"callback", func(s *server, pattern string, opts ...engine.RouteOption) {
			s.handle(pattern, teller{newEcho()}, opts...)
		}},
		{"session", func(s *server, pattern string, opts ...engine.RouteOption) {
			s.session(pattern, func(ctx context.Context, s *engine.Session) error {
				for range s.Messages(ctx) {
					s.SendText(ctx, told(s.Conn()))
				}
				return nil
			}, opts...)
		}},
		{"raw", func(s *server, pattern string, opts ...engine.RouteOption) {
			h := newRawScript()
			h.onFrame = func(c *engine.Conn, _ engine.Frame) { c.SendText(told(c)) }
			s.raw(pattern, h, opts...)
		}},
	} {
		t.Run(layer.name, func(t *testing.T) {
			onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) { f(t, start, layer.add) })
		})
	}
}

// teller tells what it knows about the connection; it is no Upgrader.
type teller struct{ *echo }

func (teller) OnMessage(c *engine.Conn, _ frame.OpCode, _ []byte) { c.SendText(told(c)) }

func told(c *engine.Conn) string { return fmt.Sprintf("%v|%s", c.UserData(), c.Subprotocol()) }

// What Upgrader is to a handler, WithOnUpgrade is to a route of any kind.
func TestTheOptionOnUpgradeAsksForEveryKindOfRoute(t *testing.T) {
	onEachKindOfRoute(t, func(t *testing.T, start func(...engine.Option) *server, add func(*server, string, ...engine.RouteOption)) {
		s := start(engine.WithOnUpgrade(func(u *engine.Upgrade) error {
			u.UserData = "the engine's " + u.Request.PathValue("room")
			return nil
		}))
		add(s, "/engine/{room}")
		add(s, "/route/{room}", engine.Subprotocols("v2", "v1"), engine.WithOnUpgrade(func(u *engine.Upgrade) error {
			switch u.Request.PathValue("room") {
			case "closed":
				return &engine.Rejection{Status: 403, Reason: "members only"}
			case "broken":
				return errors.New("the secret cause")
			case "panic":
				panic("in WithOnUpgrade")
			}
			u.Header.Set("X-Node", "n7")
			u.UserData = u.Subprotocol + " " + u.Request.Header.Get("X-Custom")
			u.Subprotocol = "v1"
			return nil
		}))
		add(s, "/none/{room}", engine.WithOnUpgrade(nil))
		if got := s.open("/engine/blue").ask(); got != "the engine's blue|" {
			t.Errorf("the engine's: %q", got)
		}
		if got := s.open("/none/blue").ask(); got != "<nil>|" {
			t.Errorf("none: %q", got)
		}
		c := s.connect()
		c.send(upgradeRequest("/route/red", "Sec-WebSocket-Protocol: v1, v2", "X-Custom: yes"))
		if status, head := c.readHead(); status != 101 || !strings.Contains(head, "\r\nX-Node: n7\r\n") || !strings.Contains(head, "\r\nSec-WebSocket-Protocol: v1\r\n") {
			t.Fatalf("answer:\n%s", head)
		}
		if got := c.ask(); got != "v2 yes|v1" {
			t.Errorf("the route's: %q", got)
		}
		for room, status := range map[string]int{"closed": 403, "broken": 500, "panic": 500} {
			c := s.connect()
			c.send(upgradeRequest("/route/" + room))
			if _, body := c.expectRefusal(status); strings.Contains(body, "secret") || status == 403 && body != "members only\n" {
				t.Errorf("%s: %q", room, body)
			}
			c.Close()
		}
		if logs := s.logs.String(); !strings.Contains(logs, "secret cause") || !strings.Contains(logs, "in WithOnUpgrade") || strings.Contains(logs, "members") {
			t.Errorf("logged: %s", logs)
		}
	})
}

// The handler is asked before the route, which sees what the handler has made of the request; the first to refuse
// refuses.
func TestTheHandlersOnUpgradeComesBeforeTheOptions(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start()
		s.handle("/{who}", newUpgrader(func(u *engine.Upgrade) error {
			u.UserData = "handler"
			u.Header.Set("X-By", "handler")
			if u.Request.PathValue("who") == "handler" {
				return &engine.Rejection{Status: 401}
			}
			return nil
		}), engine.WithOnUpgrade(func(u *engine.Upgrade) error {
			if u.Request.PathValue("who") != "nobody" {
				return &engine.Rejection{Status: 402, Reason: fmt.Sprint(u.UserData)}
			}
			u.UserData = fmt.Sprint(u.UserData, ", then option")
			u.Header.Add("X-By", "option")
			return nil
		}))
		for who, status := range map[string]int{"handler": 401, "option": 402} {
			c := s.connect()
			c.send(upgradeRequest("/" + who))
			if _, body := c.expectRefusal(status); status == 402 && body != "handler\n" {
				t.Errorf("refused by the option with %q", body)
			}
			c.Close()
		}
		if got := s.open("/nobody").ask(); got != "handler, then option|" {
			t.Errorf("user data %q", got)
		}
	})
}

// What OnUpgrade learns of a request it can hand on to the session, in the request's context.
func TestOnUpgradeHandsItsContextToTheSession(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		type key struct{}
		s := start()
		got := make(chan string, 10)
		s.session("/{room}", func(ctx context.Context, s *engine.Session) error {
			got <- fmt.Sprintf("%v|%v|%s|%s", ctx.Value(key{}), s.Request().Context().Value(key{}), s.Request().PathValue("room"), s.Request().Header.Get("X-Custom"))
			<-ctx.Done()
			return nil
		}, engine.WithOnUpgrade(func(u *engine.Upgrade) error {
			u.Request = u.Request.WithContext(context.WithValue(u.Request.Context(), key{}, "user 7"))
			return nil
		}))
		c := s.open("/hall", "X-Custom: yes")
		if v := within(t, got); v != "user 7|user 7|hall|yes" {
			t.Errorf("the session knows %q", v)
		}
		c.write(frame.Close, nil)
		c.expectClose(frame.CloseNoStatus)
	})
}
