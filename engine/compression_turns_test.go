package engine_test

import (
	"bytes"
	"strings"
	"sync/atomic"
	"testing"

	"zeroframe/engine"
	"zeroframe/frame"
)

// While one goroutine compresses for a connection with takeover, perhaps megabytes, the calls that never wait do not wait
// for it: their messages leave as they are, and enter no history.
func TestSendsDoNotWaitForAnotherThatCompresses(t *testing.T) {
	const marked = 3000
	other := prose(600, 1)
	for name, send := range map[string]func(*engine.Conn) error{
		"Send": func(c *engine.Conn) error { return c.Send(frame.Text, other) },
		"SendPrepared": func(c *engine.Conn) error {
			p, _ := engine.Prepare(frame.Text, other)
			return c.SendPrepared(p)
		},
		"SendFrame": func(c *engine.Conn) error {
			return c.SendFrame(engine.Frame{OpCode: frame.Text, Fin: true, Payload: other})
		},
		"Reply": nil, // what the peer sends is sent back
	} {
		t.Run(name, func(t *testing.T) {
			onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
				s := start(engine.WithPingInterval(0))
				h := replying()
				inside, proceed := make(chan bool), make(chan bool)
				agreed := full
				agreed.CompressIf = func(_ frame.OpCode, size int) bool {
					if size == marked {
						inside <- true
						<-proceed
					}
					return true
				}
				s.handle("/", h, engine.WithCompression(agreed))
				c := s.openDeflate("/", offered)
				conn := within(t, h.opened)
				act := func() {
					if name == "Reply" {
						c.write(frame.Text, other)
					} else if err := within(t, later(func() error { return send(conn) })); err != nil {
						t.Error(err)
					}
				}
				first := bytes.Repeat([]byte("marked"), marked/6)
				sent := later(func() error { return conn.Send(frame.Binary, first) })
				within(t, inside)
				for range 2 {
					act()
					if c.expectMessage(frame.Text, other) {
						t.Error("it is compressed, with a history that another has")
					}
				}
				close(proceed)
				if err := within(t, sent); err != nil {
					t.Fatal(err)
				}
				if !c.expectMessage(frame.Binary, first) {
					t.Error("the first is not compressed")
				}
				for range 2 {
					act()
					if !c.expectMessage(frame.Text, other) {
						t.Error("not compressed, though nobody is at it")
					}
				}
			})
		})
	}
}

// Messages that are compressed as they are written cost a compressor each: beyond 16 per loop they leave as they are,
// whole all the same, and when those have ended the next ones are compressed again.
func TestSoManyStreamsAreCompressedAtOnce(t *testing.T) {
	const most, more = 16, 3
	for _, way := range owners[1:] {
		t.Run(way.name, func(t *testing.T) {
			onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
				s := start(engine.WithPingInterval(0), engine.WithLoops(1))
				h := s.handOut("/", engine.WithCompression(*way.c))
				want := bytes.Repeat([]byte("streamed "), 7500) // more than a fragment
				var clients [most + more]*deflateClient
				var sessions [most + more]*engine.Session
				for i := range clients {
					clients[i] = s.openDeflate("/", way.offer)
					sessions[i] = h.next(t)
				}
				for round := range 2 {
					var closes []func() error
					for i, session := range sessions {
						w, err := session.NextWriter(patiently(t), frame.Text)
						if err != nil {
							t.Fatal(err)
						}
						if _, err := w.Write(want[:66_000]); err != nil {
							t.Fatal(err)
						}
						closes = append(closes, func() error { w.Write(want[66_000:]); return w.Close() })
						if round == 1 && i >= more { // these end before the next begin
							within(t, later(closes[i-more]))
						}
					}
					if round == 0 {
						for _, end := range closes {
							if err := within(t, later(end)); err != nil {
								t.Fatal(err)
							}
						}
					} else {
						for _, end := range closes[most:] {
							within(t, later(end))
						}
					}
					for i, c := range clients {
						if compressed := c.expectMessage(frame.Text, want); compressed != (i < most || round == 1) {
							t.Errorf("round %d, message %d: compressed %v", round, i, compressed)
						}
					}
				}
			})
		})
	}
}

// A read of 64 KiB can hold messages of many MiB. When about 1 MiB of them is inflated the connection's turn ends: what
// others on the loop wait for comes before its next message. Nothing is lost, and the end of the stream comes last.
func TestALoopTurnsToOthersBetweenLargeInflatedMessages(t *testing.T) {
	for name, end := range map[string]func(*deflateClient){
		"the end of the stream": func(c *deflateClient) { c.Close() },
		"a close frame":         func(c *deflateClient) {},
	} {
		t.Run(name, func(t *testing.T) {
			onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
				s := start(engine.WithPingInterval(0), engine.WithLoops(1))
				h := newScript()
				var order []string // the loop's
				var other atomic.Pointer[engine.Conn]
				h.onMessage = func(_ *engine.Conn, _ frame.OpCode, p []byte) {
					if len(p) < 100 {
						order = append(order, string(p))
						return
					}
					order = append(order, "bomb")
					other.Load().Post(func() { order = append(order, "other") })
				}
				h.onClose = func(*engine.Conn, engine.CloseReason) { order = append(order, "end") }
				s.handle("/", h, engine.WithCompression(engine.Compression{}))
				s.open("/")
				other.Store(within(t, h.opened))
				c := s.openDeflate("/", offeredAlone)
				large := deflated(frame.Binary, bomb(1))
				wire := bytes.Join([][]byte{large, large, encode(true, frame.Text, []byte("a")), large,
					encode(true, frame.Text, []byte("b")), encode(true, frame.Text, []byte("c"))}, nil)
				if name == "a close frame" {
					wire = append(wire, encode(true, frame.Close, closePayload(frame.CloseNormal, ""))...)
				}
				c.send(wire)
				end(c)
				code := h.wait(t).Code
				if want := map[bool]frame.CloseCode{true: frame.CloseNormal, false: frame.CloseAbnormal}[name == "a close frame"]; code != want {
					t.Errorf("ended with %d, want %d", code, want)
				}
				got := make(chan string)
				other.Load().Post(func() { got <- strings.Join(order, " ") })
				if got, want := within(t, got), "bomb other bomb other a bomb other b c end"; got != want {
					t.Errorf("order %q, want %q", got, want)
				}
			})
		})
	}
}
