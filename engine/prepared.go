package engine

import "zeroframe/frame"

// Prepared is a message encoded once, to be sent to many connections by reference. It never changes and may be shared
// by goroutines; the garbage collector takes it when the last connection has sent it.
type Prepared struct {
	op     frame.OpCode
	bytes  []byte // the whole frame, unmasked
	header int
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

// Len returns the bytes of the frame.
func (p *Prepared) Len() int { return len(p.bytes) }

// SendPrepared is Send of a prepared message: nothing of it is copied, except on a connection that masks its frames.
func (c *Conn) SendPrepared(p *Prepared) error { return c.queuePrepared(p, bounded) }

func (c *Conn) queuePrepared(p *Prepared, b bound) error {
	if c.flags.Load()&flagMasking != 0 {
		return c.queue(frame.Header{Fin: true, OpCode: p.op}, p.bytes[p.header:], b)
	}
	c.lc.Lock()
	f := c.flags.Load()
	switch {
	case f&flagSendClosed != 0 || f&flagUpgraded == 0:
		return c.unlock(ErrClosed)
	case f&flagFragment != 0:
		return c.unlock(ErrFragment)
	}
	err := c.fits(len(p.bytes), b)
	if err == nil {
		if c.lc.AppendShared(p.bytes) {
			c.countSent(len(p.bytes))
		} else {
			err = ErrClosed
		}
	}
	return c.unlock(err)
}
