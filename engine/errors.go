package engine

import (
	"errors"
	"fmt"
	"strings"

	"zeroframe/frame"
	"zeroframe/internal/loop"
)

var (
	// ErrServerClosed is returned by Serve and its kin after Shutdown or Close, as in net/http.
	ErrServerClosed = errors.New("engine: server closed")
	// ErrClosed is returned for sending on a connection that has ended, or that a close frame was sent on.
	ErrClosed = errors.New("engine: connection closed")
	// ErrBackpressure is returned by Send when a message does not fit into what MaxBackpressure leaves, and the policy
	// is PolicyRefuse. Nothing of the message was queued. OnDrain tells when to try again. Publish returns it when a loop
	// is too far behind, and it is the reason's Err where PolicyClose closed.
	ErrBackpressure = errors.New("engine: too much output queued")
	// ErrOverflow is the reason's Err, with 1008, when a session was sent more than it received, or a peer read less than a
	// session sent, and WithOverflow says to close.
	ErrOverflow = errors.New("engine: overflow")
	// ErrMessageTooBig is the reason's Err when the peer sent a message above MaxMessageSize or a frame above
	// MaxFrameSize, and is returned for a control frame with a payload above 125 bytes.
	ErrMessageTooBig = errors.New("engine: message too big")
	// ErrPingTimeout is the reason's Err when no pong came in time.
	ErrPingTimeout = errors.New("engine: ping timeout")
	// ErrIdleTimeout is the reason's Err when the peer sent nothing for the idle timeout.
	ErrIdleTimeout = errors.New("engine: idle timeout")
	// ErrLifetime is the reason's Err when the connection was closed because of its age.
	ErrLifetime = errors.New("engine: maximum lifetime reached")
	// ErrWriteTimeout is the reason's Err when the peer took no byte of the queued output for the write timeout.
	ErrWriteTimeout = errors.New("engine: write timeout")
	// ErrCloseTimeout is the reason's Err when the peer did not answer our close frame, or a raw handler the peer's, as
	// OnClose and the cause of a session's context say; a session's CloseReason is decided before that.
	ErrCloseTimeout = errors.New("engine: close timeout")
	// ErrCloseCode is returned by Close for a code that must not be sent (RFC 6455, section 7.4).
	ErrCloseCode = errors.New("engine: close code not allowed")
	// ErrCloseReason is returned by Close for a reason that is not UTF-8, is longer than 123 bytes, or has no code.
	ErrCloseReason = errors.New("engine: close reason is not UTF-8 of at most 123 bytes")
	// ErrFragment is returned for a message sent while a fragmented one is unfinished, for a fragment of another type
	// than the one before it, and for opcodes that are not a message's.
	ErrFragment = errors.New("engine: fragmented message unfinished, or opcode not of a message")
	// ErrFrame is returned by SendFrame for a frame with a reserved opcode, with reserved bits that the route has not, or
	// for a control frame that is fragmented.
	ErrFrame = errors.New("engine: frame not allowed by RFC 6455")
	// ErrTopicName is returned by Subscribe and Publish for a name that is empty or longer than MaxTopicName.
	ErrTopicName = errors.New("engine: topic names have 1 to 1024 bytes")
	// ErrUnsupported is returned by New on operating systems without event loops.
	ErrUnsupported = loop.ErrUnsupported
)

// CloseError is what the calls of a Session fail with when the connection has ended, or is about to. errors.Is finds
// ErrClosed in it, and Reason.Err.
type CloseError struct{ Reason CloseReason }

// Error returns the code and the text, and what else is known.
func (e *CloseError) Error() string {
	var s strings.Builder
	fmt.Fprintf(&s, "engine: connection closed: %d", e.Reason.Code)
	if e.Reason.Text != "" {
		fmt.Fprintf(&s, " %q", e.Reason.Text)
	}
	if e.Reason.Err != nil {
		fmt.Fprintf(&s, ": %v", e.Reason.Err)
	}
	return s.String()
}

// Unwrap returns ErrClosed and Reason.Err.
func (e *CloseError) Unwrap() []error {
	if e.Reason.Err == nil {
		return []error{ErrClosed}
	}
	return []error{ErrClosed, e.Reason.Err}
}

// orderly reports whether nothing went wrong.
func (e *CloseError) orderly() bool {
	r := &e.Reason
	if !r.Remote {
		return r.Err == nil && r.Code != frame.CloseAbnormal
	}
	return r.Code == frame.CloseNormal || r.Code == frame.CloseGoingAway || r.Code == frame.CloseNoStatus
}

// PanicError is the reason's Err when a handler panicked. The peer is told 1011 and nothing of this.
type PanicError struct {
	Value any    // what was given to panic
	Stack []byte // the stack of the panicking handler
}

// Error returns the value given to panic.
func (e *PanicError) Error() string { return fmt.Sprintf("engine: panic in handler: %v", e.Value) }

// OptionError is returned by New, Handle and its kin, Upgrade and Dial for an option that is out of bounds or contradicts
// another; Handler and its kin panic with it.
type OptionError struct {
	Option string // name of the option's function, such as "WithReadBuffer"
	Reason string // what is wrong, in words
}

// Error names the option and what is wrong with it.
func (e *OptionError) Error() string { return "engine: " + e.Option + ": " + e.Reason }
