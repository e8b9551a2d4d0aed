package engine_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"zeroframe/engine"
	"zeroframe/frame"
)

// owing opens a raw connection whose peer has sent a close frame that nobody has answered.
func (h *rawScript) owing(s *server) (*client, *engine.Conn) {
	s.t.Helper()
	c := s.open("/")
	conn := within(s.t, h.opened)
	c.write(frame.Close, closePayload(4444, "your turn"))
	if f := within(s.t, h.heard); !f.equal(wireFrame{true, 0, frame.Close, closePayload(4444, "your turn")}) {
		s.t.Fatalf("delivered %v", f)
	}
	return c, conn
}

// expectTheirs requires that the peer's close frame decided, and that nothing was reported after it.
func (h *rawScript) expectTheirs(t testing.TB, err error) {
	t.Helper()
	want := engine.CloseReason{Code: 4444, Text: "your turn", Remote: true, Err: err}
	if r := h.wait(t); r != want {
		t.Errorf("reason %+v, want %+v", r, want)
	}
	h.nothingMore(t)
}

// The handler must send its own close frame, and whatever it sends before leaves, too: the peer still reads.
func TestRawHandlerAnswersThePeersClose(t *testing.T) {
	answer := func(code frame.CloseCode, text string) engine.Frame {
		return engine.Frame{OpCode: frame.Close, Fin: true, Payload: closePayload(code, text)}
	}
	for name, tt := range map[string]struct {
		reply func(*engine.Conn, engine.Frame) error
		want  []byte
	}{
		"Close":     {func(c *engine.Conn, _ engine.Frame) error { return c.Close(4001, "mine") }, closePayload(4001, "mine")},
		"the same":  {func(c *engine.Conn, f engine.Frame) error { return c.ReplyFrame(f) }, closePayload(4444, "your turn")},
		"SendFrame": {func(c *engine.Conn, _ engine.Frame) error { return c.SendFrame(answer(4001, "mine")) }, closePayload(4001, "mine")},
		"no payload": {func(c *engine.Conn, _ engine.Frame) error {
			return c.SendFrame(engine.Frame{OpCode: frame.Close, Fin: true})
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
				for _, where := range []string{"in OnFrame", "later"} {
					s := start()
					h := newRawScript()
					tried := make(chan error, 10)
					act := func(c *engine.Conn, f engine.Frame) {
						tried <- c.SendFrame(engine.Frame{OpCode: frame.Text, Payload: []byte("not ")})
						tried <- c.SendFrame(engine.Frame{OpCode: frame.Ping, Fin: true})
						tried <- c.SendFrame(engine.Frame{OpCode: frame.Continuation, Fin: true, Payload: []byte("yet")})
						tried <- tt.reply(c, f)
					}
					if where == "in OnFrame" {
						h.onFrame = act
					}
					s.raw("/", h)
					c, conn := h.owing(s)
					if where == "later" {
						c.quiet(5 * time.Millisecond) // no echo
						act(conn, answer(4444, "your turn"))
					}
					for range 4 {
						if err := within(t, tried); err != nil {
							t.Errorf("%s: %v", where, err)
						}
					}
					c.expectFrame(wireFrame{false, 0, frame.Text, []byte("not ")})
					c.expectFrame(wireFrame{true, 0, frame.Ping, nil})
					c.expectFrame(wireFrame{true, 0, frame.Continuation, []byte("yet")})
					c.expectFrame(wireFrame{true, 0, frame.Close, tt.want})
					c.expectEOF()
					c.Close()
					h.expectTheirs(t, nil)
					expectClosed(t, conn)
					s.gone()
				}
			})
		})
	}
}

// The close frame is the last that is delivered (RFC 6455, section 5.5.1): what comes behind it is dropped unseen, and is
// no breach.
func TestRawRouteDropsWhatFollowsThePeersClose(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start()
		h := newRawScript()
		s.raw("/", h)
		behind := bytes.Join([][]byte{text("behind").wire(), encode(true, frame.Ping, nil), encode(true, frame.Close, nil), head(0x83, 0, 0xff)}, nil)
		c := s.open("/")
		conn := within(t, h.opened)
		c.send(append(encode(true, frame.Close, closePayload(4444, "your turn")), behind...)) // in the same read
		if f := within(t, h.heard); f.op != frame.Close {
			t.Fatalf("delivered %v", f)
		}
		c.send(behind) // and in others
		c.quiet(10 * time.Millisecond)
		if err := conn.Close(frame.CloseNormal, ""); err != nil {
			t.Fatal(err)
		}
		c.Write(behind)
		c.expectClose(frame.CloseNormal)
		c.Close()
		h.expectTheirs(t, nil)
		s.gone()
		h.nothingMore(t)
	})
}

// What the handler owes it owes for the close timeout, and the peer is not told what was not said.
func TestCloseTimeoutEndsARawConnectionThatIsNotAnswered(t *testing.T) {
	onEachTransportAtAnyPace(t, 80*time.Millisecond, func(t testing.TB, start func(...engine.Option) *server, timeout time.Duration) {
		s := start(engine.WithCloseTimeout(timeout))
		h := newRawScript()
		s.raw("/", h, engine.WithPingInterval(timeout/4)) // which must not go out any more
		c := s.open("/")
		conn := within(t, h.opened)
		begin := time.Now()
		c.write(frame.Close, closePayload(4444, "your turn"))
		for {
			f, err := c.readFrame()
			if err != nil {
				break
			}
			if f.op != frame.Ping || time.Since(begin) > timeout {
				t.Errorf("got %v", f)
			}
		}
		atLeast(t, "ended", begin, timeout)
		within(t, h.heard)
		h.expectTheirs(t, engine.ErrCloseTimeout)
		expectClosed(t, conn)
		s.gone()
	})
}

// What else can end a connection on which the handler owes its close frame.
func TestRawConnectionThatOwesItsCloseFrame(t *testing.T) {
	for name, tt := range map[string]struct {
		end  func(t *testing.T, s *server, c *client, conn *engine.Conn)
		want []byte // the close frame's payload; nil: there is none
		err  error  // the reason's
	}{
		"Shutdown": {func(t *testing.T, s *server, c *client, _ *engine.Conn) {
			done := s.beginShutdown(patience)
			t.Cleanup(func() {
				if err := within(t, done); err != nil {
					t.Errorf("Shutdown: %v", err)
				}
			})
		}, closePayload(frame.CloseGoingAway, goingDown), nil},
		"Engine.Close": {func(_ *testing.T, s *server, _ *client, _ *engine.Conn) { s.Engine.Close() }, nil, nil},
		"Terminate":    {func(_ *testing.T, _ *server, _ *client, conn *engine.Conn) { conn.Terminate() }, nil, nil},
		"panic": {func(_ *testing.T, _ *server, _ *client, conn *engine.Conn) {
			conn.Post(func() { panic("while it owes") })
		}, closePayload(frame.CloseInternalError, ""), nil},
		"half-closed, then Close": {func(t *testing.T, _ *server, c *client, conn *engine.Conn) {
			c.endStream()
			c.quiet(20 * time.Millisecond)
			if err := conn.SendFrame(engine.Frame{OpCode: frame.Binary, Fin: true, Payload: []byte("and this")}); err != nil {
				t.Error(err)
			}
			if err := conn.Close(4001, "answered"); err != nil {
				t.Error(err)
			}
			c.expectFrame(wireFrame{true, 0, frame.Binary, []byte("and this")})
		}, closePayload(4001, "answered"), nil},
		"half-closed and never answered": {func(_ *testing.T, _ *server, c *client, _ *engine.Conn) { c.endStream() }, nil, engine.ErrCloseTimeout},
	} {
		t.Run(name, func(t *testing.T) {
			onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
				timeout := patience
				if tt.err == engine.ErrCloseTimeout {
					timeout = 50 * time.Millisecond
				}
				s := start(engine.WithCloseTimeout(timeout))
				h := newRawScript()
				s.raw("/", h)
				c, conn := h.owing(s)
				tt.end(t, s, c, conn)
				if tt.want == nil {
					if n := len(c.closes()); n != 0 {
						t.Errorf("%d close frames, want none", n)
					}
				} else {
					c.expectFrame(wireFrame{true, 0, frame.Close, tt.want})
					c.expectEOF()
				}
				c.Close()
				h.expectTheirs(t, tt.err)
				expectClosed(t, conn)
			})
		})
	}
}

func TestPanicOverThePeersCloseFrameAnswersIt(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start()
		h := newRawScript()
		h.onFrame = func(*engine.Conn, engine.Frame) { panic("over the close frame") }
		s.raw("/", h)
		c, _ := h.owing(s)
		c.expectFrame(wireFrame{true, 0, frame.Close, closePayload(frame.CloseInternalError, "")})
		c.expectEOF()
		h.expectTheirs(t, nil)
		if logs := s.logs.String(); !strings.Contains(logs, "over the close frame") {
			t.Errorf("the panic is not logged: %q", logs)
		}
	})
}

// A handler that waits for OnDrain with the rest of its message must not wait for ever.
func TestRawHandlerHearsOfDrainWhileItOwesItsCloseFrame(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithMaxBackpressure(1000), engine.WithCloseTimeout(patience))
		h := newRawScript()
		s.raw("/", h)
		s.narrow()
		c, conn := h.owing(s)
		glut := pattern(s.glut())
		if err := conn.Send(frame.Binary, glut); err != nil {
			t.Fatal(err)
		}
		eventually(t, "back-pressure", func() bool { return conn.Buffered() > 1000 })
		if err := conn.SendText("the last words"); err != engine.ErrBackpressure {
			t.Fatalf("Send above MaxBackpressure: %v", err)
		}
		c.expect(frame.Binary, glut)
		within(t, h.drained)
		if err := conn.SendText("the last words"); err != nil {
			t.Error(err)
		}
		conn.Close(frame.CloseNormal, "")
		c.expect(frame.Text, []byte("the last words"))
		c.expectClose(frame.CloseNormal)
		h.expectTheirs(t, nil)
	})
}

// After our close frame the peer may still be in the middle of something: all of it is delivered, its close frame last.
func TestRawRouteDeliversFramesAfterOurCloseUntilThePeers(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start()
		h := newRawScript()
		answers := make(chan error, 10)
		h.onFrame = func(c *engine.Conn, f engine.Frame) {
			if string(f.Payload) == "close" {
				c.Close(4000, "enough")
				c.Pause() // a closing connection is read to its end all the same
				return
			}
			answers <- c.ReplyFrame(f)
		}
		s.raw("/", h)
		c := s.open("/")
		want := []wireFrame{
			text("close"),
			text("in the same read"),
			{false, 0, frame.Binary, []byte("and ")},
			{true, 0, frame.Ping, []byte("in")},
		}
		for _, f := range want {
			c.send(f.wire())
		}
		c.expectFrame(wireFrame{true, 0, frame.Close, closePayload(4000, "enough")})
		for _, f := range []wireFrame{
			{true, 0, frame.Continuation, pattern(70_000)},
			{true, 0, frame.Close, closePayload(4999, "goodbye")},
		} {
			c.send(f.wire())
			want = append(want, f)
		}
		c.Write(text("behind").wire())
		c.expectEOF()
		c.Close()
		if r, want := h.wait(t), (engine.CloseReason{Code: 4000, Text: "enough"}); r != want {
			t.Errorf("reason %+v, want %+v", r, want)
		}
		s.gone()
		h.expectHeard(t, want...)
		for range len(want) - 1 {
			if err := within(t, answers); err != engine.ErrClosed {
				t.Errorf("ReplyFrame after Close: %v", err)
			}
		}
	})
}

// The close timeout runs from our close frame, however much the peer sends instead of its own.
func TestRawPeerThatDoesNotAnswerTheCloseIsDropped(t *testing.T) {
	onEachTransportAtAnyPace(t, 60*time.Millisecond, func(t testing.TB, start func(...engine.Option) *server, timeout time.Duration) {
		s := start(engine.WithCloseTimeout(timeout))
		h := newRawScript()
		s.raw("/", h)
		c := s.open("/")
		conn := within(t, h.opened)
		begin := time.Now()
		conn.Close(4000, "answer me")
		c.expectFrame(wireFrame{true, 0, frame.Close, closePayload(4000, "answer me")})
		for {
			if _, err := c.Write(text("talking").wire()); err != nil {
				break
			}
			<-time.After(timeout / 12)
		}
		atLeast(t, "dropped", begin, timeout)
		if r, want := h.wait(t), (engine.CloseReason{Code: 4000, Text: "answer me", Err: engine.ErrCloseTimeout}); r != want {
			t.Errorf("reason %+v, want %+v", r, want)
		}
		if len(h.heard) == 0 {
			t.Error("what the peer said was not delivered")
		}
	})
}

// Each way to end, and how it is reported: once.
func TestRawRouteReportsItsEndOnce(t *testing.T) {
	for name, tt := range map[string]struct {
		end  func(c *client, conn *engine.Conn)
		want engine.CloseReason
		is   error // what the reason's Err must be, besides
	}{
		"the socket ends": {func(c *client, _ *engine.Conn) { c.Close() }, engine.CloseReason{Code: frame.CloseAbnormal}, nil},
		"the socket ends inside a frame": {func(c *client, _ *engine.Conn) {
			c.send(header(true, frame.Binary, 100_000))
			c.Close()
		}, engine.CloseReason{Code: frame.CloseAbnormal}, nil},
		"Terminate": {func(_ *client, conn *engine.Conn) { conn.Terminate() }, engine.CloseReason{Code: frame.CloseAbnormal}, nil},
		"breach after our close": {func(c *client, conn *engine.Conn) {
			conn.Close(4000, "mine")
			c.expectFrame(wireFrame{true, 0, frame.Close, closePayload(4000, "mine")})
			c.send(head(0x83))
			c.expectEOF() // and no other close frame
		}, engine.CloseReason{Code: 4000, Text: "mine"}, nil},
		"both close": {func(c *client, conn *engine.Conn) {
			conn.Close(4000, "mine")
			c.write(frame.Close, closePayload(4001, "theirs"))
			c.expectClose(4000)
		}, engine.CloseReason{Code: 4000, Text: "mine"}, nil},
		"panic": {func(c *client, _ *engine.Conn) {
			c.write(frame.Text, []byte("panic"))
			c.expectClose(frame.CloseInternalError)
		}, engine.CloseReason{Code: frame.CloseInternalError}, new(engine.PanicError)},
		"panic after our close": {func(c *client, conn *engine.Conn) {
			conn.Close(4000, "mine")
			c.expectFrame(wireFrame{true, 0, frame.Close, closePayload(4000, "mine")})
			c.write(frame.Text, []byte("panic"))
			c.expectEOF()
		}, engine.CloseReason{Code: 4000, Text: "mine"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
				s := start()
				h := newRawScript()
				h.onFrame = func(_ *engine.Conn, f engine.Frame) {
					if string(f.Payload) == "panic" {
						panic("for the test")
					}
				}
				s.raw("/", h)
				c := s.open("/")
				conn := within(t, h.opened)
				tt.end(c, conn)
				c.Close()
				r := h.wait(t)
				if p := new(engine.PanicError); tt.is != nil && (!errors.As(r.Err, &p) || p.Value != "for the test") {
					t.Errorf("reason's error is %v", r.Err)
				}
				r.Err = nil
				if r != tt.want {
					t.Errorf("reason %+v, want %+v", r, tt.want)
				}
				s.gone()
				if len(h.ending.ch) != 0 {
					t.Error("OnClose was called twice")
				}
				expectClosed(t, conn)
				if err := conn.SendFrame(engine.Frame{OpCode: frame.Text, Fin: true}); err != engine.ErrClosed {
					t.Errorf("SendFrame: %v", err)
				}
			})
		})
	}
}

// The pong that was awaited when we closed is delivered, and moves no deadline any more.
func TestPongAfterOurCloseLeavesTheCloseTimeoutAlone(t *testing.T) {
	onEachTransportAtAnyPace(t, 150*time.Millisecond, func(t testing.TB, start func(...engine.Option) *server, timeout time.Duration) {
		s := start(engine.WithCloseTimeout(timeout))
		h := newRawScript()
		s.raw("/", h, engine.WithPingInterval(timeout/10))
		c := s.open("/")
		conn := within(t, h.opened)
		ping := c.nextPing()
		begin := time.Now()
		conn.Close(4000, "answer me")
		c.expectFrame(wireFrame{true, 0, frame.Close, closePayload(4000, "answer me")})
		c.write(frame.Pong, ping)
		c.expectEOF()
		atLeast(t, "dropped", begin, timeout)
		if r := h.wait(t); r.Err != engine.ErrCloseTimeout {
			t.Errorf("reason %+v", r)
		}
		h.expectHeard(t, wireFrame{true, 0, frame.Pong, ping})
	})
}
