package handshake_test

import (
	"bufio"
	"errors"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"

	"zeroframe/internal/handshake"
)

// ofNetHTTP is a Head set to the request that net/http makes of head.
func ofNetHTTP(t *testing.T, head string) *handshake.Head {
	t.Helper()
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(head)))
	if err != nil {
		t.Fatal(err)
	}
	h := new(handshake.Head)
	if err := h.SetRequest(r); err != nil {
		t.Fatal(err)
	}
	return h
}

func TestARequestsFieldsAreThoseOfItsHead(t *testing.T) {
	const head = "GET /chat?x=1 HTTP/1.1\r\nHost: a:80\r\nUpgrade: h2c\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n" +
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nsec-websocket-protocol: a, b\r\n" +
		"Sec-WebSocket-Protocol: c\r\nSec-WebSocket-Extensions: x; y=\"1, 2\"\r\nOrigin:  http://a \r\nX-Other: z\r\n\r\n"
	h := ofNetHTTP(t, head)
	for range 2 { // a Head is used again
		if err := h.CheckUpgrade(); err != nil || !h.IsUpgrade() || string(h.Key()) != sampleKey ||
			string(h.Host()) != "a:80" || string(h.Method()) != "GET" {
			t.Errorf("%v, key %q, host %q, method %q", err, h.Key(), h.Host(), h.Method())
		}
		origin, _ := h.Get("Origin")
		extensions, _ := h.Get("sec-websocket-extensions")
		protocol, _ := handshake.Subprotocol(h, []string{"c"})
		if string(origin) != "http://a" || string(extensions) != `x; y="1, 2"` || protocol != "c" || h.Count("Sec-WebSocket-Protocol") != 2 {
			t.Errorf("origin %q, extensions %q, protocol %q", origin, extensions, protocol)
		}
		if _, ok := h.Get("X-Other"); ok {
			t.Error("a field that no handshake needs was copied")
		}
		other := &http.Request{Method: "POST", ProtoMajor: 1, ProtoMinor: 0, Host: "[::1]", ContentLength: -1, Header: http.Header{}}
		if err := h.SetRequest(other); err != nil || string(h.Method()) != "POST" || string(h.Host()) != "[::1]" ||
			h.IsUpgrade() || !h.HasBody() || h.Key() != nil {
			t.Errorf("%v: %q %q, key %q", err, h.Method(), h.Host(), h.Key())
		}
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(head)))
		if err != nil || h.SetRequest(r) != nil {
			t.Fatal(err)
		}
	}
}

// A request need not come from a parser.
func TestRequestsThatNoParserMadeAreJudgedToo(t *testing.T) {
	good := func() *http.Request {
		return &http.Request{Method: "GET", ProtoMajor: 1, ProtoMinor: 1, Host: "a", Header: http.Header{
			"Upgrade": {"websocket"}, "Connection": {"Upgrade"}, "Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {sampleKey}}}
	}
	connect := func() *http.Request {
		return &http.Request{Method: "CONNECT", ProtoMajor: 2, Host: "a", ContentLength: -1, Header: http.Header{
			":protocol": {"websocket"}, "Sec-Websocket-Version": {"13"}}}
	}
	for name, c := range map[string]struct {
		of     func() *http.Request
		change func(*http.Request)
		status int // 0: accepted
	}{
		"good":                       {good, func(r *http.Request) {}, 0},
		"an end of line in a field":  {good, func(r *http.Request) { r.Header["Origin"] = []string{"a\r\nUpgrade: x"} }, 400},
		"a NUL in a field":           {good, func(r *http.Request) { r.Header["Sec-Websocket-Key"] = []string{"\x00"} }, 400},
		"a malformed host":           {good, func(r *http.Request) { r.Host = "a b" }, 400},
		"an end of line in the host": {good, func(r *http.Request) { r.Host = "a\n" }, 400},
		"no host":                    {good, func(r *http.Request) { r.Host = "" }, 0},
		"too many fields":            {good, func(r *http.Request) { r.Header["Origin"] = make([]string, handshake.MaxFields) }, 431},
		"a coding":                   {good, func(r *http.Request) { r.TransferEncoding = []string{"chunked"} }, 400},
		"HTTP/0.9":                   {good, func(r *http.Request) { r.ProtoMajor = 0 }, 505},
		"GET over HTTP/2":            {good, func(r *http.Request) { r.ProtoMajor = 2 }, 400},
		"CONNECT over HTTP/2":        {connect, func(r *http.Request) { delete(r.Header, ":protocol") }, 400},
		"extended CONNECT":           {connect, func(r *http.Request) {}, 0},
		"in capitals":                {connect, func(r *http.Request) { r.Header[":protocol"] = []string{"WebSocket"} }, 0},
		"to another protocol":        {connect, func(r *http.Request) { r.Header[":protocol"] = []string{"connect-udp"} }, 501},
		"of no version":              {connect, func(r *http.Request) { delete(r.Header, "Sec-Websocket-Version") }, 400},
		"of another version":         {connect, func(r *http.Request) { r.Header["Sec-Websocket-Version"] = []string{"8"} }, 426},
		"over HTTP/3":                {connect, func(r *http.Request) { r.ProtoMajor = 3 }, 0},
	} {
		r := c.of()
		c.change(r)
		var h handshake.Head
		err := h.SetRequest(r)
		if err == nil {
			err = h.CheckUpgrade()
		} else if h.Method() != nil || h.Host() != nil || h.Key() != nil {
			t.Errorf("%s: something is left of a refused request", name)
		}
		var no *handshake.Refusal
		switch {
		case c.status == 0:
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
		case !errors.As(err, &no) || no.Status != c.status || no.Reason == "":
			t.Errorf("%s: %v, want status %d", name, err, c.status)
		}
	}
}

func TestFieldsForNetHTTPToWrite(t *testing.T) {
	from := http.Header{
		"x-name": {"a\r\nb", "c\x00"}, "Set-Cookie": {"c=3"}, "Connection": {"Upgrade"}, "X-Own": {"1"}, "X-Kept": {"2"},
		"Content-Length": {"9"}, "transfer-encoding": {"chunked"}, "Trailer": {"X"}, "": {"1"}, "X: 1\r\nX": {"1"},
	}
	to := http.Header{"X-Name": {"before"}, "Set-Cookie": {"a=1", "b=2"}, "Connection": {"close"}}
	shared := slices.Clone(from["X-Kept"])
	handshake.SetFields(to, from, "x-own")
	want := http.Header{
		"X-Name": {"a  b", "c "}, "Set-Cookie": {"a=1", "b=2", "c=3"}, "Connection": {"close", "Upgrade"}, "X-Kept": {"2"},
	}
	if !reflect.DeepEqual(to, want) {
		t.Errorf("%v, want %v", to, want)
	}
	if to.Add("X-Kept", "3"); !slices.Equal(from["X-Kept"], shared) {
		t.Error("the values are shared")
	}
}

// RFC 8441 section 5: of the handshake's own fields two are left.
func TestTheAnswerToAnExtendedConnect(t *testing.T) {
	for _, c := range []struct{ protocol, extensions string }{{"", ""}, {"v1", "permessage-deflate; server_no_context_takeover"}} {
		to := http.Header{"Sec-Websocket-Protocol": {"mine"}, "Connection": {"Upgrade"}, "Content-Length": {"9"}, "X-Id": {"7"}}
		handshake.SetConnected(to, c.protocol, c.extensions, http.Header{"Sec-Websocket-Accept": {"mine"}, "Upgrade": {"websocket"}, "X-Extra": {"1"}})
		want := http.Header{"X-Id": {"7"}, "X-Extra": {"1"}}
		if c.protocol != "" {
			want.Set("Sec-WebSocket-Protocol", c.protocol)
			want.Set("Sec-WebSocket-Extensions", c.extensions)
		}
		if !reflect.DeepEqual(to, want) {
			t.Errorf("%v, want %v", to, want)
		}
	}
}
