package handshake

import (
	"bytes"
	"net/netip"
)

// slash is the path of an absolute-form target that has none (RFC 9110
// section 4.2.3).
var slash = []byte("/")

// parseRequestLine reads `METHOD SP target SP HTTP/1.x` (RFC 9112 section 3)
// from left to right and stops at the first wrong byte; when more of the line
// is to come, running out of bytes is not an error. So a partial line is
// refused exactly when, and as, the whole one would be.
func (h *Head) parseRequestLine(b []byte, whole bool) *Refusal {
	method, rest, more, r := cutPart(b, classToken, errRequestLine)
	if r != nil || !more {
		return endOfLine(r, whole)
	}
	target, version, more, r := cutPart(rest, classTarget, errTarget)
	if r != nil || !more {
		return endOfLine(r, whole)
	}
	h.method, h.target = method, target
	if r := h.parseTarget(target, string(method) == "CONNECT"); r != nil {
		return r
	}
	minor, done, r := parseVersion(version)
	if r != nil || !done {
		return endOfLine(r, whole)
	}
	if len(version) > len("HTTP/1.1") {
		return errRequestLine
	}
	h.minor = minor
	return nil
}

// endOfLine is the verdict when the bytes ran out: r if they were wrong, else
// an error only when the line ends there.
func endOfLine(r *Refusal, whole bool) *Refusal {
	if r == nil && whole {
		return errRequestLine
	}
	return r
}

// cutPart splits b at its first space; more is false when there is none yet.
// The part must be of the given class and not empty.
func cutPart(b []byte, bits uint8, bad *Refusal) (part, rest []byte, more bool, r *Refusal) {
	i := 0
	for i < len(b) && class[b[i]]&bits != 0 {
		i++
	}
	switch {
	case i == len(b):
		return b, nil, false, nil
	case i == 0 || b[i] != ' ':
		return nil, nil, false, bad
	}
	return b[:i:i], b[i+1:], true, nil
}

// parseVersion reads the HTTP-version at the start of b, of which there may
// be less than all; done says that it was complete.
func parseVersion(b []byte) (minor int, done bool, r *Refusal) {
	const form = "HTTP/0.0" // 0 stands for any digit
	for i := range min(len(b), len(form)) {
		if b[i] != form[i] && !(form[i] == '0' && isDigit(b[i])) {
			return 0, false, errRequestLine
		}
	}
	if len(b) < len(form) {
		return 0, false, nil
	}
	if b[5] != '1' {
		return 0, false, errVersion
	}
	return int(b[7] - '0'), true, nil
}

// parseTarget splits the target into path, query and host. The forms are
// those of RFC 9112 section 3.2; RFC 6455 section 4.1 has a client send the
// origin form, or the absolute one through a proxy.
func (h *Head) parseTarget(target []byte, connect bool) *Refusal {
	rest := target
	switch {
	case target[0] == '/':
	case connect:
		if !validTargetAuthority(target) {
			return errTarget
		}
		h.host = target
		return nil
	case string(target) == "*":
		h.path = target
		return nil
	default:
		rest, _ = cutScheme(target)
		i := 0
		for i < len(rest) && rest[i] != '/' && rest[i] != '?' {
			i++
		}
		if !validTargetAuthority(rest[:i]) {
			return errTarget
		}
		h.host, rest = rest[:i:i], rest[i:]
	}
	h.path = rest
	if i := bytes.IndexByte(rest, '?'); i >= 0 {
		h.path, h.query = rest[:i:i], rest[i+1:]
	}
	if len(h.path) == 0 {
		h.path = slash
	}
	if !validEscapes(h.path) {
		return errTarget
	}
	return nil
}

var schemes = [...]struct {
	prefix string
	port   []byte
}{
	{"http://", []byte("80")},
	{"https://", []byte("443")},
	{"ws://", []byte("80")},
	{"wss://", []byte("443")},
}

// cutScheme returns what follows the scheme of an absolute URI, or nil if the
// scheme is none that leads here, and the scheme's default port.
func cutScheme(uri []byte) (rest, port []byte) {
	for _, s := range schemes {
		if len(uri) > len(s.prefix) && equalFold(uri[:len(s.prefix)], s.prefix) {
			return uri[len(s.prefix):], s.port
		}
	}
	return nil, nil
}

// validEscapes reports whether every '%' starts two hexadecimal digits.
func validEscapes(path []byte) bool {
	for i, c := range path {
		if c == '%' && (i+2 >= len(path) || !all(path[i+1:i+3], classHex)) {
			return false
		}
	}
	return true
}

// validAuthority reports whether b is a host with an optional port: a name or
// IPv4 address without percent-encoding, or something in brackets that has
// the characters of an IPv6 address. No user information.
func validAuthority(b []byte) bool {
	host, port := splitPort(b)
	if len(host) == 0 {
		return false
	}
	for _, c := range port {
		if !isDigit(c) {
			return false
		}
	}
	if host[0] != '[' {
		return all(host, classHost)
	}
	if len(host) < len("[::]") || host[len(host)-1] != ']' {
		return false
	}
	for _, c := range host[1 : len(host)-1] {
		if c != ':' && c != '.' && class[c]&classHex == 0 {
			return false
		}
	}
	return true
}

// validTargetAuthority is validAuthority with IPv6 addresses really parsed,
// as net/url does; that costs an allocation, which a Host field is spared.
func validTargetAuthority(b []byte) bool {
	if !validAuthority(b) {
		return false
	}
	if b[0] != '[' {
		return true
	}
	host, _ := splitPort(b)
	addr, err := netip.ParseAddr(string(host[1 : len(host)-1]))
	return err == nil && addr.Is6()
}

// splitPort splits host[:port] at the first colon outside brackets. port is
// nil without a colon.
func splitPort(b []byte) (host, port []byte) {
	from := 0
	if len(b) > 0 && b[0] == '[' {
		if from = bytes.IndexByte(b, ']') + 1; from < len(b) && from > 0 && b[from] != ':' {
			return b, nil // left whole for the caller to find invalid
		}
	}
	if i := bytes.IndexByte(b[from:], ':'); i >= 0 {
		return b[:from+i], b[from+i+1:]
	}
	return b, nil
}
