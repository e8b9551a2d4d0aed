package frame

// Error is a breach of the protocol by the peer. Its parts are what the close
// frame that ends the connection should carry. The package returns only the
// Err variables below, so errors can be compared with == or errors.Is; they
// must not be modified.
type Error struct {
	Code   CloseCode // status code to close with
	Reason string    // ASCII text of at most MaxCloseReason bytes, fit to be sent
}

// Error returns the reason and the close code, for logs.
func (e *Error) Error() string { return "frame: " + e.Reason + ", close " + e.Code.String() }

// What [Parser.Next] finds wrong with a header.
var (
	// ErrReservedBits: an RSV bit is set that no extension was negotiated for
	// (RFC 6455, section 5.2).
	ErrReservedBits = &Error{CloseProtocolError, "reserved bit set"}
	// ErrReservedOpCode: an opcode without a meaning (section 5.2).
	ErrReservedOpCode = &Error{CloseProtocolError, "reserved opcode"}
	// ErrFragmentedControl: a control frame without FIN (section 5.5).
	ErrFragmentedControl = &Error{CloseProtocolError, "fragmented control frame"}
	// ErrControlTooLong: a control frame of more than 125 bytes (section 5.5).
	ErrControlTooLong = &Error{CloseProtocolError, "control frame longer than 125 bytes"}
	// ErrStrayContinuation: a continuation frame with nothing to continue
	// (section 5.4).
	ErrStrayContinuation = &Error{CloseProtocolError, "continuation frame outside a message"}
	// ErrInterleavedData: a new message before the fragmented one has ended
	// (section 5.4).
	ErrInterleavedData = &Error{CloseProtocolError, "new message inside a fragmented message"}
	// ErrUnmasked: a frame from a client is not masked (section 5.1).
	ErrUnmasked = &Error{CloseProtocolError, "frame from client is not masked"}
	// ErrMasked: a frame from a server is masked (section 5.1).
	ErrMasked = &Error{CloseProtocolError, "frame from server is masked"}
	// ErrLengthTopBit: a 64-bit length with its most significant bit set
	// (section 5.2).
	ErrLengthTopBit = &Error{CloseProtocolError, "length with the top bit set"}
	// ErrLengthNotMinimal: a length that a shorter form could have expressed
	// (section 5.2).
	ErrLengthNotMinimal = &Error{CloseProtocolError, "length not in its shortest form"}
	// ErrFrameTooBig: the payload is longer than Rules.MaxFrame.
	ErrFrameTooBig = &Error{CloseMessageTooBig, "frame too big"}
)

// What [ParseClosePayload] finds wrong with a close frame.
var (
	// ErrClosePayload: a payload of one byte, half a code (section 5.5.1).
	ErrClosePayload = &Error{CloseProtocolError, "close payload of one byte"}
	// ErrCloseCode: a code that may not be sent (section 7.4).
	ErrCloseCode = &Error{CloseProtocolError, "close code not allowed"}
	// ErrCloseReason: a reason that is not UTF-8 (section 5.5.1).
	ErrCloseReason = &Error{CloseInvalidPayload, "close reason is not UTF-8"}
)

// fault numbers what can be wrong with a header, so that a Parser can remember
// it in a byte.
type fault uint8

const (
	noFault fault = iota
	reservedBits
	reservedOpCode
	fragmentedControl
	controlTooLong
	strayContinuation
	interleavedData
	unmasked
	masked
	lengthTopBit
	lengthNotMinimal
	frameTooBig
)

var faultErrors = [...]*Error{
	reservedBits:      ErrReservedBits,
	reservedOpCode:    ErrReservedOpCode,
	fragmentedControl: ErrFragmentedControl,
	controlTooLong:    ErrControlTooLong,
	strayContinuation: ErrStrayContinuation,
	interleavedData:   ErrInterleavedData,
	unmasked:          ErrUnmasked,
	masked:            ErrMasked,
	lengthTopBit:      ErrLengthTopBit,
	lengthNotMinimal:  ErrLengthNotMinimal,
	frameTooBig:       ErrFrameTooBig,
}
