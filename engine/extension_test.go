package engine_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"zeroframe/deflate"
	"zeroframe/engine"
	"zeroframe/frame"
)

// sealing is an extension that XORs each frame with its key, writes its initial and the frame's number behind it, and
// sets its bit: whatever is done twice, not at all or in the wrong order is found out.
type sealing struct {
	name string
	bit  byte
	key  byte
}

func (x sealing) Name() string           { return x.name }
func (x sealing) ReservedBits() byte     { return x.bit }
func (x sealing) Offer() []deflate.Param { return []deflate.Param{{Name: "v", Value: "1"}} }

// Negotiate accepts version 1, with or without saying so.
func (x sealing) Negotiate(offer []deflate.Param) ([]deflate.Param, engine.FrameTransformer) {
	for _, p := range offer {
		switch {
		case p.Name == "panic":
			panic("in Negotiate")
		case p.Name != "v" || p.Value != "1":
			return nil, nil
		}
	}
	return offer, x.seal()
}

func (x sealing) Accept(answer []deflate.Param) (engine.FrameTransformer, error) {
	if !slices.Equal(answer, x.Offer()) {
		return nil, fmt.Errorf("%s does not know %v", x.name, answer)
	}
	return x.seal(), nil
}

func (x sealing) seal() *seal { return &seal{sealing: x} }

var (
	sealA = sealing{"x-a", frame.RSV2, 0x15}
	sealB = sealing{"x-b", frame.RSV3, 0xA3}
)

// seal is a sealing at work, at either end.
type seal struct {
	sealing
	out, in byte
	own     []byte
}

var (
	errUnsendable = errors.New("unsendable")
	errUnsealed   = errors.New("not sealed by this extension, or out of order")
)

// Outgoing refuses frames that contain "unsendable".
func (s *seal) Outgoing(f *engine.Frame) error {
	if bytes.Contains(f.Payload, []byte("unsendable")) {
		return errUnsendable
	}
	for i := range f.Payload {
		f.Payload[i] ^= s.key
	}
	f.Payload = append(f.Payload, s.name[2], s.out)
	f.RSV |= s.bit
	s.out++
	return nil
}

func (s *seal) Incoming(f *engine.Frame) error {
	n := len(f.Payload) - 2
	if n < 0 || f.RSV&s.bit == 0 || f.Payload[n] != s.name[2] || f.Payload[n+1] != s.in {
		return errUnsealed
	}
	s.in++
	s.own = append(s.own[:0], f.Payload[:n]...)
	f.Payload = s.own
	for i := range f.Payload {
		f.Payload[i] ^= s.key
	}
	f.RSV &^= s.bit
	return nil
}

// sealedClient speaks the extensions by hand.
type sealedClient struct {
	*client
	answer       string
	seals        []engine.FrameTransformer // in the order of the server's answer
	deflates     bool
	deflateFirst bool
	z            deflateClient
}

func (s *server) openSealed(path, offer string) *sealedClient {
	s.t.Helper()
	c := &sealedClient{client: s.connect()}
	c.answer = c.upgrade(path, extensionsField+offer)
	for i, e := range strings.Split(c.answer, ", ") {
		name, _, _ := strings.Cut(e, ";")
		switch name {
		case sealA.name:
			c.seals = append(c.seals, sealA.seal())
		case sealB.name:
			c.seals = append(c.seals, sealB.seal())
		case deflate.Name:
			c.deflates, c.deflateFirst = true, i == 0
		}
	}
	c.z.out.takeover = !strings.Contains(c.answer, clientAlone)
	c.z.in.takeover = !strings.Contains(c.answer, serverAlone)
	return c
}

// encode is a message as this client sends it, in two fragments if cut is not negative.
func (c *sealedClient) encode(op frame.OpCode, payload []byte, cut int) (wire []byte) {
	whole := engine.Frame{OpCode: op, Fin: true, Payload: bytes.Clone(payload)}
	seal := func(f *engine.Frame) {
		for _, s := range c.seals {
			if err := s.Outgoing(f); err != nil {
				c.t.Fatal(err)
			}
		}
	}
	if c.deflates && !c.deflateFirst {
		seal(&whole)
	}
	if c.deflates {
		whole.Payload = c.z.out.message(whole.Payload)
		whole.RSV |= frame.RSV1
	}
	frames := []engine.Frame{whole}
	if cut >= 0 {
		cut = min(cut, len(whole.Payload))
		frames = []engine.Frame{{OpCode: op, RSV: whole.RSV, Payload: bytes.Clone(whole.Payload[:cut])},
			{OpCode: frame.Continuation, Fin: true, Payload: bytes.Clone(whole.Payload[cut:])}}
	}
	for _, f := range frames {
		if !c.deflates || c.deflateFirst {
			seal(&f)
		}
		wire = append(wire, wireFrame{f.Fin, f.RSV, f.OpCode, f.Payload}.wire()...)
		if !f.Fin {
			wire = append(wire, encode(true, frame.Ping, []byte("between"))...)
		}
	}
	return wire
}

// message reads a message, whose pongs it passes over.
func (c *sealedClient) message() (op frame.OpCode, payload []byte) {
	c.t.Helper()
	unseal := func(f *engine.Frame) {
		c.t.Helper()
		for _, s := range slices.Backward(c.seals) {
			if err := s.Incoming(f); err != nil {
				c.t.Fatalf("%v, rsv %x: %.60q", err, f.RSV, f.Payload)
			}
		}
	}
	compressed := false
	for {
		f := c.next()
		if f.op == frame.Pong || f.op == frame.Ping {
			continue
		}
		if (op == 0) == (f.op == frame.Continuation) || !f.op.IsData() && f.op != frame.Continuation {
			c.t.Fatalf("got %v", f)
		}
		x := engine.Frame{RSV: f.rsv, Payload: f.payload}
		if op == 0 {
			op = f.op
			compressed = c.deflates && f.rsv&frame.RSV1 != 0
		}
		sealedWhole := compressed && !c.deflateFirst
		if !sealedWhole {
			unseal(&x)
			f.payload = x.Payload
		}
		payload = append(payload, f.payload...)
		if !f.fin {
			continue
		}
		if compressed {
			got, err := c.z.in.message(payload)
			if err != nil {
				c.t.Fatalf("it does not inflate: %v", err)
			}
			payload = got
		}
		if sealedWhole {
			x.Payload = payload
			unseal(&x)
			payload = bytes.Clone(x.Payload)
		}
		if x.RSV&^frame.RSV1 != 0 {
			c.t.Fatalf("reserved bits %x are left", x.RSV)
		}
		return op, payload
	}
}

func (c *sealedClient) expectMessage(op frame.OpCode, payload []byte) {
	c.t.Helper()
	if gotOp, got := c.message(); gotOp != op || !bytes.Equal(got, payload) {
		c.t.Fatalf("got %v of %d bytes %.60q, want %v of %d bytes %.60q", gotOp, len(got), got, op, len(payload), payload)
	}
}

// installations are the ways to install extensions, with the offers and answers that belong to them.
var installations = []struct {
	name   string
	opts   []engine.RouteOption
	offer  string
	answer string
	names  []string
}{
	{"alone", []engine.RouteOption{engine.WithExtensions(sealA)}, "x-a; v=1", "x-a; v=1", []string{"x-a"}},
	{"two", []engine.RouteOption{engine.WithExtensions(sealA, sealB)}, "x-b, x-a", "x-a, x-b", []string{"x-a", "x-b"}},
	{"before compression", []engine.RouteOption{engine.WithExtensions(sealA), engine.WithCompression(full)}, "permessage-deflate, x-a",
		"x-a, permessage-deflate", []string{"x-a", deflate.Name}},
	{"behind compression", []engine.RouteOption{engine.WithCompression(full), engine.WithExtensions(sealA)}, "x-a, permessage-deflate",
		"permessage-deflate, x-a", []string{deflate.Name, "x-a"}},
	{"two behind compression", []engine.RouteOption{engine.WithCompression(engine.Compression{Threshold: 100}), engine.WithExtensions(sealB, sealA)},
		"x-a, x-b, permessage-deflate", "permessage-deflate; server_no_context_takeover; client_no_context_takeover, x-b, x-a",
		[]string{deflate.Name, "x-b", "x-a"}},
	{"two before compression", []engine.RouteOption{engine.WithExtensions(sealB, sealA), engine.WithCompression(engine.Compression{Threshold: 100, TakeoverOut: true})},
		"x-a, x-b, permessage-deflate", "x-b, x-a, permessage-deflate; client_no_context_takeover", []string{"x-b", "x-a", deflate.Name}},
	{"compression that the client does not offer", []engine.RouteOption{engine.WithCompression(full), engine.WithExtensions(sealA)}, "x-a", "x-a", []string{"x-a"}},
}

// RFC 6455, section 9.1: the order of the answer is the order of the operations.
func TestExtensionsTransformFramesOnEveryLayer(t *testing.T) {
	all := append(slices.Clip(layers), struct {
		name  string
		start func(s *server, opts ...engine.RouteOption)
	}{"fragments", func(s *server, opts ...engine.RouteOption) {
		s.handle("/", engine.HandlerFunc(func(c *engine.Conn, op frame.OpCode, p []byte) {
			c.SendFragment(op, p[:len(p)/2], false)
			c.SendFragment(op, nil, false)
			c.SendFragment(op, p[len(p)/2:], true)
		}), opts...)
	}})
	for _, way := range installations {
		for _, layer := range all {
			t.Run(way.name+"/"+layer.name, func(t *testing.T) {
				onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
					s := start(engine.WithPingInterval(0))
					layer.start(s, way.opts...)
					c := s.openSealed("/", way.offer)
					if c.answer != way.answer {
						t.Fatalf("answered %q, want %q", c.answer, way.answer)
					}
					sizes := []int{0, 1, 99, 600, 600, 2000}
					if !s.cut() {
						sizes = append(sizes, 70_000)
					}
					for i, n := range sizes {
						op, payload := frame.Text, prose(n, uint64(i/3))
						if i%2 == 1 {
							op = frame.Binary
						}
						for _, cut := range []int{-1, 0, n / 3} {
							if cut != n/3 && n > 600 {
								continue
							}
							go c.Write(c.encode(op, payload, cut))
							c.expectMessage(op, payload)
						}
					}
				})
			})
		}
	}
}

func TestDialedConnectionsUseExtensions(t *testing.T) {
	for _, way := range installations[:len(installations)-1] {
		t.Run(way.name, func(t *testing.T) {
			onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
				s := start(engine.WithPingInterval(0))
				s.session("/", echoSession, way.opts...)
				c := s.dialSession(way.opts...)
				if got := c.Conn().Extensions(); !slices.Equal(got, way.names) {
					t.Errorf("Extensions: %q, want %q", got, way.names)
				}
				for i, n := range []int{0, 10, 600, 600, 3000} {
					payload := prose(n, uint64(i/2))
					if err := c.Send(patiently(t), frame.Text, payload); err != nil {
						t.Fatal(err)
					}
					expectMessage(t, c, frame.Text, payload)
				}
				c.Receive(canceled())
				c.Terminate()
				within(t, c.Context().Done())
			})
		})
	}
}

func TestExtensionsAreNegotiated(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithExtensions(sealA, sealB), engine.WithPingInterval(0))
		h := newScript()
		s.handle("/", h)
		raw := newRawScript()
		s.raw("/raw", raw)
		s.raw("/raw/own", raw, engine.WithExtensions(sealB))
		s.handle("/none", h, engine.WithExtensions())
		for _, tt := range []struct {
			path, offer, answer string
			names               []string
		}{
			{"/", "x-a", "x-a", []string{"x-a"}},
			{"/", "x-b; v=1, x-a; v=1", "x-a; v=1, x-b; v=1", []string{"x-a", "x-b"}},
			{"/", "x-a; v=2, x-a; v=1, x-a", "x-a; v=1", []string{"x-a"}},
			{"/", "x-a; v=2", "", nil},
			{"/", "x-a; v=2, x-b", "x-b", []string{"x-b"}},
			{"/", "X-A", "", nil},
			{"/", "permessage-deflate", "", nil},
			{"/", "x-a;", "", nil},
			{"/none", "x-a", "", nil},
			{"/raw", "x-a", "", nil},
			{"/raw/own", "x-a, x-b", "x-b", []string{"x-b"}},
		} {
			c := s.connect()
			if got := c.upgrade(tt.path, extensionsField+tt.offer); got != tt.answer {
				t.Errorf("%s, %q: answered %q, want %q", tt.path, tt.offer, got, tt.answer)
			}
			opened := h.opened
			if strings.HasPrefix(tt.path, "/raw") {
				opened = raw.opened
			}
			if got := within(t, opened).Extensions(); !slices.Equal(got, tt.names) {
				t.Errorf("%s, %q: Extensions %q, want %q", tt.path, tt.offer, got, tt.names)
			}
		}
		c := s.connect()
		c.send(upgradeRequest("/", extensionsField+"x-a; panic"))
		if status, _ := c.readHead(); status != 500 {
			t.Errorf("a panic in Negotiate: %d, want 500", status)
		}
		s.openSealed("/", "x-a")
	})
}

func TestDialRefusesAnswersThatExtensionsRefuse(t *testing.T) {
	for answer, refused := range map[string]string{
		"x-a; v=1":           "",
		"x-a; v=1, x-b; v=1": "",
		"x-a; v=2":           "does not know",
		"x-a":                "does not know",
		"x-c":                "not offered",
		"x-a; v=1, x-a; v=1": "twice",
	} {
		s, p := bare(t), newPeer(t)
		go func() {
			if c, _ := p.accept(switching + extensionsField + answer + "\r\n\r\n"); c != nil {
				c.t.Cleanup(func() { c.Close() })
			}
		}()
		c, err := s.DialSession(patiently(t), p.url("/"), nil, engine.WithExtensions(sealA, sealB))
		var he *engine.HandshakeError
		switch {
		case refused == "" && err != nil, refused != "" && (!errors.As(err, &he) || !strings.Contains(he.Reason, refused)):
			t.Errorf("%q: %v, want %q", answer, err, refused)
		case err == nil:
			c.Terminate()
			within(t, c.Context().Done())
		}
	}
}

func TestExtensionsThatCannotWorkTogetherAreRefused(t *testing.T) {
	z := engine.WithCompression(full)
	for name, tt := range map[string]struct {
		opts   []engine.Setting
		option string
	}{
		"one name twice":                 {[]engine.Setting{engine.WithExtensions(sealA, sealing{"x-a", frame.RSV3, 0})}, "WithExtensions"},
		"one bit twice":                  {[]engine.Setting{engine.WithExtensions(sealA, sealing{"x-c", frame.RSV2 | frame.RSV3, 0})}, "WithExtensions"},
		"the bit of compression":         {[]engine.Setting{z, engine.WithExtensions(sealing{"x-c", frame.RSV1, 0})}, "WithExtensions"},
		"the bit of compression, before": {[]engine.Setting{engine.WithExtensions(sealing{"x-c", frame.RSV1, 0}), z}, "WithExtensions"},
		"the name of compression":        {[]engine.Setting{z, engine.WithExtensions(sealing{deflate.Name, frame.RSV2, 0})}, "WithExtensions"},
		"not a token":                    {[]engine.Setting{engine.WithExtensions(sealing{"x a", frame.RSV2, 0})}, "WithExtensions"},
		"no name":                        {[]engine.Setting{engine.WithExtensions(sealing{"", frame.RSV2, 0})}, "WithExtensions"},
		"a bit that is not reserved":     {[]engine.Setting{engine.WithExtensions(sealing{"x-c", 0x80, 0})}, "WithExtensions"},
		"nil":                            {[]engine.Setting{engine.WithExtensions(nil)}, "WithExtensions"},
	} {
		t.Run(name, func(t *testing.T) {
			var asOptions []engine.Option
			var asRoute []engine.RouteOption
			for _, o := range tt.opts {
				asOptions, asRoute = append(asOptions, o), append(asRoute, o)
			}
			s := bare(t)
			e, errNew := engine.New(asOptions...)
			if e != nil {
				e.Close()
			}
			_, errDial := s.Dial(canceled(), "ws://127.0.0.1:1/", nil, newEcho(), asRoute...)
			for what, err := range map[string]error{
				"New": errNew, "Dial": errDial, "Handle": s.Handle("/", newEcho(), asRoute...),
				"HandleSession": s.HandleSession("/", echoSession, asRoute...), "HandleRaw": s.HandleRaw("/", rawEcho{}, asRoute...),
			} {
				var oe *engine.OptionError
				if !errors.As(err, &oe) || oe.Option != tt.option {
					t.Errorf("%s: %v, want an OptionError of %s", what, err, tt.option)
				}
			}
		})
	}
	s := bare(t)
	var oe *engine.OptionError
	if err := s.HandleRaw("/", rawEcho{}, z, engine.WithReservedBits(frame.RSV1)); !errors.As(err, &oe) || oe.Option != "WithReservedBits" {
		t.Errorf("a raw route with compression and RSV1 for itself: %v", err)
	}
	if err := s.HandleRaw("/", rawEcho{}, engine.WithExtensions(sealA), engine.WithReservedBits(frame.RSV2)); !errors.As(err, &oe) {
		t.Errorf("a raw route that wants its extension's bit: %v", err)
	}
	one, err := engine.New(engine.WithExtensions(sealA), z)
	if err != nil {
		t.Fatal(err)
	}
	defer one.Close()
	if err := one.Handle("/", newEcho(), engine.WithExtensions(sealing{"x-c", frame.RSV1, 0})); !errors.As(err, &oe) || oe.Option != "WithExtensions" {
		t.Errorf("a route's extension with the bit of the engine's compression: %v", err)
	}
	if err := one.Handle("/", newEcho(), engine.WithoutCompression(), engine.WithExtensions(sealing{"x-c", frame.RSV1, 0})); err != nil {
		t.Errorf("RSV1 on a route without compression: %v", err)
	}
	// The engine's compression is not the raw route's.
	if err := one.HandleRaw("/raw", rawEcho{}, engine.WithReservedBits(frame.RSV1|frame.RSV2)); err != nil {
		t.Errorf("reserved bits on a raw route: %v", err)
	}
}

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

// sealedRaw encodes a text message that the client's own seals would refuse.
func sealedRaw(c *sealedClient, payload []byte) []byte {
	f := engine.Frame{Payload: bytes.Clone(payload)}
	for _, s := range c.seals {
		s := s.(*seal)
		for i := range f.Payload {
			f.Payload[i] ^= s.key
		}
		f.Payload = append(f.Payload, s.name[2], s.out)
		f.RSV |= s.bit
		s.out++
	}
	return wireFrame{true, f.RSV, frame.Text, f.Payload}.wire()
}

// stubborn is an extension whose transformers refuse what the test says.
type stubborn struct {
	sealing
	outgoing, incoming func(f *engine.Frame) error
}

func (x *stubborn) Negotiate(offer []deflate.Param) ([]deflate.Param, engine.FrameTransformer) {
	return offer, x
}

func (x *stubborn) Outgoing(f *engine.Frame) error {
	if x.outgoing == nil {
		return nil
	}
	return x.outgoing(f)
}

func (x *stubborn) Incoming(f *engine.Frame) error {
	if x.incoming == nil {
		return nil
	}
	return x.incoming(f)
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

// openDeflateOr is openDeflate where compression need not be agreed on.
func (s *server) openDeflateOr(path, offer string) *deflateClient {
	s.t.Helper()
	c := &deflateClient{client: s.connect()}
	c.answer = c.upgrade(path, extensionsField+offer)
	c.out.takeover = !strings.Contains(c.answer, clientAlone)
	c.in.takeover = !strings.Contains(c.answer, serverAlone)
	return c
}

// A raw handler with extensions speaks in frames as without: fragments continue, and what does not is refused.
func TestFramesOfRawRoutesWithExtensionsAreJudgedAsEver(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithPingInterval(0))
		h := newRawScript()
		s.raw("/", h, engine.WithExtensions(sealA), engine.WithReservedBits(frame.RSV3))
		c := s.openSealed("/", "x-a")
		conn := within(t, h.opened)
		for i, step := range []struct {
			f   engine.Frame
			err error
		}{
			{engine.Frame{OpCode: frame.Continuation, Payload: []byte("stray")}, engine.ErrFragment},
			{engine.Frame{OpCode: frame.Continuation, Fin: true, Payload: []byte("stray")}, engine.ErrFragment},
			{engine.Frame{OpCode: frame.Text, Payload: []byte("one ")}, nil},
			{engine.Frame{OpCode: frame.Text, Payload: []byte("another")}, engine.ErrFragment},
			{engine.Frame{OpCode: frame.Text, Fin: true, Payload: []byte("another")}, engine.ErrFragment},
			{engine.Frame{OpCode: frame.Continuation, Payload: []byte("two ")}, nil},
			{engine.Frame{OpCode: frame.Ping, Fin: true}, nil},
			{engine.Frame{OpCode: frame.Continuation, Fin: true, Payload: []byte("three")}, nil},
			{engine.Frame{OpCode: frame.Text, Fin: true, RSV: frame.RSV2}, engine.ErrFrame},
		} {
			if err := conn.SendFrame(step.f); err != step.err {
				t.Errorf("step %d: %v, want %v", i, err, step.err)
			}
		}
		c.expectMessage(frame.Text, []byte("one two three"))
		if err := conn.SendFrame(engine.Frame{OpCode: frame.Binary, RSV: frame.RSV3}); err != nil {
			t.Fatal(err)
		}
		if f := c.next(); f.rsv != frame.RSV2|frame.RSV3 || f.fin {
			t.Errorf("got %v, want the handler's bit and the extension's", f)
		}
	})
}

// Replies are not bounded by MaxBackpressure, on raw routes with extensions neither: the peer that reads nothing is not
// read, and loses nothing.
func TestRepliesOfRawRoutesWithExtensionsAreNotBounded(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithPingInterval(0), engine.WithMaxBackpressure(500))
		h := newRawScript()
		errs := make(chan error, 100)
		h.onFrame = func(c *engine.Conn, f engine.Frame) { errs <- c.ReplyFrame(f) }
		s.raw("/", h, engine.WithExtensions(sealA))
		c := s.openSealed("/", "x-a")
		var wire []byte
		for i := range 20 {
			wire = append(wire, c.encode(frame.Binary, prose(300, uint64(i)), -1)...)
		}
		c.send(wire)
		for i := range 20 {
			if err := within(t, errs); err != nil {
				t.Errorf("reply %d: %v", i, err)
			}
			c.expectMessage(frame.Binary, prose(300, uint64(i)))
		}
	})
}

// A fragment is never dropped behind its sender's back: the others would make another message.
func TestFragmentsOfExtendedConnectionsAreRefusedNotDropped(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithPingInterval(0), engine.WithMaxBackpressure(100), engine.WithBackpressurePolicy(engine.PolicyDrop))
		s.narrow()
		h := newScript()
		s.handle("/", h, engine.WithExtensions(sealA))
		c := s.openSealed("/", "x-a")
		conn := within(t, h.opened)
		want := bytes.Clone(bulk(s.glut()))
		if err := conn.SendFragment(frame.Binary, want, false); err != nil {
			t.Fatal(err)
		}
		for _, fin := range []bool{false, true} {
			if err := conn.SendFragment(frame.Binary, []byte("more than there is room for: "+strings.Repeat("x", 100)), fin); err != engine.ErrBackpressure {
				t.Errorf("fin %v: %v, want ErrBackpressure", fin, err)
			}
		}
		if _, err := c.readFrame(); err != nil {
			t.Fatal(err)
		}
		s.until("the queue is empty", func() bool { return conn.Buffered() == 0 })
		if err := conn.SendFragment(frame.Binary, []byte("the end"), true); err != nil {
			t.Fatal(err)
		}
		if f := c.next(); f.op != frame.Continuation || !f.fin || len(f.payload) != len("the end")+2 {
			t.Errorf("got %v, want the last fragment", f)
		}
	})
}

func TestSettersWorkBesideExtensions(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithPingInterval(0))
		h := replying()
		s.handle("/", h, engine.WithExtensions(sealA), engine.WithCompression(full))
		c := s.openSealed("/", "x-a, permessage-deflate")
		conn := within(t, h.opened)
		conn.SetMaxFrameSize(300)
		applied := make(chan bool)
		conn.Post(func() { close(applied) })
		within(t, applied)
		c.send(c.encode(frame.Text, prose(500, 1), -1)) // less when compressed
		c.expectMessage(frame.Text, prose(500, 1))
		c.send(c.encode(frame.Binary, noise(301, 1), -1))
		c.expectClose(frame.CloseMessageTooBig)
	})
}

// Many goroutines send on one connection: the transformers see one frame at a time, in the order they leave.
func TestManyGoroutinesSendThroughExtensions(t *testing.T) {
	for _, way := range installations {
		t.Run(way.name, func(t *testing.T) {
			onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
				s := start(engine.WithPingInterval(0))
				c, session, _ := s.lendSealed(way.offer, way.opts...)
				const senders, each = 8, 10
				prepared, _ := engine.Prepare(frame.Text, []byte("0 prepared "+string(prose(200, 1))))
				var all sync.WaitGroup
				for i := range senders {
					all.Go(func() {
						for j := range each {
							var err error
							switch text := fmt.Sprintf("%d %d %s", i, j, prose(200, uint64(j))); {
							case i == 0:
								err = session.SendPrepared(context.Background(), prepared)
							case i == 1:
								w, e := session.NextWriter(context.Background(), frame.Text)
								if err = e; err == nil {
									w.Write([]byte(text))
									err = w.Close()
								}
							default:
								err = session.SendText(context.Background(), text)
							}
							if err != nil {
								t.Error(err)
							}
						}
					})
				}
				var next [senders]int
				for range senders * each {
					_, got := c.message()
					var i, j int
					if bytes.HasPrefix(got, []byte("0 prepared")) {
						continue
					}
					if n, _ := fmt.Sscanf(string(got), "%d %d", &i, &j); n != 2 || next[i] != j {
						t.Fatalf("message %d of sender %d, want %d: %.40q", j, i, next[i], got)
					}
					next[i]++
				}
				all.Wait()
			})
		})
	}
}

// lendSealed is lend over extensions.
func (s *server) lendSealed(offer string, opts ...engine.RouteOption) (*sealedClient, *engine.Session, *handout) {
	h := s.handOut("/sealed", opts...)
	c := s.openSealed("/sealed", offer)
	return c, h.next(s.t), h
}
