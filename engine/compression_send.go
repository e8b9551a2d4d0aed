package engine

import (
	"zeroframe/deflate"
	"zeroframe/frame"
	"zeroframe/pool"
)

// encode is queue for a whole message on a connection with extensions.
func (c *Conn) encode(h frame.Header, payload []byte, b bound) error {
	x := c.extensions()
	if x == nil || x.out == nil && len(x.list) == 0 {
		return c.encodeAlone(h, payload, b)
	}
	if b == waiting || len(x.list) > 0 {
		x.mu.Lock()
	} else if !x.mu.TryLock() {
		// Another goroutine is at it, perhaps with megabytes, and this may be a loop, which must not wait. What leaves as it
		// is does not enter the history, so it may pass the other.
		return c.enqueue(h, payload, b)
	}
	defer x.mu.Unlock()
	if x.writing != nil && len(x.list) == 0 {
		return c.enqueue(h, payload, b)
	}
	// What is done to the message cannot be undone, so it must be admitted before.
	c.lc.Lock()
	if err := c.admits(len(payload), b); err != nil {
		return c.unlock(err)
	}
	c.lc.Unlock(false)
	if len(x.list) > 0 {
		return c.sendExtended(x, h, payload, true, nil)
	}
	if h.RSV != 0 || !c.compresses(h.OpCode, len(payload)) {
		return c.enqueue(h, payload, exempt)
	}
	return c.enqueueShrunk(h, payload, x.out, exempt)
}

// admits reports whether a message of size bytes may be queued. The caller holds the output queue.
func (c *Conn) admits(size int, b bound) error {
	f := c.flags.Load()
	switch {
	case f&flagSendClosed != 0 || f&flagUpgraded == 0:
		return ErrClosed
	case f&flagFragment != 0:
		return ErrFragment
	case b != exempt:
		return c.fits(frame.Header{Length: int64(size), Masked: f&flagMasking != 0}.Size()+size, b)
	}
	return nil
}

// encodeAlone compresses a message for itself.
func (c *Conn) encodeAlone(h frame.Header, payload []byte, b bound) error {
	if h.RSV != 0 || !c.compresses(h.OpCode, len(payload)) {
		return c.enqueue(h, payload, b)
	}
	// A message that a full queue would refuse is not worth the work.
	c.lc.Lock()
	if err := c.admits(len(payload), b); err != nil {
		return c.unlock(err)
	}
	c.lc.Unlock(false)
	return c.enqueueShrunk(h, payload, nil, b)
}

// enqueueShrunk appends a message compressed, or as it is when that is not longer.
func (c *Conn) enqueueShrunk(h frame.Header, payload []byte, history *deflate.History, b bound) error {
	buf := c.shrink(payload, history)
	if buf == nil {
		return c.enqueue(h, payload, b)
	}
	defer pool.Put(buf)
	h.RSV = frame.RSV1
	err := c.enqueue(h, buf.B, b)
	if err == nil {
		c.countDeflated(len(payload), len(buf.B))
	}
	return err
}

// countDeflated counts a message that was sent compressed.
func (c *Conn) countDeflated(size, wire int) {
	n := &c.shard().sent
	n.deflated.Add(uint64(size))
	n.deflatedWire.Add(uint64(wire))
}

// shrink compresses a message into a buffer of its own, or returns nil when that would not make it shorter.
func (c *Conn) shrink(payload []byte, h *deflate.History) *pool.Buffer {
	buf := pool.Get(len(payload) + 8)
	z := c.route.engine.compressors.Borrow()
	out, ok := z.Shrink(buf.B, payload, c.deflateSetting(c.flags.Load()), h)
	c.route.engine.compressors.Recycle(z)
	if !ok {
		pool.Put(buf)
		return nil
	}
	buf.B = out
	return buf
}
