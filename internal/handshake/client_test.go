package handshake_test

import (
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"zeroframe/internal/handshake"
)

func TestRequestIsAcceptedByTheServerSide(t *testing.T) {
	cases := []struct {
		url, target, host string
	}{
		{"ws://example.com", "/", "example.com"},
		{"ws://example.com:80/a%20b?c=d#e", "/a%20b?c=d", "example.com"},
		{"wss://u:p@example.com:443/", "/", "example.com"},
		{"wss://example.com:80/", "/", "example.com:80"},
		{"http://[fe80::1%25eth0]:9001/x", "/x", "[fe80::1]:9001"},
		{"ws://example.com/?a b\u00e9", "/?a%20b%C3%A9", "example.com"},
	}
	for _, c := range cases {
		u, err := url.Parse(c.url)
		if err != nil {
			t.Fatal(err)
		}
		h := parse(t, string(handshake.AppendRequest(nil, u, handshake.NewKey(), nil, nil)))
		if err := h.CheckUpgrade(); err != nil {
			t.Errorf("%s: %v", c.url, err)
		}
		if string(h.Target()) != c.target || string(h.Host()) != c.host {
			t.Errorf("%s: %q %q", c.url, h.Target(), h.Host())
		}
	}
}

func TestRequestTakesNoInjectedLines(t *testing.T) {
	u := &url.URL{Scheme: "ws", Host: "a\r\nX: 1", Path: "/\r\nX: 1", RawQuery: "b\r\nX: 1 #"}
	b := handshake.AppendRequest(nil, u, sampleKey+"\r\nX: 1", []string{"chat\r\nX: 1", "v1"},
		http.Header{"Origin": {"http://a\r\nX: 1"}, "Host": {"b"}, "connection": {"close"}, "Sec-WebSocket-Version": {"8"}})
	lines := strings.Split(string(b), "\r\n")
	if len(lines) != 10 || lines[8] != "" || lines[9] != "" || strings.Contains(string(b), "\nX") ||
		lines[6] != "Sec-WebSocket-Protocol: chat  X: 1, v1" || lines[7] != "Origin: http://a  X: 1" {
		t.Errorf("%q", lines)
	}
}

func TestKeysAreFresh(t *testing.T) {
	a, b := handshake.NewKey(), handshake.NewKey()
	if raw, err := base64.StdEncoding.DecodeString(a); err != nil || len(raw) != 16 || a == b {
		t.Error(a, b, err)
	}
}

const response = "HTTP/1.1 101 Switching Protocols\r\nupgrade: WebSocket\r\nConnection: keep-alive, upgrade\r\n" +
	"Sec-WebSocket-Accept: " + sampleAccept + "\r\nSec-WebSocket-Protocol: chat\r\n" +
	"Sec-WebSocket-Extensions: a; b\r\nSec-WebSocket-Extensions: c\r\n\r\n"

func TestResponseIsVerifiedWhenComplete(t *testing.T) {
	for _, head := range []string{response, "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + response, strings.Replace(response, " Switching Protocols", "", 1),
		"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102\r\nUpgrade: x\r\n\r\n" + response,
		strings.Replace(response, "WebSocket", "websocket\r\nUpgrade: WebSocket", 1)} {
		for i := range len(head) {
			if n, _, err := handshake.VerifyResponse([]byte(head[:i]), sampleKey); n != 0 || err != nil {
				t.Fatalf("%q: %d, %v; want incomplete", head[:i], n, err)
			}
		}
		n, resp, err := handshake.VerifyResponse([]byte(head+"\x81\x00"), sampleKey)
		if n != len(head) || err != nil || resp != (handshake.ResponseInfo{Subprotocol: "chat", Extensions: "a; b, c"}) {
			t.Errorf("%q: %d, %+v, %v", head, n, resp, err)
		}
	}
}

func TestOwnAnswerIsVerified(t *testing.T) {
	key := handshake.NewKey()
	b := handshake.AppendSwitching(nil, []byte(key), "chat", "", nil)
	if n, resp, err := handshake.VerifyResponse(b, key); n != len(b) || err != nil || resp.Subprotocol != "chat" {
		t.Error(n, resp, err)
	}
}

func TestWrongResponsesAreRefused(t *testing.T) {
	cases := []struct {
		old, new string
		want     error
	}{
		{"upgrade: WebSocket\r\n", "", handshake.ErrNotUpgraded},
		{"WebSocket\r\n", "h2c\r\n", handshake.ErrNotUpgraded},
		{"WebSocket\r\n", "h2c, WebSocket\r\n", handshake.ErrNotUpgraded},
		{"WebSocket\r\n", "WebSocket\r\nUpgrade: h2c\r\n", handshake.ErrNotUpgraded},
		{"WebSocket\r\n", "\r\n", handshake.ErrNotUpgraded},
		{"keep-alive, upgrade", "keep-alive", handshake.ErrNotUpgraded},
		{sampleAccept, strings.ToLower(sampleAccept), handshake.ErrBadAccept},
		{"Sec-WebSocket-Accept: " + sampleAccept + "\r\n", "", handshake.ErrBadAccept},
		{"\r\n\r\n", "\r\nSec-WebSocket-Accept: " + sampleAccept + "\r\n\r\n", handshake.ErrBadAccept},
		{"\r\n\r\n", "\r\nSec-WebSocket-Protocol: b\r\n\r\n", handshake.ErrBadSubprotocol},
		{"HTTP/1.1", "HTTP/1.0", handshake.ErrMalformedResponse},
		{"HTTP/1.1", "HTTP/2.0", handshake.ErrMalformedResponse},
		{" 101 ", " 1O1 ", handshake.ErrMalformedResponse},
		{" 101 ", " 1010 ", handshake.ErrMalformedResponse},
		{" 101 ", " 001 ", handshake.ErrMalformedResponse},
		{"Protocols\r\n", "Protocols\n", handshake.ErrMalformedResponse},
		{"upgrade\r\n", "upgrade\n", handshake.ErrMalformedResponse},
		{"upgrade:", "upgrade :", handshake.ErrMalformedResponse},
		{"\r\n\r\n", "\r\nX: " + strings.Repeat("x", 16<<10), handshake.ErrResponseTooLarge},
	}
	for _, c := range cases {
		head := strings.Replace(response, c.old, c.new, 1)
		if n, _, err := handshake.VerifyResponse([]byte(head), sampleKey); n != 0 || !errors.Is(err, c.want) {
			t.Errorf("%q for %q: %d, %v; want %v", c.new, c.old, n, err, c.want)
		}
	}
}

func TestOtherStatusIsReported(t *testing.T) {
	for head, reason := range map[string]string{
		"HTTP/1.1 403 No way\r\nContent-Length: 0\r\n\r\n": "No way",
		"HTTP/1.0 403\r\n\r\n":                             "Forbidden",
		"HTTP/1.1 403 \r\n\r\n":                            "Forbidden",
	} {
		n, _, err := handshake.VerifyResponse([]byte(head), sampleKey)
		var status *handshake.StatusError
		if n != len(head) || !errors.As(err, &status) || status.Status != 403 || status.Reason != reason {
			t.Errorf("%q: %d, %v", head, n, err)
		}
	}
}
