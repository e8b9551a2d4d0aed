package engine_test

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
)

const ok = "GET / HTTP/1.1\r\nHost: h\r\n\r\n"

func post(path, body string, headers ...string) string {
	return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: h\r\n%sContent-Length: %d\r\n\r\n%s", path, lines(headers), len(body), body)
}

func lines(headers []string) string {
	return strings.Join(append(headers, ""), "\r\n")
}

func chunked(path string, rest string, headers ...string) string {
	return "POST " + path + " HTTP/1.1\r\nHost: h\r\n" + lines(headers) + "Transfer-Encoding: chunked\r\n\r\n" + rest
}

func multipart(size int) string {
	body := "--line\r\nContent-Disposition: form-data; name=\"other\"\r\n\r\nvalue\r\n" +
		"--line\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f.bin\"\r\nContent-Type: application/octet-stream\r\n\r\n" +
		strings.Repeat("x\r\n-", size/4) + "\r\n--line--\r\n"
	return post("/form", body, "Content-Type: multipart/form-data; boundary=line")
}

// requestStreams are what clients may send in one direction, well-formed and otherwise.
var requestStreams = []struct{ name, bytes string }{
	// Connections that stay, and those that do not.
	{"one request", ok},
	{"HEAD", "HEAD / HTTP/1.1\r\nHost: h\r\n\r\n"},
	{"OPTIONS of the server", "OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n" + ok},
	{"absolute form", "GET http://other.test/x?y HTTP/1.1\r\nHost: h\r\n\r\n" + ok},
	{"CONNECT", "CONNECT other.test:443 HTTP/1.1\r\nHost: other.test:443\r\n\r\n" + ok},
	{"a method of its own", "BREW /pot HTTP/1.1\r\nHost: h\r\n\r\n" + ok},
	{"close asked for", "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n" + ok},
	{"close by the handler", "GET /last HTTP/1.1\r\nHost: h\r\n\r\n" + ok},
	{"HTTP/1.0", "GET / HTTP/1.0\r\n\r\n" + ok},
	{"HTTP/1.0 that stays", "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /2 HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\nGET /3 HTTP/1.0\r\n\r\n" + ok},
	{"HTTP/1.0 with a body", "POST / HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc"},
	{"chunked over HTTP/1.0", "POST / HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n" + ok},
	{"HTTP/1.9", "GET / HTTP/1.9\r\nHost: h\r\n\r\n" + ok},
	{"HTTP/2.0", "GET / HTTP/2.0\r\nHost: h\r\n\r\n" + ok},
	{"the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"},
	{"HTTP/0.9", "GET /\r\n"},
	{"an upgrade to something else", "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n" + ok},
	{"an upgrade where there is no route", string(upgradeRequest("/nowhere")) + ok},
	{"an upgrade over HTTP/1.0", "GET /ws HTTP/1.0\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n" + ok},
	{"a route's path without an upgrade", "GET /ws HTTP/1.1\r\nHost: h\r\n\r\n" + ok},
	{"a route's path with Upgrade alone", "GET /ws HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n\r\n" + ok},
	{"a POST to a route's path", post("/ws", "body") + ok},

	// Pipelining.
	{"two", ok + ok},
	{"five of all kinds", ok + post("/a", "first") + "HEAD /b HTTP/1.1\r\nHost: h\r\n\r\n" + chunked("/c", "3\r\nabc\r\n0\r\n\r\n") + "GET /empty HTTP/1.1\r\nHost: h\r\n\r\n"},
	{"bodies that nobody reads", post("/unread", strings.Repeat("u", 3000)) + chunked("/unread", "5\r\nabcde\r\n0\r\n\r\n") + ok},
	{"answers in parts", "GET /stream HTTP/1.1\r\nHost: h\r\nTE: trailers\r\n\r\n" + ok + "GET /stream HTTP/1.0\r\n\r\n"},
	{"large answers", "GET /large HTTP/1.1\r\nHost: h\r\n\r\nHEAD /large HTTP/1.1\r\nHost: h\r\n\r\n" + ok},
	{"the second malformed", ok + "GET /\x01 HTTP/1.1\r\nHost: h\r\n\r\n" + ok},
	{"empty lines between requests", ok + "\r\n" + post("/a", "x") + "\r\n" + ok},
	{"a handler that panics", ok + "GET /panic HTTP/1.1\r\nHost: h\r\n\r\n" + ok},
	{"a handler that hijacks", "GET /hijack HTTP/1.1\r\nHost: h\r\n\r\na line\nand more"},
	{"a handler that hijacks, second", ok + "GET /hijack HTTP/1.1\r\nHost: h\r\n\r\na line\nand more"},

	// Bodies.
	{"chunks", chunked("/", "3\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n") + ok},
	{"chunk extensions", chunked("/", "3;a=b\r\nabc\r\n2 ; c=\"d\"\r\nde\r\n0;e\r\n\r\n") + ok},
	{"trailers", chunked("/", "3\r\nabc\r\n0\r\nX-T: 1\r\nX-U: 2\r\n\r\n", "Trailer: X-T") + ok},
	{"a forbidden trailer", chunked("/", "3\r\nabc\r\n0\r\nContent-Length: 9\r\n\r\n", "Trailer: Content-Length") + ok},
	{"chunk without its end", chunked("/", "3\r\nabcd\r\n0\r\n\r\n") + ok},
	{"a chunk size that is no number", chunked("/", "xyz\r\nabc\r\n0\r\n\r\n") + ok},
	{"a negative chunk size", chunked("/", "-3\r\nabc\r\n0\r\n\r\n") + ok},
	{"a chunk size with a prefix", chunked("/", "0x3\r\nabc\r\n0\r\n\r\n") + ok},
	{"a chunk size too large", chunked("/", "fffffffffffffffff\r\nabc\r\n0\r\n\r\n") + ok},
	{"a chunk size line that ends in LF", chunked("/", "3\nabc\r\n0\r\n\r\n") + ok},
	{"a bare CR in a chunk size line", chunked("/", "3\rabc\r\n0\r\n\r\n") + ok},
	{"an endless chunk extension", chunked("/", "3;"+strings.Repeat("e", 20000)+"\r\nabc\r\n0\r\n\r\n") + ok},
	{"trailers without end", chunked("/", "3\r\nabc\r\n0\r\nX-T: 1\r\n")},
	{"a body cut short", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nabc"},
	{"100-continue", post("/", "the body", "Expect: 100-continue") + ok},
	{"100-continue that nobody reads", post("/unread", "the body", "Expect: 100-continue") + ok},
	{"100-continue over HTTP/1.0", "POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc"},
	{"another expectation", post("/", "the body", "Expect: the-unexpected") + ok},
	{"multipart", multipart(1000) + ok},
	{"large multipart", multipart(200_000) + ok},
	{"multipart without boundary", post("/form", "x", "Content-Type: multipart/form-data") + ok},
	{"a body larger than the buffers", post("/", strings.Repeat("0123456789", 30_000)) + ok},
	{"large chunks", chunked("/", "20000\r\n"+strings.Repeat("c", 0x20000)+"\r\n0\r\n\r\n") + ok},
	{"a GET with a body", "GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc" + ok},

	// Lengths that contradict each other, and other ways to smuggle a request.
	{"both lengths", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n"},
	{"both lengths, the other way", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n5c\r\nGET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n\r\n0\r\n\r\n"},
	{"two lengths", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd" + ok},
	{"two equal lengths", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc" + ok},
	{"a list of lengths", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3, 3\r\n\r\nabc" + ok},
	{"a signed length", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: +3\r\n\r\nabc" + ok},
	{"a negative length", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: -3\r\n\r\nabc" + ok},
	{"a length beyond 64 bits", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999999999999999\r\n\r\nabc" + ok},
	{"an empty length", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: \r\n\r\nabc" + ok},
	{"a length with a space before the colon", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length : 3\r\n\r\nabc" + ok},
	{"chunked twice", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + ok},
	{"chunked behind a comma", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n" + ok},
	{"identity, chunked", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n" + ok},
	{"another coding", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip\r\n\r\n0\r\n\r\n" + ok},
	{"chunked, misspelt", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: xchunked\r\nContent-Length: 3\r\n\r\nabc" + ok},
	{"chunked, with a vertical tab", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n" + ok},
	{"chunked, with a space before the colon", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + ok},
	{"chunked in capitals", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: CHUNKED\r\n\r\n0\r\n\r\n" + ok},
	{"chunked, folded", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n" + ok},
	{"an upgrade hidden in a body", post("/", string(upgradeRequest("/ws"))) + ok},
	{"an upgrade with a body, hidden", "GET /nowhere HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nContent-Length: 3\r\n\r\nabc" + ok},

	// Heads.
	{"a folded field", "GET / HTTP/1.1\r\nHost: h\r\nX-A: 1\r\n 2\r\n\r\n" + ok},
	{"a folded first field", "GET / HTTP/1.1\r\n Host: h\r\n\r\n" + ok},
	{"LF for CRLF", "GET / HTTP/1.1\nHost: h\n\n" + ok},
	{"LF in one place", "GET / HTTP/1.1\r\nHost: h\nX-A: 1\r\n\r\n" + ok},
	{"a bare CR in a value", "GET / HTTP/1.1\r\nHost: h\r\nX-A: 1\r2\r\n\r\n" + ok},
	{"a bare CR in the request line", "GET /\r HTTP/1.1\r\nHost: h\r\n\r\n" + ok},
	{"a NUL in a value", "GET / HTTP/1.1\r\nHost: h\r\nX-A: 1\x002\r\n\r\n" + ok},
	{"a NUL in a name", "GET / HTTP/1.1\r\nHost: h\r\nX\x00A: 1\r\n\r\n" + ok},
	{"bytes above ASCII", "GET /\xc3\xa9 HTTP/1.1\r\nHost: h\r\nX-A: \xff\xfe\r\n\r\n" + ok},
	{"no Host", "GET / HTTP/1.1\r\n\r\n" + ok},
	{"two Hosts", "GET / HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n" + ok},
	{"a malformed Host", "GET / HTTP/1.1\r\nHost: h h\r\n\r\n" + ok},
	{"an empty Host", "GET / HTTP/1.1\r\nHost:\r\n\r\n" + ok},
	{"a field without a colon", "GET / HTTP/1.1\r\nHost: h\r\nnonsense\r\n\r\n" + ok},
	{"a field without a name", "GET / HTTP/1.1\r\nHost: h\r\n: x\r\n\r\n" + ok},
	{"a name with a space", "GET / HTTP/1.1\r\nHost: h\r\nX A: 1\r\n\r\n" + ok},
	{"a space before the colon", "GET / HTTP/1.1\r\nHost : h\r\n\r\n" + ok},
	{"empty lines in front", "\r\n\r\n\r\n" + ok},
	{"two spaces in the request line", "GET  / HTTP/1.1\r\nHost: h\r\n\r\n" + ok},
	{"a space at the end of the request line", "GET / HTTP/1.1 \r\nHost: h\r\n\r\n" + ok},
	{"a request line without a target", "GET HTTP/1.1\r\nHost: h\r\n\r\n" + ok},
	{"a version that is none", "GET / HTTP/x\r\nHost: h\r\n\r\n" + ok},
	{"a method that is none", "G@T / HTTP/1.1\r\nHost: h\r\n\r\n" + ok},
	{"a bad escape", "GET /%zz HTTP/1.1\r\nHost: h\r\n\r\n" + ok},
	{"a path to be cleaned", "GET /a/../b HTTP/1.1\r\nHost: h\r\n\r\n" + ok},
	{"a ClientHello", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + strings.Repeat("r", 40) + "\n" + ok},
	{"words", "how do you do\r\n\r\n"},
	{"an empty line", "\r\n"},
	{"nothing", ""},
	{"half a request line", "GET / HT"},
	{"half a head", "GET / HTTP/1.1\r\nHost: h\r\nX-A"},
	{"half a second head", ok + "GET / HTTP/1.1\r\nHo"},

	// Sizes: the limit of 16 KiB, just below and above it.
	{"a head of 16 KiB", headOf(16 << 10)},
	{"a head of 16 KiB, and another request", headOf(16<<10) + ok},
	{"a head of 16 KiB less 1", headOf(16<<10-1) + ok},
	{"a head of 16 KiB and 1", headOf(16<<10 + 1)},
	{"a head of 30 KB", headOf(30_000) + ok},
	{"a request line of 30 KB", "GET /" + strings.Repeat("p", 30_000) + " HTTP/1.1\r\nHost: h\r\n\r\n"},
	{"150 fields", "GET / HTTP/1.1\r\nHost: h\r\n" + strings.Repeat("X-A: 1\r\n", 150) + "\r\n" + ok},
	{"a second head of 30 KB", ok + headOf(30_000) + ok},
}

// headOf is a request whose head has n bytes.
func headOf(n int) string {
	const begin, end = "GET / HTTP/1.1\r\nHost: h\r\nX-Long: ", "\r\n\r\n"
	return begin + strings.Repeat("l", n-len(begin)-len(end)) + end
}

// What is no WebSocket is answered as net/http answers it, to the byte, however the bytes come.
func TestTheSameAsNetHTTP(t *testing.T) {
	h := inspect()
	s := startHTTP(t, h)
	s.handle("/ws", newEcho())
	s.handle("/room/{id}", newEcho())
	theirs := netHTTP(t, h, false)
	for _, stream := range requestStreams {
		t.Run(stream.name, func(t *testing.T) {
			b := []byte(stream.bytes)
			expect := sameAnswers(t, s, theirs, b)
			// Cut once, and what follows sent only when the loop has acted on what was before.
			step := 1 + len(b)/300
			if raceEnabled || testing.Short() {
				step = 1 + len(b)/30
			}
			for at := 1; at < min(len(b), 17_000); at += step {
				before := s.Stats()
				expect(fmt.Sprintf("cut at %d", at), cutAt(b, at), func(sent int) {
					s.until("the beginning was read", func() bool {
						now := s.Stats()
						return now.BytesIn >= before.BytesIn+uint64(sent) || now.HandedOver > before.HandedOver
					})
				})
			}
		})
	}
}

// The same over TLS.
func TestTheSameAsNetHTTPOverTLS(t *testing.T) {
	h := inspect()
	s := startHTTPS(t, h)
	s.handle("/ws", newEcho())
	s.handle("/room/{id}", newEcho())
	theirs := netHTTP(t, h, true)
	for _, stream := range requestStreams {
		t.Run(stream.name, func(t *testing.T) { sameAnswers(t, s, theirs, []byte(stream.bytes)) })
	}
}

// sameAnswers holds what comes back for b from the engine against what comes from net/http, for some ways to send it; expect
// does so for another one.
func sameAnswers(t testing.TB, s *server, theirs func() net.Conn, b []byte) (expect func(how string, pieces [][]byte, before func(sent int))) {
	want := conversation(t, theirs, [][]byte{b}, nil)
	expect = func(how string, pieces [][]byte, before func(sent int)) {
		t.Helper()
		if got := conversation(t, s.dial, pieces, before); got != want {
			t.Fatalf("%s:\ngot  %.600q\nwant %.600q", how, got, want)
		}
	}
	expect("whole", [][]byte{b}, nil)
	if len(b) == 0 {
		return expect
	}
	begin, cuts := min(len(b), 2000), 10
	if raceEnabled {
		begin, cuts = min(len(b), 300), 2
	}
	expect("byte by byte", append(cutAt(b[:begin], upTo(begin)...), b[begin:]), nil)
	rng := rand.New(rand.NewPCG(1, uint64(len(b))))
	for range cuts {
		expect("in random pieces", cutRandomly(b, 2+rng.IntN(8), rng), nil)
	}
	return expect
}

func upTo(n int) []int {
	list := make([]int, 0, n)
	for i := 1; i < n; i++ {
		list = append(list, i)
	}
	return list
}
