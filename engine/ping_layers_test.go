package engine_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"zeroframe/engine"
	"zeroframe/frame"
)

// layered is what a Conn and a Session have in common.
type layered interface {
	RTT() time.Duration
	SetPingInterval(time.Duration)
	SetPingTimeout(time.Duration)
	SetMaxFrameSize(int64)
	SetMasking(bool)
	Close(frame.CloseCode, string) error
}

// layer is a route of one kind that echoes data frames or messages, and answers close frames.
type layer struct {
	*server
	kind   string
	opened chan layered
	heard  chan string // data, and on a raw route control frames as "ping: ..."
	ending
	failed chan error    // of a session: what Receive failed with at the end, then Send
	gate   chan struct{} // of a session: what the message "block" waits for
	glut   []byte        // more than a connection holds that is not read; see narrow
}

const (
	onCallbacks = "callback"
	onSessions  = "session"
	onRaw       = "raw"
)

// onLayers runs f over routes of these kinds, side by side on one engine, over every transport.
func onLayers(t *testing.T, kinds []string, f func(t *testing.T, l *layer), opts ...engine.RouteOption) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithPingInterval(0))
		s.narrow()
		glut := pattern(s.glut())
		var dialing sync.Mutex
		for _, kind := range kinds {
			l := s.layer(kind, glut, opts...)
			t.Run(kind, func(t *testing.T) {
				t.Parallel()
				own := *s
				own.t = t
				own.dial = func() net.Conn {
					dialing.Lock()
					defer dialing.Unlock()
					return s.dial()
				}
				l.server = &own
				f(t, l)
			})
		}
	})
}

// layer returns a route of that kind.
func (s *server) layer(kind string, glut []byte, opts ...engine.RouteOption) *layer {
	l := &layer{server: s, kind: kind, opened: make(chan layered, 100), heard: make(chan string, 10_000),
		ending: newEnding(), failed: make(chan error, 100), gate: make(chan struct{}), glut: glut}
	switch kind {
	case onCallbacks:
		s.handle("/"+kind, layeredHandler{l}, opts...)
	case onSessions:
		s.session("/"+kind, l.serve, opts...)
	case onRaw:
		s.raw("/"+kind, layeredFrames{l}, opts...)
	}
	return l
}

// onLayersAtAnyPace is onLayers for a test of deadlines in units of time, see atAnyPace: each kind has an engine of its own.
func onLayersAtAnyPace(
	t *testing.T, kinds []string, unit time.Duration,
	f func(t testing.TB, l *layer, unit time.Duration), opts func(unit time.Duration) []engine.RouteOption,
) {
	onEachOf(t, transports, func(t *testing.T, tr transport) {
		for _, kind := range kinds {
			t.Run(kind, func(t *testing.T) {
				atAnyPace(t, unit, func(t testing.TB, unit time.Duration) {
					s := tr.starter(t)(engine.WithPingInterval(0))
					s.narrow()
					f(t, s.layer(kind, pattern(s.glut()), opts(unit)...), unit)
				})
			})
		}
	})
}

type layeredHandler struct{ *layer }

func (h layeredHandler) OnOpen(c *engine.Conn) { h.opened <- c }

func (h layeredHandler) OnMessage(c *engine.Conn, op frame.OpCode, p []byte) {
	h.heard <- string(p)
	c.Reply(op, p)
}

type layeredFrames struct{ *layer }

func (h layeredFrames) OnOpen(c *engine.Conn) { h.opened <- c }

func (h layeredFrames) OnFrame(c *engine.Conn, f engine.Frame) {
	switch f.OpCode {
	case frame.Ping:
		h.heard <- "ping: " + string(f.Payload)
	case frame.Pong:
		h.heard <- "pong: " + string(f.Payload)
	case frame.Close:
		c.ReplyFrame(f)
	default:
		h.heard <- string(f.Payload)
		c.ReplyFrame(f)
	}
}

func (l *layer) serve(ctx context.Context, s *engine.Session) error {
	l.opened <- s
	for {
		m, err := s.Receive(ctx)
		if err != nil {
			l.failed <- err
			l.failed <- s.Send(context.Background(), frame.Text, nil)
			r, _ := s.CloseReason(context.Background())
			l.ch <- r
			return nil
		}
		l.heard <- string(m.Payload)
		if string(m.Payload) == "block" {
			<-l.gate
		}
		if err := s.Send(ctx, m.OpCode, m.Payload); err != nil && !errors.Is(err, engine.ErrClosed) && ctx.Err() == nil {
			return err
		}
	}
}

// join returns a client of the layer and its connection.
func (l *layer) join() (*client, layered) {
	l.t.Helper()
	c := l.open("/" + l.kind)
	return c, within(l.t, l.opened)
}

// expectEnd requires that the connection ended so, and that a session's calls fail with that.
func (l *layer) expectEnd(code frame.CloseCode, cause error) {
	l.t.Helper()
	expectReason(l.t, l.wait(l.t), code, cause)
	if l.kind != onSessions {
		return
	}
	for _, call := range []string{"Receive", "Send"} {
		if err := within(l.t, l.failed); !errors.Is(err, cause) || !errors.Is(err, engine.ErrClosed) {
			l.t.Errorf("%s failed with %v, want %v", call, err, cause)
		}
	}
}

var aboveCallbacks = []string{onSessions, onRaw}

func TestFirstPingComesInTheSecondHalfOfTheIntervalOnEveryLayer(t *testing.T) {
	onLayersAtAnyPace(t, aboveCallbacks, 240*time.Millisecond, func(t testing.TB, l *layer, interval time.Duration) {
		const conns = 12
		var took [conns]time.Duration
		done := make(chan struct{}, conns)
		for i := range conns {
			c := l.connect()
			go func() {
				defer func() { done <- struct{}{} }()
				begin := time.Now()
				c.Write(upgradeRequest("/" + l.kind))
				if status, _ := c.readHead(); status != 101 {
					t.Errorf("status %d", status)
					return
				}
				if f, err := c.readFrame(); err != nil || f.op != frame.Ping {
					t.Errorf("got %v, %v; want a ping", f, err)
				}
				took[i] = time.Since(begin)
			}()
		}
		for range conns {
			within(t, done)
		}
		for i, d := range took {
			if d < interval/2-early || d > interval+interval/2 {
				t.Errorf("connection %d: first ping after %v, the interval is %v", i, d, interval)
			}
		}
		// Uniform over half of it: that 12 lie within a tenth of that happens once in 10^10 runs.
		if spread := slices.Max(took[:]) - slices.Min(took[:]); spread < interval/20 {
			t.Errorf("all first pings within %v: phases are not spread", spread)
		}
	}, func(interval time.Duration) []engine.RouteOption {
		return []engine.RouteOption{engine.WithPingInterval(interval)}
	})
}

// A raw route's handler sees the pongs that the engine has matched; a session never does.
func TestPongsOfEveryLayerAreMatchedAndThoseOfRawRoutesDelivered(t *testing.T) {
	onLayers(t, aboveCallbacks, func(t *testing.T, l *layer) {
		var seen [][]byte
		for range 2 {
			c, conn := l.join()
			if rtt := conn.RTT(); rtt != 0 {
				t.Errorf("RTT %v before a pong", rtt)
			}
			for range 6 { // the next ping comes when the pong was matched, and not before
				p := c.nextPing()
				seen = append(seen, p)
				c.write(frame.Pong, p)
				if l.kind == onRaw {
					if got := within(t, l.heard); got != "pong: "+string(p) {
						t.Errorf("delivered %q", got)
					}
				}
			}
			c.nextPing()
			eventually(t, "a round trip was measured", func() bool { return conn.RTT() > 0 })
		}
		for i, a := range seen {
			for _, b := range seen[:i] {
				if n := distance(a, b); len(a) < 8 || n < 24 {
					t.Errorf("%x and %x differ in %d bits", a, b, n)
				}
			}
		}
		if len(l.heard) != 0 {
			t.Errorf("%q was delivered", <-l.heard)
		}
	}, engine.WithPingInterval(time.Millisecond), engine.WithPingTimeout(time.Hour))
}

func TestPongSchedulesTheNextPingOnEveryLayer(t *testing.T) {
	const interval, trip = 50 * time.Millisecond, 20 * time.Millisecond
	onLayers(t, aboveCallbacks, func(t *testing.T, l *layer) {
		c, conn := l.join()
		for range 2 {
			ping := c.nextPing()
			<-time.After(trip)
			begin := time.Now()
			c.write(frame.Pong, ping)
			eventually(t, "RTT covers the wait", func() bool { return conn.RTT() >= trip })
			next := c.nextPing()
			atLeast(t, "next ping", begin, interval)
			c.write(frame.Pong, next)
		}
	}, engine.WithPingInterval(interval))
}

// Pongs that are not equal to the ping neither answer it nor put the timeout off. Then comes one close frame.
func TestPingTimeoutClosesOnceWith1011OnEveryLayer(t *testing.T) {
	onLayersAtAnyPace(t, aboveCallbacks, 80*time.Millisecond, func(t testing.TB, l *layer, timeout time.Duration) {
		c, conn := l.join()
		before := c.nextPing()
		c.write(frame.Pong, before)
		ping := c.nextPing()
		begin := time.Now()
		stop, stopped := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(stopped)
			off := bytes.Clone(ping)
			off[3] ^= 0x10
			for {
				for _, wrong := range [][]byte{nil, ping[:len(ping)-1], append(bytes.Clone(ping), 0), off, before} {
					select {
					case <-stop:
						return
					case <-time.After(timeout / 10):
						c.Write(encode(true, frame.Pong, wrong))
					}
				}
			}
		}()
		f := c.next()
		close(stop)
		<-stopped
		if f.op != frame.Close || !bytes.Equal(f.payload, closePayload(frame.CloseInternalError, "Ping timeout")) {
			t.Fatalf("got %v, want close 1011", f)
		}
		atLeast(t, "closed", begin, timeout-wheelTick)
		conn.SetPingInterval(time.Millisecond)
		c.quiet(timeout / 3) // no ping after a close frame
		c.write(frame.Close, f.payload)
		c.expectEOF()
		l.expectEnd(frame.CloseInternalError, engine.ErrPingTimeout)
	}, func(timeout time.Duration) []engine.RouteOption {
		return []engine.RouteOption{engine.WithPingInterval(timeout / 8), engine.WithPingTimeout(timeout)}
	})
}

func TestPingStuckBehindOutputCountsAsUnansweredOnEveryLayer(t *testing.T) {
	onLayersAtAnyPace(t, aboveCallbacks, 50*time.Millisecond, func(t testing.TB, l *layer, timeout time.Duration) {
		_, conn := l.join() // and reads nothing
		var err error
		switch conn := conn.(type) {
		case *engine.Session:
			err = conn.SendBinary(context.Background(), l.glut)
		case *engine.Conn:
			err = conn.SendFrame(engine.Frame{OpCode: frame.Binary, Payload: l.glut}) // and the message is not even over
		}
		if err != nil {
			t.Fatal(err)
		}
		l.expectEnd(frame.CloseInternalError, engine.ErrPingTimeout)
	}, func(timeout time.Duration) []engine.RouteOption {
		return []engine.RouteOption{engine.WithPingInterval(2 * timeout), engine.WithPingTimeout(timeout),
			engine.WithMaxBackpressure(64 << 20), engine.WithCloseTimeout(20 * time.Millisecond)}
	})
}

func TestNoPingAfterACloseFrameOnEveryLayer(t *testing.T) {
	onLayersAtAnyPace(t, aboveCallbacks, 100*time.Millisecond, func(t testing.TB, l *layer, interval time.Duration) {
		c, conn := l.join()
		conn.Close(4000, "bye")
		if f := c.next(); f.op != frame.Close {
			t.Fatalf("got %v, want close", f)
		}
		conn.SetPingInterval(time.Millisecond)
		c.quiet(interval * 3 / 2)
		c.write(frame.Close, nil)
		c.expectEOF()
		c, conn = l.join()
		c.write(frame.Close, closePayload(4001, ""))
		c.expect(frame.Close, closePayload(4001, "")) // before any ping
		conn.SetPingInterval(time.Millisecond)
		c.expectEOF()
	}, func(interval time.Duration) []engine.RouteOption {
		return []engine.RouteOption{engine.WithPingInterval(interval), engine.WithCloseTimeout(patience)}
	})
}

func TestPingPoliciesOnEveryLayer(t *testing.T) {
	for name, policy := range map[string]engine.PingPolicy{"strict": engine.PingStrict, "any traffic": engine.PingAnyTraffic} {
		t.Run(name, func(t *testing.T) {
			onLayersAtAnyPace(t, aboveCallbacks, 60*time.Millisecond, func(t testing.TB, l *layer, timeout time.Duration) {
				c, _ := l.join()
				end := time.Now().Add(patience / 2)
				if policy == engine.PingAnyTraffic {
					end = time.Now().Add(4 * timeout)
				}
				stopped := make(chan struct{})
				go func() {
					defer close(stopped)
					for time.Now().Before(end) {
						if _, err := c.Write(encode(true, frame.Text, []byte("alive"))); err != nil {
							return
						}
						<-time.After(timeout / 12)
					}
				}()
				pings, f := 0, c.next()
				for ; f.op != frame.Close; f = c.next() {
					if f.op == frame.Ping {
						pings++
					}
				}
				if policy == engine.PingAnyTraffic && (pings < 3 || time.Now().Before(end)) || policy == engine.PingStrict && pings != 1 {
					t.Errorf("closed after %d pings", pings)
				}
				c.Write(encode(true, frame.Close, f.payload))
				l.expectEnd(frame.CloseInternalError, engine.ErrPingTimeout)
				c.Close()
				<-stopped
			}, func(timeout time.Duration) []engine.RouteOption {
				return []engine.RouteOption{engine.WithPingInterval(timeout / 6), engine.WithPingTimeout(timeout), engine.WithPingPolicy(policy)}
			})
		})
	}
}

// While a session receives nothing its socket is not read: the pong may stand in it. That is not the peer's fault.
func TestPongDeadlineIsSuspendedWhileASessionIsFull(t *testing.T) {
	onLayersAtAnyPace(t, []string{onSessions}, 100*time.Millisecond, func(t testing.TB, l *layer, timeout time.Duration) {
		c, conn := l.join()
		for _, m := range []string{"block", "fills the queue", "stays in the socket"} {
			c.write(frame.Text, []byte(m))
		}
		if got := within(t, l.heard); got != "block" {
			t.Fatalf("received %q", got)
		}
		ping := c.nextPing()
		c.write(frame.Pong, ping)
		c.quiet(3 * timeout)
		if conn.RTT() != 0 {
			t.Error("a pong was read while the queue was full")
		}
		close(l.gate)
		for range 3 {
			if f := c.next(); f.op != frame.Text {
				t.Fatalf("got %v", f)
			}
		}
		eventually(t, "the pong is read", func() bool { return conn.RTT() != 0 })
		begin := time.Now()
		c.nextPing()
		c.answerClose(frame.CloseInternalError, "Ping timeout") // from here on it is
		atLeast(t, "closed", begin, timeout-wheelTick)
		l.expectEnd(frame.CloseInternalError, engine.ErrPingTimeout)
	}, func(timeout time.Duration) []engine.RouteOption {
		return []engine.RouteOption{engine.WithPingInterval(timeout / 5), engine.WithPingTimeout(timeout), engine.WithSessionQueue(1, 1<<20)}
	})
}

// Every ping has its pong, in order, whatever the session's handler does as long as its queue has room; a raw route's
// handler answers itself.
func TestPingsAreAnsweredInOrderOnSessionsAndNeverOnRawRoutes(t *testing.T) {
	onLayers(t, aboveCallbacks, func(t *testing.T, l *layer) {
		c, _ := l.join()
		c.write(frame.Text, []byte("block"))
		if got := within(t, l.heard); got != "block" {
			t.Fatalf("received %q", got)
		}
		if l.kind == onRaw {
			c.expect(frame.Text, []byte("block"))
		}
		const pings = 60
		var all []byte
		for i := range pings {
			all = append(all, encode(true, frame.Ping, pattern(i*2))...)
			switch i {
			case 20, 40:
				all = append(all, encode(true, frame.Text, []byte("queued"))...)
			case 21:
				all = append(all, fragment(frame.Binary, "fragm")...)
			case 30:
				all = append(all, encode(true, frame.Pong, []byte("unasked"))...)
				all = append(all, encode(true, frame.Continuation, []byte("ented"))...)
			}
		}
		c.send(all)
		if l.kind == onRaw {
			for i := range pings {
				if got := within(t, l.heard); got != "ping: "+string(pattern(i*2)) {
					t.Fatalf("frame for ping %d is %.40q", i, got)
				}
				switch i {
				case 20, 40:
					within(t, l.heard)
				case 21:
					within(t, l.heard)
				case 30:
					within(t, l.heard)
					within(t, l.heard)
				}
			}
			for range 4 { // the echoes, and nothing between them
				if f := c.next(); f.op == frame.Pong {
					t.Fatalf("got %v", f)
				}
			}
			c.quiet(5 * time.Millisecond)
			return
		}
		for i := range pings {
			c.expect(frame.Pong, pattern(i*2))
		}
		c.quiet(5 * time.Millisecond)
		if len(l.heard) != 0 {
			t.Fatalf("received %q while the handler was blocked", <-l.heard)
		}
		close(l.gate)
		for _, want := range []string{"block", "queued", "fragmented", "queued"} {
			if f := c.next(); string(f.payload) != want {
				t.Errorf("got %v, want %q", f, want)
			}
		}
	})
}

// A peer that has to be told of its silence, of its age, or that does not answer a close frame.
func TestTimeoutsOnEveryLayer(t *testing.T) {
	for name, tt := range map[string]struct {
		opt func(time.Duration) engine.RouteOption
		run func(t testing.TB, l *layer, d time.Duration, begin time.Time, c *client, conn layered)
	}{
		"idle": {func(d time.Duration) engine.RouteOption { return engine.WithIdleTimeout(d) }, func(t testing.TB, l *layer, d time.Duration, begin time.Time, c *client, _ layered) {
			for range 4 {
				<-time.After(d / 3)
				begin = time.Now()
				c.write(frame.Pong, nil) // any byte counts
			}
			c.answerClose(frame.CloseGoingAway, "idle timeout")
			atLeast(t, "closed", begin, d)
			l.expectEnd(frame.CloseGoingAway, engine.ErrIdleTimeout)
		}},
		"lifetime": {func(d time.Duration) engine.RouteOption { return engine.WithLifetime(d) }, func(t testing.TB, l *layer, d time.Duration, begin time.Time, c *client, _ layered) {
			for f := (wireFrame{}); f.op != frame.Close; f = c.next() {
				c.Write(encode(true, frame.Text, []byte("busy")))
			}
			atLeast(t, "closed", begin, d)
			c.Write(encode(true, frame.Close, nil))
			l.expectEnd(frame.CloseGoingAway, engine.ErrLifetime)
		}},
		"close": {func(d time.Duration) engine.RouteOption { return engine.WithCloseTimeout(d) }, func(t testing.TB, l *layer, d time.Duration, begin time.Time, c *client, conn layered) {
			if err := conn.Close(4000, "answer me"); err != nil {
				t.Error(err)
			}
			c.expectClose(4000)
			atLeast(t, "dropped", begin, d)
			var want error // a session's reason is decided, and known, before the peer fails to answer
			if l.kind != onSessions {
				want = engine.ErrCloseTimeout
			}
			if r := l.wait(t); r.Code != 4000 || r.Err != want || r.Text != "answer me" {
				t.Errorf("reason %+v", r)
			}
		}},
		"write": {func(d time.Duration) engine.RouteOption { return engine.WithWriteTimeout(d) }, func(t testing.TB, l *layer, d time.Duration, begin time.Time, c *client, conn layered) {
			switch conn := conn.(type) {
			case *engine.Session:
				conn.SendBinary(context.Background(), l.glut)
			case *engine.Conn:
				conn.Send(frame.Binary, l.glut)
			}
			l.expectEnd(frame.CloseAbnormal, engine.ErrWriteTimeout)
			atLeast(t, "ended", begin, d)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			onLayersAtAnyPace(t, aboveCallbacks, 60*time.Millisecond, func(t testing.TB, l *layer, d time.Duration) {
				begin := time.Now()
				c, conn := l.join()
				tt.run(t, l, d, begin, c, conn)
			}, func(d time.Duration) []engine.RouteOption { return []engine.RouteOption{tt.opt(d)} })
		})
	}
}

// A raw route is not pinged unless it asks for it, whatever the engine's interval.
func TestRawRoutesArePingedOnlyWhenTheyAskForIt(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithPingInterval(5 * time.Millisecond))
		h := newRawScript()
		s.raw("/silent", h)
		s.raw("/pinged", h, engine.WithPingInterval(5*time.Millisecond))
		silent, pinged := s.open("/silent"), s.open("/pinged")
		pinged.nextPing()
		silent.quiet(40 * time.Millisecond)
		for range 2 {
			within(t, h.opened).SetPingInterval(time.Millisecond) // asked for now
		}
		silent.nextPing()
		if n := s.Stats().PingsOut; n > 10 {
			t.Error(fmt.Sprint(n, " pings without a pong"))
		}
	})
}
