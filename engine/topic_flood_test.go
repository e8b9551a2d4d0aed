package engine_test

import (
	"encoding/binary"
	"sync"
	"testing"

	"zeroframe/engine"
	"zeroframe/frame"
)

// hold keeps a connection's loop until the function returned is called.
func hold(t testing.TB, c *engine.Conn) (release func()) {
	held, done := make(chan struct{}), make(chan struct{})
	c.Post(func() { close(held); <-done })
	within(t, held)
	return sync.OnceFunc(func() { close(done) })
}

// numbered is a message of size bytes that says which it is.
func numbered(size, i int) []byte {
	p := make([]byte, size)
	binary.BigEndian.PutUint32(p, uint32(i))
	return p
}

// What has come to a loop in one go is more than MaxBackpressure: members that read get all of it, for it is written
// while it is queued.
func TestABurstOfPublishesIsNotLostToMembersThatRead(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		if s := (&server{t: t}); s.cut() {
			t.Skip("there a write takes a few bytes")
		}
		s := start(engine.WithLoops(1), engine.WithPingInterval(0))
		h := newScript()
		s.handle("/", h)
		c := s.open("/")
		conn := within(t, h.opened)
		conn.Subscribe("room")
		release := hold(t, conn)
		const messages = 2 * engine.DefaultMaxBackpressure / 1000
		for i := range messages {
			s.Publish("room", frame.Binary, numbered(1000, i))
		}
		release()
		for i := range messages {
			if got := binary.BigEndian.Uint32(c.next().payload); int(got) != i {
				t.Fatalf("message %d came, want %d", got, i)
			}
		}
	})
}

// Publishers that are faster than a loop are refused when it is too far behind, and nothing of a message that was refused
// is delivered anywhere.
func TestPublishersAreRefusedWhenALoopIsFarBehind(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		b := &unruly{}
		s := start(engine.WithPingInterval(0), engine.WithMaxBackpressure(1<<30), engine.WithBackplane(b))
		h := newScript()
		s.handle("/", h)
		var conns []*engine.Conn
		for range 2 { // one on each loop
			s.open("/")
			conn := within(t, h.opened)
			conn.Subscribe("room")
			conn.Subscribe("small")
			conns = append(conns, conn)
		}
		release := hold(t, conns[0])
		defer release()
		published := 0
		b.on = func(what, _ string) {
			if what == "publish" { // loops call too
				published++
			}
		}
		accepted := 0
		for ; accepted < 1000; accepted++ {
			err := s.Publish("room", frame.Binary, numbered(1<<20, accepted))
			if err == engine.ErrBackpressure {
				break
			} else if err != nil {
				t.Fatal(err)
			}
		}
		if accepted < 32 || accepted > 65 {
			t.Errorf("%d MiB were accepted", accepted)
		}
		if err := s.Publish("small", frame.Text, []byte("hello")); err != engine.ErrBackpressure {
			t.Errorf("Publish: %v", err)
		}
		p, _ := engine.Prepare(frame.Text, []byte("hello"))
		if err := s.PublishPrepared("small", p); err != engine.ErrBackpressure {
			t.Errorf("PublishPrepared: %v", err)
		}
		b.deliver("small", frame.Text, []byte("hello"))
		if published != accepted {
			t.Errorf("the backplane was given %d messages, want %d", published, accepted)
		}
		if n := s.Stats().PublishesRefused; n != 4 {
			t.Errorf("%d publishes counted as refused, want 4", n)
		}
		if err := s.Publish("nobody", frame.Text, nil); err != nil {
			t.Errorf("Publish to a topic of no loop that is behind: %v", err)
		}
		conns[0].Terminate() // so that the rest is quick
		conns[1].Terminate()
		release()
		s.gone()
		c := s.open("/")
		within(t, h.opened).Subscribe("room")
		if err := s.Publish("room", frame.Text, []byte("again")); err != nil {
			t.Errorf("Publish: %v", err)
		}
		c.expect(frame.Text, []byte("again"))
	})
}

// What was published before Shutdown reaches the members, ahead of the close frame.
func TestWhatWasPublishedBeforeShutdownIsDelivered(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		for range 10 {
			s := start(engine.WithPingInterval(0))
			s.handle("/", subscriber{})
			var clients []*client
			for range 4 {
				c := s.open("/")
				c.subscribe("room")
				clients = append(clients, c)
			}
			done := make(chan error, 1)
			go func() {
				s.Publish("room", frame.Text, []byte("goodbye"))
				done <- s.shutdown()
			}()
			for _, c := range clients {
				c.expect(frame.Text, []byte("goodbye"))
				c.answerClose(frame.CloseGoingAway, "Server is going down")
				c.Close()
			}
			if err := within(t, done); err != nil {
				t.Error(err)
			}
		}
	})
}

// Messages that PolicyDrop drops are not delivered, and are not counted so.
func TestDroppedMessagesAreNotCountedAsDelivered(t *testing.T) {
	for _, p := range []engine.Policy{engine.PolicyRefuse, engine.PolicyDrop} {
		onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
			s := start(engine.WithMaxBackpressure(1000), engine.WithBackpressurePolicy(p), engine.WithPingInterval(0), engine.WithLoops(1))
			h := newScript()
			s.handle("/", h)
			c := s.open("/")
			conn := within(t, h.opened)
			conn.Subscribe("room")
			release := hold(t, conn)
			const messages = 10
			for i := range messages {
				s.Publish("room", frame.Binary, numbered(400, i))
			}
			release()
			s.until("all messages are accounted for", func() bool {
				n := s.Stats()
				return n.Delivered+n.BackpressureHits == messages
			})
			delivered := int(s.Stats().Delivered)
			if delivered != 2 {
				t.Errorf("%v: %d messages of 404 B fit into 1000 B", p, delivered)
			}
			for i := range delivered {
				c.expect(frame.Binary, numbered(400, i))
			}
		})
	}
}

// Fragmented messages that end at any moment lose nothing that was published meanwhile.
func TestFragmentsLoseNoPublishedMessage(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithPingInterval(0), engine.WithMaxBackpressure(1<<30))
		h := newScript()
		s.handle("/", h)
		c := s.open("/")
		conn := within(t, h.opened)
		conn.Subscribe("room")
		const messages = 2000
		stop := make(chan struct{})
		var running sync.WaitGroup
		defer running.Wait()
		defer close(stop)
		running.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					conn.SendFragment(frame.Text, []byte("a"), false)
					conn.SendFragment(frame.Text, []byte("b"), true)
				}
			}
		})
		running.Go(func() {
			for i := range messages {
				s.Publish("room", frame.Binary, numbered(4, i))
			}
		})
		for i := 0; i < messages; {
			if f := c.next(); f.op == frame.Binary {
				if got := binary.BigEndian.Uint32(f.payload); int(got) != i {
					t.Fatalf("message %d came, want %d", got, i)
				}
				i++
			}
		}
	})
}
