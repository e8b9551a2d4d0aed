package fuzz

import (
	"bufio"
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"zeroframe/deflate"
	"zeroframe/internal/handshake"
)

const (
	answerKey    = "dGhlIHNhbXBsZSBub25jZQ=="
	answerFields = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhaRbK+xOo=\r\n"
)

// FuzzHandshakeAnswer checks that the verdict on a server's answer does not depend on how the bytes arrive, that
// net/http reads what is accepted in the same way, that a plain reading of RFC 6455, section 4.1, judges an upgrade
// alike, and that the extensions of one are accepted exactly if RFC 7692, section 7.1, allows them.
func FuzzHandshakeAnswer(f *testing.F) {
	const switching = "HTTP/1.1 101 Switching Protocols\r\n"
	for _, answer := range []string{
		switching + answerFields + "\r\n\x81\x05Hello",
		switching + answerFields + "Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Extensions: permessage-deflate\r\n" +
			"Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=9\r\n\r\n",
		switching + answerFields + "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; " +
			"client_no_context_takeover; server_max_window_bits=8; client_max_window_bits=\"10\"\r\n\r\n",
		switching + answerFields + "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n",
		switching + answerFields + answerFields + "\r\n",
		switching + strings.Replace(answerFields, "websocket", "websocket, h2c", 1) + "\r\n",
		"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 100 \r\n\r\n" + switching + answerFields + "\r\n",
		"HTTP/1.0 101 Too old\r\n" + answerFields + "\r\n",
		"HTTP/1.0 404 Not  Found \r\nContent-Length: 3\r\n\r\nabc",
		"HTTP/1.1 401\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"HTTP/1.1 200 OK\nA: b\n\n",
	} {
		f.Add([]byte(answer), uint16(len(answer)/2), uint16(0x7FFF))
		f.Add([]byte(answer), uint16(1), uint16(0))
	}
	f.Fuzz(func(t *testing.T, data []byte, cut, bits uint16) {
		n, answer, err := handshake.VerifyResponse(data, answerKey)
		want := describeAnswer(n, answer, err)
		ends := []int{min(int(cut), len(data))}
		if len(data) <= 512 {
			ends = nil
			for end := range len(data) {
				ends = append(ends, end)
			}
		}
		for _, end := range ends {
			n, answer, err := handshake.VerifyResponse(data[:end:end], answerKey)
			if got := describeAnswer(n, answer, err); (n > 0 || err != nil) && got != want {
				t.Fatalf("%q cut at %d:\n got %s\nwant %s", data, end, got, want)
			}
		}
		var status *handshake.StatusError
		switch {
		case n == 0 && err == nil, errors.Is(err, handshake.ErrMalformedResponse), errors.Is(err, handshake.ErrResponseTooLarge):
			return
		case errors.As(err, &status) == (n == 0) && err != nil, n > len(data), n > 0 && !bytes.HasSuffix(data[:n], []byte("\r\n\r\n")):
			t.Fatalf("%q: %s", data, want)
		}
		readByNetHTTP(t, data, n, answer, err)
		if err == nil && answer.Extensions != "" {
			checkAccept(t, answer.Extensions, deflateConfig(bits))
		}
	})
}

func describeAnswer(n int, answer handshake.ResponseInfo, err error) string {
	return fmt.Sprintf("%d %+v %v", n, answer, err)
}

// readByNetHTTP compares the verdict on a head that is well-formed.
func readByNetHTTP(t *testing.T, data []byte, n int, answer handshake.ResponseInfo, err error) {
	src := bytes.NewReader(data)
	b := bufio.NewReader(src)
	var r *http.Response
	for r == nil || r.StatusCode < 200 && r.StatusCode != http.StatusSwitchingProtocols {
		var readErr error
		if r, readErr = http.ReadResponse(b, &http.Request{Method: http.MethodGet}); readErr != nil {
			if lower := bytes.ToLower(data); bytes.Contains(lower, []byte("content-length")) || bytes.Contains(lower, []byte("transfer-encoding")) {
				return // a body is nothing to a handshake
			}
			t.Fatalf("net/http refuses %q: %v", data, readErr)
		}
	}
	if behind := b.Buffered() + src.Len(); n > 0 && behind != len(data)-n {
		t.Fatalf("%q: a head of %d bytes; net/http leaves %d", data, n, behind)
	}
	var status *handshake.StatusError
	if errors.As(err, &status) {
		_, reason, _ := strings.Cut(r.Status, " ")
		if reason == "" {
			reason = http.StatusText(r.StatusCode)
		}
		if status.Status != r.StatusCode || status.Reason != reason {
			t.Fatalf("%q: %v; net/http has %q", data, err, r.Status)
		}
		return
	}
	accept := sha1.Sum([]byte(answerKey + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	protocols := r.Header["Sec-Websocket-Protocol"]
	var want error
	switch accepts := r.Header["Sec-Websocket-Accept"]; {
	case r.StatusCode != http.StatusSwitchingProtocols:
		t.Fatalf("%q: %v; net/http has %q", data, err, r.Status)
	case !onlyElement(r.Header["Upgrade"], "websocket") || !hasElement(r.Header["Connection"], "upgrade"):
		want = handshake.ErrNotUpgraded
	case len(accepts) != 1 || accepts[0] != base64.StdEncoding.EncodeToString(accept[:]):
		want = handshake.ErrBadAccept
	case len(protocols) > 1:
		want = handshake.ErrBadSubprotocol
	case answer.Subprotocol != r.Header.Get("Sec-WebSocket-Protocol"),
		answer.Extensions != joined(r.Header["Sec-Websocket-Extensions"]):
		t.Fatalf("%q: %+v; net/http has %q", data, answer, r.Header)
	}
	if err != want {
		t.Fatalf("%q: %v, want %v", data, err, want)
	}
}

// joined is one list of several, empty ones at its beginning left out.
func joined(lists []string) string {
	for len(lists) > 0 && lists[0] == "" {
		lists = lists[1:]
	}
	return strings.Join(lists, ", ")
}

func elements(lists []string) (all []string) {
	for _, list := range lists {
		for _, e := range strings.Split(list, ",") {
			all = append(all, strings.Trim(e, " \t"))
		}
	}
	return all
}

// sameASCII is without regard to the case of letters of ASCII: others that fold to them are longer.
func sameASCII(a, b string) bool { return len(a) == len(b) && strings.EqualFold(a, b) }

func hasElement(lists []string, token string) bool {
	for _, e := range elements(lists) {
		if sameASCII(e, token) {
			return true
		}
	}
	return false
}

func onlyElement(lists []string, token string) bool {
	all := elements(lists)
	for _, e := range all {
		if !sameASCII(e, token) {
			return false
		}
	}
	return len(all) > 0
}

// deflateConfig makes a configuration of eight bits.
func deflateConfig(bits uint16) deflate.Config {
	return deflate.Config{
		ServerContextTakeover: bits&1 != 0, ClientContextTakeover: bits&2 != 0,
		ServerMaxWindowBits: 8 + int(bits>>2&7), ClientMaxWindowBits: 8 + int(bits>>5&7),
	}
}

var windowBitsForm = regexp.MustCompile(`^([89]|1[0-5])$`)

// checkAccept checks what a client that offered by config makes of the field, parameter by parameter.
func checkAccept(t *testing.T, field string, config deflate.Config) {
	params, err := config.Accept(field)
	list, listErr := deflate.ParseOffers(field)
	ok := listErr == nil && len(list) == 1 && list[0].Name == deflate.Name
	given := map[string]string{}
	server, client := 15, config.ClientMaxWindowBits
	if ok {
		for _, p := range list[0].Params {
			_, repeated := given[p.Name]
			ok = ok && !repeated
			given[p.Name] = p.Value
			bits := 0
			fmt.Sscan(p.Value, &bits)
			switch p.Name {
			case "server_no_context_takeover", "client_no_context_takeover":
				ok = ok && p.Value == ""
			case "server_max_window_bits":
				ok = ok && windowBitsForm.MatchString(p.Value)
				server = bits
			case "client_max_window_bits":
				ok = ok && windowBitsForm.MatchString(p.Value) && bits <= config.ClientMaxWindowBits
				client = bits
			default:
				ok = false
			}
		}
	}
	_, serverAlone := given["server_no_context_takeover"]
	_, clientAlone := given["client_no_context_takeover"]
	ok = ok && (serverAlone || config.ServerContextTakeover) && server <= config.ServerMaxWindowBits
	if ok != (err == nil) {
		t.Fatalf("%q by %+v: %v", field, config, err)
	}
	want := deflate.Params{
		ServerNoContextTakeover: serverAlone, ClientNoContextTakeover: clientAlone || !config.ClientContextTakeover,
		ServerMaxWindowBits: server, ClientMaxWindowBits: client,
	}
	if ok && params != want {
		t.Fatalf("%q by %+v: %+v, want %+v", field, config, params, want)
	}
}
