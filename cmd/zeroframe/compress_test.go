package main

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"zeroframe/bench"
	"zeroframe/engine"
	"zeroframe/frame"
)

// offer makes a handshake by hand and returns which extensions the server answers.
func offer(t *testing.T, url, path, extensions string) string {
	t.Helper()
	c, err := net.Dial("tcp", strings.TrimSuffix(strings.TrimPrefix(url, "ws://"), "/"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"+
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Extensions: %s\r\n\r\n", path, extensions)
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil || res.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("%s: %v %v", path, res, err)
	}
	return strings.Join(res.Header.Values("Sec-WebSocket-Extensions"), ", ")
}

func TestCompressFlagsSayWhatIsAnsweredToAnOfferOnEveryRoute(t *testing.T) {
	for flags, want := range map[string]string{
		"":                                       "",
		"--compress off --compress-threshold 0":  "",
		"--compress no-takeover":                 "permessage-deflate; server_no_context_takeover; client_no_context_takeover; client_max_window_bits=15",
		"--compress takeover":                    "permessage-deflate; client_max_window_bits=15",
		"--compress takeover --window-bits 10":   "permessage-deflate; server_max_window_bits=10; client_max_window_bits=10",
		"--compress no-takeover --window-bits 9": "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=9; client_max_window_bits=9",
	} {
		url := start(t, append([]string{"serve", "--listen", "127.0.0.1:0"}, strings.Fields(flags)...)...).line("listening on ")
		for _, path := range []string{"/", "/echo", "/send", "/discard", "/flood/1", "/session", "/slow/0", "/json", "/stream", "/raw"} {
			if got := offer(t, url, path, "permessage-deflate; client_max_window_bits"); got != want {
				t.Errorf("serve %s: %s answers %q, want %q", flags, path, got, want)
			}
		}
	}
}

// echoesWith starts a server with flags, echoes messages on a route with compression in both directions, and returns the
// server's counts.
func echoesWith(t *testing.T, path string, messages [][]byte, flags ...string) engine.Stats {
	t.Helper()
	p := start(t, append([]string{"serve", "--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0"}, flags...)...)
	metrics := p.line("metrics on ")
	e := client(t)
	s, err := e.DialSession(t.Context(), p.line("listening on ")+path, nil,
		engine.WithCompression(engine.Compression{TakeoverIn: true, TakeoverOut: true, Threshold: -1}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Terminate)
	for _, want := range messages {
		if err := s.Send(t.Context(), frame.Text, want); err != nil {
			t.Fatal(err)
		}
		if m, err := s.Receive(t.Context()); err != nil || !bytes.Equal(m.Payload, want) {
			t.Fatalf("/%s: %d bytes came back as %d, %v", path, len(want), len(m.Payload), err)
		}
	}
	return *snapshotWhen(t, metrics, func(s bench.Snapshot) bool { return s.Engine.MessagesIn == uint64(len(messages)) }).Engine
}

// records is n bytes of JSON, whose records differ from one another and from those with another seed.
func records(seed, n int) []byte {
	var b []byte
	for i := seed * 7919; len(b) < n; i++ {
		b = fmt.Appendf(b, `{"id":%d,"name":"n%x","on":%v},`, i*104729%1000003, i*15485863, i%3 == 0)
	}
	return b[:n]
}

func TestCompressedMessagesAreEchoedOnEveryRoute(t *testing.T) {
	const size, count = 2000, 10
	var messages [][]byte
	for range count {
		messages = append(messages, records(1, size)) // what takeover makes next to nothing of
	}
	for _, path := range []string{"", "echo", "send", "session", "slow/0", "stream", "raw"} {
		alone := echoesWith(t, path, messages, "--compress", "no-takeover")
		taken := echoesWith(t, path, messages, "--compress", "takeover")
		for mode, s := range map[string]engine.Stats{"no-takeover": alone, "takeover": taken} {
			if path != "stream" && s.Inflated != size*count || s.Deflated != size*count || s.DeflatedWire > size*count*2/3 {
				t.Errorf("/%s %s: %d bytes inflated, %d deflated to %d", path, mode, s.Inflated, s.Deflated, s.DeflatedWire)
			}
		}
		if taken.DeflatedWire > alone.DeflatedWire/2 || taken.BytesIn > alone.BytesIn/2 {
			t.Errorf("/%s: takeover saves too little: %d of %d bytes out, %d of %d in",
				path, taken.DeflatedWire, alone.DeflatedWire, taken.BytesIn, alone.BytesIn)
		}
	}
}

func TestCompressThresholdIsTheSmallestMessageThatIsCompressed(t *testing.T) {
	messages := [][]byte{bytes.Repeat([]byte("x"), 100), records(2, 511), records(3, 512), records(4, 999), records(5, 1000)}
	for threshold, want := range map[string]uint64{
		"":     512 + 999 + 1000,
		"1000": 1000,
		"1KiB": 0,
		"0":    100 + 511 + 512 + 999 + 1000,
	} {
		flags := []string{"--compress", "no-takeover"}
		if threshold != "" {
			flags = append(flags, "--compress-threshold", threshold)
		}
		if s := echoesWith(t, "session", messages, flags...); s.Deflated != want || s.Inflated != 3122 {
			t.Errorf("%q: %d bytes deflated, want %d; %d inflated", threshold, s.Deflated, want, s.Inflated)
		}
	}
}

func TestCompressLevelsDifferInWhatTheyYield(t *testing.T) {
	wire := make(map[string]uint64)
	for _, level := range []string{"huffman", "stateless", "1", "9"} {
		wire[level] = echoesWith(t, "echo", [][]byte{records(1, 20_000)}, "--compress", "no-takeover", "--compress-level", level).DeflatedWire
	}
	if !(wire["huffman"] > wire["stateless"] && wire["huffman"] > wire["1"] && wire["1"] > wire["9"] && wire["stateless"] != wire["1"]) {
		t.Error(wire)
	}
}
