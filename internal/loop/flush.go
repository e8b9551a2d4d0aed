package loop

// vector is what one write system call takes: the loop's scratch, so that nothing is allocated.
type vector struct {
	bytes [][]byte
	raw   rawVector
}

const (
	maxVector = 64      // elements of one write; IOV_MAX is 1024 everywhere
	maxFlush  = 1 << 20 // bytes of one write, and of one turn of a connection
)

// flush writes what the connection has to say: the cork's parts, then the queue. One system call when the kernel takes
// it all. What is left stays in the queue, and the poller reports when there is room again.
func (c *Conn) flush() {
	if !c.IsOpen() {
		return
	}
	c.flags &^= flagProgress
	k := &c.loop.cork
	if k.conn == c {
		k.join()
	}
	if c.stream != nil || c.queued.Load() != 0 || c.interest&wantWrite != 0 || c.flags&flagLast != 0 || k.conn == c && len(k.parts) != 1 {
		c.flushAll(k)
		return
	}
	// The usual case has little code: nothing to say, or one piece for a descriptor that takes it.
	if k.conn != c {
		return
	}
	b := k.parts[0].bytes
	n, err := send(int(c.fd), b, 0)
	c.loop.stats.Writes++
	if n == len(b) {
		k.drop()
		return
	}
	k.parts[0].bytes = b[n:]
	k.keep(c)
	c.endFlush(orAgain(err))
}

// flushAll is flush in every other case.
func (c *Conn) flushAll(k *cork) {
	corked := k.conn == c
	var err error
	if _, output := c.holds(); output {
		_, err = c.stream.Write(nil)
	}
	if !corked && c.queued.Load() == 0 && err == nil {
		c.flushed()
		return
	}
	if corked {
		if err == nil {
			err = c.writeParts(k)
		} else {
			k.keep(c)
		}
	}
	for written := 0; err == nil && c.queued.Load() != 0 && written < maxFlush; {
		var n int
		n, err = c.writeQueue()
		written += n
	}
	c.endFlush(err)
}

// endFlush acts on what the last write of a flush said.
func (c *Conn) endFlush(err error) {
	if err != nil && err != ErrAgain {
		c.Close(err)
		return
	}
	if err == nil && c.queued.Load() != 0 {
		c.post(mailFlush) // its turn is over, but it would take more, so nothing announces that it does
	}
	c.flushed()
}

// flushed sets the interest in writing and tells the endpoint, when a queue was or is there. What others queued during
// the flush, and went with it, counts too: somebody may have been refused meanwhile for its sake.
func (c *Conn) flushed() {
	left := c.Queued()
	if _, output := c.holds(); left != 0 || output {
		c.interest |= wantWrite
	} else {
		c.interest &^= wantWrite
	}
	if left != 0 || c.flags&(flagProgress|flagLast) != 0 {
		c.ep.Written(left)
	}
}

// writeParts writes the cork's parts and, in the same call, as much of the queue as fits. Parts that are left go to the
// front of the queue.
func (c *Conn) writeParts(k *cork) error {
	if len(k.parts) == 1 && c.queued.Load() == 0 {
		b := k.parts[0].bytes
		n, err := c.write(b)
		c.loop.stats.Writes++
		if n == len(b) {
			k.drop()
			return nil
		}
		k.parts[0].bytes = b[n:]
		k.keep(c)
		return orAgain(err)
	}
	v := &c.loop.iov
	v.bytes = v.bytes[:0]
	for i := range k.parts {
		v.bytes = append(v.bytes, k.parts[i].bytes)
	}
	total := k.bytes + c.gather(v, maxFlush-k.bytes)
	n, err := c.writeVector(v)
	c.loop.stats.Writes++
	parts := k.bytes
	for i, left := 0, n; i < len(k.parts) && left > 0; i++ {
		m := min(left, len(k.parts[i].bytes))
		k.parts[i].bytes = k.parts[i].bytes[m:]
		left -= m
	}
	if n >= parts {
		k.drop()
		c.consume(n - parts)
	} else {
		k.keep(c)
	}
	if n < total {
		return orAgain(err)
	}
	return nil
}

func (c *Conn) writeQueue() (n int, err error) {
	v := &c.loop.iov
	v.bytes = v.bytes[:0]
	total := c.gather(v, maxFlush)
	if len(v.bytes) == 1 {
		n, err = c.write(v.bytes[0])
	} else {
		n, err = c.writeVector(v)
	}
	c.loop.stats.Writes++
	c.consume(n)
	if n < total {
		return n, orAgain(err)
	}
	return n, nil
}

// orAgain turns a short write without an error into ErrAgain: the kernel's buffer is full.
func orAgain(err error) error {
	if err == nil {
		return ErrAgain
	}
	return err
}

// gather adds the oldest segments to v, up to limit bytes, and returns how many that are. The mutex is not held while
// they are written: others only append, behind the bytes gathered.
func (c *Conn) gather(v *vector, limit int) (total int) {
	c.mu.Lock()
	for s := c.out.oldest(); s != nil && len(v.bytes) < maxVector && total < limit; s = s.next {
		v.bytes = append(v.bytes, s.bytes)
		total += len(s.bytes)
		if s == c.out.newest {
			break
		}
	}
	c.mu.Unlock()
	return total
}

// consume takes n written bytes off the front of the queue.
func (c *Conn) consume(n int) {
	if n > 0 {
		c.flags |= flagProgress
	}
	c.mu.Lock()
	c.queued.Add(-int64(n))
	for s := c.out.oldest(); s != nil; s = c.out.oldest() {
		m := min(n, len(s.bytes))
		s.bytes = s.bytes[m:]
		n -= m
		if len(s.bytes) != 0 {
			break
		}
		c.out.popOldest(true)
	}
	c.mu.Unlock()
	if c.queued.Load() == 0 {
		clear(c.loop.iov.bytes)
	}
}

func (c *Conn) write(b []byte) (int, error) {
	if c.stream != nil {
		return streamWrite(c.stream, b)
	}
	return send(int(c.fd), b, c.sendFlags())
}

func (c *Conn) writeVector(v *vector) (n int, err error) {
	if c.stream == nil {
		return sendVector(int(c.fd), v, c.sendFlags())
	}
	if w, ok := c.stream.(VectorWriter); ok {
		return w.WriteVector(v.bytes)
	}
	for _, b := range v.bytes {
		var m int
		m, err = streamWrite(c.stream, b)
		n += m
		if m < len(b) {
			break
		}
	}
	return n, err
}

// StreamProgressed is called by a stream, inside Write, when its peer has taken some of what it holds back: that is progress
// of the queue though none of it can be reported as written yet. Loop only.
func (c *Conn) StreamProgressed() { c.flags |= flagProgress }

// Progressed reports, inside Endpoint.Written, whether the flush it is called for moved the queue on.
func (c *Conn) Progressed() bool { return c.flags&flagProgress != 0 }
