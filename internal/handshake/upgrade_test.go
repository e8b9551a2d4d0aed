package handshake_test

import (
	"errors"
	"strings"
	"testing"

	"zeroframe/internal/handshake"
)

const upgradeHead = "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
	"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"

func parse(t *testing.T, head string) *handshake.Head {
	t.Helper()
	var h handshake.Head
	if n, err := h.Parse([]byte(head)); n == 0 || err != nil {
		t.Fatalf("%q: %d, %v", head, n, err)
	}
	return &h
}

// RFC 6455 sections 4.2.1 and 4.4.
func TestUpgradeIsJudged(t *testing.T) {
	cases := []struct {
		name, old, new string // what to replace in upgradeHead
		status         int    // 0: accepted
		field, value   string // of the refusal
	}{
		{name: "RFC sample"},
		{name: "tokens in lists and any case", old: "Upgrade: websocket\r\nConnection: Upgrade", new: "UPGRADE: h2c\r\nUpgrade: x, WebSocket\r\nconnection: keep-alive, upgrade"},
		{name: "empty body", old: "Host: a\r\n", new: "Host: a\r\nContent-Length: 0\r\n"},
		{name: "last base64 digit with bits to spare", old: "jZQ==", new: "jZR=="},
		{name: "POST", old: "GET", new: "POST", status: 405, field: "Allow", value: "GET"},
		{name: "lower-case method", old: "GET", new: "get", status: 405, field: "Allow", value: "GET"},
		{name: "HTTP/1.0", old: "HTTP/1.1", new: "HTTP/1.0", status: 400},
		{name: "no Upgrade", old: "Upgrade: websocket\r\n", status: 426, field: "Upgrade", value: "websocket"},
		{name: "other Upgrade", old: "websocket\r\n", new: "h2c\r\n", status: 426, field: "Connection", value: "Upgrade"},
		{name: "no Connection", old: "Connection: Upgrade\r\n", status: 426, field: "Upgrade", value: "websocket"},
		{name: "body", old: "Host: a\r\n", new: "Host: a\r\nContent-Length: 1\r\n", status: 400},
		{name: "chunked body", old: "Host: a\r\n", new: "Host: a\r\nTransfer-Encoding: chunked\r\n", status: 400},
		{name: "no version", old: "Sec-WebSocket-Version: 13\r\n", status: 400},
		{name: "older version", old: ": 13", new: ": 8", status: 426, field: "Sec-WebSocket-Version", value: "13"},
		{name: "older version without key", old: "Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13", new: "Version: 0", status: 426, field: "Sec-WebSocket-Version", value: "13"},
		{name: "list of versions", old: ": 13", new: ": 13, 8", status: 426, field: "Sec-WebSocket-Version", value: "13"},
		{name: "repeated version", old: "\r\n\r\n", new: "\r\nSec-WebSocket-Version: 13\r\n\r\n", status: 400},
		{name: "no key", old: "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", status: 400},
		{name: "empty key", old: "dGhlIHNhbXBsZSBub25jZQ==", status: 400},
		{name: "key of 15 bytes", old: "dGhlIHNhbXBsZSBub25jZQ==", new: "dGhlIHNhbXBsZSBub25j", status: 400},
		{name: "key of 17 bytes", old: "dGhlIHNhbXBsZSBub25jZQ==", new: "dGhlIHNhbXBsZSBub25jZXh=", status: 400},
		{name: "key not base64", old: "dGhl", new: "dG-l", status: 400},
		{name: "key of URL alphabet", old: "dGhl", new: "dG_l", status: 400},
		{name: "unpadded key", old: "ZQ==", new: "ZQ", status: 400},
		{name: "repeated key", old: "\r\n\r\n", new: "\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", status: 400},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if !strings.Contains(upgradeHead, c.old) {
				t.Fatal("nothing to replace")
			}
			head := strings.Replace(upgradeHead, c.old, c.new, 1)
			for way, h := range map[string]*handshake.Head{"parsed": parse(t, head), "of net/http": ofNetHTTP(t, head)} {
				err := h.CheckUpgrade()
				var r *handshake.Refusal
				switch {
				case c.status == 0:
					if err != nil {
						t.Errorf("%s: %v", way, err)
					}
				case !errors.As(err, &r) || r.Status != c.status:
					t.Errorf("%s: %v, want status %d", way, err, c.status)
				case c.field != "" && r.Header.Get(c.field) != c.value:
					t.Errorf("%s: %s: %q, want %q", way, c.field, r.Header.Get(c.field), c.value)
				}
			}
		})
	}
}

func TestUpgradeIsIgnoredInHTTP10(t *testing.T) {
	if !parse(t, upgradeHead).IsUpgrade() {
		t.Error("an upgrade was not seen")
	}
	if parse(t, strings.Replace(upgradeHead, "HTTP/1.1", "HTTP/1.0", 1)).IsUpgrade() {
		t.Error("HTTP/1.0 cannot upgrade")
	}
	if parse(t, "GET / HTTP/1.1\r\nHost: a\r\n\r\n").IsUpgrade() {
		t.Error("no upgrade was asked for")
	}
}

func TestSubprotocolIsTheServersFirstThatIsOffered(t *testing.T) {
	const fields = "Sec-WebSocket-Protocol: v1.chat , v2.chat\r\nsec-websocket-protocol: ,Soap\r\n"
	head := func(fields string) *handshake.Head {
		return parse(t, "GET / HTTP/1.1\r\nHost: a\r\n"+fields+"\r\n")
	}
	cases := []struct {
		fields    string
		supported []string
		want      string
	}{
		{fields, []string{"v2.chat", "v1.chat"}, "v2.chat"},
		{fields, []string{"v1.chat", "v2.chat"}, "v1.chat"},
		{fields, []string{"v3.chat", "Soap"}, "Soap"},
		{fields, []string{"soap", "V1.chat", "v1"}, ""},
		{fields, []string{""}, ""},
		{fields, nil, ""},
		{"", []string{"v1.chat"}, ""},
		{"Sec-WebSocket-Protocol:\r\n", []string{"v1.chat", ""}, ""},
	}
	for _, c := range cases {
		if got, ok := handshake.Subprotocol(head(c.fields), c.supported); got != c.want || ok != (c.want != "") {
			t.Errorf("%q of %q: %q, %v", c.supported, c.fields, got, ok)
		}
	}
}

func TestOriginIsComparedByHostAndPort(t *testing.T) {
	cases := []struct {
		origin, host string
		want         bool
	}{
		{"http://example.com", "example.com", true},
		{"HTTP://EXAMPLE.com", "example.COM", true},
		{"https://example.com", "example.com", true},
		{"http://example.com:80", "example.com", true},
		{"http://example.com", "example.com:80", true},
		{"https://example.com", "example.com:443", true},
		{"wss://example.com:443", "example.com", true},
		{"ws://example.com", "example.com:80", true},
		{"http://example.com:", "example.com:80", true},
		{"http://localhost:9001", "localhost:9001", true},
		{"http://[::1]:9001", "[::1]:9001", true},
		{"http://[::1]", "[::1]:80", true},

		{"http://example.com", "example.com:443", false},
		{"https://example.com", "example.com:80", false},
		{"wss://example.com", "example.com:80", false},
		{"http://example.com:9001", "example.com", false},
		{"http://example.com:9001", "example.com:9002", false},
		{"http://evil.com", "example.com", false},
		{"http://example.com.evil.com", "example.com", false},
		{"http://evilexample.com", "example.com", false},
		{"http://example.com@evil.com", "example.com", false},
		{"http://example.com/", "example.com", false},
		{"http://example.com http://evil.com", "example.com", false},
		{"http://[::1]:9001", "[::2]:9001", false},
		{"null", "example.com", false},
		{"null", "null", false},
		{"example.com", "example.com", false},
		{"//example.com", "example.com", false},
		{"file://example.com", "example.com", false},
		{"chrome-extension://example.com", "example.com", false},
		{"http://", "", false},
		{"http://:80", ":80", false},
		{"", "", false},
		{"", "example.com", false},
		{"http://example.com", "", false},
	}
	for _, c := range cases {
		if got := handshake.SameOrigin([]byte(c.origin), []byte(c.host)); got != c.want {
			t.Errorf("SameOrigin(%q, %q) = %v", c.origin, c.host, got)
		}
	}
}
