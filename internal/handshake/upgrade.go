package handshake

import "bytes"

// keyLen is the length of a Sec-WebSocket-Key: 16 bytes in base64.
const keyLen = 24

// IsUpgrade reports whether the request asks for a WebSocket: websocket among
// the Upgrade protocols and upgrade among the Connection options, over
// HTTP/1.1 or later. In an HTTP/1.0 request Upgrade must be ignored (RFC 9110
// section 7.8).
func (h *Head) IsUpgrade() bool {
	return h.minor > 0 && h.HasToken("Upgrade", "websocket") && h.HasToken("Connection", "Upgrade")
}

// CheckUpgrade judges a complete head as the client's opening handshake (RFC
// 6455 sections 4.2.1 and 4.4). A non-nil error is a *Refusal:
//
//   - 405 with Allow when the method is not GET;
//   - 400 over HTTP/1.0, which cannot upgrade;
//   - 426 with Upgrade when no WebSocket is asked for;
//   - 400 when a body follows, or the version is missing or repeated;
//   - 426 with Sec-WebSocket-Version for any version but 13, before the key
//     is looked at: older versions have none;
//   - 400 when the key is missing, repeated or not 16 bytes in base64.
//
// Of an extended CONNECT the version alone is judged: it has no key, and what
// follows it is the stream (RFC 8441 section 5).
func (h *Head) CheckUpgrade() error {
	switch {
	case h.extended:
		return h.checkVersion()
	case string(h.method) != "GET":
		return ErrMethodNotAllowed
	case h.minor == 0:
		return errOldHTTP
	case !h.IsUpgrade():
		return ErrUpgradeRequired
	case h.HasBody():
		return errBody
	}
	if err := h.checkVersion(); err != nil {
		return err
	}
	i := h.find("Sec-WebSocket-Key", 0)
	switch {
	case i < 0:
		return errMissingKey
	case h.find("Sec-WebSocket-Key", i+1) >= 0, !validKey(h.value(i)):
		return errKey
	}
	return nil
}

func (h *Head) checkVersion() error {
	i := h.find("Sec-WebSocket-Version", 0)
	switch {
	case i < 0:
		return errMissingVersion
	case h.find("Sec-WebSocket-Version", i+1) >= 0:
		return errRepeatedVersion
	case string(h.value(i)) != "13":
		return ErrVersionRequired
	}
	return nil
}

// Key returns the Sec-WebSocket-Key, which CheckUpgrade has found valid. It
// lives as long as the slices of Get.
func (h *Head) Key() []byte {
	key, _ := h.Get("Sec-WebSocket-Key")
	return key
}

// validKey reports whether key is the base64 form of 16 bytes. The four bits
// that the last character has left over may be anything: clients with fixed
// keys get them wrong, and nobody decodes the key.
func validKey(key []byte) bool {
	return len(key) == keyLen && all(key[:keyLen-2], classBase64) && string(key[keyLen-2:]) == "=="
}

// Subprotocol returns the first of supported that the client offers in
// Sec-WebSocket-Protocol, compared exactly, and whether there is one. The
// order is the server's: the client's is a preference only (RFC 6455 section
// 4.2.2).
func Subprotocol(h *Head, supported []string) (string, bool) {
	const name = "Sec-WebSocket-Protocol"
	first := h.find(name, 0)
	if first < 0 {
		return "", false
	}
	for _, s := range supported {
		if s == "" {
			continue
		}
		for i := first; i >= 0; i = h.find(name, i+1) {
			for rest := h.value(i); rest != nil; {
				var e []byte
				if e, rest = cutElement(rest); string(e) == s {
					return s, true
				}
			}
		}
	}
	return "", false
}

// SameOrigin reports whether an Origin (RFC 6454) names the host and port of
// a request, which is what Head.Host returns; case is ignored. A missing port
// on either side is the default one of the origin's scheme, for behind a
// proxy that ends TLS the server cannot know its own. The scheme must be http
// or https (ws and wss are taken too); "null", lists and anything malformed
// are nobody's origin. A request without Origin is not for this function to
// judge.
func SameOrigin(origin, host []byte) bool {
	rest, defaultPort := cutScheme(origin)
	if !validAuthority(rest) || !validAuthority(host) {
		return false
	}
	originName, originPort := splitPort(rest)
	hostName, hostPort := splitPort(host)
	if len(originPort) == 0 {
		originPort = defaultPort
	}
	if len(hostPort) == 0 {
		hostPort = defaultPort
	}
	return equalFold(originName, hostName) && bytes.Equal(originPort, hostPort)
}
