package engine_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"zeroframe/deflate"
	"zeroframe/engine"
	"zeroframe/frame"
)

// A frame that an extension refuses is not sent, its sender gets the error, and what comes after it is in order: numbers
// and, with takeover, histories included.
func TestErrorsOfOutgoingReachTheSender(t *testing.T) {
	for _, way := range installations {
		if way.names[0] == deflate.Name { // see TestAMessageRefusedBehindCompressionIsNotReferredTo
			continue
		}
		t.Run(way.name, func(t *testing.T) {
			onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
				s := start(engine.WithPingInterval(0))
				h := newScript()
				result := make(chan error, 1)
				h.onMessage = func(c *engine.Conn, op frame.OpCode, p []byte) {
					result <- c.Send(op, p)
				}
				s.handle("/", h, way.opts...)
				c := s.openSealed("/", way.offer)
				for i := range 6 {
					payload := prose(300, uint64(i/2))
					c.send(c.encode(frame.Text, payload, -1))
					if err := within(t, result); err != nil {
						t.Fatal(err)
					}
					c.expectMessage(frame.Text, payload)
					refused := sealedRaw(c, append(prose(200, 9), "unsendable"...))
					c.send(refused)
					if err := within(t, result); !errors.Is(err, errUnsendable) {
						t.Fatalf("Send: %v, want the extension's error", err)
					}
				}
			})
		})
	}
}

// Behind compression with takeover the message is in the history when it is refused: no later one may refer to it.
func TestAMessageRefusedBehindCompressionIsNotReferredTo(t *testing.T) {
	for _, z := range []engine.Compression{full, {Threshold: -1}} {
		onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
			s := start(engine.WithPingInterval(0))
			h := newScript()
			result := make(chan error, 1)
			h.onMessage = func(c *engine.Conn, op frame.OpCode, p []byte) { result <- c.Send(op, p) }
			refuse := false // of the loop
			x := &stubborn{sealing: sealing{"x-s", 0, 0}, outgoing: func(*engine.Frame) error {
				if refuse = !refuse; refuse {
					return errUnsendable
				}
				return nil
			}}
			s.handle("/", h, engine.WithCompression(z), engine.WithExtensions(x))
			c := s.openDeflate("/", offered+", x-s")
			payload := prose(400, 1)
			c.write(frame.Text, payload)
			if err := within(t, result); !errors.Is(err, errUnsendable) {
				t.Fatalf("Send: %v, want the extension's error", err)
			}
			if z.TakeoverOut { // it cannot go on
				c.answerClose(frame.CloseInternalError, "message given up")
				return
			}
			c.write(frame.Text, payload)
			if err := within(t, result); err != nil {
				t.Fatalf("Send: %v", err)
			}
			c.expectMessage(frame.Text, payload)
		})
	}
}

func TestErrorsOfIncomingEndTheConnection(t *testing.T) {
	bad := &frame.Error{Code: frame.ClosePolicyViolation, Reason: "not like this"}
	for _, tt := range []struct {
		name     string
		incoming func(*engine.Frame) error
		code     frame.CloseCode
		reason   string
	}{
		{"an error", func(*engine.Frame) error { return errUnsealed }, frame.CloseProtocolError, "frame refused by an extension"},
		{"a frame.Error", func(*engine.Frame) error { return fmt.Errorf("wrapped: %w", bad) }, frame.ClosePolicyViolation, "not like this"},
		{"a code that may not be sent", func(*engine.Frame) error { return &frame.Error{Code: frame.CloseAbnormal, Reason: "never sent"} },
			frame.CloseProtocolError, "frame refused by an extension"},
		{"bits left set", func(f *engine.Frame) error { return nil }, frame.CloseProtocolError, "reserved bits that no extension has cleared"},
		{"bits of nobody", func(f *engine.Frame) error { f.RSV = frame.RSV3; return nil }, frame.CloseProtocolError, "reserved bits that no extension has cleared"},
		{"a panic", func(f *engine.Frame) error { panic("in Incoming") }, frame.CloseInternalError, ""},
	} {
		for _, layer := range layers {
			t.Run(tt.name+"/"+layer.name, func(t *testing.T) {
				onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
					s := start(engine.WithPingInterval(0), engine.WithLoops(1))
					x := &stubborn{sealing: sealA, incoming: tt.incoming}
					layer.start(s, engine.WithExtensions(x))
					for _, wire := range [][]byte{
						wireFrame{true, frame.RSV2, frame.Text, []byte("some text")}.wire(),
						wireFrame{false, frame.RSV2, frame.Text, []byte("some text")}.wire(),
					} {
						other := s.open("/")
						c := s.connect()
						c.upgrade("/", extensionsField+"x-a")
						c.send(wire)
						if reason := c.expectClose(tt.code); reason != tt.reason {
							t.Errorf("reason %q, want %q", reason, tt.reason)
						}
						other.write(frame.Text, []byte("unharmed"))
						other.expect(frame.Text, []byte("unharmed"))
					}
				})
			})
		}
	}
}

// A handler that panics over a message with extensions ends its own connection, and no buffer is lost.
func TestHandlersMayPanicBehindExtensions(t *testing.T) {
	for _, way := range installations {
		for _, kind := range []string{"handler", "raw"} {
			t.Run(way.name+"/"+kind, func(t *testing.T) {
				onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
					s := start(engine.WithPingInterval(0))
					if kind == "raw" {
						h := newRawScript()
						h.onFrame = func(*engine.Conn, engine.Frame) { panic("in OnFrame") }
						s.raw("/", h, way.opts...)
					} else {
						s.handle("/", engine.HandlerFunc(func(*engine.Conn, frame.OpCode, []byte) { panic("in OnMessage") }), way.opts...)
					}
					for _, cut := range []int{-1, 20} {
						c := s.openSealed("/", way.offer)
						c.send(c.encode(frame.Text, prose(300, 1), cut))
						c.expectClose(frame.CloseInternalError)
					}
				})
			})
		}
	}
}

// What handlers get is checked: the text that left the extensions, not that on the wire.
func TestTextIsCheckedBehindTheExtensions(t *testing.T) {
	for _, way := range installations {
		t.Run(way.name, func(t *testing.T) {
			onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
				s := start(engine.WithPingInterval(0))
				s.handle("/", newEcho(), way.opts...)
				s.session("/session", echoSession, way.opts...)
				s.raw("/raw", rawEcho{}, way.opts...)
				for _, path := range []string{"/", "/session"} {
					for _, bad := range []string{"\xff", "fine until here \xc3", "\xed\xa0\x80"} {
						c := s.openSealed(path, way.offer)
						c.send(c.encode(frame.Binary, []byte(bad), -1))
						c.expectMessage(frame.Binary, []byte(bad))
						c.send(c.encode(frame.Text, []byte("a rune ☃ cut by fragments"), 8))
						c.expectMessage(frame.Text, []byte("a rune ☃ cut by fragments"))
						c.send(c.encode(frame.Text, []byte(bad), -1))
						c.expectClose(frame.CloseInvalidPayload)
					}
				}
				c := s.openSealed("/raw", way.offer)
				c.send(c.encode(frame.Text, []byte("\xff"), -1))
				c.expectMessage(frame.Text, []byte("\xff"))
			})
		})
	}
}

// MaxMessageSize bounds what comes and what extensions make of it; not on raw routes, whose frames are bounded alone.
func TestMessagesOfExtensionsAreBounded(t *testing.T) {
	grows := &stubborn{sealing: sealing{"x-g", 0, 0}, incoming: func(f *engine.Frame) error {
		f.Payload = bytes.Repeat(f.Payload, 10)
		return nil
	}}
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithPingInterval(0), engine.WithMaxMessageSize(1000))
		s.handle("/grows", newEcho(), engine.WithExtensions(grows))
		s.handle("/grows/inflated", newEcho(), engine.WithExtensions(grows), engine.WithCompression(full))
		s.handle("/inflated/grows", newEcho(), engine.WithCompression(engine.Compression{TakeoverIn: true}), engine.WithExtensions(grows))
		s.handle("/sealed", newEcho(), engine.WithExtensions(sealA))
		s.raw("/raw", rawEcho{}, engine.WithExtensions(sealA))
		c := s.openSealed("/sealed", "x-a")
		c.send(c.encode(frame.Binary, pattern(998), -1))
		c.expectMessage(frame.Binary, pattern(998))
		c.send(c.encode(frame.Binary, pattern(999), -1)) // 1001 on the wire
		c.expectClose(frame.CloseMessageTooBig)
		c = s.openSealed("/sealed", "x-a")
		c.send(c.encode(frame.Binary, pattern(996), 500)) // 998 when its end has come, sealed
		c.expectMessage(frame.Binary, pattern(996))
		c.send(c.encode(frame.Binary, pattern(1001), 500))
		c.expectClose(frame.CloseMessageTooBig)
		c = s.openSealed("/raw", "x-a")
		c.send(c.encode(frame.Binary, pattern(2000), -1))
		c.expectMessage(frame.Binary, pattern(2000))
		for path, offer := range map[string]string{"/grows": "x-g", "/grows/inflated": "x-g, permessage-deflate", "/inflated/grows": "x-g"} {
			c := s.openDeflateOr(path, offer)
			c.write(frame.Binary, pattern(100))
			c.expectMessage(frame.Binary, bytes.Repeat(pattern(100), 10))
			if strings.Contains(c.answer, deflate.Name) {
				c.writeDeflated(frame.Binary, pattern(101))
			} else {
				c.write(frame.Binary, pattern(101))
			}
			c.expectClose(frame.CloseMessageTooBig)
		}
	})
}
