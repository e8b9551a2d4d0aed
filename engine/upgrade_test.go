package engine_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"zeroframe/engine"
	"zeroframe/frame"
)

// acceptOfSample answers the key of upgradeRequest, which is RFC 6455's own example (section 1.3).
const acceptOfSample = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

func TestAHeadMayComeByteByByte(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start()
		s.handle("/echo", newEcho())
		c := s.connect()
		for _, b := range upgradeRequest("/echo") {
			c.send([]byte{b})
		}
		if resp, _ := c.readAnswer("GET"); resp.StatusCode != 101 || resp.Header.Get("Sec-WebSocket-Accept") != acceptOfSample {
			t.Fatalf("%d %v", resp.StatusCode, resp.Header)
		}
		c.write(frame.Text, []byte("hello"))
		c.expect(frame.Text, []byte("hello"))
	})
}

func TestFramesMayFollowTheHeadInOneWrite(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start()
		s.handle("/echo", newEcho())
		for _, n := range []int{0, 5, 200, 5000} {
			c := s.connect()
			b := upgradeRequest("/echo")
			b = append(b, encode(true, frame.Text, pattern(n))...)
			b = append(b, encode(true, frame.Ping, []byte("p"))...)
			b = append(b, encode(false, frame.Binary, pattern(n))...)
			b = append(b, encode(true, frame.Continuation, []byte("tail"))...)
			c.send(b)
			if resp, _ := c.readAnswer("GET"); resp.StatusCode != 101 {
				t.Fatal(resp.StatusCode)
			}
			c.expect(frame.Text, pattern(n))
			c.expect(frame.Pong, []byte("p"))
			c.expect(frame.Binary, append(pattern(n), "tail"...))
		}
	})
}

// greeter sends from OnOpen.
type greeter struct{ *echo }

func (greeter) OnOpen(c *engine.Conn) {
	c.SendText("welcome")
	c.Ping([]byte("there?"))
}

func TestWhatOnOpenSendsFollowsTheAnswer(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start()
		s.handle("/hi", greeter{newEcho()})
		c := s.connect()
		c.send(append(upgradeRequest("/hi"), encode(true, frame.Text, []byte("first"))...))
		if resp, _ := c.readAnswer("GET"); resp.StatusCode != 101 {
			t.Fatal(resp.StatusCode)
		}
		c.expect(frame.Text, []byte("welcome"))
		c.expect(frame.Ping, []byte("there?"))
		c.expect(frame.Text, []byte("first"))
	})
}

// The tokens may stand in lists, in several fields and in any case (RFC 6455, section 4.2.1; RFC 9110, section 5.3).
func TestUpgradeTokensAreFoundInLists(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start()
		s.handle("/echo", newEcho())
		for _, fields := range [][]string{
			{hostField, "UPGRADE: WebSocket", "connection: keep-alive, uPgrade", keyField, versionField},
			{hostField, "Upgrade: h2c, websocket", "Connection: keep-alive", "Connection: upgrade", keyField, versionField},
			{hostField, "Upgrade: h2c", "Upgrade: websocket", "Connection: ,Upgrade,", keyField, versionField},
		} {
			c := s.connect()
			c.send([]byte(request("GET /echo", fields...)))
			resp, _ := c.readAnswer("GET")
			if resp.StatusCode != 101 || resp.Header.Get("Sec-WebSocket-Accept") != acceptOfSample ||
				!strings.EqualFold(resp.Header.Get("Upgrade"), "websocket") || !strings.EqualFold(resp.Header.Get("Connection"), "upgrade") {
				t.Errorf("%q: %d %v", fields, resp.StatusCode, resp.Header)
			}
			for _, name := range []string{"Sec-Websocket-Protocol", "Sec-Websocket-Extensions", "Content-Length"} {
				if _, has := resp.Header[name]; has {
					t.Errorf("the 101 has %s", name)
				}
			}
		}
	})
}

// The upgraded connection has no handshake deadline left.
func TestTheHandshakeTimeoutEndsWithTheHandshake(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithHandshakeTimeout(250*time.Millisecond), engine.WithIdleTimeout(400*time.Millisecond), engine.WithPingInterval(0))
		h := newEcho()
		s.handle("/echo", h)
		c := s.open("/echo")
		if f := c.next(); f.op != frame.Close || string(f.payload[2:]) != "idle timeout" { // the later of the two
			t.Fatal(f)
		}
		c.write(frame.Close, closePayload(frame.CloseGoingAway, ""))
		if r := h.wait(t); !errors.Is(r.Err, engine.ErrIdleTimeout) {
			t.Fatal(r)
		}
	})
}
