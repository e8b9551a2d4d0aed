package engine_test

import (
	"fmt"
	"testing"

	"zeroframe/engine"
	"zeroframe/frame"
)

func TestStatsCountWhatHappened(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithPingInterval(0))
		h := newOpener()
		s.handle("/{$}", h)
		var in, out, messages, frames uint64
		send := func(c *client, b []byte) {
			in += uint64(len(b))
			c.send(b)
		}
		open := func(path string, status int) *client {
			c := s.connect()
			send(c, upgradeRequest(path))
			if got, _ := c.readHead(); got != status {
				t.Fatalf("status %d, want %d", got, status)
			}
			return c
		}
		echo := func(c *client, n int) {
			send(c, encode(true, frame.Binary, pattern(n)))
			c.expect(frame.Binary, pattern(n))
			out += uint64(len(encode(true, frame.Binary, pattern(n))) - 4) // the masking key
			messages++
			frames++
		}
		closing := func(c *client, code frame.CloseCode) {
			send(c, encode(true, frame.Close, closePayload(code, "")))
			c.expectClose(code)
			out += 4
			frames++
			if r := h.wait(t); r.Code != code {
				t.Errorf("reason %+v", r)
			}
			c.Close()
		}
		a, b, c := open("/", 101), open("/", 101), open("/", 101)
		open("/nowhere", 404).Close()
		for n := range 10 {
			echo(a, n*30)
			echo(b, n)
		}
		send(a, encode(true, frame.Ping, []byte("ping")))
		a.expect(frame.Pong, []byte("ping"))
		out += 6
		frames++
		send(b, encode(true, frame.Pong, []byte("unasked")))
		// A request and a message in one, which must not be counted twice.
		both := append(upgradeRequest("/"), encode(true, frame.Text, []byte("at once"))...)
		d := s.connect()
		send(d, both)
		d.readHead()
		d.expect(frame.Text, []byte("at once"))
		out += 9
		messages++
		frames++
		eventually(t, "four are open", func() bool { n := s.Stats(); return n.Open == 4 && n.Conns == 4 })
		closing(a, frame.CloseNormal)
		closing(b, 4321)
		closing(d, 4999)
		c.Close()
		h.wait(t)
		eventually(t, "all have ended", func() bool { return s.Stats().Conns == 0 })
		if err := s.shutdown(); err != nil {
			t.Fatal(err)
		}
		n := s.Stats() // nothing is lost when the loops have ended
		for _, x := range []struct {
			what      string
			got, want uint64
		}{
			{"open", uint64(n.Open), 0},
			{"handshakes", n.Handshakes, 4},
			{"refused with 404", n.Refused[404], 1},
			{"messages in", n.MessagesIn, messages},
			{"bytes in", n.BytesIn, in},
			{"frames out", n.FramesOut, frames},
			{"bytes out", n.BytesOut, out},
			{"pings in", n.PingsIn, 1},
			{"pongs in", n.PongsIn, 1},
			{"pings out", n.PingsOut, 0},
			{"closed with 1000", n.Closes[frame.CloseNormal], 1},
			{"closed with 1006", n.Closes[frame.CloseAbnormal], 1},
			{"closed with codes from 3000", n.Closes[3000], 2},
			{"kinds of closes", uint64(len(n.Closes)), 3},
			{"kinds of refusals", uint64(len(n.Refused)), 1},
		} {
			if x.got != x.want {
				t.Errorf("%s: %d, want %d", x.what, x.got, x.want)
			}
		}
		if n.Reads == 0 || n.Writes == 0 {
			t.Errorf("%d reads, %d writes", n.Reads, n.Writes)
		}
	})
}

func TestConnsYieldsTheOpenConnections(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithPingInterval(0))
		h := newOpener()
		s.handle("/", h)
		open := make(map[*engine.Conn]*client)
		for range 6 {
			c := s.open("/")
			open[within(t, h.opened)] = c
		}
		s.connect().send(upgradeRequest("/")[:30]) // not open yet
		same := func() error {
			seen := make(map[*engine.Conn]bool)
			for c := range s.Conns() {
				if seen[c] || open[c] == nil || c.Engine() != s.Engine {
					return fmt.Errorf("%p is not open or came twice", c)
				}
				seen[c] = true
			}
			if len(seen) != len(open) {
				return fmt.Errorf("%d connections, want %d", len(seen), len(open))
			}
			return nil
		}
		if err := same(); err != nil {
			t.Error(err)
		}
		for c := range s.Conns() { // stops when told to, and connections may end meanwhile
			c.Terminate()
			delete(open, c)
			break
		}
		h.wait(t)
		if err := same(); err != nil {
			t.Error(err)
		}
		for c := range s.Conns() {
			c.SendText("to all")
		}
		for _, c := range open {
			c.expect(frame.Text, []byte("to all"))
		}
	})
}
