package engine

import (
	"errors"
	"fmt"

	"zeroframe/frame"
	"zeroframe/internal/utf8x"
	"zeroframe/pool"
)

// serving is the message that a loop is delivering at this moment, for Conn.Reply: a reply that is the payload itself
// leaves from where it stands, with its header in the room that the client's header leaves in front of it.
type serving struct {
	conn    *Conn
	payload []byte
	frame   []byte       // the memory around payload, which is its end, from the first byte of the room on
	buf     *pool.Buffer // of an assembled message: given back after the callback, unless a reply took it
	room    int          // bytes free before payload; 0: used up
	used    bool         // payload was sent in place and belongs to the loop
}

// receive parses b and acts on every frame in it.
func (c *Conn) receive(b []byte) {
	s := c.shard()
	ch := &s.chunk
	f := c.flags.Load()
	if f&(notDelivering|flagStashed) != 0 && c.state == stateOpen {
		c.keepForResume(b)
		if f&notDelivering != 0 {
			c.restReading()
		}
		return
	}
	rules := &c.route.rules
	if f&(flagOwnRules|flagDeflate|flagExtended) != 0 {
		rules = c.rulesInForce(f)
	}
	s.count.BytesIn += uint64(len(b))
	s.inflated = 0
	for len(b) > 0 {
		n, err := c.parser.Next(b, rules, ch)
		if err != nil {
			c.faultFrame(err)
			return
		}
		switch {
		case ch.Header.OpCode.IsControl():
			c.receiveControl(s, ch, b[:n])
		case f&flagExtended != 0:
			c.receiveExtended(s, ch)
		case c.route.raw != nil:
			c.receiveRaw(s, ch, b[:n])
		default:
			c.receiveData(s, ch, b[:n])
		}
		b = b[n:]
		if c.state != stateOpen || c.flags.Load()&(notDelivering|flagTerminate|flagSpent) != 0 {
			if c.interrupted(b) {
				break
			}
		}
	}
	if c.flags.Load()&flagPieces != 0 && c.delivering() {
		c.handOver(s)
	}
	c.lc.ReadDirect(c.assembly != nil && c.parser.Remaining() >= directFrom)
}

// rulesInForce are those that a connection's frames are held against, when they are not the route's.
func (c *Conn) rulesInForce(flags uint32) *frame.Rules {
	switch {
	case flags&flagOwnRules != 0:
		return &c.more().own.rules
	case flags&flagExtended != 0:
		return &c.extensions().rules
	case flags&flagDeflate != 0:
		return &c.route.deflateRules
	}
	return &c.route.rules
}

// interrupted looks, after a frame that changed the connection's state, whether parsing goes on, and keeps or drops what
// is left otherwise.
func (c *Conn) interrupted(rest []byte) bool {
	switch c.state {
	case stateClosing:
		return false
	case stateOpen:
		f := c.flags.And(^flagSpent)
		if f&flagTerminate == 0 && len(rest) > 0 {
			c.keepForResume(rest)
			c.restReading()                              // the end of the stream must not overtake them
			c.shard().count.BytesIn -= uint64(len(rest)) // they are counted when they are parsed
			if f&notDelivering == 0 {
				c.lc.Notify(mailReading)
			}
		}
		return true
	case stateDraining, stateAnswering:
		c.drain(len(rest))
	}
	return true
}

// delivering reports whether messages still reach the handler: not after Close or Terminate, however far these have got.
func (c *Conn) delivering() bool {
	if c.route.raw != nil { // whose handler sees what comes until the peer's close frame
		return (c.state == stateOpen || c.state == stateClosing) && c.flags.Load()&flagTerminate == 0
	}
	return c.state == stateOpen && c.flags.Load()&(flagSendClosed|flagTerminate) == 0
}

// receiveData takes a piece of a data frame: b holds it together with those bytes of its header that came with it. A
// message that came whole is delivered where it stands; everything else goes through the assembly buffer.
func (c *Conn) receiveData(s *shard, ch *frame.Chunk, b []byte) {
	f := c.flags.Load()
	if (c.state != stateOpen || f&(flagSendClosed|flagTerminate) != 0) && !c.delivering() {
		return
	}
	if ch.First {
		if ch.Header.OpCode != frame.Continuation {
			c.message = ch.Header.OpCode
			c.utf8 = 0
			if ch.Header.RSV != 0 {
				f = c.flags.Or(flagCompressed) | flagCompressed
			}
		}
		if size := c.assembled(f) + ch.Header.Length; size > c.route.maxMessage || size < 0 {
			c.faultTooBig("message", size, c.route.maxMessage)
			return
		}
	}
	if f&flagCompressed != 0 {
		c.receiveDeflated(s, ch, f)
		return
	}
	if !c.unmask(ch) {
		c.fault(frame.CloseInvalidPayload, "text is not UTF-8", errUTF8)
		return
	}
	last := ch.Last && ch.Header.Fin
	midway := f&flagMidway != 0
	if last && c.message == frame.Text && !c.route.skipUTF8 && !c.utf8.Complete() {
		c.fault(frame.CloseInvalidPayload, "text ends inside a character", errUTF8)
		return
	}
	switch {
	case last && midway:
		c.assemble(s, ch.Payload)
		c.handOverLast(s)
	case last && c.assembly == nil:
		// c.assembly is nil too when all that came before was empty.
		c.deliver(s, ch.Payload, b[len(b)-len(ch.Payload)-ch.Room:], nil)
	case last:
		c.assemble(s, ch.Payload)
		buf := c.takeAssembly(s)
		c.deliver(s, buf.B[assemblyRoom:], buf.B, buf)
	case len(ch.Payload) > 0 || c.parser.Remaining() >= directFrom:
		c.assemble(s, ch.Payload)
	}
}

var errUTF8 = errors.New("engine: text message is not UTF-8")

// unmask unmasks the chunk's payload and, of a text message, checks it: false as soon as it cannot be UTF-8.
func (c *Conn) unmask(ch *frame.Chunk) bool {
	if c.message != frame.Text || c.route.skipUTF8 {
		ch.Unmask()
		return true
	}
	if !ch.Header.Masked {
		return c.utf8.Next(ch.Payload)
	}
	return utf8x.Unmask(ch.Payload, ch.Key, 0, &c.utf8)
}

// deliver hands a message to the handler.
func (c *Conn) deliver(s *shard, payload, around []byte, buf *pool.Buffer) {
	s.serving.begin(c, payload, around, buf)
	s.count.MessagesIn++
	c.route.handler.OnMessage(c, c.message, payload)
	s.finishServing(c)
}

// begin notes what is being delivered: payload is the end of around, and what of around is in front of it is free. It
// fills the fields one by one: a struct made and then copied here stalls the loads in Reply, 3 % of a pipelined echo.
func (m *serving) begin(c *Conn, payload, around []byte, buf *pool.Buffer) {
	m.conn = c
	m.payload = payload
	m.frame = around
	m.buf = buf
	m.room = len(around) - len(payload)
	m.used = false
}

// finishServing ends a callback: the payload is the engine's again. What was borrowed is written before that, for it may
// be a part of the payload; the flush can call handlers, so nothing is read from s.serving behind it.
func (s *shard) finishServing(c *Conn) {
	m := &s.serving
	m.conn = nil
	payload, buf := m.payload, m.buf
	ours := s.poison && !m.used
	if buf != nil {
		m.buf = nil
	}
	if s.borrowed {
		s.borrowed = false
		c.lc.WriteOut()
	}
	if ours {
		poison(payload)
	}
	if buf != nil {
		c.lc.Loop().Buffers().Put(buf)
	}
}

// receiveControl takes a piece of a control frame. One that did not come whole waits in a buffer of its own: it may
// stand between the fragments of a message.
func (c *Conn) receiveControl(s *shard, ch *frame.Chunk, b []byte) {
	ch.Unmask()
	if ch.First && ch.Last {
		c.control(s, ch.Header.OpCode, ch.Payload, b[len(b)-len(ch.Payload)-ch.Room:])
		return
	}
	r := c.more()
	if r.control == nil {
		r.control = c.lc.Loop().Buffers().Get(frame.MaxControlPayload)
	}
	r.control.B = append(r.control.B, ch.Payload...)
	switch {
	case ch.Last:
		c.control(s, ch.Header.OpCode, r.control.B, r.control.B)
		c.dropControl()
	case ch.Header.OpCode == frame.Close:
		if e := checkCloseBeginning(r.control.B); e != nil {
			c.fault(e.Code, e.Reason, e)
		}
	}
}

// control acts on a whole control frame.
func (c *Conn) control(s *shard, op frame.OpCode, payload, around []byte) {
	switch {
	case c.route.raw != nil:
		c.controlRaw(s, op, payload, around)
	case op == frame.Close:
		c.receiveClose(payload)
	case !c.delivering():
		// RFC 6455, section 5.5.1: nothing may follow a close frame, so a ping after ours stays unanswered.
	case op == frame.Ping:
		s.count.PingsIn++
		s.serving.begin(c, payload, around, nil)
		c.Reply(frame.Pong, payload)
		c.countPong(len(payload))
		if c.route.onPing != nil {
			c.route.onPing.OnPing(c, payload)
		}
		s.finishServing(c)
	case op == frame.Pong:
		s.count.PongsIn++
		c.receivePong(s, payload)
		if c.route.onPong != nil {
			s.serving.begin(c, payload, around, nil)
			c.route.onPong.OnPong(c, payload)
			s.finishServing(c)
		}
	}
}

// faultFrame answers what the parser found wrong.
func (c *Conn) faultFrame(err error) {
	if err == frame.ErrFrameTooBig {
		c.faultTooBig("frame", c.parser.Announced(), c.rulesInForce(c.flags.Load()).MaxFrame)
		return
	}
	var e *frame.Error
	if !errors.As(err, &e) {
		e = &frame.Error{Code: frame.CloseProtocolError, Reason: err.Error()}
	}
	c.fault(e.Code, e.Reason, e)
}

func (c *Conn) faultTooBig(what string, size, limit int64) {
	c.fault(frame.CloseMessageTooBig, fmt.Sprintf("%s of %d bytes, at most %d are taken", what, size, limit), ErrMessageTooBig)
}

func (c *Conn) dropControl() {
	if r := c.rare.Load(); r != nil && r.control != nil {
		c.lc.Loop().Buffers().Put(r.control)
		r.control = nil
	}
}

// keepForResume keeps what was read and must not be delivered before reading is resumed. Until the loop has acted on
// that, what comes after it is kept too: another goroutine may have asked for it already.
func (c *Conn) keepForResume(b []byte) {
	c.flags.Or(flagStashed)
	s := c.shard()
	r := c.more()
	buffers := c.lc.Loop().Buffers()
	switch {
	case r.stash == nil && s.stash != nil:
		// b is the rest of the stash being parsed, which stays where it is: to copy it each time that a session has
		// taken its few messages would cost more than the messages.
		r.stash, s.stash = s.stash, nil
		r.stashAt = uint32(len(r.stash.B) - len(b))
		return
	case r.stash == nil:
		r.stash = buffers.Get(len(b))
		r.stashAt = 0
	case cap(r.stash.B)-len(r.stash.B) < len(b):
		grown := buffers.Get(len(r.stash.B) - int(r.stashAt) + len(b))
		grown.B = append(grown.B, r.stash.B[r.stashAt:]...)
		buffers.Put(r.stash)
		r.stash, r.stashAt = grown, 0
	}
	r.stash.B = append(r.stash.B, b...)
}

// parseStash delivers what keepForResume kept, or, when our close frame has gone, looks in it for the peer's.
func (c *Conn) parseStash() {
	r := c.rare.Load()
	if r == nil || r.stash == nil || c.state != stateOpen && c.state != stateClosing {
		return
	}
	s := c.shard()
	s.stash = r.stash
	r.stash = nil
	c.flags.And(^flagStashed)
	defer func() {
		if s.stash != nil { // keepForResume wants it no more
			c.lc.Loop().Buffers().Put(s.stash)
			s.stash = nil
		}
	}()
	defer c.recoverHandler()
	defer c.lc.WriteOut() // before the buffer goes, for replies that stand in it
	c.receive(s.stash.B[r.stashAt:])
}

func (c *Conn) dropStash() {
	if r := c.rare.Load(); r != nil && r.stash != nil {
		c.lc.Loop().Buffers().Put(r.stash)
		r.stash = nil
		c.flags.And(^flagStashed)
	}
}

func poison(b []byte) {
	for i := range b {
		b[i] = 0xDB
	}
}
