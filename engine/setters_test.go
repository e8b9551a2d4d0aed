package engine_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"zeroframe/engine"
	"zeroframe/frame"
)

var allLayers = []string{onCallbacks, onSessions, onRaw}

// A live connection obeys at once, in either direction.
func TestPingSettersTakeEffectAtOnceOnEveryLayer(t *testing.T) {
	const never = time.Hour
	for _, tt := range []struct {
		name              string
		interval, timeout time.Duration // those below never are multiples of short
		run               func(l *layer, c *client, conn layered, short time.Duration)
	}{
		{"on", 0, never, func(_ *layer, c *client, conn layered, short time.Duration) {
			conn.SetPingInterval(short)
			c.write(frame.Pong, c.nextPing())
			c.nextPing()
		}},
		{"off", 5, never, func(_ *layer, c *client, conn layered, short time.Duration) {
			conn.SetPingInterval(0)
			c.quiet(10 * short)
		}},
		{"off while a pong is awaited", 1, 4, func(_ *layer, c *client, conn layered, short time.Duration) {
			ping := c.nextPing()
			conn.SetPingInterval(-1)
			c.quiet(8 * short)
			c.write(frame.Pong, ping) // which nobody awaits
			c.quiet(3 * short)
			conn.SetPingInterval(short)
			c.nextPing()
		}},
		{"shorter", never, never, func(_ *layer, c *client, conn layered, short time.Duration) {
			conn.SetPingInterval(short)
			c.nextPing()
		}},
		{"longer", 5, never, func(_ *layer, c *client, conn layered, short time.Duration) {
			conn.SetPingInterval(never)
			c.quiet(10 * short)
		}},
		{"timeout shorter", 1, never, func(l *layer, c *client, conn layered, short time.Duration) {
			c.nextPing()
			conn.SetPingTimeout(short)
			c.answerClose(frame.CloseInternalError, "Ping timeout")
			l.expectEnd(frame.CloseInternalError, engine.ErrPingTimeout)
		}},
		{"timeout longer", 1, 4, func(_ *layer, c *client, conn layered, short time.Duration) {
			ping := c.nextPing()
			conn.SetPingTimeout(never)
			c.quiet(8 * short)
			c.write(frame.Pong, ping)
			c.nextPing()
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			onLayersAtAnyPace(t, aboveCallbacks, 20*time.Millisecond, func(t testing.TB, l *layer, short time.Duration) {
				c, conn := l.join()
				tt.run(l, c, conn, short)
			}, func(short time.Duration) []engine.RouteOption {
				return []engine.RouteOption{engine.WithPingInterval(times(tt.interval, short)), engine.WithPingTimeout(times(tt.timeout, short))}
			})
		})
	}
}

// What is out of bounds is taken as the nearest that is not.
func TestPingTimeoutOutOfBoundsIsTheNearestBound(t *testing.T) {
	onLayers(t, aboveCallbacks, func(t *testing.T, l *layer) {
		for _, d := range []time.Duration{0, -time.Hour} {
			c, conn := l.join()
			conn.SetPingTimeout(d)
			c.answerClose(frame.CloseInternalError, "Ping timeout")
			l.expectEnd(frame.CloseInternalError, engine.ErrPingTimeout)
		}
		c, conn := l.join()
		conn.SetPingTimeout(1<<63 - 1)
		ping := c.nextPing()
		c.quiet(30 * time.Millisecond)
		c.write(frame.Pong, ping)
		conn.SetPingInterval(1<<63 - 1)
		for c.SetReadDeadline(time.Now().Add(60 * time.Millisecond)); ; { // one may be under way
			if f, err := c.readFrame(); err != nil {
				break
			} else if f.op != frame.Ping {
				t.Fatalf("got %v", f)
			}
		}
	}, engine.WithPingInterval(10*time.Millisecond), engine.WithPingTimeout(time.Hour))
}

// The next header that the loop looks at is held against the new limit, on this connection and no other.
func TestMaxFrameSizeIsChangedOnALiveConnection(t *testing.T) {
	onLayers(t, allLayers, func(t *testing.T, l *layer) {
		other, _ := l.join()
		echoes := func(c *client, n int) {
			t.Helper()
			c.write(frame.Binary, pattern(n))
			c.expect(frame.Binary, pattern(n))
		}
		c, conn := l.join()
		echoes(c, 1000)
		conn.SetMaxFrameSize(2000)
		echoes(c, 1) // the loop has turned
		echoes(c, 1)
		echoes(c, 2000)
		conn.SetMaxFrameSize(300)
		echoes(c, 1)
		echoes(c, 1)
		echoes(c, 300)
		c.send(header(true, frame.Binary, 301))
		if reason := c.expectClose(frame.CloseMessageTooBig); !strings.Contains(reason, "301") || !strings.Contains(reason, "300") {
			t.Errorf("the peer is told %q", reason)
		}
		l.expectEnd(frame.CloseMessageTooBig, engine.ErrMessageTooBig)

		c, conn = l.join() // the lowest bound is what control frames need
		conn.SetMaxFrameSize(-1)
		echoes(c, 1)
		echoes(c, 1)
		echoes(c, 125)
		c.send(header(true, frame.Binary, 126))
		c.expectClose(frame.CloseMessageTooBig)
		l.expectEnd(frame.CloseMessageTooBig, engine.ErrMessageTooBig)

		echoes(other, 1000)
		other.send(header(true, frame.Binary, 1001))
		other.expectClose(frame.CloseMessageTooBig)
		l.expectEnd(frame.CloseMessageTooBig, engine.ErrMessageTooBig)
	}, engine.WithMaxFrameSize(1000))
}

// Every frame has a key of its own, the pongs and the close frame too, and turns back when it is told to.
func TestMaskingIsSwitchedOnALiveConnection(t *testing.T) {
	onLayers(t, allLayers, func(t *testing.T, l *layer) {
		c, conn := l.join()
		c.write(frame.Text, []byte("plain"))
		c.expect(frame.Text, []byte("plain"))
		conn.SetMasking(true)
		var keys []uint32
		masked := func(op frame.OpCode, want []byte) {
			t.Helper()
			f, key := c.readMasked()
			if f.op != op || !bytes.Equal(f.payload, want) {
				t.Fatalf("got %v, want %v of %d bytes", f, op, len(want))
			}
			keys = append(keys, key)
		}
		for _, n := range []int{0, 1, 125, 126, 1000, 70_000} {
			go c.Write(encode(true, frame.Binary, pattern(n)))
			masked(frame.Binary, pattern(n))
		}
		if l.kind != onRaw {
			c.write(frame.Ping, []byte("p"))
			masked(frame.Pong, []byte("p"))
		}
		for i, k := range keys {
			if slices.Contains(keys[:i], k) {
				t.Errorf("key %x came twice in %d frames", k, len(keys))
			}
		}
		conn.SetMasking(false)
		c.write(frame.Text, []byte("plain again"))
		c.expect(frame.Text, []byte("plain again"))
		conn.SetMasking(true)
		c.write(frame.Close, closePayload(4001, ""))
		masked(frame.Close, closePayload(4001, ""))
		c.expectEOF()
	})
}

// The caller's payload is not what is masked: it is sent to many.
func TestMaskingLeavesTheCallersPayloadAlone(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start()
		h := newOpener()
		s.handle("/", h)
		c := s.open("/")
		conn := within(t, h.opened)
		conn.SetMasking(true)
		p := pattern(70_000)
		prepared, err := engine.Prepare(frame.Binary, p)
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			conn.Send(frame.Binary, p)
			conn.SendFrame(engine.Frame{OpCode: frame.Binary, Fin: true, Payload: p})
			conn.SendPrepared(prepared)
			conn.SendPrepared(prepared)
			conn.SendFragment(frame.Binary, p, true)
		}()
		for range 5 {
			if f, _ := c.readMasked(); !bytes.Equal(f.payload, pattern(70_000)) {
				t.Fatalf("got %v", f)
			}
		}
		if !bytes.Equal(p, pattern(70_000)) {
			t.Error("the caller's payload was changed")
		}
	})
}
