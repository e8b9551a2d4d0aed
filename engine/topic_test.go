package engine_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"zeroframe/engine"
	"zeroframe/frame"
)

// subscriber subscribes each connection to the topics it names in a message "+name", unsubscribes it with "-name", and publishes
// everything else to "room".
type subscriber struct{ engine.NopHandler }

func (subscriber) OnMessage(c *engine.Conn, op frame.OpCode, payload []byte) {
	switch {
	case len(payload) > 1 && payload[0] == '+':
		if err := c.Subscribe(string(payload[1:])); err != nil {
			c.SendText(err.Error())
			return
		}
		c.Reply(op, payload)
	case len(payload) > 1 && payload[0] == '-':
		c.Unsubscribe(string(payload[1:]))
		c.Reply(op, payload)
	default:
		c.Publish("room", op, payload)
	}
}

// subscribe makes c a member of a topic.
func (c *client) subscribe(name string) {
	c.t.Helper()
	c.write(frame.Text, []byte("+"+name))
	c.expect(frame.Text, []byte("+"+name))
}

func TestAPublishedMessageReachesEveryMemberButItsSender(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start()
		s.handle("/", subscriber{})
		var clients []*client
		for range 6 {
			c := s.open("/")
			c.subscribe("room")
			clients = append(clients, c)
		}
		if n := s.Subscribers("room"); n != 6 {
			t.Errorf("%d subscribers, want 6", n)
		}
		for i, from := range clients {
			text := fmt.Appendf(nil, "hello from %d", i)
			from.write(frame.Text, text)
			for j, c := range clients {
				if j != i {
					c.expect(frame.Text, text)
				}
			}
		}
		if err := s.Publish("room", frame.Binary, []byte("from the engine")); err != nil {
			t.Fatal(err)
		}
		for _, c := range clients {
			c.expect(frame.Binary, []byte("from the engine"))
		}
	})
}

// What one goroutine publishes reaches each member in order, whatever others publish meanwhile.
func TestPublishersKeepTheirOrder(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		const publishers, each = 4, 100
		s := start()
		s.handle("/", subscriber{})
		var clients []*client
		for range 3 {
			c := s.open("/")
			c.subscribe("room")
			clients = append(clients, c)
		}
		for p := range publishers {
			go func() {
				for i := range each {
					if err := s.Publish("room", frame.Text, fmt.Appendf(nil, "%d %d", p, i)); err != nil {
						t.Error(err)
					}
				}
			}()
		}
		for _, c := range clients {
			var next [publishers]int
			for range publishers * each {
				var p, i int
				if _, err := fmt.Sscanf(string(c.next().payload), "%d %d", &p, &i); err != nil {
					t.Fatal(err)
				}
				if i != next[p] {
					t.Fatalf("message %d of publisher %d, want %d", i, p, next[p])
				}
				next[p]++
			}
		}
	})
}

func TestMembershipEndsWithUnsubscribeOrTheConnection(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		hook := make(chan string, 100)
		tell := func(what string) func(*engine.Conn, string, int) {
			return func(_ *engine.Conn, topic string, n int) { hook <- fmt.Sprint(what, topic, n) }
		}
		s := start(engine.WithOnSubscribe(tell("+")), engine.WithOnUnsubscribe(tell("-")))
		s.handle("/", subscriber{})
		expect := func(what string) {
			t.Helper()
			if got := within(t, hook); got != what {
				t.Errorf("the hook was told %q, want %q", got, what)
			}
		}
		a, b := s.open("/"), s.open("/")
		a.subscribe("room")
		expect("+room1")
		a.subscribe("room") // again: no change
		a.subscribe("other")
		expect("+other1")
		b.subscribe("room")
		expect("+room2")
		for conn := range s.Conns() {
			if n := len(conn.Topics()); n < 1 || n > 2 {
				t.Errorf("member of %d topics", n)
			}
		}
		all := map[string]int{}
		for name, n := range s.Topics() {
			all[name] = n
		}
		if len(all) != 2 || all["room"] != 2 || all["other"] != 1 || s.Stats().Topics != 2 {
			t.Errorf("topics %v", all)
		}
		a.write(frame.Text, []byte("-room"))
		a.expect(frame.Text, []byte("-room"))
		expect("-room1")
		s.Publish("room", frame.Text, []byte("for b"))
		b.expect(frame.Text, []byte("for b"))
		s.Publish("other", frame.Text, []byte("for a"))
		a.expect(frame.Text, []byte("for a")) // and nothing of room before it
		a.write(frame.Close, closePayload(1000, ""))
		a.expectClose(1000)
		expect("-other0")
		b.Close() // without a close frame
		expect("-room0")
		for name, n := range s.Topics() {
			t.Errorf("topic %q is left with %d members", name, n)
		}
		if n := s.Subscribers("room"); n != 0 {
			t.Errorf("%d subscribers are left", n)
		}
	})
}

func TestTopicNamesAndEndedConnectionsAreRefused(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start()
		h := newScript()
		s.handle("/", h)
		c := s.open("/")
		conn := within(t, h.opened)
		for _, name := range []string{"", string(make([]byte, engine.MaxTopicName+1))} {
			if err := conn.Subscribe(name); err != engine.ErrTopicName {
				t.Errorf("a name of %d bytes: %v", len(name), err)
			}
		}
		for _, name := range []string{"*", ">", "a/b", " ", "\x00", "é", string(make([]byte, engine.MaxTopicName))} {
			if err := conn.Subscribe(name); err != nil {
				t.Errorf("%q: %v", name, err)
			}
			if n := s.Subscribers(name); n != 1 {
				t.Errorf("%q has %d subscribers", name, n)
			}
		}
		prepared, err := engine.Prepare(frame.Text, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Publish("", frame.Text, nil); err != engine.ErrTopicName {
			t.Errorf("publishing to no topic: %v", err)
		}
		if err := s.PublishPrepared("", prepared); err != engine.ErrTopicName {
			t.Errorf("publishing a prepared message to no topic: %v", err)
		}
		if err := s.Publish("room", frame.Ping, nil); err != engine.ErrFragment {
			t.Errorf("publishing a ping: %v", err)
		}
		c.Close()
		h.wait(t)
		if err := conn.Subscribe("room"); err != engine.ErrClosed {
			t.Errorf("subscribing a connection that has ended: %v", err)
		}
		if conn.Unsubscribe("*") || len(conn.Topics()) != 0 {
			t.Error("a connection that has ended is a member")
		}
		s.Close()
		if err := s.Publish("room", frame.Text, nil); err != engine.ErrServerClosed {
			t.Errorf("publishing on a closed engine: %v", err)
		}
		if err := s.PublishPrepared("room", prepared); err != engine.ErrServerClosed {
			t.Errorf("publishing a prepared message on a closed engine: %v", err)
		}
	})
}

// What is published between two turns of a loop leaves with one write per member.
func TestPublishesOfOneTurnAreOneWritePerMember(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		if s := (&server{t: t}); s.cut() {
			t.Skip("there a write takes a few bytes")
		}
		for _, size := range []int{10, 1000, 40_000} {
			s := start(engine.WithLoops(1), engine.WithPingInterval(0))
			s.handle("/", subscriber{})
			const members, messages = 5, 20
			var clients []*client
			for range members {
				c := s.open("/")
				c.subscribe("room")
				clients = append(clients, c)
			}
			eventually(t, "what came before is counted", func() bool { return s.Stats().Writes == 2*members })
			held, release := make(chan struct{}), make(chan struct{})
			for conn := range s.Conns() {
				conn.Post(func() { close(held); <-release })
				break
			}
			within(t, held)
			before := s.Stats().Writes
			for i := range messages {
				s.Publish("room", frame.Binary, pattern(size+i))
			}
			close(release)
			for _, c := range clients {
				for i := range messages {
					c.expect(frame.Binary, pattern(size+i))
				}
			}
			eventually(t, "deliveries are counted", func() bool { return s.Stats().Delivered == members*messages })
			limit := uint64(members)
			if size > 1000 { // more than a socket's buffer takes at once
				limit = members * messages
			}
			if n := s.Stats().Writes - before; n > limit {
				t.Errorf("%d writes for %d messages of %d B to %d members, at most %d are meant", n, messages, size, members, limit)
			}
		}
	})
}

// A member that does not read is subject to its route's policy; the others get everything.
func TestASlowMemberHarmsNobodyElse(t *testing.T) {
	for _, p := range []engine.Policy{engine.PolicyRefuse, engine.PolicyDrop, engine.PolicyClose} {
		t.Run(p.String(), func(t *testing.T) {
			onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
				s := start(engine.WithMaxBackpressure(20_000), engine.WithBackpressurePolicy(p), engine.WithPingInterval(0), engine.WithCloseTimeout(50*time.Millisecond))
				s.handle("/", subscriber{})
				s.narrow()
				slow, fast := s.open("/"), s.open("/")
				slow.subscribe("room")
				fast.subscribe("room")
				payload := pattern(8_000)
				hit := func() bool { return s.Stats().BackpressureHits > 0 }
				for i := 0; !hit() || i < 20; i++ {
					if i == 20_000 {
						t.Fatal("the slow member is never behind")
					}
					s.Publish("room", frame.Binary, payload)
					fast.expect(frame.Binary, payload)
				}
				if p == engine.PolicyClose {
					eventually(t, "the slow member is closed", func() bool { return s.Subscribers("room") == 1 })
				} else if n := s.Subscribers("room"); n != 2 {
					t.Errorf("%d subscribers, want 2", n)
				}
				for range 10 {
					s.Publish("room", frame.Binary, payload)
					fast.expect(frame.Binary, payload)
				}
			})
		})
	}
}

// A member that is in the middle of a fragmented message of its own gets what was published when that has ended.
func TestPublishedMessagesWaitForTheEndOfAFragmentedOne(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithPingInterval(0))
		h := newScript()
		s.handle("/", h)
		for _, masked := range []bool{false, true} {
			c := s.open("/")
			conn := within(t, h.opened)
			conn.SetMasking(masked)
			if err := conn.Subscribe("room"); err != nil {
				t.Fatal(err)
			}
			conn.SendFragment(frame.Text, []byte("one "), false)
			delivered := s.Stats().Delivered
			s.Publish("room", frame.Text, []byte("first"))
			s.Publish("room", frame.Binary, []byte("second"))
			eventually(t, "the loop has them", func() bool { return s.Stats().Delivered == delivered+2 })
			conn.SendFragment(frame.Text, []byte("two"), true)
			var got []string
			for range 4 {
				var f wireFrame
				if masked {
					f, _ = c.readMasked()
				} else {
					f = c.next()
				}
				got = append(got, fmt.Sprint(f.op, f.fin, string(f.payload)))
			}
			want := []string{fmt.Sprint(frame.Text, false, "one "), fmt.Sprint(frame.Continuation, true, "two"),
				fmt.Sprint(frame.Text, true, "first"), fmt.Sprint(frame.Binary, true, "second")}
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("got %q, want %q", got, want)
			}
			c.Close()
			h.wait(t)
		}
	})
}

// Compressed members get a message that was compressed once, those without compression the same as it is; sessions too.
func TestMembersOfEverySettingGetTheSameMessage(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithPingInterval(0), engine.WithCompression(full))
		s.handle("/", subscriber{})
		s.session("/session", func(ctx context.Context, sess *engine.Session) error {
			if err := sess.Subscribe("room"); err != nil {
				return err
			}
			sess.SendText(ctx, "in")
			for m, err := range sess.Messages(ctx) {
				if err != nil {
					return nil
				}
				sess.Publish("room", m.OpCode, m.Payload)
			}
			return nil
		})
		plain := s.open("/")
		plain.subscribe("room")
		var packed []*deflateClient
		for _, offer := range []string{offered, offeredAlone} {
			c := s.openDeflate("/", offer)
			c.write(frame.Text, []byte("+room"))
			c.expectMessage(frame.Text, []byte("+room"))
			packed = append(packed, c)
		}
		inSession := s.open("/session")
		inSession.expect(frame.Text, []byte("in"))
		for i := range 5 {
			text := prose(1000+i, uint64(i))
			if i == 0 {
				prepared, _ := engine.Prepare(frame.Text, text)
				if err := s.PublishPrepared("room", prepared); err != nil {
					t.Error(err)
				}
			} else {
				s.Publish("room", frame.Text, text)
			}
			plain.expect(frame.Text, text)
			inSession.expect(frame.Text, text)
			for _, c := range packed {
				c.expectMessage(frame.Text, text)
			}
		}
		inSession.write(frame.Text, []byte("from the session"))
		plain.expect(frame.Text, []byte("from the session"))
		for _, c := range packed {
			c.expectMessage(frame.Text, []byte("from the session"))
		}
	})
}
