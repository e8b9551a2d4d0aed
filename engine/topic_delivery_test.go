package engine_test

import (
	"fmt"
	"net"
	"testing"

	"zeroframe/engine"
	"zeroframe/frame"
)

// members opens connections of a script that are members of "room".
func members(t testing.TB, s *server, h *script, n int) (clients []*client, conns []*engine.Conn) {
	t.Helper()
	for range n {
		clients = append(clients, s.open("/"))
		conn := within(t, h.opened)
		if err := conn.Subscribe("room"); err != nil {
			t.Fatal(err)
		}
		conns = append(conns, conn)
	}
	return clients, conns
}

// What several connections publish between two turns of a loop is put together for all members, and yet nobody gets what
// is their own.
func TestPublishersOfOneTurnGetAllMessagesButTheirOwn(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithLoops(1), engine.WithPingInterval(0))
		h := newScript()
		s.handle("/", h)
		clients, conns := members(t, s, h, 5)
		conns[1].SetMasking(true)
		for publishers := range 4 {
			release := hold(t, conns[0])
			for i := range 12 {
				if publishers == 0 {
					s.Publish("room", frame.Text, fmt.Appendf(nil, "- %d", i))
				} else {
					from := i % publishers
					conns[from].Publish("room", frame.Text, fmt.Appendf(nil, "%d %d", from, i))
				}
			}
			release()
			for at, c := range clients {
				for i := range 12 {
					from := fmt.Sprint(i % max(publishers, 1))
					if publishers == 0 {
						from = "-"
					}
					if from == fmt.Sprint(at) {
						continue
					}
					var f wireFrame
					if at == 1 {
						f, _ = c.readMasked()
					} else {
						f = c.next()
					}
					if got, want := string(f.payload), fmt.Sprintf("%s %d", from, i); got != want {
						t.Fatalf("member %d got %q, want %q", at, got, want)
					}
				}
			}
		}
	})
}

// Whoever has returned from Unsubscribe is sent nothing more of the topic, whatever is being delivered just then.
func TestNothingIsSentBehindUnsubscribe(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithPingInterval(0))
		h := newScript()
		s.handle("/", h)
		clients, conns := members(t, s, h, 6)
		for i := range conns {
			conns[i].Unsubscribe("room")
			conns[i].SetMasking(i%2 == 1)
		}
		stop, stopped := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(stopped)
			for {
				select {
				case <-stop:
					return
				default:
					s.Publish("room", frame.Binary, []byte("published"))
				}
			}
		}()
		for i, c := range clients {
			next := func() string {
				f := wireFrame{}
				if i%2 == 1 {
					f, _ = c.readMasked()
				} else {
					f = c.next()
				}
				return string(f.payload)
			}
			for range 100 {
				conns[i].Subscribe("room")
				conns[i].Unsubscribe("room")
				conns[i].SendText("out")
				for next() == "published" {
				}
				conns[i].SendText("still out")
				if got := next(); got != "still out" {
					t.Fatalf("member %d got %q behind Unsubscribe", i, got)
				}
			}
		}
		close(stop)
		within(t, stopped)
	})
}

// A write that fails ends its connection in the middle of a delivery; what its OnClose does then, and the others, are as
// ever.
func TestMembersThatAreResetInADeliveryHarmNobodyElse(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		if !overSockets(t) {
			t.Skip("about the operating system's sockets")
		}
		s := start(engine.WithLoops(1), engine.WithPingInterval(0))
		h := newScript()
		var conns []*engine.Conn
		h.onClose = func(c *engine.Conn, _ engine.CloseReason) {
			conns[len(conns)-1].Unsubscribe("room")
			s.Publish("room", frame.Text, []byte("somebody is gone"))
		}
		s.handle("/", h)
		clients, conns := members(t, s, h, 8)
		release := hold(t, conns[0])
		for _, c := range clients[:4] {
			c.Conn.(*net.TCPConn).SetLinger(0)
			c.Close()
		}
		s.Publish("room", frame.Text, []byte("hello"))
		release()
		for range 4 {
			h.wait(t)
		}
		for _, c := range clients[4:7] {
			for got := 0; got < 5; {
				switch f := c.next(); string(f.payload) {
				case "hello", "somebody is gone":
					got++
				default:
					t.Fatalf("got %q", f.payload)
				}
			}
		}
		conns[7].SendText("out") // it left while the first message was on its way to the others
		clients[7].expect(frame.Text, []byte("out"))
		if n := s.Subscribers("room"); n != 3 {
			t.Errorf("%d members are left, want 3", n)
		}
	})
}
