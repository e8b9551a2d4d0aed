package handshake

import (
	"bufio"
	"bytes"
	"net/http"
)

const (
	// DefaultMaxBytes is the size a request head may have unless
	// Head.MaxBytes says otherwise.
	DefaultMaxBytes = 16 << 10

	// largestMaxBytes keeps field offsets far inside 32 bits.
	largestMaxBytes = 1 << 20

	// maxLeadingLines is how many empty lines are skipped before the request
	// line: RFC 9112 section 2.2 wants one, net/http takes two.
	maxLeadingLines = 2
)

// Head is a parsed request head. The zero value is ready; one goroutine at a
// time may use it, and it is meant to be reused: Parse allocates nothing.
//
// Every slice that an accessor returns aliases the bytes given to Parse. It
// is valid until the next Parse, and only while those bytes are unchanged.
// After a Parse that did not find a complete head there is nothing to return.
type Head struct {
	// MaxBytes bounds the head, from its first byte to the blank line; a
	// larger one is refused with 431. 0 means DefaultMaxBytes; values above
	// 1 MiB count as 1 MiB.
	MaxBytes int

	fields
	method, target    []byte
	path, query, host []byte
	minor             int
	length            int64 // Content-Length; -1 when absent
	chunked           bool
	extended          bool   // CONNECT with a protocol (RFC 8441); set by SetRequest
	own               []byte // room for SetRequest
}

// Parse reads the head at the start of b. n > 0 is the length of a complete
// head, blank line included; n == 0 with a nil error means that b ends inside
// it. A malformed head is a *Refusal (400, 431, 501 or 505), reported as soon
// as the line that is wrong is complete; in the request line as soon as the
// wrong byte is there, so that a TLS ClientHello is not waited for.
func (h *Head) Parse(b []byte) (n int, err error) {
	n, r := h.parse(b)
	if r != nil {
		h.reset()
		return 0, r
	}
	if n == 0 {
		h.reset()
	}
	return n, nil
}

// ParseFrom is Parse for a head that arrives in pieces: seen is the length of
// the prefix of b that an earlier call found incomplete. It skips the parse
// while no further line has ended, so that a head sent byte by byte is not
// read over and over.
func (h *Head) ParseFrom(b []byte, seen int) (n int, err error) {
	at := skipEmptyLines(b)
	if at < seen && len(b) < h.limit() &&
		bytes.IndexByte(b[seen:], '\n') < 0 && bytes.IndexByte(b[at:seen], '\n') >= 0 {
		h.reset()
		return 0, nil
	}
	return h.Parse(b)
}

func (h *Head) limit() int {
	if h.MaxBytes <= 0 {
		return DefaultMaxBytes
	}
	return min(h.MaxBytes, largestMaxBytes)
}

func (h *Head) reset() {
	h.buf, h.n = nil, 0
	h.method, h.target, h.path, h.query, h.host = nil, nil, nil, nil, nil
	h.minor, h.length, h.chunked, h.extended = 0, -1, false, false
}

func (h *Head) parse(b []byte) (int, *Refusal) {
	limit := h.limit()
	if len(b) > limit {
		b = b[:limit]
	}
	h.reset()
	at := skipEmptyLines(b)
	end, next, kind := cutLine(b, at)
	first := b[at:end]
	if kind == linePartial && len(first) > 0 && first[len(first)-1] == '\r' {
		first = first[:len(first)-1] // the line's end or a bare CR: the next byte will tell
	}
	if r := h.parseRequestLine(first, kind == lineWhole); r != nil {
		return 0, r
	}
	if kind == lineBareLF {
		return 0, errLineEnding
	}

	h.buf = b
	for kind == lineWhole {
		at = next
		end, next, kind = cutLine(b, at)
		switch {
		case kind == lineBareLF:
			return 0, errLineEnding
		case kind == linePartial:
		case end == at:
			h.buf = b[:next:next]
			return next, h.finish()
		default:
			if r := h.addField(at, end); r != nil {
				return 0, r
			}
		}
	}
	if len(b) == limit {
		return 0, ErrHeadTooLarge
	}
	return 0, nil
}

func skipEmptyLines(b []byte) (n int) {
	for range maxLeadingLines {
		if len(b) < n+2 || b[n] != '\r' || b[n+1] != '\n' {
			break
		}
		n += 2
	}
	return n
}

// addField records a field line and keeps what decides the message's host
// and framing.
func (h *Head) addField(at, end int) *Refusal {
	f, r := h.add(at, end)
	if r != nil {
		return r
	}
	name, value := h.buf[f.name:f.nameEnd], h.buf[f.value:f.valueEnd]
	switch {
	case len(name) == len("Host") && equalFold(name, "Host"):
		return h.setHost(value)
	case len(name) == len("Content-Length") && equalFold(name, "Content-Length"):
		return h.setLength(value)
	case len(name) == len("Transfer-Encoding") && equalFold(name, "Transfer-Encoding"):
		return h.setTransferEncoding(value)
	}
	return nil
}

// setHost takes the Host field (RFC 9112 section 3.2). In absolute form the
// target names the host and the field only has to be well-formed.
func (h *Head) setHost(value []byte) *Refusal {
	if h.Count("Host") > 1 {
		return errRepeatedHost
	}
	if len(value) > 0 && !validAuthority(value) {
		return errHost
	}
	if h.host == nil {
		h.host = value
	}
	return nil
}

// setLength takes the Content-Length field. Even equal repetitions are
// refused: they have no honest sender.
func (h *Head) setLength(value []byte) *Refusal {
	const maxDigits = 18 // every such number fits an int64
	if h.length >= 0 || h.chunked {
		return errFraming
	}
	if len(value) == 0 || len(value) > maxDigits {
		return errLength
	}
	var n int64
	for _, c := range value {
		if !isDigit(c) {
			return errLength
		}
		n = n*10 + int64(c-'0')
	}
	h.length = n
	return nil
}

// setTransferEncoding takes the Transfer-Encoding field: chunked or nothing,
// as net/http. With a length beside it, or from an HTTP/1.0 peer, the framing
// is faulty (RFC 9112 section 6.1).
func (h *Head) setTransferEncoding(value []byte) *Refusal {
	if h.length >= 0 || h.chunked || h.minor == 0 {
		return errFraming
	}
	if !equalFold(value, "chunked") {
		return errTransferEncoding
	}
	h.chunked = true
	return nil
}

// finish checks what only the whole head can tell.
func (h *Head) finish() *Refusal {
	if h.minor > 0 && h.find("Host", 0) < 0 {
		return errMissingHost
	}
	if h.chunked && (h.HasToken("Trailer", "Content-Length") ||
		h.HasToken("Trailer", "Transfer-Encoding") || h.HasToken("Trailer", "Trailer")) {
		return errTrailer // RFC 9110 section 6.5.1
	}
	return nil
}

// Method returns the request method, as sent: methods are case-sensitive.
func (h *Head) Method() []byte { return h.method }

// Target returns the request target as sent.
func (h *Head) Target() []byte { return h.target }

// Path returns the target's path, still percent-encoded and without the
// query. It is "*" for the asterisk form and empty for the authority form of
// CONNECT.
func (h *Head) Path() []byte { return h.path }

// Query returns what follows the first '?' of the target, still encoded.
func (h *Head) Query() []byte { return h.query }

// Host returns the authority of the request: the target's own when it has
// one, else the Host field. It is well-formed, and may be empty.
func (h *Head) Host() []byte { return h.host }

// Minor returns x of HTTP/1.x.
func (h *Head) Minor() int { return h.minor }

// HasBody reports whether a body follows the head.
func (h *Head) HasBody() bool { return h.chunked || h.length > 0 }

// Request builds an http.Request from the parsed bytes, which it copies. The
// body is not among those bytes: Body is http.NoBody, whatever length was
// announced. RemoteAddr and TLS are the caller's to fill in. It must follow a
// Parse that found a complete head.
func (h *Head) Request() (*http.Request, error) {
	b := h.buf[skipEmptyLines(h.buf):]
	req, err := http.ReadRequest(bufio.NewReaderSize(bytes.NewReader(b), len(b)))
	if err != nil {
		return nil, err
	}
	req.Body = http.NoBody
	return req, nil
}
