package main

import (
	"fmt"
	"net/textproto"
	"slices"
	"strings"
)

// handshakeFields are those that a client's handshake writes itself (RFC 6455, section 4.1), or must not have.
var handshakeFields = []string{
	"Host", "Upgrade", "Connection", "Content-Length", "Transfer-Encoding", "Trailer", "Sec-Websocket-Key",
	"Sec-Websocket-Version", "Sec-Websocket-Protocol", "Sec-Websocket-Accept", "Sec-Websocket-Extensions",
}

// parseField reads "Name: value" (RFC 9110, section 5).
func parseField(s string) (name, value string, err error) {
	name, value, found := strings.Cut(s, ":")
	value = strings.Trim(value, " \t")
	switch {
	case !found || name == "" || strings.ContainsFunc(name, func(r rune) bool { return !isTokenChar(r) }):
		return "", "", fmt.Errorf("%q is not NAME:VALUE", s)
	case strings.ContainsFunc(value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7F }):
		return "", "", fmt.Errorf("the value of %s has control characters", name)
	}
	name = textproto.CanonicalMIMEHeaderKey(name)
	if slices.Contains(handshakeFields, name) {
		hint := ""
		if name == "Sec-Websocket-Protocol" {
			hint = "; --subprotocol offers subprotocols"
		}
		return "", "", fmt.Errorf("%s is the handshake's own%s", name, hint)
	}
	return name, value, nil
}

// isTokenChar reports whether r may stand in a token (RFC 9110, section 5.6.2).
func isTokenChar(r rune) bool {
	return r > ' ' && r < 0x7F && !strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r)
}
