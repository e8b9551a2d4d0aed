package engine_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"zeroframe/engine"
	"zeroframe/frame"
	"zeroframe/internal/handshake"
)

// badAnswers are answers that open nothing, with the status of their HandshakeError and a word of its reason.
var badAnswers = []struct {
	name, answer string
	status       int
	reason       string
}{
	{"404", "HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\n\r\nno\n", 404, "Not Found"},
	{"401 of HTTP/1.0", "HTTP/1.0 401 Go Away\r\n\r\n", 401, "Go Away"},
	{"200", "HTTP/1.1 200\r\n\r\n", 200, "OK"},
	{"redirect", "HTTP/1.1 302 Found\r\nLocation: /x\r\n\r\n", 302, "Found"},
	{"no accept", "HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", 101, "Accept"},
	{"another's accept", "HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " + acceptOfSample + "\r\n\r\n", 101, "Accept"},
	{"no upgrade", "HTTP/1.1 101 X\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n", 101, "Upgrade"},
	{"no connection", "HTTP/1.1 101 X\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {accept}\r\n\r\n", 101, "Upgrade"},
	{"two accepts", switching + "Sec-WebSocket-Accept: {accept}\r\n\r\n", 101, "Accept"},
	{"upgrade to more", switching + "Upgrade: h2c\r\n\r\n", 101, "Upgrade"},
	{"lengths at odds", "HTTP/1.1 403 No\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nno\n", 403, "No"},
	{"not HTTP", "SSH-2.0-OpenSSH\r\n", 0, "malformed"},
	{"long head", "HTTP/1.1 101 X\r\nX: " + strings.Repeat("x", 20<<10) + "\r\n\r\n", 0, "large"},
	{"extension", switching + "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n", 101, "extension"},
	{"subprotocol not offered", switching + "Sec-WebSocket-Protocol: v9\r\n\r\n", 101, "subprotocol"},
	{"subprotocol of other case", switching + "Sec-WebSocket-Protocol: V1\r\n\r\n", 101, "subprotocol"},
	{"two subprotocols", switching + "Sec-WebSocket-Protocol: v1\r\nSec-WebSocket-Protocol: v2\r\n\r\n", 101, "Protocol"},
}

func TestAnAnswerThatDoesNotOpenIsAHandshakeError(t *testing.T) {
	s, p := onSocket(t), newPeer(t)
	for _, tt := range badAnswers {
		d := newDialed()
		done := make(chan error, 1)
		go func() {
			c, err := s.Dial(context.Background(), p.url("/"), nil, d, engine.Subprotocols("v1", "v2"))
			if c != nil {
				t.Errorf("%s: a connection", tt.name)
			}
			done <- err
		}()
		c, _ := p.accept(tt.answer)
		c.Conn.(*net.TCPConn).CloseWrite() // the end of a body without a length
		var he *engine.HandshakeError
		if err := within(t, done); !errors.As(err, &he) || he.Status != tt.status || !strings.Contains(he.Reason, tt.reason) || he.Proxy != "" {
			t.Errorf("%s: %v, want status %d and %q", tt.name, err, tt.status, tt.reason)
		}
		if (he.Header != nil) != (tt.status != 0 && tt.name != "lengths at odds") {
			t.Errorf("%s: header %v", tt.name, he.Header)
		}
		if _, err := c.r.ReadByte(); err == nil {
			t.Errorf("%s: more was sent", tt.name)
		}
		c.Close()
		if len(d.events) != 0 {
			t.Errorf("%s: the handler heard %s", tt.name, <-d.events)
		}
	}
}

func TestARefusalIsReadWithItsHeaderAndBody(t *testing.T) {
	s, p := bare(t), newPeer(t)
	long := string(pattern(10_000))
	for _, tt := range []struct {
		name, head, body string
		want             string
	}{
		{"redirect", "302 Found\r\nLocation: wss://elsewhere.test/\r\nX: y\r\nContent-Length: 4\r\n\r\n", "over", "over"},
		{"moved for good", "308 Moved\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n", "", ""},
		{"to the end", "401 No\r\nWWW-Authenticate: Basic\r\n\r\n", "who are you?", "who are you?"},
		{"chunked", "403 No\r\nTransfer-Encoding: chunked\r\n\r\n", "3\r\nno \r\n5;x=y\r\nentry\r\n0\r\nT: 1\r\n\r\n", "no entry"},
		{"badly chunked", "403 No\r\nTransfer-Encoding: chunked\r\n\r\n", "3\r\nno \r\nzz\r\n", "no "},
		{"none", "204 No Content\r\n\r\n", "", ""},
		{"long", "500 Oh\r\nContent-Length: 10000\r\n\r\n", long, long[:4096]},
		{"long, to the end", "500 Oh\r\n\r\n", long, long[:4096]},
		{"cut off", "500 Oh\r\nContent-Length: 100\r\n\r\n", "half of", "half of"},
		{"behind others", "100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\nX: n\r\n\r\nHTTP/1.1 503 Busy\r\nRetry-After: 7\r\nContent-Length: 4\r\n\r\n", "wait", "wait"},
	} {
		done := make(chan error, 1)
		go func() { _, err := s.Dial(context.Background(), p.url("/"), nil, newDialed()); done <- err }()
		c, _ := p.accept("HTTP/1.1 " + tt.head + tt.body)
		c.Conn.(*net.TCPConn).CloseWrite()
		var he *engine.HandshakeError
		if err := within(t, done); !errors.As(err, &he) || string(he.Body) != tt.want {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		final := tt.head[strings.LastIndex(tt.head[:len(tt.head)-4], "\r\n\r\n")+1:]
		for _, name := range []string{"Location", "WWW-Authenticate", "Retry-After", "X"} {
			_, want, _ := strings.Cut(final, "\r\n"+name+": ")
			want, _, _ = strings.Cut(want, "\r\n")
			if got := he.Header.Get(name); got != want {
				t.Errorf("%s: %s is %q, want %q", tt.name, name, got, want)
			}
		}
		c.Close()
	}
}

// A refusal is known when its head has come; for its body nobody waits longer than a second.
func TestARefusalWithoutTheRestOfItsBodyIsNotWaitedFor(t *testing.T) {
	s, p := bare(t), newPeer(t)
	for _, body := range []string{"", "half"} {
		began := time.Now()
		done := make(chan error, 1)
		go func() { _, err := s.Dial(context.Background(), p.url("/"), nil, newDialed()); done <- err }()
		c, _ := p.accept("HTTP/1.1 403 No\r\nContent-Length: 100\r\n\r\n" + body)
		var he *engine.HandshakeError
		if err := within(t, done); !errors.As(err, &he) || he.Status != 403 || string(he.Body) != body {
			t.Errorf("after %q: %v", body, err)
		}
		if d := time.Since(began); d < 900*time.Millisecond || d > 8*time.Second {
			t.Errorf("it took %v", d)
		}
		c.Close()

		ctx, cancel := context.WithCancel(context.Background())
		go func() { _, err := s.Dial(ctx, p.url("/"), nil, newDialed()); done <- err }()
		c, _ = p.accept("HTTP/1.1 403 No\r\nContent-Length: 100\r\n\r\n" + body)
		cancel()
		if err := within(t, done); !errors.As(err, &he) && !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled after %q: %v", body, err)
		}
		c.Close()
	}
}

// onPipe dials a server on a net.Pipe, which hands over each write before the next, and gives answer, with the right
// {accept}, to play.
func onPipe(s *server, h engine.Handler, answer string, play func(c net.Conn, answer []byte)) error {
	ours, theirs := net.Pipe()
	played := make(chan struct{})
	go func() {
		defer close(played)
		defer theirs.Close()
		theirs.SetDeadline(time.Now().Add(patience))
		req, err := http.ReadRequest(bufio.NewReader(theirs))
		if err != nil {
			s.t.Error(err)
			return
		}
		accept := handshake.AppendAccept(nil, []byte(req.Header.Get("Sec-WebSocket-Key")))
		play(theirs, bytes.Replace([]byte(answer), []byte("{accept}"), accept, 1))
	}()
	dial := func(context.Context, string, string) (net.Conn, error) { return ours, nil }
	_, err := s.Dial(patiently(s.t), "ws://example.test/", nil, h, engine.WithDialContext(dial), engine.Subprotocols("v1"))
	<-played
	return err
}

func TestAnAnswerMayComeInAnyPieces(t *testing.T) {
	s := bare(t)
	for _, pieces := range []int{1, 2, 3, 7} {
		byPieces := func(c net.Conn, answer []byte) {
			for len(answer) > 0 {
				n := min(pieces, len(answer))
				if _, err := c.Write(answer[:n]); err != nil {
					return // Dial has read enough
				}
				answer = answer[n:]
			}
		}
		d := newDialed()
		hints := "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
		frames := string(answerTo(frame.Text, []byte("hello"))) + string(answerTo(frame.Close, closePayload(4000, "bye")))
		err := onPipe(s, d, hints+switching+"Sec-WebSocket-Protocol: v1\r\n\r\n"+frames, func(c net.Conn, answer []byte) {
			byPieces(c, answer)
			io.Copy(io.Discard, c) // the answer to the close frame
		})
		if err != nil {
			t.Errorf("pieces of %d: %v", pieces, err)
			continue
		}
		d.expect(t, "open")
		d.expect(t, "text hello")
		if r := d.wait(t); r.Code != 4000 {
			t.Errorf("pieces of %d: %+v", pieces, r)
		}
		var he *engine.HandshakeError
		err = onPipe(s, newDialed(), hints+"HTTP/1.1 404 Nope\r\nX: y\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", byPieces)
		if !errors.As(err, &he) || he.Status != 404 || string(he.Body) != "hello" || he.Header.Get("X") != "y" {
			t.Errorf("pieces of %d: %+v", pieces, err)
		}
	}
}

func TestAnAnswerCutAnywhereIsAnError(t *testing.T) {
	s := bare(t)
	hints := "HTTP/1.1 103 Early Hints\r\n\r\n"
	for cut := range len(hints + switching) {
		err := onPipe(s, newDialed(), hints+switching+"\r\n", func(c net.Conn, answer []byte) { c.Write(answer[:cut]) })
		if !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("cut at %d: %v", cut, err)
		}
	}
	head := "HTTP/1.1 404 Nope\r\nContent-Length: 5\r\n\r\n"
	for cut := range len(head + "hello") {
		err := onPipe(s, newDialed(), head+"hello", func(c net.Conn, answer []byte) { c.Write(answer[:cut]) })
		var he *engine.HandshakeError
		switch {
		case cut < len(head) && errors.Is(err, io.ErrUnexpectedEOF):
		case cut >= len(head) && errors.As(err, &he) && string(he.Body) == "hello"[:cut-len(head)]:
		default:
			t.Fatalf("cut at %d: %v", cut, err)
		}
	}
}

func TestAnEndlessAnswerIsGivenUp(t *testing.T) {
	s := bare(t)
	for _, tt := range []struct{ name, head, again string }{
		{"interim answers", "", "HTTP/1.1 100 Continue\r\n\r\n"},
		{"fields", "HTTP/1.1 200 OK\r\n", "X: " + strings.Repeat("y", 1000) + "\r\n"},
		{"a field", "HTTP/1.1 101 Switching Protocols\r\nX: ", "y"},
		{"a status line", "HTTP/1.1 200 ", "y"},
	} {
		wrote := 0
		err := onPipe(s, newDialed(), "", func(c net.Conn, _ []byte) {
			io.WriteString(c, tt.head)
			for err := error(nil); err == nil; {
				var n int
				n, err = io.WriteString(c, tt.again)
				wrote += n
			}
		})
		var he *engine.HandshakeError
		if !errors.As(err, &he) || he.Status != 0 || wrote < 10<<10 || wrote > 17<<10 {
			t.Errorf("%s: after %d bytes: %v", tt.name, wrote, err)
		}
	}
}
