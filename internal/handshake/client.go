package handshake

import (
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// Errors of VerifyResponse: the server's answer is not the one that RFC 6455
// section 4.1 demands, and the connection must be closed.
var (
	ErrMalformedResponse = errors.New("handshake: malformed response")
	ErrResponseTooLarge  = errors.New("handshake: response head too large")
	ErrNotUpgraded       = errors.New("handshake: the response is not Upgrade: websocket with Connection: Upgrade")
	ErrBadAccept         = errors.New("handshake: Sec-WebSocket-Accept does not match the key")
	ErrBadSubprotocol    = errors.New("handshake: more than one Sec-WebSocket-Protocol in the response")
)

// StatusError is the answer of a server that did not switch protocols. Its
// head is b[:n] of the VerifyResponse that returned it; http.ReadResponse
// reads the rest.
type StatusError struct {
	Status int
	Reason string // the reason phrase, or the usual text when it is empty
}

// Error returns the status and the reason.
func (e *StatusError) Error() string {
	return "handshake: server answered " + strconv.Itoa(e.Status) + " " + e.Reason
}

// ResponseInfo is what a server chose. The client must check that it had
// offered it (RFC 6455 section 4.1).
type ResponseInfo struct {
	Subprotocol string // empty: none
	Extensions  string // the Sec-WebSocket-Extensions lists, joined; empty: none
}

// requestOwn are the fields of a request that AppendRequest alone writes.
var requestOwn = []string{
	"Host", "Upgrade", "Connection", "Content-Length", "Transfer-Encoding", "Trailer",
	"Sec-WebSocket-Key", "Sec-WebSocket-Version", "Sec-WebSocket-Protocol", "Sec-WebSocket-Accept",
}

// AppendRequest appends a client's opening handshake for u (RFC 6455 section
// 4.1); key is from NewKey. User information and fragment of u are left out,
// and so is the default port of its scheme. Origin, extensions and anything
// else come from extra, under the rules of AppendSwitching. No argument can
// end a line early.
func AppendRequest(dst []byte, u *url.URL, key string, subprotocols []string, extra http.Header) []byte {
	dst = append(dst, "GET "...)
	dst = appendEscaped(dst, u.RequestURI())
	dst = append(dst, " HTTP/1.1\r\nHost: "...)
	dst = appendEscaped(dst, requestHost(u))
	dst = append(dst, "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"...)
	dst = appendField(dst, "Sec-WebSocket-Key", key)
	dst = append(dst, "Sec-WebSocket-Version: 13\r\n"...)
	if len(subprotocols) > 0 {
		dst = append(dst, "Sec-WebSocket-Protocol: "...)
		for i, s := range subprotocols {
			if i > 0 {
				dst = append(dst, ", "...)
			}
			dst = appendValue(dst, s)
		}
		dst = append(dst, "\r\n"...)
	}
	dst = appendHeader(dst, extra, requestOwn)
	return append(dst, "\r\n"...)
}

// requestHost is the Host field for u: without the default port, and without
// the zone of an IPv6 address, which means nothing to the other side.
func requestHost(u *url.URL) string {
	host := u.Host
	switch u.Scheme {
	case "http", "ws":
		host = strings.TrimSuffix(host, ":80")
	case "https", "wss":
		host = strings.TrimSuffix(host, ":443")
	}
	if i, j := strings.IndexByte(host, '%'), strings.LastIndexByte(host, ']'); host != "" && host[0] == '[' && 0 < i && i < j {
		host = host[:i] + host[j:]
	}
	return host
}

// appendEscaped appends s with everything percent-encoded that would break
// out of its place in a request line or Host field.
func appendEscaped(dst []byte, s string) []byte {
	const hex = "0123456789ABCDEF"
	for i := 0; i < len(s); i++ {
		if c := s[i]; c <= ' ' || c >= 0x7f || c == '#' {
			dst = append(dst, '%', hex[c>>4], hex[c&15])
		} else {
			dst = append(dst, c)
		}
	}
	return dst
}

// VerifyResponse judges the server's answer to the handshake with the given
// key (RFC 6455 section 4.1). n > 0 is the length of the response head, after
// which frames begin; n == 0 with a nil error means that b ends inside it.
// The error is a *StatusError for a final status other than 101, with n set;
// otherwise, with n == 0, one of this package's sentinels. Interim responses
// before the final one are skipped and counted in n. At most 16 KiB are read.
// It may be called from any goroutine.
func VerifyResponse(b []byte, key string) (n int, resp ResponseInfo, err error) {
	var f fields
	f.buf = b[:min(len(b), DefaultMaxBytes)]
	for {
		status, reason, next, err := f.parseResponse(n)
		switch {
		case err != nil:
			return 0, ResponseInfo{}, err
		case next == 0 && len(b) >= DefaultMaxBytes:
			return 0, ResponseInfo{}, ErrResponseTooLarge
		case next == 0:
			return 0, ResponseInfo{}, nil
		case status == http.StatusSwitchingProtocols:
			if resp, err = f.verify(key); err != nil {
				return 0, ResponseInfo{}, err
			}
			return next, resp, nil
		case status >= 200:
			return next, ResponseInfo{}, &StatusError{Status: status, Reason: reasonText(reason, status)}
		}
		n = next
	}
}

// parseResponse reads the response head at offset at. next is the offset
// behind it, or 0 when it is incomplete.
func (f *fields) parseResponse(at int) (status int, reason []byte, next int, err error) {
	f.n = 0
	end, next, kind := cutLine(f.buf, at)
	if kind == linePartial {
		return 0, nil, 0, nil
	}
	status, reason, ok := parseStatusLine(f.buf[at:end])
	if kind == lineBareLF || !ok {
		return 0, nil, 0, ErrMalformedResponse
	}
	for {
		at = next
		end, next, kind = cutLine(f.buf, at)
		switch {
		case kind == linePartial:
			return 0, nil, 0, nil
		case kind == lineBareLF:
			return 0, nil, 0, ErrMalformedResponse
		case end == at:
			return status, reason, next, nil
		}
		if _, r := f.add(at, end); r != nil {
			return 0, nil, 0, ErrMalformedResponse
		}
	}
}

// parseStatusLine reads `HTTP/1.x SP status [SP reason]` (RFC 9112 section
// 4); a protocol switch takes at least HTTP/1.1, any other answer does not.
func parseStatusLine(b []byte) (status int, reason []byte, ok bool) {
	const version, form = "HTTP/1.", "HTTP/1.1 101"
	if len(b) < len(form) || string(b[:len(version)]) != version || !isDigit(b[7]) || b[8] != ' ' {
		return 0, nil, false
	}
	for _, c := range b[9:12] {
		if !isDigit(c) {
			return 0, nil, false
		}
		status = status*10 + int(c-'0')
	}
	if len(b) > len(form) {
		if b[len(form)] != ' ' || !validValue(b[len(form):]) {
			return 0, nil, false
		}
		reason = b[len(form)+1:]
	}
	return status, reason, status >= 200 || status >= 100 && b[7] != '0'
}

func reasonText(reason []byte, status int) string {
	if len(reason) > 0 {
		return string(reason)
	}
	return http.StatusText(status)
}

// verify checks the fields of a 101 response.
func (f *fields) verify(key string) (resp ResponseInfo, err error) {
	if !f.onlyToken("Upgrade", "websocket") || !f.HasToken("Connection", "Upgrade") {
		return resp, ErrNotUpgraded
	}
	var want [acceptLen]byte
	accept, _ := f.Get("Sec-WebSocket-Accept")
	if f.Count("Sec-WebSocket-Accept") != 1 || string(accept) != string(AppendAccept(want[:0], []byte(key))) {
		return resp, ErrBadAccept
	}
	if f.Count("Sec-WebSocket-Protocol") > 1 {
		return resp, ErrBadSubprotocol
	}
	subprotocol, _ := f.Get("Sec-WebSocket-Protocol")
	resp.Subprotocol = string(subprotocol)
	for v := range f.Values("Sec-WebSocket-Extensions") {
		if resp.Extensions != "" {
			resp.Extensions += ", "
		}
		resp.Extensions += string(v)
	}
	return resp, nil
}

// onlyToken reports whether the lists of the field lines called name have
// token as their only element, however often: a server that switches to more
// than that speaks something else below it (RFC 9110 section 7.8).
func (f *fields) onlyToken(name, token string) bool {
	found := false
	for v := range f.Values(name) {
		for rest := v; rest != nil; found = true {
			var e []byte
			if e, rest = cutElement(rest); !equalFold(e, token) {
				return false
			}
		}
	}
	return found
}
