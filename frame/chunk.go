package frame

import "zeroframe/mask"

// Chunk is what one call of [Parser.Next] found: a whole frame, or as much of it
// as has arrived. It belongs to the caller and is overwritten by every call.
type Chunk struct {
	// Header is that of the frame Payload belongs to, on its later chunks too:
	// Length is the length of the whole frame. It is zero while the header is
	// incomplete.
	Header Header
	// Payload is a part of the bytes given to Next, with no spare capacity, as
	// they stand on the wire: masked if Header.Masked. It lives as long as they
	// do.
	Payload []byte
	// Key is Header.Key rotated so that its first byte is for Payload[0].
	Key uint32
	// Room is the number of bytes directly before Payload, in the slice given to
	// Next, that this frame's header took and nothing needs any more. A reply
	// may write its own header there. It is 0 if the header began in an earlier
	// call.
	Room int
	// First says that the header was completed by this call.
	First bool
	// Last says that the frame ends with Payload.
	Last bool
}

// Unmask unmasks Payload in place, where it is masked. Like any XOR it is undone
// by a second call; the rest of the chunk stays as it is.
func (c *Chunk) Unmask() {
	if c.Header.Masked {
		mask.XOR(c.Payload, c.Key, 0)
	}
}
