package engine

import (
	"sync"

	"zeroframe/deflate"
	"zeroframe/frame"
	"zeroframe/pool"
)

// Prepared is a message encoded, and compressed, once, to be sent to many connections by reference. It never changes and
// may be shared by goroutines; the garbage collector takes it when the last connection has sent it.
type Prepared struct {
	op     frame.OpCode
	bytes  []byte // the whole frame, unmasked
	header int

	mu       sync.Mutex
	deflated map[deflate.Setting][]byte // the same compressed; nil: not shorter
}

// Prepare encodes a message, Text or Binary. It copies payload.
func Prepare(op frame.OpCode, payload []byte) (*Prepared, error) {
	if !op.IsData() {
		return nil, ErrFragment
	}
	h := frame.Header{Fin: true, OpCode: op, Length: int64(len(payload))}
	return &Prepared{
		op:     op,
		bytes:  frame.AppendFrame(make([]byte, 0, h.Size()+len(payload)), h, payload),
		header: h.Size(),
	}, nil
}

// Len returns the bytes of the frame, uncompressed, its header included.
func (p *Prepared) Len() int { return len(p.bytes) }

// SendPrepared is Send of a prepared message: nothing of it is copied, except on a connection that masks its frames or has
// extensions of a user's own.
func (c *Conn) SendPrepared(p *Prepared) error { return c.queuePrepared(p, bounded) }

func (c *Conn) queuePrepared(p *Prepared, b bound) error {
	flags := c.flags.Load()
	if flags&(flagMasking|flagExtended) != 0 {
		return c.queue(frame.Header{Fin: true, OpCode: p.op}, p.bytes[p.header:], b)
	}
	if flags&flagDeflate != 0 && c.compresses(p.op, len(p.bytes)-p.header) {
		return c.queueDeflated(p, flags, b)
	}
	return c.enqueueShared(p.bytes, b)
}

// queueDeflated is queuePrepared for a message that is to be compressed. It refers to no history, but enters it.
func (c *Conn) queueDeflated(p *Prepared, flags uint32, b bound) error {
	bytes := p.compressed(c, flags)
	x := c.extensions()
	if bytes == nil {
		return c.enqueueShared(p.bytes, b)
	}
	if x == nil || x.out == nil {
		return c.enqueueDeflated(p, bytes, b)
	}
	if b == waiting {
		x.mu.Lock()
	} else if !x.mu.TryLock() {
		return c.enqueueShared(p.bytes, b) // as in encode
	}
	defer x.mu.Unlock()
	if x.writing != nil {
		return c.enqueueShared(p.bytes, b)
	}
	c.lc.Lock()
	if err := c.admits(len(bytes), b); err != nil {
		return c.unlock(err)
	}
	c.lc.Unlock(false)
	err := c.enqueueDeflated(p, bytes, exempt)
	if err == nil {
		x.out.Append(p.bytes[p.header:])
	}
	return err
}

func (c *Conn) enqueueDeflated(p *Prepared, bytes []byte, b bound) error {
	err := c.enqueueShared(bytes, b)
	if err == nil {
		c.countDeflated(len(p.bytes)-p.header, len(bytes))
	}
	return err
}

// compressed returns the frame with the message compressed, made once for each way of doing so; nil when that is not
// shorter.
func (p *Prepared) compressed(c *Conn, flags uint32) []byte {
	s := c.deflateSetting(flags)
	p.mu.Lock()
	defer p.mu.Unlock()
	bytes, ok := p.deflated[s]
	if !ok {
		if buf := c.shrink(p.bytes[p.header:], nil); buf != nil {
			h := frame.Header{Fin: true, OpCode: p.op, RSV: frame.RSV1, Length: int64(len(buf.B))}
			bytes = frame.AppendFrame(make([]byte, 0, h.Size()+len(buf.B)), h, buf.B)
			pool.Put(buf)
		}
		if p.deflated == nil {
			p.deflated = make(map[deflate.Setting][]byte)
		}
		p.deflated[s] = bytes
	}
	return bytes
}

// enqueueShared appends a frame by reference.
func (c *Conn) enqueueShared(bytes []byte, b bound) error {
	c.lc.Lock()
	f := c.flags.Load()
	switch {
	case f&flagSendClosed != 0 || f&flagUpgraded == 0:
		return c.unlock(ErrClosed)
	case f&flagFragment != 0:
		return c.unlock(ErrFragment)
	}
	var err error
	if b != exempt {
		err = c.fits(len(bytes), b)
	}
	if err == nil {
		if c.lc.AppendShared(bytes) {
			c.countSent(len(bytes))
		} else {
			err = ErrClosed
		}
	}
	return c.unlock(err)
}
