package loop

import (
	"unsafe"

	"zeroframe/pool"
)

// A cork collects what the connection being served answers from memory that is valid only now: frames that stand in
// the loop's read buffer, or in an assembly buffer. They leave with one write when the callback ends, in front of what
// was queued after them; what the kernel does not take is copied into the queue then.
type cork struct {
	open    bool  // a connection is being served
	conn    *Conn // whose parts these are
	parts   []part
	bytes   int
	buffers *pool.Buffers // of the loop
}

type part struct {
	bytes []byte
	buf   *pool.Buffer // of the loop's pool, to go back when written; nil: the read buffer, or the caller's memory
}

const (
	maxParts = 64
	// joinBelow: two answers from one read are moved together when the second is smaller than this. Moving 2 KiB costs
	// less than another element of the write vector does.
	joinBelow = 2 << 10
)

// WriteInPlace queues a piece of the buffer last given to Endpoint.Data, the newest payload, to be written when the callback
// returns: bytes of the buffer between the last such piece and this one must be free for use, and nobody may need the last
// one where it stands any more. It reports false, and does nothing, when output is already queued and must go first. Loop
// only, inside a callback.
func (c *Conn) WriteInPlace(b []byte) bool {
	k := &c.loop.cork
	if !k.takes(c, 1) {
		return false
	}
	k.join()
	k.bytes += len(b)
	k.parts = append(k.parts, part{bytes: b})
	return true
}

// WriteBorrowed queues two pieces of memory that is nobody else's until the callback returns, as WriteInPlace does. Loop
// only, inside a callback.
func (c *Conn) WriteBorrowed(head, body []byte) bool {
	k := &c.loop.cork
	if !k.takes(c, 2) {
		return false
	}
	k.bytes += len(head) + len(body)
	k.parts = append(k.parts, part{bytes: head}, part{bytes: body})
	return true
}

// WriteBuffer is WriteInPlace for b, bytes of buf, which then belongs to the loop. Loop only, inside a callback.
func (c *Conn) WriteBuffer(b []byte, buf *pool.Buffer) bool {
	k := &c.loop.cork
	if !k.takes(c, 1) {
		return false
	}
	k.bytes += len(b)
	k.parts = append(k.parts, part{bytes: b, buf: buf})
	return true
}

// WriteOut writes all that WriteInPlace collected, now, and copies what is left into the queue, for memory whose owner
// wants it back before the callback ends. Loop only.
func (c *Conn) WriteOut() {
	if c.loop.cork.conn == c {
		c.flush()
	}
}

// Flush writes what is queued before the callback ends, as far as the kernel takes it. It may close the connection. Loop
// only.
func (c *Conn) Flush() { c.flush() }

func (k *cork) takes(c *Conn, n int) bool {
	if !k.open || len(k.parts)+n > maxParts || c.queued.Load() != 0 || c.flags&flagOpen == 0 {
		return false
	}
	k.conn = c
	return true
}

// join moves the newest part down to the end of the one before it where that is cheap. It is done when the next part
// comes, not at once: until its callback has returned, the newest part still is the payload the user holds.
func (k *cork) join() {
	if len(k.parts) >= 2 {
		k.joinLast()
	}
}

func (k *cork) joinLast() {
	n := len(k.parts)
	last, before := &k.parts[n-1], &k.parts[n-2]
	if len(last.bytes) < joinBelow && last.buf == nil && before.buf == nil && follows(before.bytes, last.bytes) {
		before.bytes = append(before.bytes, last.bytes...) // within the read buffer
		*last = part{}
		k.parts = k.parts[:n-1]
	}
}

// follows reports whether b lies behind a in the same array, so that a may grow over what is between.
func follows(a, b []byte) bool {
	if cap(a) < len(a)+len(b) {
		return false
	}
	end := uintptr(unsafe.Pointer(unsafe.SliceData(a))) + uintptr(len(a))
	at := uintptr(unsafe.Pointer(unsafe.SliceData(b)))
	return at >= end && at+uintptr(len(b)) <= end+uintptr(cap(a)-len(a))
}

// drop forgets the parts.
func (k *cork) drop() {
	for i := range k.parts {
		if k.parts[i].buf != nil {
			k.buffers.Put(k.parts[i].buf)
		}
		k.parts[i] = part{}
	}
	k.parts, k.conn, k.bytes = k.parts[:0], nil, 0
}

// keep copies what is left of the parts to the front of the connection's queue.
func (k *cork) keep(c *Conn) {
	c.mu.Lock()
	for i := len(k.parts) - 1; i >= 0; i-- {
		p := &k.parts[i]
		if len(p.bytes) == 0 {
			continue
		}
		s := segments.Get().(*segment)
		if p.buf != nil {
			s.buf, s.bytes, s.home, p.buf = p.buf, p.bytes, k.buffers, nil
			s.buf.B = s.buf.B[:cap(s.buf.B)] // full: nothing may be appended behind
		} else {
			s.buf = pool.Get(len(p.bytes))
			s.buf.B = append(s.buf.B, p.bytes...)
			s.bytes = s.buf.B
		}
		c.out.pushFront(s)
		c.queued.Add(int64(len(s.bytes)))
	}
	c.mu.Unlock()
	k.drop()
}
