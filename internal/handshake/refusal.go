package handshake

import (
	"net/http"
	"strconv"
	"time"
)

// Refusal is a request answered by an HTTP error. It implements error. Those
// that this package returns are shared: they must not be modified, and may be
// compared by identity and used from any goroutine.
type Refusal struct {
	Status int         // HTTP status; anything outside 200-999 is sent as 500
	Reason string      // told to the client as the body; empty: the status text
	Header http.Header // further response fields, or nil
}

// Error returns the status and the reason.
func (r *Refusal) Error() string {
	s := "handshake: " + strconv.Itoa(r.Status) + " " + http.StatusText(r.Status)
	if r.Reason != "" {
		s += ": " + r.Reason
	}
	return s
}

// The refusals that need no detail.
var (
	ErrBadRequest       = bad("")
	ErrForbidden        = &Refusal{Status: http.StatusForbidden, Reason: "origin not allowed"}
	ErrMethodNotAllowed = &Refusal{
		Status: http.StatusMethodNotAllowed,
		Reason: "a WebSocket handshake is a GET",
		Header: http.Header{"Allow": {"GET"}},
	}
	ErrRequestTimeout = &Refusal{Status: http.StatusRequestTimeout, Reason: "the request head did not arrive in time"}
	// ErrUpgradeRequired answers a request that is no WebSocket handshake.
	ErrUpgradeRequired = &Refusal{
		Status: http.StatusUpgradeRequired,
		Reason: "this resource speaks WebSocket",
		Header: http.Header{"Upgrade": {"websocket"}, "Connection": {"Upgrade"}},
	}
	// ErrVersionRequired answers a handshake of another protocol version (RFC
	// 6455 section 4.4). A 426 must have Upgrade too (RFC 9110 section
	// 15.5.22).
	ErrVersionRequired = &Refusal{
		Status: http.StatusUpgradeRequired,
		Reason: "WebSocket version 13 is required",
		Header: http.Header{"Upgrade": {"websocket"}, "Connection": {"Upgrade"}, "Sec-Websocket-Version": {"13"}},
	}
	ErrHeadTooLarge = &Refusal{Status: http.StatusRequestHeaderFieldsTooLarge, Reason: "request head too large"}
	ErrInternal     = &Refusal{Status: http.StatusInternalServerError}
	ErrUnavailable  = &Refusal{
		Status: http.StatusServiceUnavailable,
		Reason: "too many connections",
		Header: http.Header{"Retry-After": {"5"}}, // seconds
	}
)

// What the parser and CheckUpgrade find wrong.
var (
	errRequestLine      = bad("malformed request line")
	errTarget           = bad("malformed request target")
	errLineEnding       = bad("line not ended by CRLF")
	errFieldName        = bad("malformed header field name")
	errFieldValue       = bad("control character in header field")
	errFolded           = bad("folded header field")
	errMissingHost      = bad("missing Host")
	errRepeatedHost     = bad("repeated Host")
	errHost             = bad("malformed Host")
	errLength           = bad("malformed Content-Length")
	errFraming          = bad("conflicting Content-Length or Transfer-Encoding")
	errTrailer          = bad("forbidden trailer field")
	errNoUpgrade        = bad("HTTP/2 has no Upgrade: a WebSocket is opened by HTTP/1.1, or by extended CONNECT where the server has that on")
	errOldHTTP          = bad("a WebSocket handshake needs HTTP/1.1")
	errBody             = bad("a WebSocket handshake has no body")
	errMissingVersion   = bad("missing Sec-WebSocket-Version")
	errRepeatedVersion  = bad("repeated Sec-WebSocket-Version")
	errMissingKey       = bad("missing Sec-WebSocket-Key")
	errKey              = bad("Sec-WebSocket-Key is not one base64 value of 16 bytes")
	errTooManyFields    = &Refusal{Status: http.StatusRequestHeaderFieldsTooLarge, Reason: "too many header fields"}
	errTransferEncoding = &Refusal{Status: http.StatusNotImplemented, Reason: "unsupported Transfer-Encoding"}
	errProtocol         = &Refusal{Status: http.StatusNotImplemented, Reason: "no CONNECT but that of a WebSocket is served here"}
	errVersion          = &Refusal{Status: http.StatusHTTPVersionNotSupported, Reason: "only HTTP/1.x is spoken here"}
)

func bad(reason string) *Refusal {
	return &Refusal{Status: http.StatusBadRequest, Reason: reason}
}

// refusalOwn are the fields that appendRefusal alone writes. Connection is
// merged with what the Refusal has.
var refusalOwn = []string{
	"Connection", "Content-Length", "Transfer-Encoding", "Trailer", "Date",
	"Content-Type", "X-Content-Type-Options",
}

// AppendRefusal appends the complete HTTP/1.1 response for r, a plain text
// with the reason, announcing that the connection closes after it. now
// becomes the Date; the zero Time, for an answer that is made ahead, leaves it
// out, as a status of 5xx may (RFC 9110 section 6.6.1). Header fields are
// taken under the rules of AppendSwitching. It allocates nothing while dst has
// room and r has at most 16 header fields.
func AppendRefusal(dst []byte, r *Refusal, now time.Time) []byte {
	status := r.Status
	if status < 200 || status > 999 {
		status = http.StatusInternalServerError
	}
	reason := r.Reason
	if reason == "" {
		reason = http.StatusText(status)
	}
	dst = append(dst, "HTTP/1.1 "...)
	dst = strconv.AppendInt(dst, int64(status), 10)
	dst = append(append(dst, ' '), http.StatusText(status)...)
	if !now.IsZero() {
		dst = append(dst, "\r\nDate: "...)
		dst = now.UTC().AppendFormat(dst, http.TimeFormat)
	}
	dst = append(dst, "\r\n"...)
	dst = appendConnection(dst, r.Header["Connection"])
	dst = appendHeader(dst, r.Header, refusalOwn)
	if status == http.StatusNoContent || status == http.StatusNotModified { // no body: RFC 9110 section 6.4.1
		return append(dst, "\r\n"...)
	}
	dst = append(dst, "Content-Type: text/plain; charset=utf-8\r\nX-Content-Type-Options: nosniff\r\nContent-Length: "...)
	dst = strconv.AppendInt(dst, int64(len(reason)+1), 10)
	dst = append(dst, "\r\n\r\n"...)
	dst = append(dst, reason...)
	return append(dst, '\n')
}

// appendConnection appends one Connection field with all options, close the
// last of them.
func appendConnection(dst []byte, options []string) []byte {
	dst = append(dst, "Connection: "...)
	for _, o := range options {
		dst = append(appendValue(dst, o), ", "...)
	}
	return append(dst, "close\r\n"...)
}
