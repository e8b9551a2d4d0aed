package pool

// Buffers is a buffer pool for one goroutine, such as an event loop: free lists
// by capacity, last in, first out, in front of the pool behind Get and Put. Its
// methods must not be called concurrently. Buffers may be taken from one side and
// put to the other. Use NewBuffers to make one.
type Buffers struct {
	free  [classes]freeList
	idle  int
	limit int
}

// freeList is a stack of n buffers at the start of bufs, whose header is written
// only when it grows: storing a pointer costs more than storing a count.
type freeList struct {
	n    int
	bufs []*Buffer
}

// NewBuffers returns a pool that holds at most limit bytes of idle buffers, by
// capacity. With 0 or less it holds none and passes everything on.
func NewBuffers(limit int) *Buffers { return &Buffers{limit: limit} }

// Get returns a buffer as the function Get does, the one put last of its size if
// there is one.
func (p *Buffers) Get(n int) *Buffer {
	var b *Buffer
	if n <= MaxKept {
		class := classOf(n)
		if list := &p.free[class]; list.n > 0 {
			list.n--
			b = list.bufs[list.n]
			list.bufs[list.n] = nil
			p.idle -= sizeOf(class)
		}
	}
	if b == nil {
		b = get(n)
	}
	if verifying.Load() {
		lend(b)
	}
	return b
}

// Put takes b back as the function Put does. What would exceed the limit goes to
// the shared pool.
func (p *Buffers) Put(b *Buffer) {
	if verifying.Load() {
		giveBack(b)
	}
	class, ok := keeper(b)
	if !ok {
		return
	}
	size := sizeOf(class)
	if size > p.limit-p.idle {
		shared.put(class, b)
		return
	}
	b.B = b.B[:0]
	list := &p.free[class]
	if list.n < len(list.bufs) {
		list.bufs[list.n] = b
	} else {
		list.bufs = append(list.bufs, b)
	}
	list.n++
	p.idle += size
}

// Idle returns the bytes held in idle buffers, by capacity: at most the limit.
func (p *Buffers) Idle() int { return p.idle }

// Release leaves all idle buffers to the garbage collector. The pool stays
// usable.
func (p *Buffers) Release() {
	p.free = [classes]freeList{}
	p.idle = 0
}
