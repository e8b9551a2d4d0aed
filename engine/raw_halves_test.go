package engine_test

import (
	"testing"

	"zeroframe/engine"
	"zeroframe/frame"
)

// After Conn.Close a raw handler is told of every frame up to the peer's close frame: one that Close met halfway comes
// whole, with what of it had come before.
func TestAFrameThatOurCloseMeetsHalfwayIsDeliveredWhole(t *testing.T) {
	want := prose(3000, 1)
	for _, kind := range []struct {
		name    string
		options []engine.RouteOption
		wire    func(c *deflateClient) []byte
	}{
		{"plain", nil, func(*deflateClient) []byte { return encode(true, frame.Binary, want) }},
		{"compressed", []engine.RouteOption{engine.WithCompression(full)},
			func(c *deflateClient) []byte { return deflated(frame.Binary, c.out.message(want)) }},
		{"compressed, in fragments", []engine.RouteOption{engine.WithCompression(full)},
			func(c *deflateClient) []byte { return deflated(frame.Binary, c.out.message(want), 100, 100) }},
	} {
		t.Run(kind.name, func(t *testing.T) {
			onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
				for _, share := range []int{1, 2, 3} { // quarters that come before the close
					s := start(engine.WithPingInterval(0))
					h := newRawScript()
					s.raw("/", h, kind.options...)
					c := &deflateClient{client: s.connect()}
					c.upgrade("/", extensionsField+offered)
					conn := within(t, h.opened)
					wire := kind.wire(c)
					cut := share * len(wire) / 4
					c.send(wire[:cut])
					before := uint64(len(upgradeRequest("/", extensionsField+offered)) + cut)
					s.until("the first part is there", func() bool { return s.Stats().BytesIn >= before })
					conn.Close(frame.CloseNormal, "")
					c.expect(frame.Close, closePayload(frame.CloseNormal, ""))
					c.send(wire[cut:])
					c.write(frame.Text, []byte("behind it"))
					c.write(frame.Close, closePayload(frame.CloseNormal, ""))
					c.expectEOF()
					h.wait(t)
					h.expectHeard(t, wireFrame{true, 0, frame.Binary, want}, text("behind it"),
						wireFrame{true, 0, frame.Close, closePayload(frame.CloseNormal, "")})
				}
			})
		})
	}
}

// The same with both in one read: the handler closes over the frame that stands before the half.
func TestAHalfBehindTheFrameThatMakesTheHandlerCloseIsKept(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithPingInterval(0))
		h := newRawScript()
		h.onFrame = func(c *engine.Conn, f engine.Frame) {
			if f.OpCode == frame.Text {
				c.Close(frame.CloseNormal, "")
			}
		}
		s.raw("/", h)
		c := s.open("/")
		want := pattern(3000)
		wire := encode(true, frame.Binary, want)
		c.send(append(encode(true, frame.Text, []byte("close")), wire[:1000]...))
		c.expect(frame.Close, closePayload(frame.CloseNormal, ""))
		c.send(wire[1000:])
		c.write(frame.Close, closePayload(frame.CloseNormal, ""))
		c.expectEOF()
		h.wait(t)
		h.expectHeard(t, text("close"), wireFrame{true, 0, frame.Binary, want},
			wireFrame{true, 0, frame.Close, closePayload(frame.CloseNormal, "")})
	})
}
