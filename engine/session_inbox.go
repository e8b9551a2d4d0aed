package engine

import (
	"context"

	"zeroframe/frame"
	"zeroframe/pool"
)

// pieceSize is the largest piece of a message that a reader is handed.
const pieceSize = 64 << 10

// inbox is what a session has been sent and has not received: messages, and, when a reader takes them as they come,
// pieces of messages. The session's mutex guards it.
type inbox struct {
	items    []item // the queue begins at first
	first    int
	messages int // in it whole, or with their end
	bytes    int
	held     bool // the loop was told to stop reading
}

// item is a message, or a piece of one.
type item struct {
	buf   *pool.Buffer // nil: no payload
	op    frame.OpCode // of the message
	start uint8        // where in buf the payload begins
	begin bool         // the message begins with it
	last  bool         // and ends with it

	compressed bool // the message is, from its beginning on
}

func (it *item) payload() []byte {
	if it.buf == nil {
		return nil
	}
	return it.buf.B[it.start:]
}

func (it *item) recycle() {
	if it.buf != nil {
		pool.Put(it.buf)
	}
}

func (b *inbox) empty() bool { return b.first == len(b.items) }

// push appends it. What goes on a piece that waits is moved to it while there is room: a peer that sends byte by byte
// must not make the queue larger than what it holds.
func (b *inbox) push(it item) {
	p := it.payload()
	b.bytes += len(p)
	if it.last {
		b.messages++
	}
	if !it.begin && !b.empty() {
		if end := &b.items[len(b.items)-1]; end.buf != nil && cap(end.buf.B)-len(end.buf.B) >= len(p) {
			end.buf.B = append(end.buf.B, p...)
			end.last = it.last
			it.recycle()
			return
		}
	}
	if b.first > len(b.items)/2 && len(b.items) == cap(b.items) {
		n := copy(b.items, b.items[b.first:])
		clear(b.items[n:])
		b.items, b.first = b.items[:n], 0
	}
	b.items = append(b.items, it)
}

// keepItems is the queue length up to which its memory is kept when it is empty.
const keepItems = 64

// pop takes the oldest item out.
func (b *inbox) pop() item {
	it := b.items[b.first]
	b.items[b.first] = item{}
	b.first++
	b.bytes -= len(it.payload())
	if it.last {
		b.messages--
	}
	if b.empty() {
		b.items, b.first = b.items[:0], 0
		if cap(b.items) > keepItems {
			b.items = nil
		}
	}
	return it
}

// full reports whether the queue has reached the route's bounds, low whether it is down to half of them.
func (b *inbox) full(r *route) bool {
	return b.messages >= r.queueMessages || b.bytes >= r.queueBytes
}

func (b *inbox) low(r *route) bool {
	return b.messages <= r.queueMessages/2 && b.bytes <= r.queueBytes/2
}

// take queues the message that the loop is delivering. An assembled one is taken over in its buffer.
func (s *Session) take(op frame.OpCode, payload []byte) {
	it := item{op: op, begin: true, last: true}
	switch m := &s.conn.shard().serving; {
	case m.buf != nil:
		it.buf, it.start = m.buf, assemblyRoom
		m.buf, m.used = nil, true
	case len(payload) > 0:
		it.buf = s.conn.lc.Loop().Buffers().Get(len(payload))
		it.buf.B = append(it.buf.B, payload...)
	}
	s.push(it)
}

// handOver queues what has come of a message that is not complete, for a session's reader. What extensions have yet to
// see is no part of a message.
func (c *Conn) handOver(s *shard) {
	if c.assembly == nil || len(c.assembly.B) == assemblyRoom || c.flags.Load()&flagExtended != 0 {
		return
	}
	to := c.session()
	f := c.flags.Or(flagMidway)
	it := item{op: c.message, start: assemblyRoom, begin: f&flagMidway == 0, compressed: f&flagCompressed != 0}
	if it.begin {
		to.handed = 0
	}
	it.buf = c.takeAssembly(s)
	to.handed += int64(len(it.payload()))
	to.push(it)
	if c.flags.Load()&flagHeld != 0 {
		c.restReading()
	}
}

// handOverLast queues the end of a message whose beginning was handed over.
func (c *Conn) handOverLast(s *shard) {
	c.flags.And(^flagMidway)
	s.count.MessagesIn++
	it := item{op: c.message, last: true}
	if c.assembly != nil {
		it.buf, it.start = c.takeAssembly(s), assemblyRoom
	}
	c.session().push(it)
}

// push queues it and wakes the receiver. When the queue is full then, the loop stops reading, or the connection is
// closed, as the route's overflow says. Loop only.
func (s *Session) push(it item) {
	c := s.conn
	s.mu.Lock()
	overflow := c.route.overflowIn == OverflowClose && s.inbox.full(c.route) && !s.finished
	if overflow || s.finished {
		s.mu.Unlock()
		it.recycle()
		if overflow {
			c.closeWith(overflowReason("more was sent than is received"))
		}
		return
	}
	s.inbox.push(it)
	if !s.inbox.held && c.route.overflowIn == OverflowSuspend && s.inbox.full(c.route) {
		s.inbox.held = true
		c.flags.Or(flagHeld)
		c.shard().count.SessionStalls++
	}
	s.receivers.ring()
	s.mu.Unlock()
	c.Yield()
}

func overflowReason(text string) CloseReason {
	return CloseReason{Code: frame.ClosePolicyViolation, Text: text, Err: ErrOverflow}
}

// next waits for an item and takes it out of the queue; on the receiver's goroutine. What was queued before the end
// comes before it.
func (s *Session) next(ctx context.Context) (item, error) {
	s.mu.Lock()
	for s.inbox.empty() {
		if s.end != nil {
			s.mu.Unlock()
			return item{}, s.end
		}
		w := s.receivers.join()
		s.mu.Unlock()
		err := s.wait(ctx, w)
		s.mu.Lock()
		s.receivers.leave(w)
		if err != nil && s.inbox.empty() && s.end == nil {
			s.mu.Unlock()
			return item{}, err
		}
	}
	it := s.inbox.pop()
	read := s.inbox.held && s.inbox.low(s.conn.route)
	if read {
		s.inbox.held = false
		s.conn.flags.And(^flagHeld)
	}
	s.mu.Unlock()
	if read {
		s.conn.lc.Notify(mailReading)
	}
	return it, nil
}

// discard drops what is queued, and what will come.
func (s *Session) discard() {
	if s.inflating != nil {
		s.inflating.in.Close()
		s.inflating = nil
	}
	s.release()
	s.begun.recycle()
	s.begun = item{}
	s.mu.Lock()
	s.finished = true
	for !s.inbox.empty() {
		it := s.inbox.pop()
		it.recycle()
	}
	held := s.inbox.held
	s.inbox.held = false
	s.conn.flags.And(^flagHeld)
	w := s.writer
	s.mu.Unlock()
	if held {
		s.conn.lc.Notify(mailReading)
	}
	if w != nil {
		w.abandon()
	}
}
