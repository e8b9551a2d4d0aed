package engine_test

import (
	"net/url"
	"testing"

	"zeroframe/engine"
	"zeroframe/frame"
	"zeroframe/internal/bridge"
	"zeroframe/internal/memconn"
)

// stadium are clients that tell when all are there, and of each message.
type stadium struct {
	memconn.Peer
	opened  chan struct{}
	message func()
}

func (c *stadium) Opened(int)                        { c.opened <- struct{}{} }
func (c *stadium) Message(int, frame.OpCode, []byte) { c.message() }
func (c *stadium) Ended(int, error)                  {}

// While a message goes out to a great number of members, other connections of their loop are read.
func TestAMessageToVeryManyMembersLetsReadsGoOn(t *testing.T) {
	const members = 20_000
	s := onSocket(t, engine.WithLoops(1), engine.WithPingInterval(0), engine.WithMaxConns(0))
	s.handle("/members", joins{})
	delivered, seen, done := 0, make(chan int, 1), make(chan struct{}) // delivered is the loop's
	s.handle("/", engine.HandlerFunc(func(*engine.Conn, frame.OpCode, []byte) { seen <- delivered }))
	reader := s.open("/")
	said := encode(true, frame.Binary, []byte("x"))
	all := &stadium{opened: make(chan struct{}, members)}
	all.message = func() {
		if delivered++; delivered == 1 {
			reader.Write(said) // which is there before it returns
		}
		if delivered == members {
			close(done)
		}
	}
	swarm := memconn.NewSwarm(members, &url.URL{Scheme: "ws", Host: "memory", Path: "/members"}, all)
	for i := range members {
		if err := bridge.ServeStream(s.Engine, swarm.Stream(i)); err != nil {
			t.Fatal(err)
		}
	}
	for range members {
		within(t, all.opened)
	}
	if err := s.Publish("all", frame.Binary, []byte("x")); err != nil {
		t.Fatal(err)
	}
	if n := within(t, seen); n > members/2 {
		t.Errorf("%d of %d members were written to before another connection was read", n, members)
	}
	within(t, done)
}

// joins makes each connection a member of a topic.
type joins struct{ engine.NopHandler }

func (joins) OnOpen(c *engine.Conn) { c.Subscribe("all") }
