package loop

import (
	"sync"

	"zeroframe/pool"
)

// queue is the output of a connection that the kernel has not taken yet: a ring of segments held by its newest, so
// that it costs an idle connection one word. The connection's mutex guards it.
type queue struct{ newest *segment }

// segment is a run of bytes of the queue.
type segment struct {
	next  *segment      // the next newer; of the newest: the oldest
	bytes []byte        // what is not written yet
	buf   *pool.Buffer  // where they stand, to be recycled; nil: memory shared with other connections, or a mark
	home  *pool.Buffers // where buf goes back to; nil: the shared pool
	mark  Mark          // no bytes: told when what is before it has been written
}

// Mark is told what became of the output queued before it.
type Mark interface {
	// Passed is called once: true when all of it has been given to the kernel, false when the connection ended before.
	// It is called with the queue locked and must not block.
	Passed(written bool)
}

var segments = sync.Pool{New: func() any { return new(segment) }}

func (s *segment) free(written bool) {
	if s.mark != nil {
		s.mark.Passed(written)
	}
	switch {
	case s.home != nil:
		s.home.Put(s.buf)
	case s.buf != nil:
		pool.Put(s.buf)
	}
	*s = segment{}
	segments.Put(s)
}

func (q *queue) push(s *segment) {
	if q.newest == nil {
		s.next = s
	} else {
		s.next = q.newest.next
		q.newest.next = s
	}
	q.newest = s
}

// pushFront puts s before the oldest.
func (q *queue) pushFront(s *segment) {
	newest := q.newest
	q.push(s)
	if newest != nil {
		q.newest = newest
	}
}

func (q *queue) oldest() *segment {
	if q.newest == nil {
		return nil
	}
	return q.newest.next
}

func (q *queue) popOldest(written bool) {
	s := q.newest.next
	if s == q.newest {
		q.newest = nil
	} else {
		q.newest.next = s.next
	}
	s.free(written)
}

// room returns n bytes of space at the end of the queue, to be filled by the caller before the mutex is released.
func (q *queue) room(n int, queued int) []byte {
	s := q.newest
	if s == nil || s.buf == nil || cap(s.buf.B)-len(s.buf.B) < n {
		s = segments.Get().(*segment)
		// A first message gets what it needs; a backlog gets room to grow in.
		s.buf = pool.Get(max(n, min(queued, maxSegment)))
		s.bytes = s.buf.B[:0]
		q.push(s)
	}
	// The bytes before len may be on their way into the kernel at this moment; those behind are nobody's.
	at := len(s.buf.B)
	s.buf.B = s.buf.B[:at+n]
	s.bytes = s.bytes[:len(s.bytes)+n]
	return s.buf.B[at:]
}

const maxSegment = 64 << 10

// Queued returns how many bytes wait to be written. Any goroutine may call it.
func (c *Conn) Queued() int { return int(c.queued.Load()) }

// Lock gives the caller the output queue: nothing is appended by others until Unlock. Any goroutine may call it, and
// must not call into an endpoint's user while it holds the queue.
func (c *Conn) Lock() { c.mu.Lock() }

// Unlock releases the queue and makes the loop write what was appended.
func (c *Conn) Unlock(appended bool) {
	c.mu.Unlock()
	if appended {
		c.post(mailFlush)
	}
}

// Append returns n bytes at the end of the queue for the caller to fill before Unlock, or nil when the connection takes
// no more output. The caller holds the queue.
func (c *Conn) Append(n int) []byte {
	if c.shut {
		return nil
	}
	b := c.out.room(n, int(c.queued.Load()))
	c.queued.Add(int64(n))
	return b
}

// AppendShared queues b by reference: it must never change again. false: the connection takes no more output. The
// caller holds the queue.
func (c *Conn) AppendShared(b []byte) bool {
	if c.shut {
		return false
	}
	s := segments.Get().(*segment)
	s.bytes = b
	c.out.push(s)
	c.queued.Add(int64(len(b)))
	return true
}

// WriteShared is AppendShared on the loop, outside of callbacks, that writes b at once where nothing is queued: only what
// the kernel does not take is queued, which left reports. The caller holds the queue, and others who want it wait for the
// system call. An error is what the connection has ended with, and is to be closed with when the queue has been released.
func (c *Conn) WriteShared(b []byte) (left bool, err error) {
	if c.stream != nil || c.out.newest != nil || c.flags&(flagOpen|flagLast) != flagOpen {
		if !c.AppendShared(b) {
			return false, ErrClosed
		}
		return true, nil
	}
	n, err := send(int(c.fd), b, 0)
	c.loop.stats.Writes++
	if n == len(b) {
		return false, nil
	}
	if err != nil && err != ErrAgain {
		return false, err
	}
	return c.AppendShared(b[n:]), nil
}

// MarkOutput tells m when all that is queued now has been written. It reports whether m will be told; if not, nothing is
// queued, and err says whether something was when the connection ended. Any goroutine may call it.
func (c *Conn) MarkOutput(m Mark) (queued bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.lost:
		return false, ErrClosed
	case c.out.newest == nil:
		return false, nil
	}
	s := segments.Get().(*segment)
	s.mark = m
	c.out.push(s)
	return true, nil
}

// Abandon drops the queue of a connection that was not given to a loop.
func (c *Conn) Abandon() { c.shutOutput() }

// shutOutput drops the queue, refuses more, and takes the descriptor out of everyone's reach before it is closed.
func (c *Conn) shutOutput() (fd int) {
	c.mu.Lock()
	fd, c.fd = int(c.fd), noFD
	c.shut = true
	c.lost = c.out.newest != nil
	for c.out.newest != nil {
		c.out.popOldest(false)
	}
	c.queued.Store(0)
	c.mu.Unlock()
	return fd
}
