package engine

import (
	"errors"
	"math/rand/v2"
	"unsafe"

	"zeroframe/frame"
)

// Send queues a message, Text or Binary, whole in one frame, for the loop to write. It copies payload before it returns
// and never blocks. Messages leave in the order of the calls. It returns ErrClosed, ErrFragment, or what the policy for
// MaxBackpressure says.
func (c *Conn) Send(op frame.OpCode, payload []byte) error {
	if !op.IsData() {
		return ErrFragment
	}
	return c.queue(frame.Header{Fin: true, OpCode: op}, payload, bounded)
}

// SendText is Send of a Text message. The string must be UTF-8; it is not checked.
func (c *Conn) SendText(text string) error {
	return c.Send(frame.Text, unsafe.Slice(unsafe.StringData(text), len(text)))
}

// SendFragment sends a message in pieces, for one that is not known whole: each call sends one frame, and the one with
// fin ends the message (RFC 6455, section 5.4). op is that of the message in every call. Until the end other messages
// on the connection fail with ErrFragment; control frames may pass between. A fragment that is refused with
// ErrBackpressure may be sent again; PolicyDrop refuses fragments too. Fragments are not compressed.
func (c *Conn) SendFragment(op frame.OpCode, payload []byte, fin bool) error {
	if !op.IsData() {
		return ErrFragment
	}
	return c.queueFragment(op, payload, fin, 0, nil, bounded)
}

// queueFragment appends a fragment; rsv is for the first one of a message.
func (c *Conn) queueFragment(op frame.OpCode, payload []byte, fin bool, rsv byte, by *messageWriter, b bound) error {
	if x := c.extensions(); x != nil {
		if !x.beginFragment(by, b) {
			return ErrFragment
		}
		defer x.mu.Unlock()
		if len(x.list) > 0 {
			return c.fragmentExtended(x, op, payload, fin, 0, by, b)
		}
	}
	c.lc.Lock()
	h := frame.Header{Fin: fin, OpCode: op, RSV: rsv}
	f := c.flags.Load()
	if f&flagFragment != 0 {
		if !c.continues(f, op, by) {
			return c.unlock(ErrFragment)
		}
		h.OpCode, h.RSV = frame.Continuation, 0
	}
	err := c.appendLocked(h, payload, b)
	if err == nil {
		c.sentFragment(op, fin, by)
	}
	return c.unlock(err)
}

// continues reports whether a fragment goes on the message that is under way: it is of the same type, and both are a
// session's writer's, or neither. The caller holds the output queue. After a close nothing does, which is said later.
func (c *Conn) continues(flags uint32, op frame.OpCode, by *messageWriter) bool {
	return flags&flagSendClosed != 0 || c.more().fragment == op && (flags&flagWriting != 0) == (by != nil)
}

// sentFragment keeps where in a fragmented message the output stands. The caller holds the output queue.
func (c *Conn) sentFragment(op frame.OpCode, fin bool, by *messageWriter) {
	switch {
	case fin:
		c.flags.And(^(flagFragment | flagWriting))
		c.releasePublished()
	case c.flags.Or(flagFragment)&flagFragment == 0:
		c.more().fragment = op
		if by != nil {
			c.flags.Or(flagWriting)
		}
	}
}

// Ping sends a ping of the caller's own; its pong reaches PongHandler. It copies payload before it returns, never blocks,
// and is not bounded by MaxBackpressure. It returns ErrMessageTooBig for a payload above 125 bytes, or ErrClosed.
func (c *Conn) Ping(payload []byte) error {
	if len(payload) > frame.MaxControlPayload {
		return ErrMessageTooBig
	}
	return c.queue(frame.Header{Fin: true, OpCode: frame.Ping}, payload, exempt)
}

// Reply sends a message from inside the connection's own OnMessage, OnPing or OnPong. Elsewhere on the connection's loop
// it is Send; it must not be called from other goroutines, nor from connections that another loop may serve. payload
// belongs to the engine until that callback returns: it must be neither read nor changed after Reply, though it, or a part
// of it, may be given to Reply again. When it is the payload of the message being delivered, or the beginning of it, and
// it is the first reply to that, it leaves from where it stands without being copied. Replies are not bounded by
// MaxBackpressure: above it the connection is not read, so a peer that reads nothing stalls itself. op is Text, Binary, or
// Pong, with at most 125 bytes: otherwise it returns ErrFragment, or ErrMessageTooBig. Other errors are those of Send.
func (c *Conn) Reply(op frame.OpCode, payload []byte) error {
	if !op.IsData() && op != frame.Pong {
		return ErrFragment
	}
	if op == frame.Pong && len(payload) > frame.MaxControlPayload {
		return ErrMessageTooBig
	}
	s := c.shard()
	m := &s.serving
	if m.conn != c {
		return c.queue(frame.Header{Fin: true, OpCode: op}, payload, bounded)
	}
	f := c.flags.Load()
	if f&(flagDeflate|flagExtended) != 0 && op != frame.Pong && (f&flagExtended != 0 || len(payload) >= c.route.compression.Threshold) {
		return c.queue(frame.Header{Fin: true, OpCode: op}, payload, exempt)
	}
	if f&(flagSendClosed|flagFragment|flagMasking) == 0 {
		if m.startsWith(payload) && c.replyInPlace(s, op, len(payload)) {
			return nil
		}
		if len(payload) >= borrowFrom && c.replyBorrowed(s, op, payload) {
			return nil
		}
	}
	return c.queue(frame.Header{Fin: true, OpCode: op}, payload, exempt)
}

// borrowFrom is the size from which a payload that stands elsewhere is written from there rather than copied first.
const borrowFrom = 16 << 10

func (m *serving) startsWith(payload []byte) bool {
	return m.room > 0 && len(payload) <= len(m.payload) && len(payload) > 0 &&
		unsafe.SliceData(payload) == unsafe.SliceData(m.payload)
}

// replyInPlace writes a header into the room before the payload and lets the frame, with n bytes of the payload, leave
// from there.
func (c *Conn) replyInPlace(s *shard, op frame.OpCode, n int) bool {
	m := &s.serving
	start := frame.PutServerHeader(m.frame[:m.room], op, n)
	if start < 0 {
		return false
	}
	out := m.frame[start : m.room+n]
	if m.buf != nil {
		if !c.lc.WriteBuffer(out, m.buf) {
			return false
		}
		m.buf = nil
	} else if !c.lc.WriteInPlace(out) {
		return false
	}
	m.room = 0
	m.used = true
	s.count.FramesOut++
	s.count.BytesOut += uint64(len(out))
	return true
}

// replyBorrowed writes a large payload from the caller's memory when the callback returns, once in a callback.
func (c *Conn) replyBorrowed(s *shard, op frame.OpCode, payload []byte) bool {
	if s.borrowed {
		return false
	}
	start := frame.PutServerHeader(s.head[:], op, len(payload))
	if !c.lc.WriteBorrowed(s.head[start:], payload) {
		return false
	}
	s.borrowed = true
	s.count.FramesOut++
	s.count.BytesOut += uint64(len(s.head) - start + len(payload))
	return true
}

// What becomes of a message under PolicyDrop and PolicyClose; neither reaches the caller.
var (
	errDropped  = errors.New("engine: message dropped")
	errOverflow = errors.New("engine: connection closed for its backlog")
)

// bound says how a frame is subject to MaxBackpressure.
type bound uint8

const (
	bounded   bound = iota // by the route's policy
	published              // so too, but a message that is dropped is an error
	waiting                // with ErrBackpressure, whatever the policy: its sender waits
	exempt
)

// queue appends a whole message, or a control frame, to the output queue.
func (c *Conn) queue(h frame.Header, payload []byte, b bound) error {
	if c.flags.Load()&(flagDeflate|flagExtended) != 0 && h.OpCode.IsData() {
		return c.encode(h, payload, b)
	}
	return c.enqueue(h, payload, b)
}

// enqueue appends a frame as it is.
func (c *Conn) enqueue(h frame.Header, payload []byte, b bound) error {
	c.lc.Lock()
	err := ErrFragment
	if !h.OpCode.IsData() || c.flags.Load()&(flagFragment|flagSendClosed) != flagFragment { // closed is said first
		err = c.appendLocked(h, payload, b)
	}
	return c.unlock(err)
}

// unlock releases the output queue after an append.
func (c *Conn) unlock(err error) error {
	switch err {
	case nil:
		c.lc.Unlock(true)
	case errDropped:
		c.lc.Unlock(false)
		return nil
	case errOverflow:
		c.lc.Unlock(false)
		c.closeWith(CloseReason{Code: frame.ClosePolicyViolation, Text: "too slow", Err: ErrBackpressure})
		return ErrClosed
	default:
		c.lc.Unlock(false)
	}
	return err
}

// appendLocked encodes a frame at the end of the output queue, which the caller holds.
func (c *Conn) appendLocked(h frame.Header, payload []byte, b bound) error {
	f := c.flags.Load()
	if f&flagSendClosed != 0 || f&flagUpgraded == 0 {
		return ErrClosed
	}
	h.Length = int64(len(payload))
	if f&flagMasking != 0 {
		// ChaCha8, seeded by the system: unpredictable to the peer's scripts (RFC 6455, section 5.3).
		h.Masked, h.Key = true, rand.Uint32()
	}
	size := h.Size() + len(payload)
	if b != exempt {
		switch err := c.fits(size, b); {
		case err == errDropped && (!h.Fin || h.OpCode == frame.Continuation):
			return ErrBackpressure // without it the other fragments would make another message
		case err != nil:
			return err
		}
	}
	dst := c.lc.Append(size)
	if dst == nil {
		return ErrClosed
	}
	frame.AppendFrame(dst[:0:size], h, payload)
	c.countSent(size)
	return nil
}

// fits applies the policy for MaxBackpressure to size more bytes.
func (c *Conn) fits(size int, b bound) error {
	queued := c.lc.Queued()
	if queued == 0 || queued+size <= c.route.maxBackpressure {
		return nil
	}
	c.flags.Or(flagWantDrain)
	if b == bounded || b == published {
		c.shard().sent.refused.Add(1)
		switch {
		case c.route.policy == PolicyClose:
			return errOverflow
		case c.route.policy == PolicyDrop && b == bounded:
			return errDropped
		}
	}
	return ErrBackpressure
}

func (c *Conn) countSent(bytes int) {
	n := &c.shard().sent
	n.frames.Add(1)
	n.bytes.Add(uint64(bytes))
}

// written follows the output queue after each flush that found or left something in it.
func (c *Conn) written(queued int) {
	switch c.state {
	case stateDraining:
		c.drainWritten(queued)
		if c.state != stateDraining {
			return
		}
	case stateOpen, stateAnswering: // in the latter a raw handler may still have to say the rest
		c.followBackpressure(queued)
	}
	c.followProgress(queued)
}

// followBackpressure stops reading a peer that is far behind, and reports when it has caught up.
func (c *Conn) followBackpressure(queued int) {
	f := c.flags.Load()
	switch {
	case queued > c.route.maxBackpressure && f&flagFull == 0:
		c.flags.Or(flagWantDrain)
		if c.restsWhenFull() {
			c.shard().count.Stalls++
			c.flags.Or(flagFull)
			c.updateReading()
		}
	case queued <= c.route.maxBackpressure/2:
		if s := c.session(); s != nil {
			s.ponged = 0
		}
		if f&flagFull != 0 {
			c.flags.And(^flagFull)
			c.updateReading()
		}
		if f&flagWantDrain != 0 {
			c.flags.And(^flagWantDrain)
			if c.route.onDrain != nil {
				c.callback(func() { c.route.onDrain.OnDrain(c) })
			}
		}
	}
}
