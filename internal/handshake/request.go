package handshake

import (
	"net/http"
	"strings"
)

// copied are the header fields that a handshake is judged by, as net/http
// spells them; Host it keeps apart.
var copied = [...]string{
	"Connection", "Upgrade", "Origin",
	"Sec-Websocket-Key", "Sec-Websocket-Version", "Sec-Websocket-Protocol", "Sec-Websocket-Extensions",
}

// SetRequest makes h the head of a request that net/http has read, so that it
// is judged by the same code as one read by Parse. The method, the host, the
// framing and the fields that a handshake is about are copied, into memory
// that h keeps for the next call; of the target and of other fields nothing.
// Request must not be called.
//
// HTTP/1.x is taken, and of HTTP/2 the extended CONNECT (RFC 8441) as net/http
// gives it to handlers, with the protocol in the field ":protocol". The error
// is a *Refusal: 400 for other HTTP/2 requests, which cannot upgrade, 501 for
// an extended CONNECT to something else, and what is wrong with the fields.
func (h *Head) SetRequest(r *http.Request) error {
	h.reset()
	switch {
	case r.ProtoMajor == 1:
		h.minor = r.ProtoMinor
	case r.ProtoMajor < 1:
		return errVersion
	case r.Method != http.MethodConnect || len(r.Header[":protocol"]) == 0:
		return errNoUpgrade
	case !strings.EqualFold(r.Header[":protocol"][0], "websocket"):
		return errProtocol
	default:
		h.extended = true
	}
	h.length = r.ContentLength
	h.chunked = r.ContentLength < 0 || len(r.TransferEncoding) > 0

	h.buf = append(h.own[:0], r.Method...)
	err := h.setField("Host", r.Host)
	for _, name := range copied {
		for _, value := range r.Header[name] {
			if err == nil {
				err = h.setField(name, value)
			}
		}
	}
	h.own = h.buf
	if err != nil {
		h.reset()
		return err
	}
	h.method = h.buf[:len(r.Method):len(r.Method)]
	if i := h.find("Host", 0); i >= 0 {
		h.host = h.value(i)
	}
	return nil
}

// setField adds a field line, which is judged as if it had been read.
func (h *Head) setField(name, value string) error {
	at := len(h.buf)
	h.buf = append(append(append(h.buf, name...), ": "...), value...)
	if _, r := h.add(at, len(h.buf)); r != nil {
		return r
	}
	if name == "Host" && value != "" && !validAuthority([]byte(value)) {
		return errHost
	}
	return nil
}
