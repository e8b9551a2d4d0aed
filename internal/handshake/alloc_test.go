package handshake_test

import (
	"bufio"
	"bytes"
	"net/http"
	"testing"
	"time"

	"zeroframe/internal/handshake"
)

func TestHandshakeAllocatesNothing(t *testing.T) {
	var h handshake.Head
	in, out := []byte(browserHead), make([]byte, 0, 1024)
	host, supported := "chat.example.com:9001", []string{"v3", "chat.v1"}
	server := func() {
		if n, err := h.Parse(in); n != len(in) || err != nil {
			t.Fatal(n, err)
		}
		if err := h.CheckUpgrade(); err != nil {
			t.Fatal(err)
		}
		origin, _ := h.Get("Origin")
		if !handshake.SameOrigin(origin, h.Host()) || string(h.Host()) != host {
			t.Fatal("origin refused")
		}
		subprotocol, _ := handshake.Subprotocol(&h, supported)
		n := 0
		for v := range h.Values("Sec-WebSocket-Extensions") {
			n += len(v)
		}
		if out = handshake.AppendSwitching(out[:0], h.Key(), subprotocol, "permessage-deflate", nil); n == 0 {
			t.Fatal("no extensions")
		}
	}
	piecewise := func() {
		for i := range in {
			if n, err := h.ParseFrom(in[:i], max(i-1, 0)); n != 0 || err != nil {
				t.Fatal(n, err)
			}
		}
	}
	now, bad := time.Now(), []byte("GET / HTTP/1.1\n")
	extra := http.Header{"X-A": {"1"}, "X-B": {"2"}}
	refuse := func() {
		_, err := h.Parse(bad)
		out = handshake.AppendRefusal(out[:0], err.(*handshake.Refusal), now)
		out = handshake.AppendRefusal(out, handshake.ErrVersionRequired, now)
	}
	withExtra := func() { out = handshake.AppendSwitching(out[:0], []byte(sampleKey), "", "", extra) }
	answer := handshake.AppendSwitching(nil, []byte(sampleKey), "", "", nil)
	client := func() {
		if n, _, err := handshake.VerifyResponse(answer, sampleKey); n != len(answer) || err != nil {
			t.Fatal(n, err)
		}
	}
	request, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(in)))
	if err != nil {
		t.Fatal(err)
	}
	ofNetHTTP := func() {
		if h.SetRequest(request) != nil || h.CheckUpgrade() != nil {
			t.Fatal("refused")
		}
	}
	for name, f := range map[string]func(){"of net/http": ofNetHTTP, "server": server, "piecewise": piecewise, "refuse": refuse, "extra": withExtra, "client": client} {
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func BenchmarkParse(b *testing.B) {
	var h handshake.Head
	in := []byte(browserHead)
	b.ReportAllocs()
	b.SetBytes(int64(len(in)))
	for b.Loop() {
		if n, err := h.Parse(in); n == 0 || err != nil {
			b.Fatal(n, err)
		}
	}
}

// A whole handshake on the server's side, but for I/O.
func BenchmarkHandshake(b *testing.B) {
	var h handshake.Head
	in, out := []byte(browserHead), make([]byte, 0, 1024)
	b.ReportAllocs()
	b.SetBytes(int64(len(in)))
	for b.Loop() {
		if n, err := h.Parse(in); n == 0 || err != nil {
			b.Fatal(n, err)
		}
		if err := h.CheckUpgrade(); err != nil {
			b.Fatal(err)
		}
		origin, _ := h.Get("Origin")
		if !handshake.SameOrigin(origin, h.Host()) {
			b.Fatal("origin refused")
		}
		out = handshake.AppendSwitching(out[:0], h.Key(), "", "", nil)
	}
}

// The same head sent byte by byte, as a slow or hostile client would.
func BenchmarkParseByteByByte(b *testing.B) {
	var h handshake.Head
	in := []byte(browserHead)
	b.ReportAllocs()
	b.SetBytes(int64(len(in)))
	for b.Loop() {
		for i := range in {
			if _, err := h.ParseFrom(in[:i+1], i); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// For comparison: what building an http.Request costs on top.
func BenchmarkRequest(b *testing.B) {
	var h handshake.Head
	if _, err := h.Parse([]byte(browserHead)); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.SetBytes(int64(len(browserHead)))
	for b.Loop() {
		if _, err := h.Request(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkVerifyResponse(b *testing.B) {
	answer := handshake.AppendSwitching(nil, []byte(sampleKey), "", "", nil)
	b.ReportAllocs()
	b.SetBytes(int64(len(answer)))
	for b.Loop() {
		if n, _, err := handshake.VerifyResponse(answer, sampleKey); n == 0 || err != nil {
			b.Fatal(n, err)
		}
	}
}
