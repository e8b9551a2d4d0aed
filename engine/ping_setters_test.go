package engine_test

import (
	"testing"
	"time"

	"zeroframe/engine"
	"zeroframe/frame"
)

// times is n of these units, unless n is never, an hour.
func times(n, unit time.Duration) time.Duration {
	if n == time.Hour {
		return n
	}
	return n * unit
}

func TestPingSettersTakeEffectAtOnce(t *testing.T) {
	const never = time.Hour
	closed := func(t testing.TB, h *opener, c *client) {
		c.answerClose(frame.CloseInternalError, "Ping timeout")
		expectReason(t, h.wait(t), frame.CloseInternalError, engine.ErrPingTimeout)
	}
	for _, tc := range []struct {
		name              string
		interval, timeout time.Duration // those below never are multiples of short
		run               func(t testing.TB, h *opener, c *client, conn *engine.Conn, short time.Duration)
	}{
		{"on", 0, never, func(t testing.TB, _ *opener, c *client, conn *engine.Conn, short time.Duration) {
			conn.SetPingInterval(short)
			c.nextPing()
		}},
		{"off before a ping", 5, never, func(t testing.TB, _ *opener, c *client, conn *engine.Conn, short time.Duration) {
			conn.SetPingInterval(0)
			c.sync()
			c.quiet(10 * short)
		}},
		{"off while a pong is awaited", 1, 5, func(t testing.TB, _ *opener, c *client, conn *engine.Conn, short time.Duration) {
			c.nextPing()
			conn.SetPingInterval(-1)
			c.sync()
			c.quiet(10 * short)
			c.sync()
		}},
		{"off and on again", 1, never, func(t testing.TB, _ *opener, c *client, conn *engine.Conn, short time.Duration) {
			first := c.nextPing()
			conn.SetPingInterval(0)
			conn.SetPingInterval(short)
			c.write(frame.Pong, first)
			c.nextPing()
		}},
		{"shorter", never, never, func(t testing.TB, _ *opener, c *client, conn *engine.Conn, short time.Duration) {
			conn.SetPingInterval(short)
			c.write(frame.Pong, c.nextPing())
			c.nextPing()
		}},
		{"longer", 5, never, func(t testing.TB, _ *opener, c *client, conn *engine.Conn, short time.Duration) {
			conn.SetPingInterval(never)
			c.sync()
			c.quiet(10 * short)
		}},
		{"timeout shorter", 1, never, func(t testing.TB, h *opener, c *client, conn *engine.Conn, short time.Duration) {
			c.nextPing()
			conn.SetPingTimeout(short)
			closed(t, h, c)
		}},
		{"timeout longer", 1, 5, func(t testing.TB, _ *opener, c *client, conn *engine.Conn, short time.Duration) {
			ping := c.nextPing()
			conn.SetPingTimeout(never)
			c.quiet(10 * short)
			c.write(frame.Pong, ping)
			c.nextPing()
		}},
		{"timeout set often leaves the interval alone", 3, never, func(t testing.TB, _ *opener, c *client, conn *engine.Conn, short time.Duration) {
			stop, stopped := make(chan struct{}), make(chan struct{})
			go func() {
				defer close(stopped)
				for {
					select {
					case <-stop:
						return
					case <-time.After(short / 3):
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
			onEachTransportAtAnyPace(t, 30*time.Millisecond, func(t testing.TB, start func(...engine.Option) *server, short time.Duration) {
				s := start(engine.WithPingInterval(times(tc.interval, short)), engine.WithPingTimeout(times(tc.timeout, short)))
				h := newOpener()
				s.handle("/", h)
				c := s.open("/")
				tc.run(t, h, c, within(t, h.opened), short)
			})
		})
	}
}
