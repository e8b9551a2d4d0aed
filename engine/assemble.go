package engine

import (
	"unsafe"

	"zeroframe/pool"
)

const (
	// assemblyRoom is left free before an assembled message for the header of a reply: 10 bytes from a server, 14 masked.
	assemblyRoom = 14
	// directFrom is how much of a frame must be missing for the rest to be read straight into the assembly buffer: a
	// read of its own for less would cost more than the copy.
	directFrom = 8 << 10
	// directUpTo bounds such a read: what it brings is unmasked while it is still in the cache. Without the bound a
	// message of 1 MiB costs 19 % more.
	directUpTo = 256 << 10
)

// assembled returns the bytes that have come of the message.
func (c *Conn) assembled(flags uint32) int64 {
	var n int64
	if flags&flagMidway != 0 {
		n = c.session().handed
	}
	if c.assembly != nil {
		n += int64(len(c.assembly.B) - assemblyRoom)
	}
	return n
}

// assemble adds a piece of a message to its buffer. The piece may stand there already, when it was read in place.
func (c *Conn) assemble(s *shard, p []byte) {
	if c.assembly != nil && len(p) > 0 {
		b := c.assembly.B
		if cap(b)-len(b) >= len(p) && unsafe.SliceData(b[len(b):cap(b)]) == unsafe.SliceData(p) {
			c.assembly.B = b[:len(b)+len(p)]
			return
		}
	}
	c.growAssembly(s, len(p))
	c.assembly.B = append(c.assembly.B, p...)
}

// growAssembly makes room for n bytes. A buffer for the whole frame is reserved while the loop's budget lasts; after
// that it doubles with what has arrived, so that a length which is only announced costs nothing. It doubles in any case:
// a message in fragments of one byte must not cost a copy of itself for each.
func (c *Conn) growAssembly(s *shard, n int) {
	old := c.assembly
	have := assemblyRoom
	if old != nil {
		if cap(old.B)-len(old.B) >= n {
			return
		}
		have = len(old.B)
	}
	need := have + n
	ahead := int64(need) + c.parser.Remaining()
	if old != nil {
		need = max(need, int(min(int64(2*have), max(c.route.maxMessage, c.route.maxFrame)))+assemblyRoom)
	}
	// More than the largest buffer that pools keep is not reserved before half of it is there: it would be allocated,
	// and cleared, for every connection that says so.
	ahead = min(ahead, max(pool.MaxKept, int64(need)))
	switch {
	case c.flags.Load()&flagPieces != 0:
		need = max(need, int(min(ahead, pieceSize))) // it is handed on as soon as it is filled
	case ahead > int64(need) && int64(s.reserved)+ahead <= int64(s.budget):
		need = int(ahead)
	}
	buffers := c.lc.Loop().Buffers()
	buf := buffers.Get(need)
	s.reserved += cap(buf.B)
	buf.B = buf.B[:assemblyRoom]
	if old != nil {
		buf.B = append(buf.B, old.B[assemblyRoom:]...)
		s.reserved -= cap(old.B)
		buffers.Put(old)
	}
	c.assembly = buf
}

// assemblySpace returns the free end of the buffer, at most what is missing of the frame.
func (c *Conn) assemblySpace() []byte {
	c.growAssembly(c.shard(), 1)
	b := c.assembly.B
	free := b[len(b):cap(b)]
	return free[:min(int64(len(free)), c.parser.Remaining(), directUpTo)]
}

// takeAssembly ends the assembly and returns its buffer.
func (c *Conn) takeAssembly(s *shard) *pool.Buffer {
	buf := c.assembly
	s.reserved -= cap(buf.B)
	c.assembly = nil
	return buf
}

func (c *Conn) dropAssembly() {
	if c.assembly != nil {
		c.lc.Loop().Buffers().Put(c.takeAssembly(c.shard()))
	}
	if x := c.extensions(); x != nil && x.message != nil {
		pool.Put(x.message)
		x.message = nil
	}
}
