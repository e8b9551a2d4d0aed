package engine_test

import (
	"fmt"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"zeroframe/engine"
	"zeroframe/frame"
)

// endStream ends the client's direction and leaves the other open.
func (c *client) endStream() {
	c.t.Helper()
	if err := c.Conn.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		c.t.Fatal(err)
	}
}

func TestPeerThatDoesNotAnswerTheCloseIsDropped(t *testing.T) {
	onGoroutinesTooAtAnyPace(t, 30*time.Millisecond, func(t testing.TB, start func(...engine.Option) *server, timeout time.Duration) {
		s := start(engine.WithCloseTimeout(timeout))
		h := newScript()
		s.handle("/", h)
		for _, row := range []struct {
			name string
			then func(c *client)
		}{
			{"silent", func(*client) {}},
			{"talking", func(c *client) { c.write(frame.Text, []byte("not listening")) }},
			{"inside a frame", func(c *client) { c.send(header(true, frame.Binary, 100_000)) }},
		} {
			c := s.open("/")
			conn := within(t, h.opened)
			began := time.Now()
			conn.Close(4000, "answer me")
			c.expect(frame.Close, closePayload(4000, "answer me"))
			row.then(c)
			if n := len(c.closes()); n != 0 {
				t.Errorf("%s: another close frame", row.name)
			}
			r := h.wait(t)
			if r.Code != 4000 || r.Text != "answer me" || r.Err != engine.ErrCloseTimeout {
				t.Errorf("%s: reason %+v", row.name, r)
			}
			if d := time.Since(began); d < timeout-early {
				t.Errorf("%s: dropped after %v", row.name, d)
			}
		}
		s.gone()
		h.nothingMore(t)
	})
}

// The handshake is complete, or there was an error, and yet the client keeps its socket.
func TestClientThatKeepsItsSocketAfterTheCloseIsDropped(t *testing.T) {
	onGoroutinesToo(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithCloseTimeout(30 * time.Millisecond))
		h := newScript()
		s.handle("/", h)
		for _, wire := range [][]byte{encode(true, frame.Close, closePayload(1000, "")), head(0x83)} {
			c := s.open("/")
			c.send(wire)
			if n := len(c.closes()); n != 1 {
				t.Errorf("%d close frames, want one", n)
			}
			h.wait(t)
			s.gone()
		}
		h.nothingMore(t)
	})
}

func TestTerminateSendsNoCloseFrame(t *testing.T) {
	onGoroutinesToo(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start()
		h := newScript()
		h.onOpen = func(c *engine.Conn) {
			if c.UserData() != nil {
				c.Terminate()
			}
		}
		h.onUpgrade = func(u *engine.Upgrade) error {
			if u.Request.URL.Path == "/at-once" {
				u.UserData = true
			}
			return nil
		}
		h.onMessage = func(c *engine.Conn, _ frame.OpCode, p []byte) {
			c.Terminate()
			c.Terminate()
		}
		s.handle("/", h)
		for _, row := range []struct {
			name, path string
			then       func(c *client, conn *engine.Conn)
		}{
			{"from a goroutine", "/", func(_ *client, conn *engine.Conn) { conn.Terminate() }},
			{"in OnMessage", "/", func(c *client, _ *engine.Conn) {
				c.send(append(encode(true, frame.Text, []byte("last")), encode(true, frame.Text, []byte("late"))...))
				h.waitHeard(t, "last")
			}},
			{"in OnOpen", "/at-once", func(*client, *engine.Conn) {}},
		} {
			c := s.connect()
			c.send(upgradeRequest(row.path))
			if row.path == "/" {
				c.readHead()
			} else {
				io.Copy(io.Discard, c.r) // the answer may be lost
			}
			conn := within(t, h.opened)
			row.then(c, conn)
			if n := len(c.closes()); n != 0 {
				t.Errorf("%s: %d close frames", row.name, n)
			}
			if r, want := h.wait(t), (engine.CloseReason{Code: frame.CloseAbnormal}); r != want {
				t.Errorf("%s: reason %+v, want %+v", row.name, r, want)
			}
			s.gone()
			expectClosed(t, conn)
		}
		h.nothingMore(t)
	})
}

// Wherever in the stream the socket ends: without a close frame the reason is 1006, and nothing stays behind.
func TestEndOfTheSocketWithoutCloseIs1006(t *testing.T) {
	onGoroutinesToo(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start()
		h := newScript()
		s.handle("/", h)
		for _, at := range placesToVanish {
			for _, end := range []func(*client){func(c *client) { c.Close() }, (*client).endStream} {
				c := s.open("/")
				c.send(at.wire)
				end(c)
				if at.closed {
					if r := h.wait(t); r.Code != 1001 || !r.Remote {
						t.Errorf("%s: reason %+v", at.name, r)
					}
				} else if r, want := h.wait(t), (engine.CloseReason{Code: frame.CloseAbnormal}); r != want {
					t.Errorf("%s: reason %+v, want %+v", at.name, r, want)
				}
				s.gone()
			}
		}
		// In the middle of the request there is no connection yet, and no OnClose.
		c := s.connect()
		c.send(upgradeRequest("/")[:40])
		s.until("half a request taken", func() bool { return s.Stats().Conns == 1 })
		c.Close()
		s.gone()
		h.nothingMore(t)
	})
}

// placesToVanish are states of a connection in which its client may end.
var placesToVanish = []struct {
	name   string
	wire   []byte
	closed bool
}{
	{"at rest", nil, false},
	{"inside a header", head(0x82, 0xFE, 1), false},
	{"inside a small frame", announce(true, frame.Text, "half", 50), false},
	{"inside a large frame", announce(true, frame.Binary, "half", 100_000), false},
	{"inside a ping", announce(true, frame.Ping, "half", 50), false},
	{"inside a message", fragment(frame.Text, "half"), false},
	{"inside a close frame", announce(true, frame.Close, "\x03\xE8half", 50), false},
	{"behind a close frame", encode(true, frame.Close, closePayload(1001, "")), true},
}

// descriptors counts the open descriptors of the process; -1 where the system does not tell.
func descriptors() int {
	dir, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return -1
	}
	return len(dir)
}

func TestResetsAndHalfClosesLeaveNoDescriptor(t *testing.T) {
	onGoroutinesToo(t, func(t *testing.T, start func(...engine.Option) *server) {
		if !overSockets(t) {
			t.Skip("about the operating system's sockets")
		}
		s := start()
		h := newScript()
		s.handle("/", h)
		s.open("/").Close() // whatever opens descriptors once has done so
		h.wait(t)
		s.gone()
		before := descriptors()
		if before < 0 {
			t.Skip("no /proc")
		}
		for range 5 {
			var clients []*client
			ends := 0
			for _, at := range placesToVanish {
				for i := range 3 {
					c := s.open("/")
					c.send(at.wire)
					switch i {
					case 0: // a reset
						c.Conn.(*net.TCPConn).SetLinger(0)
						c.Close()
					case 1: // half closed; the engine closes its half
						c.endStream()
						clients = append(clients, c)
					case 2: // a reset while the engine writes
						within(t, h.opened).Send(frame.Binary, make([]byte, 200_000))
						c.Conn.(*net.TCPConn).SetLinger(0)
						c.Close()
						ends++
						continue
					}
					within(t, h.opened)
					ends++
				}
			}
			for _, c := range clients {
				if n := len(c.closes()); n > 1 {
					t.Errorf("%d close frames", n)
				}
				c.Close()
			}
			for range ends {
				if r := h.wait(t); r.Code != frame.CloseAbnormal && r.Code != 1001 {
					t.Errorf("reason %+v", r)
				}
			}
		}
		s.gone()
		s.until(fmt.Sprintf("%d descriptors", before), func() bool { return descriptors() <= before })
		s.until("no connection counts as open", func() bool { return s.Stats().Open == 0 })
		h.nothingMore(t)
	})
}
