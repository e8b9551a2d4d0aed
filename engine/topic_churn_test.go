package engine_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"zeroframe/engine"
	"zeroframe/frame"
)

// churner publishes what it is sent.
type churner struct {
	engine.NopHandler
	opened chan *engine.Conn
}

func (h churner) OnOpen(c *engine.Conn) { h.opened <- c }

func (h churner) OnMessage(c *engine.Conn, op frame.OpCode, p []byte) { c.Publish("0", op, p) }

// Members that come and go, publishers of all kinds, connections that end at any moment: nothing is left of them.
func TestTopicsUnderChurn(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		const topics, rounds = 5, 150
		s := start(engine.WithPingInterval(0), engine.WithCloseTimeout(patience))
		h := churner{opened: make(chan *engine.Conn, rounds)}
		s.handle("/", h)
		var running sync.WaitGroup
		var opening sync.Mutex
		for g := range 4 {
			running.Go(func() {
				random := rand.New(rand.NewPCG(uint64(g), 1))
				for i := range rounds / 4 {
					opening.Lock()
					c := s.open("/")
					conn := within(t, h.opened)
					opening.Unlock()
					drained := make(chan struct{})
					go func() {
						defer close(drained)
						for {
							if _, err := c.readFrame(); err != nil {
								return
							}
						}
					}()
					for range 20 {
						name := fmt.Sprint(random.IntN(topics))
						var err error
						switch random.IntN(5) {
						case 0, 1:
							err = conn.Subscribe(name)
						case 2:
							conn.Unsubscribe(name)
						case 3:
							err = s.Publish(name, frame.Text, fmt.Appendf(nil, "%d %d", g, i))
						case 4:
							c.Write(encode(true, frame.Text, []byte("hello")))
						}
						if err != nil && !errors.Is(err, engine.ErrClosed) {
							t.Error(err)
						}
					}
					if random.IntN(2) == 0 {
						conn.Terminate()
					}
					c.Close()
					<-drained
				}
			})
		}
		running.Wait()
		eventually(t, "no topic is left", func() bool { return s.Stats().Topics == 0 })
	})
}
