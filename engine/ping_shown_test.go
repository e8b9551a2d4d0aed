package engine_test

import (
	"fmt"
	"testing"
	"time"

	"zeroframe/engine"
	"zeroframe/frame"
)

// controls notes the control frames that are shown to it, and by whom.
type controls struct {
	*echo
	shown chan string
}

func newControls() controls { return controls{newEcho(), make(chan string, 100)} }

func (h controls) OnPing(_ *engine.Conn, p []byte) { h.shown <- fmt.Sprintf("handler: ping %s", p) }
func (h controls) OnPong(_ *engine.Conn, p []byte) { h.shown <- fmt.Sprintf("handler: pong %s", p) }

// options show the same to h's channel, as who.
func (h controls) options(who string) []engine.Setting {
	note := func(kind string) func(*engine.Conn, []byte) {
		return func(c *engine.Conn, p []byte) {
			if c == nil {
				kind = "no connection's " + kind
			}
			h.shown <- fmt.Sprintf("%s: %s %s", who, kind, p)
		}
	}
	return []engine.Setting{engine.WithOnPing(note("ping")), engine.WithOnPong(note("pong"))}
}

func (h controls) expect(t testing.TB, want ...string) {
	t.Helper()
	for _, w := range want {
		if got := within(t, h.shown); got != w {
			t.Errorf("%q was shown, want %q", got, w)
		}
	}
	if len(h.shown) != 0 {
		t.Errorf("%q was shown, too", <-h.shown)
	}
}

func TestOnPingAndOnPongShowWhatComesOnAnyRouteButRawOnes(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		h := newControls()
		opts := []engine.Option{engine.WithPingInterval(0)}
		for _, o := range h.options("engine") {
			opts = append(opts, o)
		}
		s := start(opts...)
		s.handle("/handler", h)
		s.handle("/plain", newEcho())
		s.session("/session", echoSession)
		own := h.options("route")
		s.session("/own", echoSession, own[0], own[1])
		s.session("/none", echoSession, engine.WithOnPing(nil), engine.WithOnPong(nil))
		raw := newRawScript()
		s.raw("/raw", raw)
		for path, want := range map[string][]string{
			"/handler": {"handler: ping one", "engine: ping one", "handler: pong two", "engine: pong two"},
			"/plain":   {"engine: ping one", "engine: pong two"},
			"/session": {"engine: ping one", "engine: pong two"},
			"/own":     {"route: ping one", "route: pong two"},
			"/none":    nil,
			"/raw":     nil,
		} {
			t.Run(path, func(t *testing.T) {
				c := s.open(path)
				c.write(frame.Ping, []byte("one"))
				c.write(frame.Pong, []byte("two"))
				c.write(frame.Text, []byte("behind them"))
				if path == "/raw" {
					for range 3 {
						within(t, raw.heard)
					}
				} else {
					c.expect(frame.Pong, []byte("one"))
					c.expect(frame.Text, []byte("behind them"))
				}
				h.expect(t, want...)
			})
		}
	})
}

// A client sees the server's pings, the pongs for its own, and those for the engine's.
func TestOnPingAndOnPongShowADialedSessionWhatTheServerSends(t *testing.T) {
	s := onSocket(t, engine.WithPingInterval(0))
	h := newControls()
	server := opened{newEcho(), make(chan *engine.Conn, 1)}
	s.handle("/", server)
	opts := []engine.RouteOption{}
	for _, o := range h.options("client") {
		opts = append(opts, o)
	}
	session := s.dialAt("/", opts...)
	if err := within(t, server.conns).Ping([]byte("server's")); err != nil {
		t.Fatal(err)
	}
	h.expect(t, "client: ping server's")
	if err := session.Conn().Ping([]byte("client's")); err != nil {
		t.Fatal(err)
	}
	h.expect(t, "client: pong client's")
	session.SetPingInterval(20 * time.Millisecond)
	if got := within(t, h.shown); len(got) != len("client: pong ")+16 {
		t.Errorf("%q was shown, want the pong for a ping of the engine's", got)
	}
	session.Terminate()
}
