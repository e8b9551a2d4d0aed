package engine

import (
	"errors"
	"slices"
	"strings"
	"unicode/utf8"

	"zeroframe/frame"
	"zeroframe/pool"
)

// The path of messages on a connection with extensions of the user's: each frame is joined from what came of it, passes
// the transformers, and is joined to its message. Compression stands before or behind all of them.

// receiveExtended takes a piece of a data frame.
func (c *Conn) receiveExtended(s *shard, ch *frame.Chunk) {
	if !c.delivering() {
		return
	}
	x := c.extensions()
	if ch.First {
		if ch.Header.OpCode != frame.Continuation {
			c.message = ch.Header.OpCode
			x.rsv = ch.Header.RSV
		}
		size := ch.Header.Length
		if x.message != nil {
			size += int64(len(x.message.B) - assemblyRoom)
		}
		bounded := c.route.raw == nil || c.flags.Load()&flagDeflate != 0 && x.rsv&frame.RSV1 != 0
		if bounded && size > c.route.maxMessage || size < 0 {
			c.faultTooBig("message", size, c.route.maxMessage)
			return
		}
	}
	ch.Unmask()
	if c.assembly != nil || !ch.Last {
		c.assemble(s, ch.Payload)
	}
	if !ch.Last {
		return
	}
	f := Frame{OpCode: ch.Header.OpCode, Fin: ch.Header.Fin, RSV: ch.Header.RSV, Payload: ch.Payload}
	if c.assembly != nil {
		buf := c.takeAssembly(s)
		f.Payload = buf.B[assemblyRoom:]
		defer c.lc.Loop().Buffers().Put(buf) // a handler, or an extension, may panic
	}
	c.receiveFrame(s, x, &f)
}

// receiveFrame takes a whole frame.
func (c *Conn) receiveFrame(s *shard, x *extensions, f *Frame) {
	compressed := c.flags.Load()&flagDeflate != 0 && x.rsv&frame.RSV1 != 0
	if compressed && !c.route.deflateFirst { // the transformers worked on what was compressed then
		f.RSV = 0
	} else {
		deflated := f.RSV & frame.RSV1
		if compressed {
			f.RSV &^= frame.RSV1
		}
		if !c.transform(x, f) {
			return
		}
		if compressed {
			f.RSV |= deflated
		}
	}
	if c.route.raw != nil && !compressed {
		s.count.MessagesIn++
		s.serving.begin(c, f.Payload, f.Payload, nil)
		c.route.raw.OnFrame(c, *f)
		s.finishServing(c)
		return
	}
	if x.message == nil {
		x.message = c.lc.Loop().Buffers().Get(assemblyRoom + len(f.Payload)) // which gets it back
		x.message.B = x.message.B[:assemblyRoom]
	}
	x.message = appendPooled(x.message, f.Payload)
	if int64(len(x.message.B)-assemblyRoom) > c.route.maxMessage {
		c.faultTooBig("message", int64(len(x.message.B)-assemblyRoom), c.route.maxMessage)
		return
	}
	if f.Fin {
		c.receiveWhole(s, x, compressed)
	}
}

// receiveWhole delivers the message whose last frame has come.
func (c *Conn) receiveWhole(s *shard, x *extensions, compressed bool) {
	if compressed {
		inflated, err := c.inflate(&s.decompressor, c.lc.Loop().Buffers(), x.message.B[assemblyRoom:], c.message, false)
		if err != nil {
			c.faultDeflate(err)
			return
		}
		c.spend(s, len(inflated.B))
		pool.Put(x.message)
		x.message = inflated // where it is found if an extension panics
		if !c.route.deflateFirst && !c.transformWhole(x) {
			return
		}
	}
	buf := x.message
	x.message = nil
	if c.message == frame.Text && !c.route.skipUTF8 && !utf8.Valid(buf.B[assemblyRoom:]) {
		pool.Put(buf)
		c.fault(frame.CloseInvalidPayload, "text is not UTF-8", errUTF8)
		return
	}
	c.deliver(s, buf.B[assemblyRoom:], buf.B, buf)
}

// transformWhole lets a message pass the transformers after it was inflated, and reports whether it got through.
func (c *Conn) transformWhole(x *extensions) bool {
	payload := x.message.B[assemblyRoom:]
	f := Frame{OpCode: c.message, Fin: true, RSV: x.rsv &^ frame.RSV1, Payload: payload}
	if !c.transform(x, &f) {
		return false
	}
	if size := int64(len(f.Payload)); size > c.route.maxMessage {
		c.faultTooBig("message", size, c.route.maxMessage)
		return false
	}
	if len(f.Payload) != len(payload) || len(payload) > 0 && &f.Payload[0] != &payload[0] {
		other := c.lc.Loop().Buffers().Get(assemblyRoom + len(f.Payload))
		other.B = append(other.B[:assemblyRoom], f.Payload...)
		pool.Put(x.message)
		x.message = other
	}
	return true
}

var errReservedBits = &frame.Error{Code: frame.CloseProtocolError, Reason: "reserved bits that no extension has cleared"}

// transform lets an incoming frame pass the transformers, the last one first, and reports whether it got through.
func (c *Conn) transform(x *extensions, f *Frame) bool {
	op, fin := f.OpCode, f.Fin
	for _, t := range slices.Backward(x.list) {
		if err := t.Incoming(f); err != nil {
			code, reason := frame.CloseProtocolError, "frame refused by an extension"
			if e := (*frame.Error)(nil); errors.As(err, &e) && e.Code.OnWire() {
				code, reason = e.Code, strings.ToValidUTF8(e.Reason, "\uFFFD")
			}
			c.fault(code, reason, err)
			return false
		}
	}
	f.OpCode, f.Fin = op, fin
	if f.RSV&^c.route.rules.RSV != 0 {
		c.fault(errReservedBits.Code, errReservedBits.Reason, errReservedBits)
		return false
	}
	return true
}

// appendPooled appends p to a buffer, which moves to a larger one where it must.
func appendPooled(buf *pool.Buffer, p []byte) *pool.Buffer {
	if have := len(buf.B); cap(buf.B)-have < len(p) {
		grown := pool.Get(max(2*have, have+len(p)))
		grown.B = append(grown.B, buf.B...)
		pool.Put(buf)
		buf = grown
	}
	buf.B = append(buf.B, p...)
	return buf
}

// frameExtended is queueFrame for a fragment on a connection with transformers.
func (c *Conn) frameExtended(f Frame, b bound) error {
	x := c.extensions()
	x.mu.Lock()
	defer x.mu.Unlock()
	c.lc.Lock()
	flags := c.flags.Load()
	if (f.OpCode == frame.Continuation) != (flags&flagFragment != 0) && flags&flagSendClosed == 0 {
		return c.unlock(ErrFragment)
	}
	op := f.OpCode
	if flags&flagFragment != 0 {
		op = c.more().fragment
	}
	c.lc.Unlock(false)
	return c.fragmentExtended(x, op, f.Payload, f.Fin, f.RSV, nil, b)
}

// fragmentExtended is queueFragment on a connection with transformers: the fragment passes them as it is, and is not
// compressed. The caller holds x.mu.
func (c *Conn) fragmentExtended(x *extensions, op frame.OpCode, payload []byte, fin bool, rsv byte, by *messageWriter, b bound) error {
	c.lc.Lock()
	h := frame.Header{Fin: fin, OpCode: op, RSV: rsv}
	if f := c.flags.Load(); f&flagFragment != 0 {
		if !c.continues(f, op, by) {
			return c.unlock(ErrFragment)
		}
		h.OpCode = frame.Continuation
	} else if err := c.admits(0, exempt); err != nil {
		return c.unlock(err)
	}
	if b != exempt {
		err := c.fits(len(payload), b)
		if err == errDropped && (!fin || h.OpCode == frame.Continuation) {
			err = ErrBackpressure // without it the other fragments would make another message
		}
		if err != nil {
			return c.unlock(err)
		}
	}
	c.lc.Unlock(false)
	return c.sendExtended(x, h, payload, false, func() { c.sentFragment(op, fin, by) })
}

// sendExtended lets a frame that was admitted pass the transformers, compresses it if it is a whole message, and queues
// it. The caller holds x.mu, and so keeps others from sending data. queued is called under the output queue's lock.
func (c *Conn) sendExtended(x *extensions, h frame.Header, payload []byte, whole bool, queued func()) error {
	copied := pool.Get(len(payload))
	defer func() { pool.Put(copied) }()
	copied.B = append(copied.B, payload...)
	f := Frame{OpCode: h.OpCode, Fin: h.Fin, RSV: h.RSV, Payload: copied.B}
	var squeezed *pool.Buffer
	sent := false
	defer func() {
		if squeezed == nil {
			return
		}
		pool.Put(squeezed)
		if !sent && x.out != nil { // what later messages would refer to has not left: an extension refused it, or panicked
			c.closeWith(CloseReason{Code: frame.CloseInternalError, Text: "message given up"})
		}
	}()
	plain := 0
	squeeze := func() {
		if whole && c.flags.Load()&flagDeflate != 0 && c.compresses(h.OpCode, len(f.Payload)) {
			plain = len(f.Payload)
			if squeezed = c.shrink(f.Payload, x.out); squeezed != nil {
				f.Payload = squeezed.B
				f.RSV |= frame.RSV1
			}
		}
	}
	if c.route.deflateFirst {
		squeeze()
	}
	for _, t := range x.list {
		if err := t.Outgoing(&f); err != nil {
			return err
		}
	}
	if !c.route.deflateFirst {
		squeeze()
	}
	h.RSV = f.RSV
	c.lc.Lock()
	err := c.appendLocked(h, f.Payload, exempt)
	if err == nil && queued != nil {
		queued()
	}
	sent = err == nil
	if sent && squeezed != nil {
		c.countDeflated(plain, len(squeezed.B))
	}
	return c.unlock(err)
}
