package frame

// Role is the side of the connection that parses. It decides which frames must
// be masked (RFC 6455, section 5.1).
type Role uint8

const (
	// Server reads frames of a client: all of them must be masked.
	Server Role = iota
	// Client reads frames of a server: none of them may be masked.
	Client
)

// String returns "server" or "client".
func (role Role) String() string {
	if role == Client {
		return "client"
	}
	return "server"
}

// Rules are what a Parser holds frames against, beside the RFC itself. The zero
// value is a server's without limit or extension. Any number of parsers may
// share a Rules that nobody writes.
type Rules struct {
	// MaxFrame is the longest payload of a frame, in bytes, that length itself
	// included; 0 means no limit. It holds for control frames too.
	MaxFrame int64
	// Role is the side that reads.
	Role Role
	// RSV has the bits that negotiated extensions may set on any data frame:
	// text, binary or continuation. On control frames none may be set.
	RSV byte
	// FirstRSV has the bits that may be set on text and binary frames only, so
	// on the first frame of a message, in addition to RSV. RFC 7692, section 6,
	// has RSV1 there and nowhere else.
	FirstRSV byte
}

// checkFirst holds a frame's first byte against section 5.2, 5.4 and 5.5. open
// says that the stream is inside a fragmented message.
func (r *Rules) checkFirst(b0 byte, open bool) fault {
	op := OpCode(b0 & opBits)
	var rsv byte // the bits admitted
	switch {
	case op.IsReserved():
		return reservedOpCode
	case op == Continuation:
		rsv = r.RSV
	case op.IsData():
		rsv = r.RSV | r.FirstRSV
	}
	switch {
	case b0&rsvBits&^rsv != 0:
		return reservedBits
	case op.IsControl() && b0&finBit == 0:
		return fragmentedControl
	case op == Continuation && !open:
		return strayContinuation
	case op.IsData() && open:
		return interleavedData
	}
	return noFault
}

// checkSecond holds a frame's second byte against sections 5.1 and 5.5.
func (r *Rules) checkSecond(b0, b1 byte) fault {
	isMasked := b1&maskBit != 0
	if isMasked == (r.Role == Client) {
		if isMasked {
			return masked
		}
		return unmasked
	}
	if b0&controlBit != 0 && b1&lenBits > MaxControlPayload {
		return controlTooLong
	}
	return noFault
}

// checkLength holds a complete length against its form (section 5.2) and the
// limit.
func (r *Rules) checkLength(b1 byte, length int64) fault {
	switch form := b1 & lenBits; {
	case form == len16 && length < len16, form == len64 && length <= 0xFFFF:
		return lengthNotMinimal
	case r.MaxFrame > 0 && length > r.MaxFrame:
		return frameTooBig
	}
	return noFault
}
