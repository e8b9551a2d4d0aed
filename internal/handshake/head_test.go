package handshake_test

import (
	"bufio"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"zeroframe/internal/handshake"
)

// browserHead is what Chrome sends, cookies aside.
const browserHead = "GET /chat/room%201?token=a%20b&x=1 HTTP/1.1\r\n" +
	"Host: chat.example.com:9001\r\n" +
	"Connection: Upgrade\r\n" +
	"Pragma: no-cache\r\n" +
	"Cache-Control: no-cache\r\n" +
	"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36\r\n" +
	"Upgrade: websocket\r\n" +
	"Origin: https://chat.example.com:9001\r\n" +
	"Sec-WebSocket-Version: 13\r\n" +
	"Accept-Encoding: gzip, deflate, br, zstd\r\n" +
	"Accept-Language: en-GB,en;q=0.9\r\n" +
	"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" +
	"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n" +
	"Sec-WebSocket-Protocol: chat.v2, chat.v1\r\n" +
	"\r\n"

var goodHeads = []string{
	browserHead,
	"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
	"GET / HTTP/1.1\r\nhost:a\r\n\r\n",
	"GET / HTTP/1.1\r\nHost:\t a:80 \t\r\n\r\n",
	"GET / HTTP/1.1\r\nHost:\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: [::1]:8080\r\nX:\r\n\r\n",
	"GET / HTTP/1.0\r\n\r\n",
	"GET / HTTP/1.2\r\nHost: a\r\n\r\n",
	"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
	"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
	"GET //double/?a?b%zz HTTP/1.1\r\nHost: a\r\n\r\n",
	"GET /caf\xc3\xa9 HTTP/1.1\r\nHost: a\r\nX: caf\xe9\r\n\r\n",
	"GET http://b:81 HTTP/1.1\r\nHost: a\r\n\r\n",
	"GET HTTPS://[::1]/p?q HTTP/1.1\r\nHost: a\r\n\r\n",
	"GET ws://b?q/r HTTP/1.1\r\nHost: a\r\n\r\n",
	"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
	"CONNECT b:443 HTTP/1.1\r\nHost: a\r\n\r\n",
	"CONNECT /rpc HTTP/1.1\r\nHost: a\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
	"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\nTrailer: X-Sum\r\n\r\n0\r\n\r\n",
	"M-SEARCH / HTTP/1.1\r\nHost: a\r\nX|Y~: a\tb\r\n\r\n",
}

var badHeads = []struct {
	name, head string
	status     int
}{
	{"TLS ClientHello", "\x16\x03\x01\x02\x00\x01", 400},
	{"empty method", " / HTTP/1.1\r\n", 400},
	{"method not a token", "G(T / HTTP/1.1\r\n", 400},
	{"space before method", " GET / HTTP/1.1\r\n", 400},
	{"no target", "GET HTTP/1.1\r\n", 400},
	{"two spaces before target", "GET  / HTTP/1.1\r\n", 400},
	{"two spaces before version", "GET /  HTTP/1.1\r\n", 400},
	{"tab for space", "GET\t/ HTTP/1.1\r\n", 400},
	{"space after version", "GET / HTTP/1.1 \r\n", 400},
	{"no version", "GET /\r\n", 400},
	{"lower-case version", "GET / http/1.1\r\n", 400},
	{"cut version", "GET / HTTP/1\r\n", 400},
	{"long version", "GET / HTTP/1.10\r\n", 400},
	{"HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505},
	{"HTTP/0.9", "GET / HTTP/0.9\r\n", 505},
	{"relative target", "GET index.html HTTP/1.1\r\n", 400},
	{"foreign scheme", "GET ftp://a/ HTTP/1.1\r\n", 400},
	{"absolute target without host", "GET http:///x HTTP/1.1\r\n", 400},
	{"user in target", "GET http://u@a/ HTTP/1.1\r\n", 400},
	{"bad IPv6 in target", "GET http://[::1::2]/ HTTP/1.1\r\n", 400},
	{"fragment in target", "GET /a#b HTTP/1.1\r\n", 400},
	{"control character in target", "GET /a\x01 HTTP/1.1\r\n", 400},
	{"DEL in target", "GET /a\x7f HTTP/1.1\r\n", 400},
	{"bad escape in path", "GET /%zz HTTP/1.1\r\n", 400},
	{"cut escape in path", "GET /%a HTTP/1.1\r\n", 400},
	{"escape cut by query", "GET /%a?b HTTP/1.1\r\n", 400},
	{"CONNECT with user", "CONNECT u@a:1 HTTP/1.1\r\n", 400},
	{"bare LF after request line", "GET / HTTP/1.1\n", 400},
	{"bare CR in request line", "GET / HTTP/1.1\rX", 400},
	{"bare LF first", "\nGET / HTTP/1.1\r\n", 400},
	{"third empty line", "\r\n\r\n\r\n", 400},

	{"bare LF after field", "GET / HTTP/1.1\r\nHost: a\n", 400},
	{"bare LF for blank line", "GET / HTTP/1.1\r\nHost: a\r\n\n", 400},
	{"bare CR in value", "GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n", 400},
	{"double CR", "GET / HTTP/1.1\r\nHost: a\r\r\n", 400},
	{"NUL in value", "GET / HTTP/1.1\r\nHost: a\r\nX: a\x00b\r\n", 400},
	{"DEL in value", "GET / HTTP/1.1\r\nHost: a\r\nX: \x7f\r\n", 400},
	{"space before colon", "GET / HTTP/1.1\r\nHost : a\r\n", 400},
	{"tab before colon", "GET / HTTP/1.1\r\nHost\t: a\r\n", 400},
	{"space in name", "GET / HTTP/1.1\r\nX Y: a\r\n", 400},
	{"empty name", "GET / HTTP/1.1\r\n: a\r\n", 400},
	{"no colon", "GET / HTTP/1.1\r\nHost\r\n", 400},
	{"name above ASCII", "GET / HTTP/1.1\r\nX\xc3\xa9: a\r\n", 400},
	{"folded field", "GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n", 400},
	{"folded by tab", "GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n\tb: c\r\n", 400},
	{"space before first field", "GET / HTTP/1.1\r\n Host: a\r\n", 400},
	{"blank line of spaces", "GET / HTTP/1.1\r\nHost: a\r\n \r\n", 400},

	{"missing Host", "GET / HTTP/1.1\r\nX: a\r\n\r\n", 400},
	{"missing Host with absolute target", "GET http://a/ HTTP/1.1\r\n\r\n", 400},
	{"repeated Host", "GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n", 400},
	{"repeated Host with absolute target", "GET http://a/ HTTP/1.1\r\nHost: a\r\nHost: a\r\n", 400},
	{"repeated Host in HTTP/1.0", "GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n", 400},
	{"space in Host", "GET / HTTP/1.1\r\nHost: a b\r\n", 400},
	{"path in Host", "GET / HTTP/1.1\r\nHost: a/b\r\n", 400},
	{"user in Host", "GET / HTTP/1.1\r\nHost: u@a\r\n", 400},
	{"bad port in Host", "GET / HTTP/1.1\r\nHost: a:b\r\n", 400},
	{"port without Host", "GET / HTTP/1.1\r\nHost: :80\r\n", 400},
	{"open bracket in Host", "GET / HTTP/1.1\r\nHost: [::1\r\n", 400},
	{"text after bracket in Host", "GET / HTTP/1.1\r\nHost: [::1]x\r\n", 400},

	{"empty Content-Length", "POST / HTTP/1.1\r\nContent-Length:\r\n", 400},
	{"signed Content-Length", "POST / HTTP/1.1\r\nContent-Length: +5\r\n", 400},
	{"negative Content-Length", "POST / HTTP/1.1\r\nContent-Length: -5\r\n", 400},
	{"listed Content-Length", "POST / HTTP/1.1\r\nContent-Length: 5, 5\r\n", 400},
	{"huge Content-Length", "POST / HTTP/1.1\r\nContent-Length: 9999999999999999999\r\n", 400},
	{"repeated Content-Length", "POST / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 5\r\n", 400},
	{"conflicting Content-Length", "POST / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n", 400},
	{"Transfer-Encoding after Content-Length", "POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n", 400},
	{"Content-Length after Transfer-Encoding", "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n", 400},
	{"repeated Transfer-Encoding", "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", 400},
	{"Transfer-Encoding in HTTP/1.0", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n", 400},
	{"unknown Transfer-Encoding", "POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n", 501},
	{"obfuscated Transfer-Encoding", "POST / HTTP/1.1\r\nTransfer-Encoding: xchunked\r\n", 501},
	{"Content-Length as trailer", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: x, content-length\r\n\r\n", 400},

	{"101 fields", "GET / HTTP/1.1\r\nHost: a\r\n" + strings.Repeat("X: y\r\n", 100), 431},
	{"16 KiB without end of field", "GET / HTTP/1.1\r\nX: " + strings.Repeat("y", 16<<10), 431},
	{"16 KiB without end of request line", "GET /" + strings.Repeat("y", 16<<10), 431},
}

// verdict parses b with a fresh Head and puts all that follows into words.
func verdict(b string) string {
	var h handshake.Head
	n, err := h.Parse([]byte(b))
	return describe(&h, n, err)
}

func describe(h *handshake.Head, n int, err error) string {
	return fmt.Sprintf("%d %v %q %q %q %q %q %d %v", n, err, h.Method(), h.Target(), h.Path(), h.Query(), h.Host(), h.Minor(), h.HasBody())
}

func headLen(head string) int {
	return strings.Index(strings.TrimLeft(head, "\r\n"), "\r\n\r\n") + 4 + len(head) - len(strings.TrimLeft(head, "\r\n"))
}

func TestGoodHeadsAreAccepted(t *testing.T) {
	for _, head := range goodHeads {
		var h handshake.Head
		if n, err := h.Parse([]byte(head)); n != headLen(head) || err != nil {
			t.Errorf("%q: %d, %v; want %d", head, n, err, headLen(head))
		}
	}
}

func TestBadHeadsAreRefusedAtOnce(t *testing.T) {
	for _, c := range badHeads {
		t.Run(c.name, func(t *testing.T) {
			var h handshake.Head
			n, err := h.Parse([]byte(c.head))
			var r *handshake.Refusal
			if n != 0 || !errors.As(err, &r) || r.Status != c.status {
				t.Fatalf("%d, %v; want status %d", n, err, c.status)
			}
			if h.Method() != nil || h.Count("Host") != 0 {
				t.Error("a refused head can still be read")
			}
		})
	}
}

func TestEveryPrefixOfAGoodHeadIsIncomplete(t *testing.T) {
	for _, head := range goodHeads {
		for i := range headLen(head) {
			var h handshake.Head
			if n, err := h.Parse([]byte(head[:i])); n != 0 || err != nil {
				t.Fatalf("%q: %d, %v; want incomplete", head[:i], n, err)
			}
		}
	}
}

func TestEveryCutGivesTheSameVerdict(t *testing.T) {
	all := slices.Clone(goodHeads)
	for _, c := range badHeads {
		all = append(all, c.head)
	}
	for _, head := range all {
		want := verdict(head)
		var h handshake.Head
		seen := 0
		step := 1 + len(head)/2000
		for i := 0; ; i = min(i+step, len(head)) {
			n, err := h.ParseFrom([]byte(head[:i]), seen)
			seen = i
			if got := describe(&h, n, err); (n > 0 || err != nil) && got != want {
				t.Fatalf("cut at %d of %.80q:\n got %s\nwant %s", i, head, got, want)
			}
			if n > 0 || err != nil {
				break
			}
			if i == len(head) {
				t.Fatalf("%.80q: incomplete in pieces, want %s", head, want)
			}
		}
	}
}

func TestAcceptedHeadsAreAcceptedByNetHTTP(t *testing.T) {
	for _, head := range goodHeads {
		var h handshake.Head
		if _, err := h.Parse([]byte(head)); err != nil {
			t.Fatal(err)
		}
		req, err := http.ReadRequest(bufio.NewReader(strings.NewReader(strings.TrimLeft(head, "\r\n"))))
		if err != nil {
			t.Errorf("%q: net/http refuses: %v", head, err)
			continue
		}
		path, err := url.PathUnescape(string(h.Path()))
		if err != nil || path != req.URL.Path && !(path == "/" && req.URL.Path == "") {
			t.Errorf("%q: path %q, net/http has %q", head, h.Path(), req.URL.Path)
		}
		if string(h.Query()) != req.URL.RawQuery || string(h.Method()) != req.Method || string(h.Host()) != req.Host {
			t.Errorf("%q: %s, net/http has %s %s %s", head, describe(&h, 0, nil), req.Method, req.URL, req.Host)
		}
	}
}

func TestHeadLimitCountsTheBlankLine(t *testing.T) {
	const head = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
	for limit, status := range map[int]int{len(head): 0, len(head) - 1: 431} {
		h := handshake.Head{MaxBytes: limit}
		n, err := h.Parse([]byte(head + "more"))
		var r *handshake.Refusal
		if errors.As(err, &r) != (status != 0) || r != nil && r.Status != status || r == nil && n != len(head) {
			t.Errorf("limit %d: %d, %v", limit, n, err)
		}
	}
}

func TestHundredFieldsAreAccepted(t *testing.T) {
	var h handshake.Head
	if n, err := h.Parse([]byte("GET / HTTP/1.1\r\nHost: a\r\n" + strings.Repeat("X: y\r\n", handshake.MaxFields-1) + "\r\n")); n == 0 || err != nil {
		t.Fatal(n, err)
	}
	if h.Count("x") != handshake.MaxFields-1 {
		t.Error(h.Count("x"))
	}
}

func TestFieldsAreFoundInAnyCase(t *testing.T) {
	var h handshake.Head
	if _, err := h.Parse([]byte("GET / HTTP/1.1\r\nHost: a\r\nCONNECTION: keep-alive ,\r\nconnection: x,\tUPgrade\t, y\r\nx^: 1\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	if v, ok := h.Get("Connection"); !ok || string(v) != "keep-alive ," {
		t.Errorf("%q %v", v, ok)
	}
	var got []string
	for v := range h.Values("Connection") {
		got = append(got, string(v))
	}
	if !slices.Equal(got, []string{"keep-alive ,", "x,\tUPgrade\t, y"}) {
		t.Errorf("%q", got)
	}
	for token, want := range map[string]bool{"upgrade": true, "KEEP-ALIVE": true, "Y": true, "grade": false, "x,": false, "alive": false} {
		if h.HasToken("connection", token) != want {
			t.Errorf("HasToken(%q) = %v", token, !want)
		}
	}
	if _, ok := h.Get("x~"); ok {
		t.Error("^ and ~ differ by the case bit only and were taken for equal")
	}
}

func TestRequestIsBuiltFromTheSameBytes(t *testing.T) {
	var h handshake.Head
	buf := []byte("\r\n" + browserHead + "frames")
	if _, err := h.Parse(buf); err != nil {
		t.Fatal(err)
	}
	req, err := h.Request()
	if err != nil {
		t.Fatal(err)
	}
	clear(buf)
	if req.URL.Path != "/chat/room 1" || req.FormValue("token") != "a b" || req.Host != "chat.example.com:9001" ||
		req.Header.Get("Sec-WebSocket-Version") != "13" || req.Body != http.NoBody {
		t.Errorf("%+v", req)
	}
}

func TestControlCharactersAreFoundAtEveryPlaceInAValue(t *testing.T) {
	for size := 1; size <= 20; size++ {
		for at := range size {
			for c := range 256 {
				value := []byte(strings.Repeat("v", size))
				value[at] = byte(c)
				var h handshake.Head
				_, err := h.Parse([]byte("GET / HTTP/1.0\r\nX:" + string(value) + "\r\n"))
				if good := c >= ' ' && c != 0x7f || c == '\t'; good != (err == nil) {
					t.Fatalf("byte %#x at %d of %d: %v", c, at, size, err)
				}
			}
		}
	}
}

func TestHeadCanBeReused(t *testing.T) {
	var h handshake.Head
	for _, head := range goodHeads {
		n, err := h.Parse([]byte(head))
		if got, want := describe(&h, n, err), verdict(head); got != want {
			t.Errorf("%q:\n got %s\nwant %s", head, got, want)
		}
	}
}
