package engine_test

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"zeroframe/engine"
	"zeroframe/frame"
)

// An extension that panics on a message that was published ends its own connection; the loop, and what it was delivering,
// goes on.
func TestAMemberWhoseExtensionPanicsHarmsNobodyElse(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithPingInterval(0), engine.WithLoops(1))
		s.handle("/", subscriber{})
		h := newScript()
		h.onOpen = func(c *engine.Conn) { c.Subscribe("room") }
		x := &stubborn{sealing: sealing{"x-s", 0, 0}, outgoing: func(f *engine.Frame) error {
			if string(f.Payload) == "boom" {
				panic("in Outgoing")
			}
			return nil
		}}
		s.handle("/extended", h, engine.WithExtensions(x))
		before := s.open("/")
		before.subscribe("room")
		c := s.connect()
		c.upgrade("/extended", extensionsField+"x-s")
		within(t, h.opened)
		after := s.open("/")
		after.subscribe("room")
		s.Publish("room", frame.Text, []byte("harmless"))
		c.expect(frame.Text, []byte("harmless"))
		s.Publish("room", frame.Text, []byte("boom"))
		c.expectClose(frame.CloseInternalError)
		var pe *engine.PanicError
		if r := h.wait(t); !errors.As(r.Err, &pe) {
			t.Errorf("reason %+v", r)
		}
		for _, m := range []*client{before, after} {
			m.expect(frame.Text, []byte("harmless"))
			m.expect(frame.Text, []byte("boom"))
		}
	})
}

// An extension's Outgoing runs with no lock of a topic held: it may ask about topics, and others may change them.
func TestTopicsCanBeUsedWhileAnExtensionWorksOnAPublishedMessage(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithPingInterval(0), engine.WithLoops(1))
		h := newScript()
		h.onOpen = func(c *engine.Conn) { c.Subscribe("room") }
		var member *engine.Conn
		var once atomic.Bool
		x := &stubborn{sealing: sealing{"x-s", 0, 0}, outgoing: func(f *engine.Frame) error {
			if once.CompareAndSwap(false, true) {
				done := make(chan struct{})
				go func() {
					defer close(done)
					member.Subscribe("other")
					member.Unsubscribe("room")
					member.Subscribe("room")
					s.Publish("room", frame.Text, []byte("second"))
				}()
				within(t, done)
			}
			return nil
		}}
		s.handle("/", h, engine.WithExtensions(x))
		c := s.connect()
		c.upgrade("/", extensionsField+"x-s")
		member = within(t, h.opened)
		s.until("subscribed", func() bool { return s.Subscribers("room") == 1 })
		s.Publish("room", frame.Text, []byte("first"))
		c.expect(frame.Text, []byte("first"))
		c.expect(frame.Text, []byte("second"))
	})
}

// Hooks may subscribe, unsubscribe and publish, to the same topic and others, on a loop, on a goroutine and at the end of
// a connection; there is no lock they could meet.
func TestHooksMayUseTopics(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		var s *server
		told := make(chan string, 1000)
		s = start(engine.WithPingInterval(0),
			engine.WithOnSubscribe(func(c *engine.Conn, topic string, n int) {
				told <- fmt.Sprint("+", topic, n)
				s.Publish(topic, frame.Text, []byte("joined "+topic))
				c.Publish(topic, frame.Text, []byte("not for itself"))
				if topic == "room" {
					c.Subscribe("room") // no change, and no call
					c.Subscribe("lobby")
					c.Unsubscribe("lobby")
				}
				s.Subscribers(topic)
				for range s.Topics() {
				}
				c.Topics()
			}),
			engine.WithOnUnsubscribe(func(c *engine.Conn, topic string, n int) {
				told <- fmt.Sprint("-", topic, n)
				s.Publish(topic, frame.Text, []byte("left "+topic))
				if err := c.Subscribe("again"); err == nil {
					c.Unsubscribe("nothing")
				} else if err != engine.ErrClosed {
					t.Error(err)
				}
			}))
		h := newScript()
		s.handle("/", h)
		c := s.open("/")
		conn := within(t, h.opened)
		expect := func(want ...string) {
			t.Helper()
			for _, what := range want {
				if got := within(t, told); got != what {
					t.Errorf("told %q, want %q", got, what)
				}
			}
		}
		conn.Subscribe("room")
		expect("+room1", "+lobby1", "-lobby0", "+again1")
		c.expect(frame.Text, []byte("joined room"))
		done := make(chan bool)
		conn.Post(func() { conn.Subscribe("other"); conn.Unsubscribe("other"); close(done) })
		within(t, done)
		expect("+other1", "-other0")
		c.Close()
		h.wait(t)
		got := map[string]bool{within(t, told): true, within(t, told): true}
		if !got["-room0"] || !got["-again0"] {
			t.Errorf("at the end told %v", got)
		}
		s.until("no topic is left", func() bool { return s.Stats().Topics == 0 })
	})
}

// A hook that panics at the end of a connection ends neither the other memberships' ends nor OnClose.
func TestAPanicInAHookLeavesNothingBehind(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		var panics atomic.Int32
		s := start(engine.WithPingInterval(0),
			engine.WithOnSubscribe(func(_ *engine.Conn, topic string, _ int) {
				if topic == "boom" {
					panic("joining")
				}
			}),
			engine.WithOnUnsubscribe(func(*engine.Conn, string, int) { panics.Add(1); panic("leaving") }))
		h := newScript()
		h.onMessage = func(c *engine.Conn, _ frame.OpCode, p []byte) { c.Subscribe(string(p)) }
		s.handle("/", h)
		for _, end := range []string{"close frame", "socket", "terminate", "panic on the loop"} {
			c := s.open("/")
			conn := within(t, h.opened)
			for i := range 10 {
				conn.Subscribe(fmt.Sprint(i))
			}
			func() {
				defer func() { recover() }()
				conn.Subscribe("boom")
				t.Error("a panic in a hook does not reach a goroutine that subscribes")
			}()
			func() {
				defer func() { recover() }()
				conn.Unsubscribe("0")
				t.Error("a panic in a hook does not reach a goroutine that unsubscribes")
			}()
			before := panics.Load()
			switch end {
			case "close frame":
				c.write(frame.Close, closePayload(1000, ""))
				c.expectClose(1000)
			case "socket":
				c.Close()
			case "terminate":
				conn.Terminate()
			default:
				conn.Unsubscribe("boom2")
				func() { defer func() { recover() }(); conn.Unsubscribe("boom") }()
				before = panics.Load()
				c.write(frame.Text, []byte("boom"))
				c.expectClose(frame.CloseInternalError)
			}
			h.wait(t)
			if n := panics.Load() - before; n != 10 {
				t.Errorf("%s: %d memberships ended, want 10", end, n)
			}
			s.until("no topic is left", func() bool { return s.Stats().Topics == 0 })
		}
	})
}

// unruly is a backplane that does what it is told to do by the test.
type unruly struct {
	deliver func(string, frame.OpCode, []byte)
	on      func(what, topic string)
	err     error
}

func (b *unruly) call(what, topic string) error {
	if b.on != nil {
		b.on(what, topic)
	}
	return b.err
}

func (b *unruly) Attach(deliver func(string, frame.OpCode, []byte), _ *slog.Logger) error {
	b.deliver = deliver
	return nil
}
func (b *unruly) Publish(topic string, _ frame.OpCode, _ []byte) error {
	return b.call("publish", topic)
}
func (b *unruly) Subscribe(topic string) error   { return b.call("subscribe", topic) }
func (b *unruly) Unsubscribe(topic string)       { b.call("unsubscribe", topic) }
func (b *unruly) Count(topic string, _ int)      { b.call("count", topic) }
func (b *unruly) Elsewhere(topic string) int     { b.call("elsewhere", topic); return 0 }
func (b *unruly) Status() engine.BackplaneStatus { return engine.BackplaneStatus{} }
func (b *unruly) Close() error                   { return b.call("close", "") }

// A backplane that panics, in whatever call, costs the engine nothing: no lock stays held, no membership is left.
func TestABackplaneThatPanicsLeavesTheEngineWhole(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		for _, when := range []string{"subscribe", "unsubscribe", "count", "publish"} {
			b := &unruly{on: func(what, topic string) {
				if what == when {
					panic("boom went the backplane")
				}
			}}
			s := start(engine.WithPingInterval(0), engine.WithBackplane(b))
			h := newScript()
			h.onMessage = func(c *engine.Conn, op frame.OpCode, p []byte) { c.Reply(op, p) }
			s.handle("/", h)
			c := s.open("/")
			conn := within(t, h.opened)
			for _, do := range []func(){
				func() { conn.Subscribe("a") }, func() { conn.Subscribe("b") }, func() { conn.Unsubscribe("a") },
				func() { s.Publish("b", frame.Text, []byte("hello")) }, func() { conn.Subscribe("a") },
			} {
				func() {
					defer func() {
						if v := recover(); v != nil {
							t.Errorf("%s: the panic reaches the caller: %v", when, v)
						}
					}()
					do()
				}()
			}
			if n := s.Subscribers("b"); n == 1 {
				c.expect(frame.Text, []byte("hello"))
			} else if when != "subscribe" {
				t.Errorf("%s: %d subscribers", when, n)
			}
			c.write(frame.Text, []byte("still here"))
			c.expect(frame.Text, []byte("still here"))
			c.Close()
			h.wait(t)
			s.until(when+": no topic is left", func() bool { return s.Stats().Topics == 0 })
			s.Close()
			if !strings.Contains(s.logs.String(), "boom went the backplane") {
				t.Errorf("%s: not logged:\n%s", when, s.logs)
			}
		}
	})
}

// A subscription that the backplane refuses is none; a later one is asked again.
func TestABackplanesErrorIsTheSubscribers(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		b := &unruly{err: errors.New("no")}
		s := start(engine.WithPingInterval(0), engine.WithBackplane(b))
		h := newScript()
		s.handle("/", h)
		s.open("/")
		conn := within(t, h.opened)
		if err := conn.Subscribe("room"); err != b.err {
			t.Errorf("Subscribe: %v", err)
		}
		if s.Subscribers("room") != 0 || len(conn.Topics()) != 0 || conn.Unsubscribe("room") {
			t.Error("the connection is a member")
		}
		if err := s.Publish("room", frame.Text, nil); err != b.err {
			t.Errorf("Publish: %v", err)
		}
		b.err = nil
		if err := conn.Subscribe("room"); err != nil || s.Subscribers("room") != 1 {
			t.Errorf("Subscribe: %v", err)
		}
	})
}

// What a backplane delivers for topics without members, of other opcodes, or after the end, goes nowhere.
func TestABackplaneMayDeliverAnything(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		b := &unruly{}
		s := start(engine.WithPingInterval(0), engine.WithBackplane(b))
		s.handle("/", subscriber{})
		c := s.open("/")
		c.subscribe("room")
		payload := []byte("hello")
		for _, op := range []frame.OpCode{frame.Close, frame.Ping, frame.Continuation, 3, 0xFF, frame.Text} {
			for _, name := range []string{"", "nobody", "room", strings.Repeat("x", 5000)} {
				b.deliver(name, op, payload)
			}
		}
		copy(payload, "xxxxx") // it was copied
		c.expect(frame.Text, []byte("hello"))
		s.Close()
		b.deliver("room", frame.Text, payload)
	})
}

// bus connects engines of one process in the simplest way there is: one lock, held while it delivers. It repeats the last
// message of a topic to whoever subscribes, from inside of that call.
type bus struct {
	mu    sync.Mutex
	ports []*port
	last  map[string][]byte
}

// port is an engine's end of a bus.
type port struct {
	unruly
	*bus
	wants map[string]bool
}

func (b *bus) port() *port {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := &port{bus: b, wants: make(map[string]bool)}
	b.ports = append(b.ports, p)
	return p
}

func (p *port) Publish(topic string, op frame.OpCode, payload []byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last[topic] = slices.Clone(payload)
	for _, other := range p.ports {
		if other != p && other.wants[topic] {
			other.deliver(topic, op, payload)
		}
	}
	return nil
}

func (p *port) Subscribe(topic string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wants[topic] = true
	if last := p.last[topic]; last != nil {
		p.deliver(topic, frame.Text, last)
	}
	return nil
}

func (p *port) Unsubscribe(topic string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.wants, topic)
}

// Two engines on a backplane that delivers under its own lock, and from inside of Subscribe, while members come and go and
// all publish: the locks of the three never meet.
func TestABackplaneMayDeliverUnderItsLock(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		shared := &bus{last: make(map[string][]byte)}
		var engines []*server
		var conns []*engine.Conn
		for range 2 {
			s := start(engine.WithPingInterval(0), engine.WithBackplane(shared.port()))
			h := newScript()
			s.handle("/", h)
			c := s.open("/")
			engines, conns = append(engines, s), append(conns, within(t, h.opened))
			go io.Copy(io.Discard, c)
		}
		var running sync.WaitGroup
		for g := range 4 {
			running.Go(func() {
				for i := range 500 {
					name := fmt.Sprint(i % 3)
					conns[g%2].Subscribe(name)
					engines[g%2].Publish(name, frame.Text, []byte("hello"))
					conns[g%2].Unsubscribe(name)
				}
			})
		}
		done := make(chan bool)
		go func() { running.Wait(); close(done) }()
		within(t, done)
		for _, s := range engines {
			s.until("no topic is left", func() bool { return s.Stats().Topics == 0 })
		}
		for _, p := range shared.ports {
			if len(p.wants) != 0 {
				t.Errorf("the backplane still wants %v", p.wants)
			}
		}
	})
}
