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
	x.mu.Lock()
	defer x.mu.Unlock()
	// What is done to the message cannot be undone, so it must be admitted before.
	c.lc.Lock()
	if err := c.admits(len(payload), b); err != nil {
		return c.unlock(err)
	}
	if x.writing != nil {
		return c.unlock(ErrFragment)
	}
	c.lc.Unlock(false)
	if len(x.list) > 0 {
		return c.sendExtended(x, h, payload, true, nil)
	}
	if h.RSV == 0 && c.compresses(h.OpCode, len(payload)) {
		if buf := c.shrink(payload, x.out); buf != nil {
			defer pool.Put(buf)
			h.RSV, payload = frame.RSV1, buf.B
		}
	}
	return c.enqueue(h, payload, exempt)
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
	err := c.admits(0, b)
	if err != nil {
		return c.unlock(err)
	}
	c.lc.Unlock(false)
	buf := c.shrink(payload, nil)
	if buf == nil {
		return c.enqueue(h, payload, b)
	}
	h.RSV = frame.RSV1
	err = c.enqueue(h, buf.B, b)
	pool.Put(buf)
	return err
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
	n := &c.shard().sent
	n.deflated.Add(uint64(len(payload)))
	n.deflatedWire.Add(uint64(len(out)))
	return buf
}
