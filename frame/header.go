package frame

// Bounds of RFC 6455, sections 5.2 and 5.5, in bytes.
const (
	// MaxHeaderSize is the longest header: two bytes, a 64-bit length and a
	// masking key.
	MaxHeaderSize = 14
	// MaxControlPayload is the longest payload of a control frame.
	MaxControlPayload = 125
)

// The reserved bits, as they stand in a frame's first byte and in Header.RSV.
// RFC 7692 uses RSV1 for compressed messages.
const (
	RSV1 = 0x40
	RSV2 = 0x20
	RSV3 = 0x10
)

// The fields of a frame's first two bytes (section 5.2).
const (
	finBit  = 0x80
	rsvBits = RSV1 | RSV2 | RSV3
	opBits  = 0x0F

	maskBit = 0x80
	lenBits = 0x7F
	len16   = 126 // a 16-bit length follows
	len64   = 127 // a 64-bit length follows
)

// Header is what stands in front of a frame's payload (RFC 6455, section 5.2).
type Header struct {
	// Length is the length of the payload in bytes, 0 to 1<<63-1.
	Length int64
	// Key is the masking key, meant only if Masked: its four wire bytes read as
	// a little-endian number, as package mask takes it.
	Key uint32
	// OpCode is the kind of frame.
	OpCode OpCode
	// RSV holds the bits RSV1, RSV2 and RSV3, where they stand on the wire.
	RSV byte
	// Fin marks the last fragment of a message. A control frame always has it.
	Fin bool
	// Masked says that the payload is XORed with Key, as a client has to do
	// (section 5.3).
	Masked bool
}

// Size returns the number of bytes that h takes on the wire, 2 to
// MaxHeaderSize, with its length in the shortest form.
func (h Header) Size() int { return headerSize(h.Length, h.Masked) }

func headerSize(length int64, masked bool) int {
	n := 2
	switch {
	case length > 0xFFFF:
		n = 10
	case length >= len16:
		n = 4
	}
	if masked {
		n += 4
	}
	return n
}

// firstByte packs opcode, reserved bits and FIN.
func (h *Header) firstByte() byte {
	b0 := byte(h.OpCode)&opBits | h.RSV&rsvBits
	if h.Fin {
		b0 |= finBit
	}
	return b0
}

// unpack fills h from a header's first two bytes, its length and its key. It
// writes the fields in place: a Header built on the side and copied is loaded
// wide right after byte-wide stores, which costs 3 ns.
func (h *Header) unpack(b0, b1 byte, length int64, key uint32) {
	h.Length = length
	h.Key = key
	h.OpCode = OpCode(b0 & opBits)
	h.RSV = b0 & rsvBits
	h.Fin = b0&finBit != 0
	h.Masked = b1&maskBit != 0
}
