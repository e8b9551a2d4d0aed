package handshake_test

import (
	"bufio"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"zeroframe/internal/handshake"
)

// RFC 6455 section 1.3.
const sampleKey, sampleAccept = "dGhlIHNhbXBsZSBub25jZQ==", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

func readResponse(t *testing.T, b []byte) *http.Response {
	t.Helper()
	r := bufio.NewReader(strings.NewReader(string(b)))
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatalf("%v in %q", err, b)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body = io.NopCloser(strings.NewReader(string(body)))
	if rest, _ := io.ReadAll(r); len(rest) > 0 {
		t.Fatalf("%q follows the response", rest)
	}
	return resp
}

func TestAcceptOfTheSampleKey(t *testing.T) {
	if got := handshake.AppendAccept([]byte("x"), []byte(sampleKey)); string(got) != "x"+sampleAccept {
		t.Errorf("%s", got)
	}
}

func TestSwitchingResponseIsExact(t *testing.T) {
	const bare = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " + sampleAccept + "\r\n"
	cases := []struct {
		subprotocol, extensions string
		extra                   http.Header
		want                    string
	}{
		{"", "", nil, bare + "\r\n"},
		{"chat", "permessage-deflate; x", nil, bare + "Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Extensions: permessage-deflate; x\r\n\r\n"},
		{"", "", http.Header{"X-B": {"1", "2"}, "Set-Cookie": {"a=b"}}, bare + "Set-Cookie: a=b\r\nX-B: 1\r\nX-B: 2\r\n\r\n"},
		{"a\r\nX: y", "b\nZ", nil, bare + "Sec-WebSocket-Protocol: a  X: y\r\nSec-WebSocket-Extensions: b Z\r\n\r\n"},
		{"", "", http.Header{"X": {"a\r\n\r\nHTTP/1.1 200"}, "Y\r\nZ": {"1"}, "": {"2"}, "A B": {"3"}}, bare + "X: a    HTTP/1.1 200\r\n\r\n"},
		{"", "", http.Header{"upgrade": {"h2c"}, "Connection": {"close"}, "Sec-WebSocket-Accept": {"x"}, "Sec-Websocket-Protocol": {"x"},
			"SEC-WEBSOCKET-EXTENSIONS": {"x"}, "Content-Length": {"5"}, "Transfer-Encoding": {"chunked"}}, bare + "\r\n"},
	}
	for _, c := range cases {
		if got := handshake.AppendSwitching(nil, []byte(sampleKey), c.subprotocol, c.extensions, c.extra); string(got) != c.want {
			t.Errorf("got %q\nwant %q", got, c.want)
		}
	}
}

func TestRefusalIsACompleteResponse(t *testing.T) {
	now := time.Date(2024, 2, 29, 23, 59, 58, 0, time.FixedZone("", 3600))
	cases := []struct {
		r            *handshake.Refusal
		status       int
		field, value string
	}{
		{handshake.ErrBadRequest, 400, "", ""},
		{handshake.ErrForbidden, 403, "", ""},
		{&handshake.Refusal{Status: 404}, 404, "", ""},
		{handshake.ErrMethodNotAllowed, 405, "Allow", "GET"},
		{handshake.ErrRequestTimeout, 408, "", ""},
		{handshake.ErrUpgradeRequired, 426, "Upgrade", "websocket"},
		{handshake.ErrVersionRequired, 426, "Sec-Websocket-Version", "13"},
		{handshake.ErrHeadTooLarge, 431, "", ""},
		{handshake.ErrInternal, 500, "", ""},
		{handshake.ErrUnavailable, 503, "Retry-After", "5"},
		{&handshake.Refusal{Status: 101}, 500, "", ""},
		{&handshake.Refusal{Status: 302, Header: http.Header{"Location": {"/x\r\nSet-Cookie: a"}}}, 302, "Location", "/x  Set-Cookie: a"},
		{&handshake.Refusal{Status: 401, Reason: "a\r\n\r\nb", Header: http.Header{"Content-Length": {"1"}, "date": {"x"}}}, 401, "", ""},
	}
	for _, c := range cases {
		resp := readResponse(t, handshake.AppendRefusal(nil, c.r, now))
		body, _ := io.ReadAll(resp.Body)
		want := c.r.Reason
		if want == "" {
			want = http.StatusText(c.status)
		}
		if resp.StatusCode != c.status || string(body) != want+"\n" || resp.ContentLength != int64(len(body)) {
			t.Errorf("%v: %s, %d bytes, %q", c.r, resp.Status, resp.ContentLength, body)
		}
		if !resp.Close || resp.Header.Get("Date") != "Thu, 29 Feb 2024 22:59:58 GMT" || len(resp.Header["Date"]) != 1 ||
			resp.Header.Get("Content-Type") != "text/plain; charset=utf-8" || resp.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%v: %v", c.r, resp.Header)
		}
		if c.field != "" && resp.Header.Get(c.field) != c.value {
			t.Errorf("%v: %s: %q, want %q", c.r, c.field, resp.Header.Get(c.field), c.value)
		}
	}
}

func TestRefusalMergesConnectionOptions(t *testing.T) {
	for _, c := range []struct {
		b    []byte
		want string
	}{
		{handshake.AppendRefusal(nil, handshake.ErrUpgradeRequired, time.Now()), "\r\nConnection: Upgrade, close\r\n"},
		{handshake.AppendRefusal(nil, handshake.ErrBadRequest, time.Now()), "\r\nConnection: close\r\n"},
	} {
		if strings.Count(string(c.b), "Connection:") != 1 || !strings.Contains(string(c.b), c.want) {
			t.Errorf("%q, want %q", c.b, c.want)
		}
	}
}

// RFC 9110, section 6.6.1: answers with a 5xx status may do without.
func TestARefusalThatIsMadeAheadHasNoDate(t *testing.T) {
	resp := readResponse(t, handshake.AppendRefusal(nil, handshake.ErrUnavailable, time.Time{}))
	if date := resp.Header["Date"]; resp.StatusCode != 503 || !resp.Close || date != nil {
		t.Errorf("%s, close %v, Date %q", resp.Status, resp.Close, date)
	}
}

// RFC 9110, section 6.4.1.
func TestRefusalByAStatusWithoutABodyHasNone(t *testing.T) {
	for _, status := range []int{204, 304} {
		b := string(handshake.AppendRefusal(nil, &handshake.Refusal{Status: status, Reason: "no room"}, time.Now()))
		if !strings.HasSuffix(b, "\r\nConnection: close\r\n\r\n") || strings.Contains(b, "Content-Length") {
			t.Errorf("%d: %q", status, b)
		}
	}
}
