package engine_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"zeroframe/engine"
	"zeroframe/frame"
)

// rawScript is a FrameHandler whose callbacks a test writes as it needs them. Whatever is delivered is noted in heard.
type rawScript struct {
	ending
	opened  chan *engine.Conn
	heard   chan wireFrame
	drained chan int // Buffered at each OnDrain
	onOpen  func(*engine.Conn)
	onFrame func(*engine.Conn, engine.Frame)
}

func newRawScript() *rawScript {
	return &rawScript{ending: newEnding(), opened: make(chan *engine.Conn, 1000), heard: make(chan wireFrame, 10_000), drained: make(chan int, 1000)}
}

// reflecting is a rawScript that replies with every frame as it is, close frames too.
func reflecting() *rawScript {
	h := newRawScript()
	h.onFrame = func(c *engine.Conn, f engine.Frame) { c.ReplyFrame(f) }
	return h
}

func (h *rawScript) OnOpen(c *engine.Conn) {
	h.opened <- c
	if h.onOpen != nil {
		h.onOpen(c)
	}
}

func (h *rawScript) OnFrame(c *engine.Conn, f engine.Frame) {
	h.heard <- wireFrame{f.Fin, f.RSV, f.OpCode, bytes.Clone(f.Payload)}
	if h.onFrame != nil {
		h.onFrame(c, f)
	}
}

func (h *rawScript) OnDrain(c *engine.Conn) { h.drained <- c.Buffered() }

// raw registers a raw route and fails the test if that is refused.
func (s *server) raw(pattern string, h engine.FrameHandler, opts ...engine.RouteOption) {
	s.t.Helper()
	if err := s.HandleRaw(pattern, h, opts...); err != nil {
		s.t.Fatal(err)
	}
}

// wire is f as a client sends it.
func (f wireFrame) wire() []byte {
	b := encode(f.fin, f.op, f.payload)
	b[0] |= f.rsv
	return b
}

func (f wireFrame) equal(g wireFrame) bool {
	return f.fin == g.fin && f.rsv == g.rsv && f.op == g.op && bytes.Equal(f.payload, g.payload)
}

// expectFrame reads a frame and compares all of it.
func (c *client) expectFrame(want wireFrame) {
	c.t.Helper()
	if f := c.next(); !f.equal(want) {
		c.t.Fatalf("got %v, want %v", f, want)
	}
}

// expectHeard requires that these frames, and no more so far, were delivered, and that no further end was reported.
func (h *rawScript) expectHeard(t testing.TB, want ...wireFrame) {
	t.Helper()
	for i, w := range want {
		if f := within(t, h.heard); !f.equal(w) {
			t.Fatalf("frame %d delivered is %v, want %v", i, f, w)
		}
	}
	h.nothingMore(t)
}

func (h *rawScript) nothingMore(t testing.TB) {
	t.Helper()
	for len(h.heard) > 0 {
		t.Errorf("%v was delivered too", <-h.heard)
	}
	for len(h.ending.ch) > 0 {
		t.Errorf("OnClose was called once more, with %+v", <-h.ending.ch)
	}
}

func text(s string) wireFrame { return wireFrame{fin: true, op: frame.Text, payload: []byte(s)} }

// decodeFrames returns the frames that stand whole at the beginning of what a client sends.
func decodeFrames(b []byte) (list []wireFrame) {
	for len(b) >= 2 && b[1]&0x80 != 0 {
		f := wireFrame{fin: b[0]&0x80 != 0, rsv: b[0] & 0x70, op: frame.OpCode(b[0] & 0x0f)}
		n, at := int(b[1]&0x7f), 2
		if n == 126 && len(b) >= 4 {
			n, at = int(binary.BigEndian.Uint16(b[2:])), 4
		} else if n >= 126 {
			return list
		}
		if len(b) < at+4+n {
			return list
		}
		key := b[at : at+4]
		f.payload = bytes.Clone(b[at+4 : at+4+n])
		for i := range f.payload {
			f.payload[i] ^= key[i%4]
		}
		list = append(list, f)
		b = b[at+4+n:]
	}
	return list
}

// Every frame as it came, with nothing answered, nothing joined and no text checked.
func TestRawRouteDeliversEveryFrameAsItCame(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithMaxMessageSize(1), engine.WithPingInterval(time.Millisecond))
		h := newRawScript()
		s.raw("/", h, engine.WithReservedBits(frame.RSV1|frame.RSV3))
		c := s.open("/")
		conn := within(t, h.opened)
		want := []wireFrame{
			text("whole, and above the largest message"),
			text(""),
			text("not UTF-8: \xff\xc0"),
			{true, 0, frame.Binary, pattern(70_000)},
			{false, 0, frame.Text, []byte("half a rune \xe2")},
			{true, 0, frame.Ping, []byte("inside a message")},
			{false, 0, frame.Continuation, nil},
			{true, 0, frame.Pong, []byte("unasked")},
			{false, 0x40, frame.Continuation, pattern(300)},
			{true, 0x10, frame.Continuation, []byte("\x82\xac")},
			{true, 0x50, frame.Text, []byte("reserved bits")},
			{false, 0x40, frame.Binary, nil},
			{true, 0, frame.Continuation, nil},
			{true, 0, frame.Ping, nil},
			{true, 0, frame.Ping, pattern(125)},
			{true, 0, frame.Pong, nil},
			{true, 0, frame.Close, closePayload(4001, "done €")},
		}
		for _, f := range want {
			c.send(f.wire())
		}
		for i, w := range want {
			if f := within(t, h.heard); !f.equal(w) {
				t.Fatalf("frame %d is %v, want %v", i, f, w)
			}
		}
		if err := conn.Close(frame.CloseNormal, ""); err != nil { // the first thing that leaves
			t.Fatal(err)
		}
		c.expectFrame(wireFrame{true, 0, frame.Close, closePayload(1000, "")})
		c.expectEOF()
		c.Close()
		if r, want := h.wait(t), (engine.CloseReason{Code: 4001, Text: "done €", Remote: true}); r != want {
			t.Errorf("reason %+v, want %+v", r, want)
		}
		s.gone()
		h.nothingMore(t)
		eventually(t, "3 pings and 2 pongs in, and no ping out, are counted", func() bool {
			n := s.Stats()
			return n.PingsIn == 3 && n.PongsIn == 2 && n.PingsOut == 0
		})
	})
}

// frameSource makes random frames that RFC 6455 allows one after the other, a fragmented message here and there.
type frameSource struct {
	*rand.Rand
	open  bool
	sizes []int
}

func (r *frameSource) next() wireFrame {
	f := wireFrame{fin: true}
	if r.IntN(4) == 0 {
		f.op = frame.Ping + frame.OpCode(r.IntN(2))
		f.payload = pattern(r.IntN(126))
		return f
	}
	f.op, f.fin = frame.Text+frame.OpCode(r.IntN(2)), r.IntN(2) == 0
	if r.open {
		f.op = frame.Continuation
	}
	r.open = !f.fin
	f.rsv = []byte{0, 0, 0x10, 0x20, 0x40, 0x70}[r.IntN(6)]
	f.payload = pattern(r.sizes[r.IntN(len(r.sizes))])
	return f
}

// What a proxy needs: whichever way a frame is passed on, in whatever pieces it came, it comes out as it was.
func TestFrameProxyPassesFramesOnUnchanged(t *testing.T) {
	later := func(c *engine.Conn, f engine.Frame, send func(engine.Frame) error) {
		f.Payload = bytes.Clone(f.Payload)
		c.Post(func() { send(f) })
	}
	for name, pass := range map[string]func(*engine.Conn, engine.Frame){
		"ReplyFrame": func(c *engine.Conn, f engine.Frame) { c.ReplyFrame(f) },
		"SendFrame":  func(c *engine.Conn, f engine.Frame) { c.SendFrame(f) },
		"ReplyFrame of a copy": func(c *engine.Conn, f engine.Frame) {
			f.Payload = bytes.Clone(f.Payload)
			c.ReplyFrame(f)
		},
		"ReplyFrame outside of OnFrame": func(c *engine.Conn, f engine.Frame) { later(c, f, c.ReplyFrame) },
		"Pause and Resume": func(c *engine.Conn, f engine.Frame) {
			c.Pause()
			c.ReplyFrame(f)
			go c.Resume()
		},
	} {
		t.Run(name, func(t *testing.T) {
			onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
				s := start(engine.WithReadBuffer(4<<10), engine.WithMaxBackpressure(64<<20))
				h := newRawScript()
				h.onFrame = pass
				s.raw("/", h, engine.WithReservedBits(frame.RSV1|frame.RSV2|frame.RSV3))
				source := &frameSource{Rand: rand.New(rand.NewPCG(7, 11)), sizes: []int{0, 1, 125, 126, 127, 1000, 4082, 4096, 5000}}
				count := 50
				if overSockets(t) {
					source.sizes = append(source.sizes, 65_535, 65_536, 20_000)
					count = 150
				}
				var sent []wireFrame
				var wire []byte
				for range count {
					f := source.next()
					sent, wire = append(sent, f), append(wire, f.wire()...)
				}
				if overSockets(t) {
					f := wireFrame{true, 0x20, frame.Continuation, pattern(1 << 20)}
					if !source.open {
						f.op = frame.Binary
					}
					sent, wire = append(sent, f), append(wire, f.wire()...)
				}
				last := wireFrame{true, 0, frame.Close, closePayload(3210, "the end")}
				sent, wire = append(sent, last), append(wire, last.wire()...)
				c := s.open("/")
				written := make(chan error, 1)
				go func() {
					for len(wire) > 0 {
						n := min(len(wire), 1+source.IntN(9000))
						if _, err := c.Write(wire[:n]); err != nil {
							written <- err
							return
						}
						wire = wire[n:]
					}
					written <- nil
				}()
				for _, f := range sent {
					c.expectFrame(f)
				}
				if err := within(t, written); err != nil {
					t.Error(err)
				}
				c.expectEOF()
				c.Close()
				if r, want := h.wait(t), (engine.CloseReason{Code: 3210, Text: "the end", Remote: true}); r != want {
					t.Errorf("reason %+v, want %+v", r, want)
				}
			})
		})
	}
}

// A frame above all buffers is assembled, unmasked, and its reply leaves from where it was assembled.
func TestRawRouteTakesLargeFrames(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithReadBuffer(4 << 10))
		s.raw("/", reflecting(), engine.WithReservedBits(frame.RSV1))
		c := s.open("/")
		sizes := []int{4 << 10, 20_000}
		if overSockets(t) {
			sizes = append(sizes, 64<<10, 100_000, 1<<20)
		}
		for _, n := range sizes {
			for _, f := range []wireFrame{
				{true, 0, frame.Binary, pattern(n)},
				{true, 0x40, frame.Text, pattern(n)},
				{false, 0, frame.Binary, pattern(n)},
				{true, 0, frame.Continuation, pattern(n)},
			} {
				go c.Write(f.wire())
				c.expectFrame(f)
			}
		}
	})
}

// The rows of RFC 6455, each as on other routes.
func TestRawRouteAnswersBreachesOfTheProtocol(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start()
		h := newRawScript()
		s.raw("/", h)
		for _, b := range breaches() {
			t.Run(b.name, func(t *testing.T) {
				c := s.open("/")
				c.t = t
				c.send(bytes.Join([][]byte{text("before").wire(), b.wire}, nil))
				reason := c.expectClose(b.want.Code)
				c.Write(text("behind").wire())
				c.Close()
				r := h.wait(t)
				if r.Code != b.want.Code || r.Text != b.want.Reason || reason != r.Text || r.Remote || !errors.Is(r.Err, b.want) {
					t.Errorf("reason %+v, the peer was told %q, want %v", r, reason, b.want)
				}
				want := []wireFrame{text("before")}
				for _, f := range decodeFrames(b.wire) {
					if f.op != frame.Close {
						want = append(want, f)
					}
				}
				h.expectHeard(t, want...)
			})
		}
		s.gone()
		h.nothingMore(t)
	})
}

// A close frame is judged as soon as its beginning shows what is wrong: the peer may never send the rest.
func TestRawRouteJudgesTheBeginningOfACloseFrame(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start()
		h := newRawScript()
		s.raw("/", h)
		for code, wire := range map[frame.CloseCode][]byte{
			frame.CloseProtocolError:  encode(true, frame.Close, closePayload(1005, "never whole"))[:8],
			frame.CloseInvalidPayload: encode(true, frame.Close, closePayload(1000, "\xffnever whole"))[:9],
		} {
			c := s.open("/")
			c.send(wire)
			c.expectClose(code)
			c.Close()
			if r := h.wait(t); r.Code != code || r.Remote {
				t.Errorf("reason %+v, want %v", r, code)
			}
		}
		s.gone()
		h.nothingMore(t)
	})
}

func TestReservedBitsAreForDataFramesOfTheRoutesThatAskForThem(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start()
		h := reflecting()
		s.raw("/", h, engine.WithReservedBits(frame.RSV2))
		s.raw("/none", h)
		for _, row := range []struct {
			path    string
			f       wireFrame
			refused bool
		}{
			{"/", wireFrame{true, 0x20, frame.Text, []byte("rsv2")}, false},
			{"/", wireFrame{false, 0x20, frame.Binary, nil}, false},
			{"/", wireFrame{true, 0x40, frame.Text, nil}, true},
			{"/", wireFrame{true, 0x30, frame.Text, nil}, true},
			{"/", wireFrame{true, 0x20, frame.Ping, nil}, true},
			{"/", wireFrame{true, 0x20, frame.Pong, nil}, true},
			{"/", wireFrame{true, 0x20, frame.Close, nil}, true},
			{"/none", wireFrame{true, 0x20, frame.Text, nil}, true},
		} {
			c := s.open(row.path)
			c.send(row.f.wire())
			if row.refused {
				c.expectClose(frame.CloseProtocolError)
			} else {
				c.expectFrame(row.f)
			}
			c.Close()
			if r := h.wait(t); row.refused && !errors.Is(r.Err, frame.ErrReservedBits) {
				t.Errorf("%s %v: reason %+v", row.path, row.f, r)
			}
		}
	})
}

// The size of frames is bounded, that of messages is not: nothing is joined.
func TestRawRouteBoundsFramesAndNotMessages(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithMaxMessageSize(10))
		h := newRawScript()
		s.raw("/", h, engine.WithMaxFrameSize(1000), engine.WithMaxMessageSize(10))
		c := s.open("/")
		want := []wireFrame{{false, 0, frame.Binary, pattern(1000)}} // equality is allowed
		for range 30 {
			want = append(want, wireFrame{false, 0, frame.Continuation, pattern(1000)})
		}
		for _, f := range want {
			c.send(f.wire())
		}
		c.send(header(true, frame.Continuation, 1001)) // and no byte of it
		if reason := c.expectClose(frame.CloseMessageTooBig); !strings.Contains(reason, "1001") || !strings.Contains(reason, "1000") {
			t.Errorf("the peer is told %q", reason)
		}
		c.Close()
		if r := h.wait(t); r.Code != frame.CloseMessageTooBig || !errors.Is(r.Err, engine.ErrMessageTooBig) {
			t.Errorf("reason %+v", r)
		}
		s.gone()
		h.expectHeard(t, want...)
	})
}

// A FrameHandler is asked and told like a Handler.
func TestFrameHandlersHaveTheOptionalInterfaces(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithMaxBackpressure(1000))
		h := askedRaw{newRawScript()}
		s.raw("/{room}", h, engine.Subprotocols("v1"))
		s.narrow()
		refused := s.connect()
		refused.send(upgradeRequest("/secret"))
		refused.expectRefusal(403)
		c := s.open("/hall", "Sec-WebSocket-Protocol: v1")
		conn := within(t, h.opened)
		if conn.UserData() != "hall" || conn.Subprotocol() != "v1" || conn.Engine() != s.Engine {
			t.Errorf("user data %v, subprotocol %q", conn.UserData(), conn.Subprotocol())
		}
		glut := wireFrame{true, 0, frame.Binary, pattern(s.glut())}
		if err := conn.SendFrame(engine.Frame{OpCode: glut.op, Fin: true, Payload: glut.payload}); err != nil {
			t.Fatal(err)
		}
		first := engine.Frame{OpCode: frame.Text, Payload: []byte("one, ")}
		eventually(t, "back-pressure", func() bool {
			return conn.SendFrame(engine.Frame{OpCode: frame.Ping, Fin: true}) == nil && conn.Buffered() > 1000
		})
		for range 3 { // refused, it may be sent again
			if err := conn.SendFrame(first); err != engine.ErrBackpressure {
				t.Fatalf("SendFrame above MaxBackpressure: %v", err)
			}
		}
		c.expectFrame(glut)
		if n := within(t, h.drained); n > 500 {
			t.Errorf("OnDrain with %d bytes queued", n)
		}
		if err := conn.SendFrame(first); err != nil {
			t.Errorf("after OnDrain: %v", err)
		}
		if err := conn.SendFrame(engine.Frame{OpCode: frame.Continuation, Fin: true, Payload: []byte("two")}); err != nil {
			t.Error(err)
		}
		for {
			f := c.next()
			if f.op == frame.Ping {
				continue
			}
			if !f.equal(wireFrame{false, 0, frame.Text, []byte("one, ")}) {
				t.Fatalf("got %v", f)
			}
			break
		}
		c.expectFrame(wireFrame{true, 0, frame.Continuation, []byte("two")})
	})
}

// askedRaw is a rawScript that looks at requests.
type askedRaw struct{ *rawScript }

func (askedRaw) OnUpgrade(u *engine.Upgrade) error {
	if u.Request.PathValue("room") == "secret" {
		return &engine.Rejection{Status: 403}
	}
	u.UserData = u.Request.PathValue("room")
	return nil
}

func TestHandleRawRefusesWhatHandleDoes(t *testing.T) {
	s := bare(t)
	var oe *engine.OptionError
	if err := s.HandleRaw("/", nil); !errors.As(err, &oe) || oe.Option != "FrameHandler" {
		t.Errorf("a nil handler: %v", err)
	}
	if err := s.HandleRaw("/", newRawScript(), engine.WithMaxFrameSize(1)); !errors.As(err, &oe) || oe.Option != "WithMaxFrameSize" {
		t.Errorf("an option out of bounds: %v", err)
	}
	if err := s.HandleRaw("bad pattern {", newRawScript()); err == nil {
		t.Error("a bad pattern was taken")
	}
	s.raw("/", newRawScript())
	if err := s.HandleRaw("/", newRawScript()); err == nil {
		t.Error("a pattern was taken twice")
	}
}

// A peer that sends and does not read stalls itself, and loses nothing.
func TestRawRouteStopsReadingAPeerThatDoesNotRead(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		limit, size, rounds, readBuffer := 64<<10, 4000, 6000, 16<<10
		if s := (&server{t: t}); s.cut() {
			limit, size, rounds = 1000, 100, 120
		}
		s := start(engine.WithMaxBackpressure(limit), engine.WithReadBuffer(readBuffer))
		h := newRawScript()
		h.onFrame = func(c *engine.Conn, f engine.Frame) {
			<-h.heard
			c.ReplyFrame(f)
		}
		s.raw("/", h)
		s.narrow()
		c := s.open("/")
		conn := within(t, h.opened)
		fragment := func(i int) wireFrame {
			f := wireFrame{i == rounds-1, 0, frame.Continuation, fmt.Appendf(nil, "%06d%s", i, pattern(size))}
			if i == 0 {
				f.op = frame.Binary
			}
			return f
		}
		done := make(chan error, 1)
		go func() {
			for i := range rounds {
				if _, err := c.Write(fragment(i).wire()); err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
		eventually(t, "the peer is stalled", func() bool { return s.Stats().Stalls > 0 })
		for i := range rounds {
			if n := conn.Buffered(); n > limit+readBuffer+size+100 {
				t.Fatalf("%d bytes are queued, at most one read above %d is meant", n, limit)
			}
			c.expectFrame(fragment(i))
		}
		if err := within(t, done); err != nil {
			t.Error(err)
		}
	})
}

// Pause stops the delivery from the next frame on, close frames included.
func TestRawRouteDeliversNothingWhilePaused(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start()
		h := newRawScript()
		h.onFrame = func(c *engine.Conn, f engine.Frame) {
			if f.OpCode == frame.Ping {
				c.Pause()
			}
			if f.OpCode == frame.Close {
				c.ReplyFrame(f)
			}
		}
		s.raw("/", h)
		c := s.open("/")
		conn := within(t, h.opened)
		var want []wireFrame
		var wire []byte
		for i := range 4 {
			for _, f := range []wireFrame{
				{false, 0, frame.Text, fmt.Appendf(nil, "begin %d", i)},
				{true, 0, frame.Ping, fmt.Appendf(nil, "pause %d", i)},
				{true, 0, frame.Continuation, pattern(300)},
			} {
				want, wire = append(want, f), append(wire, f.wire()...)
			}
		}
		end := wireFrame{true, 0, frame.Close, nil}
		want, wire = append(want, end), append(wire, end.wire()...)
		c.send(wire)
		for _, w := range want {
			if f := within(t, h.heard); !f.equal(w) {
				t.Fatalf("delivered %v, want %v", f, w)
			}
			if w.op == frame.Ping {
				c.quiet(10 * time.Millisecond)
				h.nothingMore(t)
				conn.Resume()
			}
		}
		c.expectFrame(end)
		c.expectEOF()
	})
}
