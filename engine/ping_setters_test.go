package engine_test

import (
	"testing"
	"time"

	"zeroframe/engine"
	"zeroframe/frame"
)

func TestPingSettersTakeEffectAtOnce(t *testing.T) {
	const never, short = time.Hour, 30 * time.Millisecond
	closed := func(t *testing.T, h *opener, c *client) {
		c.answerClose(frame.CloseInternalError, "Ping timeout")
		expectReason(t, h.wait(t), frame.CloseInternalError, engine.ErrPingTimeout)
	}
	for _, tc := range []struct {
		name              string
		interval, timeout time.Duration
		run               func(t *testing.T, h *opener, c *client, conn *engine.Conn)
	}{
		{"on", 0, never, func(t *testing.T, _ *opener, c *client, conn *engine.Conn) {
			conn.SetPingInterval(short)
			c.nextPing()
		}},
		{"off before a ping", 150 * time.Millisecond, never, func(t *testing.T, _ *opener, c *client, conn *engine.Conn) {
			conn.SetPingInterval(0)
			c.sync()
			c.quiet(300 * time.Millisecond)
		}},
		{"off while a pong is awaited", short, 150 * time.Millisecond, func(t *testing.T, _ *opener, c *client, conn *engine.Conn) {
			c.nextPing()
			conn.SetPingInterval(-1)
			c.sync()
			c.quiet(300 * time.Millisecond)
			c.sync()
		}},
		{"off and on again", short, never, func(t *testing.T, _ *opener, c *client, conn *engine.Conn) {
			first := c.nextPing()
			conn.SetPingInterval(0)
			conn.SetPingInterval(short)
			c.write(frame.Pong, first)
			c.nextPing()
		}},
		{"shorter", never, never, func(t *testing.T, _ *opener, c *client, conn *engine.Conn) {
			conn.SetPingInterval(short)
			c.write(frame.Pong, c.nextPing())
			c.nextPing()
		}},
		{"longer", 150 * time.Millisecond, never, func(t *testing.T, _ *opener, c *client, conn *engine.Conn) {
			conn.SetPingInterval(never)
			c.sync()
			c.quiet(300 * time.Millisecond)
		}},
		{"timeout shorter", short, never, func(t *testing.T, h *opener, c *client, conn *engine.Conn) {
			c.nextPing()
			conn.SetPingTimeout(short)
			closed(t, h, c)
		}},
		{"timeout longer", short, 150 * time.Millisecond, func(t *testing.T, _ *opener, c *client, conn *engine.Conn) {
			ping := c.nextPing()
			conn.SetPingTimeout(never)
			c.quiet(300 * time.Millisecond)
			c.write(frame.Pong, ping)
			c.nextPing()
		}},
		{"timeout set often leaves the interval alone", 100 * time.Millisecond, never, func(t *testing.T, _ *opener, c *client, conn *engine.Conn) {
			stop, stopped := make(chan struct{}), make(chan struct{})
			go func() {
				defer close(stopped)
				for {
					select {
					case <-stop:
						return
					case <-time.After(10 * time.Millisecond):
						conn.SetPingTimeout(never)
					}
				}
			}()
			c.SetReadDeadline(time.Now().Add(patience / 4))
			f, err := c.readFrame()
			close(stop)
			<-stopped
			if err != nil || f.op != frame.Ping {
				t.Errorf("got %v, %v; want a ping", f, err)
			}
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
				s := start(engine.WithPingInterval(tc.interval), engine.WithPingTimeout(tc.timeout))
				h := newOpener()
				s.handle("/", h)
				c := s.open("/")
				tc.run(t, h, c, within(t, h.opened))
			})
		})
	}
}
