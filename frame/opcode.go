package frame

import "strconv"

// OpCode says what a frame carries: the low four bits of its first byte
// (RFC 6455, section 5.2).
type OpCode byte

// The opcodes of RFC 6455, section 11.8. Those missing are reserved.
const (
	// Continuation is a further fragment of a message that an earlier Text or
	// Binary frame began.
	Continuation OpCode = 0x0
	// Text begins a message of UTF-8 text.
	Text OpCode = 0x1
	// Binary begins a message of arbitrary bytes.
	Binary OpCode = 0x2
	// Close starts or answers the closing handshake.
	Close OpCode = 0x8
	// Ping asks for a Pong with the same payload.
	Ping OpCode = 0x9
	// Pong answers a Ping, or is sent unasked.
	Pong OpCode = 0xA
)

// controlBit distinguishes control frames from data frames (section 5.5).
const controlBit = 0x8

// IsControl reports whether op is in the range of control frames, 0x8 to 0xF,
// reserved ones included.
func (op OpCode) IsControl() bool { return op&controlBit != 0 }

// IsData reports whether op begins a message: Text or Binary. Continuation does
// not.
func (op OpCode) IsData() bool { return op == Text || op == Binary }

// IsReserved reports whether RFC 6455 gives op no meaning. A receiver fails the
// connection on such a frame (section 5.2).
func (op OpCode) IsReserved() bool { return op > Pong || op > Binary && op < Close }

// String returns the RFC's word for op, such as "text".
func (op OpCode) String() string {
	switch op {
	case Continuation:
		return "continuation"
	case Text:
		return "text"
	case Binary:
		return "binary"
	case Close:
		return "close"
	case Ping:
		return "ping"
	case Pong:
		return "pong"
	}
	return "reserved opcode 0x" + strconv.FormatUint(uint64(op), 16)
}
