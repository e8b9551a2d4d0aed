package engine

import (
	"errors"
	"fmt"
	"math"

	"zeroframe/deflate"
	"zeroframe/frame"
	"zeroframe/internal/utf8x"
	"zeroframe/pool"
)

// receiveDeflated takes a piece of a compressed message. It is inflated when it is complete: what a handler gets, here; a
// session gets it as it is, and inflates it on its own goroutine.
func (c *Conn) receiveDeflated(s *shard, ch *frame.Chunk, flags uint32) {
	ch.Unmask()
	switch {
	case !ch.Last || !ch.Header.Fin:
		if len(ch.Payload) > 0 || c.parser.Remaining() >= directFrom {
			c.assemble(s, ch.Payload)
		}
		return
	case flags&flagMidway != 0:
		c.assemble(s, ch.Payload)
		c.handOverLast(s)
		c.flags.And(^flagCompressed)
		return
	}
	c.flags.And(^flagCompressed)
	var buf *pool.Buffer
	compressed := ch.Payload
	if c.assembly != nil {
		c.assemble(s, ch.Payload)
		buf = c.takeAssembly(s)
		compressed = buf.B[assemblyRoom:]
	}
	if to := c.session(); to != nil {
		s.count.MessagesIn++
		it := item{op: c.message, begin: true, last: true, compressed: true, buf: buf, start: assemblyRoom}
		if buf == nil {
			it.start = 0
			it.buf = c.lc.Loop().Buffers().Get(len(compressed))
			it.buf.B = append(it.buf.B, compressed...)
		}
		to.push(it)
		return
	}
	inflated, err := c.inflate(&s.decompressor, c.lc.Loop().Buffers(), compressed, c.message, !c.route.skipUTF8)
	if buf != nil {
		c.lc.Loop().Buffers().Put(buf)
	}
	if err != nil {
		c.faultDeflate(err)
		return
	}
	c.spend(s, len(inflated.B))
	c.deliver(s, inflated.B[assemblyRoom:], inflated.B, inflated)
}

// spend ends the connection's turn when n more bytes are more than enough.
func (c *Conn) spend(s *shard, n int) {
	if s.inflated += n; s.inflated >= maxInflated {
		c.flags.Or(flagSpent)
	}
}

// maxInflated is how many bytes are inflated of what one read brought before the loop turns to its other connections: a
// read of 64 KiB can hold four messages of 16 MiB.
const maxInflated = 1 << 20

// inflate returns a message inflated, behind assemblyRoom bytes in a buffer: one of the loop's, which will get it back,
// or, off the loops, where buffers is nil, a shared one. Text is checked as it comes out, if asked for. The error is
// deflate's or errUTF8.
func (c *Conn) inflate(d *deflate.Decompressor, buffers *pool.Buffers, compressed []byte, op frame.OpCode, check bool) (*pool.Buffer, error) {
	limit := int(min(c.route.maxMessage, math.MaxInt-assemblyRoom))
	if err := d.Start(compressed, limit, c.historyIn()); err != nil {
		return nil, err
	}
	buf := getFrom(buffers, min(4*len(compressed)+256, limit)+assemblyRoom)
	buf.B = buf.B[:assemblyRoom]
	var text utf8x.State
	for {
		had := len(buf.B)
		out, done, err := d.Step(buf.B)
		buf.B = out
		if err == nil && check && op == frame.Text && !(text.Next(out[had:]) && (!done || text.Complete())) {
			err = errUTF8
		}
		if err != nil {
			putTo(buffers, buf)
			return nil, err
		}
		if done {
			n := &c.shard().sent
			n.inflated.Add(uint64(len(out) - assemblyRoom))
			n.inflatedWire.Add(uint64(len(compressed)))
			return buf, nil
		}
		if len(out) == cap(out) {
			grown := getFrom(buffers, min(2*len(out), limit+assemblyRoom))
			grown.B = append(grown.B, out...)
			putTo(buffers, buf)
			buf = grown
		}
	}
}

// getFrom borrows a buffer from a loop's, or, where buffers is nil, from those shared by all goroutines.
func getFrom(buffers *pool.Buffers, n int) *pool.Buffer {
	if buffers != nil {
		return buffers.Get(n)
	}
	return pool.Get(n)
}

func putTo(buffers *pool.Buffers, b *pool.Buffer) {
	if buffers != nil {
		buffers.Put(b)
		return
	}
	pool.Put(b)
}

// deflateReason is how a connection ends for what inflate found.
func (c *Conn) deflateReason(err error) CloseReason {
	switch {
	case errors.Is(err, deflate.ErrTooBig):
		text := fmt.Sprintf("message of more than %d bytes when inflated", c.route.maxMessage)
		return CloseReason{Code: frame.CloseMessageTooBig, Text: text, Err: ErrMessageTooBig}
	case err == errUTF8:
		return CloseReason{Code: frame.CloseInvalidPayload, Text: "text is not UTF-8", Err: err}
	}
	return CloseReason{Code: frame.CloseInvalidPayload, Text: "corrupt compressed message", Err: err}
}

func (c *Conn) faultDeflate(err error) {
	r := c.deflateReason(err)
	c.fault(r.Code, r.Text, r.Err)
}
