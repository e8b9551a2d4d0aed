package handshake

import (
	"net/http"
	"slices"
)

// switchingOwn are the fields of a 101 response that AppendSwitching alone
// writes, and those that must not be in one (RFC 9110 section 8.6, RFC 9112
// section 6.1).
var switchingOwn = []string{
	"Upgrade", "Connection", "Content-Length", "Transfer-Encoding", "Trailer",
	"Sec-WebSocket-Accept", "Sec-WebSocket-Protocol", "Sec-WebSocket-Extensions",
	"Sec-WebSocket-Key", "Sec-WebSocket-Version",
}

// AppendSwitching appends the complete 101 response to a handshake with the
// given key (RFC 6455 section 4.2.2). An empty subprotocol or extensions
// leaves its field out. The fields of extra follow in sorted order, except
// those that belong to the handshake or to message framing and those whose
// name is not a token. Control characters in any value become spaces, so
// nothing can end a line early. It allocates nothing while dst has room and
// extra has at most 16 fields.
func AppendSwitching(dst []byte, key []byte, subprotocol, extensions string, extra http.Header) []byte {
	dst = append(dst, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "...)
	dst = AppendAccept(dst, key)
	dst = append(dst, "\r\n"...)
	if subprotocol != "" {
		dst = appendField(dst, "Sec-WebSocket-Protocol", subprotocol)
	}
	if extensions != "" {
		dst = appendField(dst, "Sec-WebSocket-Extensions", extensions)
	}
	dst = appendHeader(dst, extra, switchingOwn)
	return append(dst, "\r\n"...)
}

// appendHeader appends the fields of h, sorted by name, except those in own
// and those that no parser would take as fields.
func appendHeader(dst []byte, h http.Header, own []string) []byte {
	if len(h) == 0 {
		return dst
	}
	var room [16]string
	names := room[:0]
	for name := range h {
		if validName(name) && !slices.ContainsFunc(own, func(o string) bool { return equalFold(o, name) }) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		for _, value := range h[name] {
			dst = appendField(dst, name, value)
		}
	}
	return dst
}

func appendField(dst []byte, name, value string) []byte {
	dst = append(append(dst, name...), ": "...)
	dst = appendValue(dst, value)
	return append(dst, "\r\n"...)
}

// appendValue appends s with a space for every byte that a field value may
// not hold, CR and LF first of all.
func appendValue(dst []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if class[c]&classValue == 0 {
			c = ' '
		}
		dst = append(dst, c)
	}
	return dst
}

func validName(s string) bool {
	for i := 0; i < len(s); i++ {
		if class[s[i]]&classToken == 0 {
			return false
		}
	}
	return s != ""
}

// framingOwn are the fields that net/http writes, or leaves out, by itself.
var framingOwn = []string{"Content-Length", "Transfer-Encoding", "Trailer"}

// SetFields puts the fields of from into to, the header of an answer that
// net/http writes, under the rules of AppendSwitching: none but what is a
// field for any parser, and none of own or of message framing. A field takes
// the place of that of the same name, except cookies, and Connection, which
// add up.
func SetFields(to, from http.Header, own ...string) {
	for name, values := range from {
		is := func(o string) bool { return equalFold(o, name) }
		if !validName(name) || slices.ContainsFunc(framingOwn, is) || slices.ContainsFunc(own, is) {
			continue
		}
		name = http.CanonicalHeaderKey(name)
		clean := make([]string, 0, len(values))
		for _, v := range values {
			clean = append(clean, string(appendValue(nil, v)))
		}
		if name == "Set-Cookie" || name == "Connection" {
			clean = append(to[name], clean...)
		}
		to[name] = clean
	}
}

// SetConnected makes to the header of the 200 that answers an extended CONNECT
// over HTTP/2 (RFC 8441 section 5), with the fields of extra as SetFields has
// them.
func SetConnected(to http.Header, subprotocol, extensions string, extra http.Header) {
	SetFields(to, extra)
	for _, name := range switchingOwn {
		to.Del(name)
	}
	if subprotocol != "" {
		to.Set("Sec-WebSocket-Protocol", subprotocol)
	}
	if extensions != "" {
		to.Set("Sec-WebSocket-Extensions", extensions)
	}
}
