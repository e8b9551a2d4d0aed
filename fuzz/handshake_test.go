package fuzz

import (
	"bufio"
	"bytes"
	"fmt"
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
	"strings"
	"testing"

	"zeroframe/internal/handshake"
)

// FuzzHandshakeHead checks that the parser of request heads does not panic,
// that its verdict does not depend on how the bytes arrive, and that
// http.ReadRequest accepts what it accepts and understands the same.
func FuzzHandshakeHead(f *testing.F) {
	for _, head := range []string{
		"GET /chat?x=%20 HTTP/1.1\r\nHost: example.com:80\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n" +
			"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nOrigin: http://example.com\r\n" +
			"Sec-WebSocket-Protocol: a, b\r\n\r\n\x81\x80",
		"\r\nGET http://[::1]:80?q HTTP/1.1\r\nHost: a\r\n\r\n",
		"CONNECT a.b:443 HTTP/1.1\r\nHost: a.b\r\n\r\n",
		"POST /%41 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n",
		"POST / HTTP/1.0\r\nContent-Length: 007\r\n\r\n",
	} {
		f.Add([]byte(head), uint16(len(head)/2))
	}
	f.Fuzz(func(t *testing.T, data []byte, cut uint16) {
		var h handshake.Head
		n, err := h.Parse(data)
		want := describeHead(&h, n, err)
		sameHeadVerdictInPieces(t, data, int(cut), want)
		if n == 0 {
			return
		}
		if n > len(data) || !bytes.HasSuffix(data[:n], []byte("\r\n\r\n")) {
			t.Fatalf("head of %d bytes does not end in a blank line: %q", n, data)
		}
		headAgreesWithNetHTTP(t, &h, data[:n])
		checkHandshakeAnswer(t, &h)
	})
}

func describeHead(h *handshake.Head, n int, err error) string {
	return fmt.Sprintf("%d %v %q %q %q %q %q %d %v %v", n, err, h.Method(), h.Target(), h.Path(), h.Query(), h.Host(), h.Minor(), h.HasBody(), h.IsUpgrade())
}

// sameHeadVerdictInPieces feeds data cut in two, and byte by byte when it is
// short. A piece must be incomplete or get the verdict of the whole.
func sameHeadVerdictInPieces(t *testing.T, data []byte, cut int, want string) {
	ends := []int{min(cut, len(data)), len(data)}
	if len(data) <= 512 {
		ends = ends[:0]
		for i := range len(data) + 1 {
			ends = append(ends, i)
		}
	}
	var h handshake.Head
	seen := 0
	for _, end := range ends {
		n, err := h.ParseFrom(data[:end:end], seen)
		got := describeHead(&h, n, err)
		decided := n > 0 || err != nil
		if (decided || end == len(data)) && got != want {
			t.Fatalf("%q cut at %d:\n got %s\nwant %s", data, end, got, want)
		}
		if decided {
			return
		}
		seen = end
	}
}

func headAgreesWithNetHTTP(t *testing.T, h *handshake.Head, head []byte) {
	first := bytes.TrimLeft(head, "\r\n")
	req, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(first)))
	if err != nil {
		t.Fatalf("net/http refuses %q: %v", head, err)
	}
	path, err := url.PathUnescape(string(h.Path()))
	if err != nil || path != req.URL.Path && !(path == "/" && req.URL.Path == "") {
		t.Fatalf("path %q of %q, net/http has %q", h.Path(), head, req.URL.Path)
	}
	if string(h.Method()) != req.Method || string(h.Target()) != req.RequestURI || string(h.Host()) != req.Host ||
		string(h.Query()) != req.URL.RawQuery || h.Minor() != req.ProtoMinor || h.HasBody() != (req.ContentLength != 0) {
		t.Fatalf("%q is read as %s; net/http has %+v", head, describeHead(h, 0, nil), req)
	}
	for name, values := range req.Header {
		// What ReadRequest adds or takes out is not the head's.
		if h.Count(name) == 0 && name == "Cache-Control" {
			continue
		}
		var got []string
		for v := range h.Values(name) {
			got = append(got, string(v))
		}
		if !slices.Equal(got, values) {
			t.Fatalf("%s of %q: %q, net/http has %q", name, head, got, values)
		}
	}
	if _, err := h.Request(); err != nil {
		t.Fatalf("Request of %q: %v", head, err)
	}
	sameVerdictOnTheRequest(t, h, req)
}

// sameVerdictOnTheRequest checks that a request that net/http has read is judged as its head is.
func sameVerdictOnTheRequest(t *testing.T, h *handshake.Head, req *http.Request) {
	var r handshake.Head
	if err := r.SetRequest(req); err != nil {
		t.Fatalf("%+v: %v", req, err)
	}
	if string(r.Method()) != string(h.Method()) || string(r.Host()) != string(h.Host()) || r.Minor() != h.Minor() ||
		r.HasBody() != h.HasBody() || r.IsUpgrade() != h.IsUpgrade() || r.CheckUpgrade() != h.CheckUpgrade() {
		t.Fatalf("%+v: %q %q %d %v %v %v", req, r.Method(), r.Host(), r.Minor(), r.HasBody(), r.IsUpgrade(), r.CheckUpgrade())
	}
	for _, name := range []string{"Origin", "Sec-WebSocket-Key", "Sec-WebSocket-Protocol", "Sec-WebSocket-Extensions"} {
		if got, want := slices.Collect(r.Values(name)), slices.Collect(h.Values(name)); !slices.EqualFunc(got, want, bytes.Equal) {
			t.Fatalf("%s of %+v: %q, want %q", name, req, got, want)
		}
	}
}

// checkHandshakeAnswer checks that an accepted handshake is answered by one well-formed
// response, whatever the client put into its fields.
func checkHandshakeAnswer(t *testing.T, h *handshake.Head) {
	if h.CheckUpgrade() != nil {
		return
	}
	offered, _ := h.Get("Sec-WebSocket-Protocol")
	origin, _ := h.Get("Origin")
	handshake.SameOrigin(origin, h.Host())
	b := handshake.AppendSwitching(nil, h.Key(), string(offered), "", http.Header{"X-Path": {string(h.Path())}})
	n, resp, err := handshake.VerifyResponse(b, string(h.Key()))
	if n != len(b) || err != nil || resp.Subprotocol != strings.Trim(string(offered), " \t") {
		t.Fatalf("own answer %q: %d, %+v, %v", b, n, resp, err)
	}
	fields, err := textproto.NewReader(bufio.NewReader(bytes.NewReader(b[bytes.IndexByte(b, '\n')+1:]))).ReadMIMEHeader()
	if err != nil || len(fields) > 5 {
		t.Fatalf("own answer %q: %v", b, err)
	}
}
