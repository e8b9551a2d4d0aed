package frame

import "strconv"

// CloseCode is the status code that says why a connection ended (RFC 6455,
// section 7.4, and the IANA registry of WebSocket close codes).
type CloseCode uint16

// The registered close codes. Three of them are never sent: they let an
// endpoint tell its own application what happened.
const (
	// CloseNormal: the purpose of the connection is fulfilled.
	CloseNormal CloseCode = 1000
	// CloseGoingAway: the server goes down, or a browser leaves the page.
	CloseGoingAway CloseCode = 1001
	// CloseProtocolError: the peer broke the protocol.
	CloseProtocolError CloseCode = 1002
	// CloseUnsupportedData: a kind of data the endpoint cannot accept.
	CloseUnsupportedData CloseCode = 1003
	// CloseNoStatus stands for a close frame without a code. Never sent.
	CloseNoStatus CloseCode = 1005
	// CloseAbnormal stands for a connection that ended without a close frame.
	// Never sent.
	CloseAbnormal CloseCode = 1006
	// CloseInvalidPayload: data that does not fit the message's type, such as
	// text that is not UTF-8.
	CloseInvalidPayload CloseCode = 1007
	// ClosePolicyViolation: a message that breaks the endpoint's policy.
	ClosePolicyViolation CloseCode = 1008
	// CloseMessageTooBig: a message too big to process.
	CloseMessageTooBig CloseCode = 1009
	// CloseMandatoryExtension: the server did not negotiate an extension that
	// the client needs.
	CloseMandatoryExtension CloseCode = 1010
	// CloseInternalError: the endpoint met a condition it did not expect.
	CloseInternalError CloseCode = 1011
	// CloseServiceRestart: the service restarts; reconnect after a random delay.
	CloseServiceRestart CloseCode = 1012
	// CloseTryAgainLater: the service is overloaded.
	CloseTryAgainLater CloseCode = 1013
	// CloseBadGateway: a gateway got an invalid answer from its upstream.
	CloseBadGateway CloseCode = 1014
	// CloseTLSHandshake stands for a failed TLS handshake. Never sent.
	CloseTLSHandshake CloseCode = 1015
)

// OnWire reports whether a close frame may carry code. Refused are codes below
// 1000 (section 7.4.2), the reserved 1004, those that are never sent (1005,
// 1006, 1015), the unassigned rest up to 2999, and 5000 and above. 3000 to 3999
// belong to libraries and 4000 to 4999 to applications.
func (code CloseCode) OnWire() bool {
	switch {
	case code < 1000:
		return false
	case code <= CloseUnsupportedData:
		return true
	case code < CloseInvalidPayload:
		return false
	case code <= CloseBadGateway:
		return true
	}
	return code >= 3000 && code <= 4999
}

// String returns the number, followed for a registered code by its meaning:
// "1001 (going away)".
func (code CloseCode) String() string {
	switch code {
	case CloseNormal:
		return "1000 (normal closure)"
	case CloseGoingAway:
		return "1001 (going away)"
	case CloseProtocolError:
		return "1002 (protocol error)"
	case CloseUnsupportedData:
		return "1003 (unsupported data)"
	case CloseNoStatus:
		return "1005 (no status received)"
	case CloseAbnormal:
		return "1006 (abnormal closure)"
	case CloseInvalidPayload:
		return "1007 (invalid payload data)"
	case ClosePolicyViolation:
		return "1008 (policy violation)"
	case CloseMessageTooBig:
		return "1009 (message too big)"
	case CloseMandatoryExtension:
		return "1010 (mandatory extension)"
	case CloseInternalError:
		return "1011 (internal error)"
	case CloseServiceRestart:
		return "1012 (service restart)"
	case CloseTryAgainLater:
		return "1013 (try again later)"
	case CloseBadGateway:
		return "1014 (bad gateway)"
	case CloseTLSHandshake:
		return "1015 (TLS handshake)"
	}
	return strconv.Itoa(int(code))
}
