package engine_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

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

// openDeflateOr is openDeflate where compression need not be agreed on.
func (s *server) openDeflateOr(path, offer string) *deflateClient {
	s.t.Helper()
	c := &deflateClient{client: s.connect()}
	c.answer = c.upgrade(path, extensionsField+offer)
	c.out.takeover = !strings.Contains(c.answer, clientAlone)
	c.in.takeover = !strings.Contains(c.answer, serverAlone)
	return c
}

// lendSealed is lend over extensions.
func (s *server) lendSealed(offer string, opts ...engine.RouteOption) (*sealedClient, *engine.Session, *handout) {
	h := s.handOut("/sealed", opts...)
	c := s.openSealed("/sealed", offer)
	return c, h.next(s.t), h
}
