package fuzz

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"testing"
	"time"
	"unicode/utf8"

	"zeroframe/engine"
	"zeroframe/frame"
	"zeroframe/internal/bridge"
	"zeroframe/internal/loop"
	"zeroframe/internal/memconn"
	"zeroframe/pool"
)

const (
	connMaxFrame   = 300
	connMaxMessage = 700
	connPatience   = 8 * time.Second // the fuzzer kills at 10, and then nobody knows what did not come
)

// FuzzConn gives a whole connection an upgrade request and then arbitrary bytes, cut at random, and compares all that
// comes back with a plain decoder: the echoes and pongs, byte for byte and in order, and the code of the close. Nothing
// may panic, and when the connection has ended no buffer may be out. The same bytes go to a route with callbacks, to a
// raw one that reflects every frame, and to a session.
//
// The bits of how: 0-2 the largest piece that is read or written at once, 3-4 how often a read or write is put off, 5-6
// how the handler answers, 7 a narrow pipe.
func FuzzConn(f *testing.F) {
	pool.Verify(true)
	f.Cleanup(func() { pool.Verify(false) })
	h := new(answering)
	e, err := engine.New(
		engine.WithLoops(1),
		bridge.PoisonOption().(engine.Option),
		engine.WithMaxFrameSize(connMaxFrame),
		engine.WithMaxMessageSize(connMaxMessage),
		engine.WithPingInterval(0),
		engine.WithHandshakeTimeout(2*connPatience),
		engine.WithCloseTimeout(2*connPatience),
	)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { e.Close() })
	for _, err := range []error{
		e.Handle("/callback", h),
		e.HandleRaw("/raw", reflecting{h}),
		e.HandleSession("/session", h.serve),
		e.HandleSession("/narrow", h.serve, engine.WithSessionQueue(1, 50)),
	} {
		if err != nil {
			f.Fatal(err)
		}
	}
	seedConn(f)

	f.Fuzz(func(t *testing.T, stream []byte, how byte, seed uint64) {
		stream = stream[:min(len(stream), 8<<10)] // longer ones only take time
		mode := how >> 5 & 3
		session := "/session"
		if mode >= withPause {
			session = "/narrow"
		}
		for _, route := range []struct {
			path  string
			trace connTrace
			check func(io.Reader, connTrace) error
		}{
			{"/callback", decodeConn(stream, mode, false), expectOutput},
			{"/raw", decodeConn(stream, mode, true), expectOutput},
			{session, decodeConn(stream, withReply, false), expectAnyOrder},
		} {
			faults := memconn.Faults{Seed: seed, Cut: int(how & 7), Again: 0.2 * float64(how>>3&3)}
			if how&0x80 != 0 {
				faults.Buffer = 100
			}
			h.next = &execution{mode: mode, ended: make(chan engine.CloseReason, 1), received: make(chan []string, 1)}
			if err := h.next.run(e, faults, route.path, stream, route.trace, route.check); err != nil {
				t.Fatalf("%s: %v", route.path, err)
			}
			if route.path == session {
				got, err := await("the messages", h.next.received)
				if err != nil || !slices.Equal(got, route.trace.messages) {
					t.Fatalf("%s: received %q, %v, want %q", route.path, got, err, route.trace.messages)
				}
			}
			for end := time.Now().Add(connPatience); len(pool.Outstanding()) > 0; runtime.Gosched() {
				if time.Now().After(end) {
					t.Fatalf("%s: still out: %v", route.path, pool.Outstanding())
				}
			}
		}
	})
}

// run gives a connection the stream and compares what comes back.
func (x *execution) run(e *engine.Engine, faults memconn.Faults, path string, stream []byte, want connTrace, check func(io.Reader, connTrace) error) error {
	server, client := memconn.Pipe(faults)
	watched := &closing{Stream: server, closed: make(chan struct{})}
	if err := bridge.ServeStream(e, watched); err != nil {
		return err
	}
	defer client.Close()
	late := time.AfterFunc(connPatience, func() { client.Close() }) // ends every read and write
	defer late.Stop()

	written := make(chan struct{})
	go func() {
		defer close(written)
		client.Write(append([]byte("GET "+path+connRequest+x.fields+"\r\n"), stream...))
	}()
	if err := skipHead(client); err != nil {
		return fmt.Errorf("the answer's head: %v", err)
	}
	if err := check(client, want); err != nil {
		return err
	}
	<-written
	client.CloseWrite()
	if rest, err := io.ReadAll(client); err != nil || len(rest) > 0 {
		return fmt.Errorf("at the end: % x, %v", rest, err)
	}
	if _, err := await("the end of the stream", watched.closed); err != nil {
		return err
	}
	r, err := await("the reason", x.ended)
	if err != nil {
		return err
	}
	if r.Code != want.code || r.Remote != want.remote || r.Text != want.text && want.remote {
		return fmt.Errorf("ended with %+v, want %d %q, remote %v", r, want.code, want.text, want.remote)
	}
	if !late.Stop() {
		return errors.New("the connection did not end")
	}
	return nil
}

// await receives from ch, unless what it waits for does not come.
func await[T any](what string, ch <-chan T) (v T, err error) {
	select {
	case v = <-ch:
	case <-time.After(connPatience):
		err = fmt.Errorf("%s did not come", what)
	}
	return v, err
}

// expectOutput reads exactly what is wanted, and the close frame.
func expectOutput(r io.Reader, want connTrace) error {
	got := make([]byte, len(want.output))
	if n, err := io.ReadFull(r, got); err != nil || !bytes.Equal(got, want.output) {
		return fmt.Errorf("got  % x, %v\nwant % x, then close %d", got[:n], err, want.output, want.code)
	}
	if want.code == frame.CloseAbnormal {
		return nil
	}
	if err := readClose(r, want); err != nil {
		return fmt.Errorf("%v; want close %d", err, want.code)
	}
	return nil
}

const connRequest = " HTTP/1.1\r\nHost: example.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
	"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"

// How the handler answers a message.
const (
	withReply     = iota
	withSend      //
	withPause     // Reply, and parsing stops until another goroutine resumes it
	withFragments // two halves
)

// answering echoes messages. The executions follow one another, so one handler serves them all: a connection belongs to
// the one that was next when it opened.
type answering struct {
	engine.NopHandler
	next *execution
}

type execution struct {
	mode     byte
	fields   string // of the request, beside connRequest
	ended    chan engine.CloseReason
	received chan []string // of a session
}

func (h *answering) OnOpen(c *engine.Conn) { c.SetUserData(h.next) }

func (h *answering) OnMessage(c *engine.Conn, op frame.OpCode, payload []byte) {
	switch c.UserData().(*execution).mode {
	case withReply:
		c.Reply(op, payload)
	case withSend:
		c.Send(op, payload)
	case withPause:
		c.Pause()
		c.Reply(op, payload)
		go c.Resume()
	case withFragments:
		half := len(payload) / 2
		c.SendFragment(op, payload[:half], false)
		c.SendFragment(op, payload[half:], true)
	}
}

func (h *answering) OnClose(c *engine.Conn, r engine.CloseReason) {
	c.UserData().(*execution).ended <- r
}

// closing tells when the loop has closed its stream.
type closing struct {
	loop.Stream
	closed chan struct{}
}

func (s *closing) Close() error {
	defer close(s.closed)
	return s.Stream.Close()
}

// skipHead reads the 101 and nothing behind it.
func skipHead(r io.Reader) error {
	var head []byte
	b := make([]byte, 1)
	for !bytes.HasSuffix(head, []byte("\r\n\r\n")) {
		if _, err := io.ReadFull(r, b); err != nil {
			return err
		}
		head = append(head, b[0])
	}
	if !bytes.HasPrefix(head, []byte("HTTP/1.1 101 ")) {
		return fmt.Errorf("%q", head)
	}
	return nil
}

// readClose reads a close frame with the code that is wanted. The texts of faults are the engine's own affair.
func readClose(r io.Reader, want connTrace) error {
	h := make([]byte, 2)
	if _, err := io.ReadFull(r, h); err != nil {
		return err
	}
	if h[0] != 0x88 || h[1] > 125 {
		return fmt.Errorf("header % x", h)
	}
	p := make([]byte, h[1])
	if _, err := io.ReadFull(r, p); err != nil {
		return err
	}
	switch {
	case len(p) == 0:
		if want.code != frame.CloseNoStatus {
			return errors.New("no code")
		}
	case len(p) == 1 || binary.BigEndian.Uint16(p) != uint16(want.code) || !utf8.Valid(p[2:]):
		return fmt.Errorf("payload %q", p)
	case want.remote && string(p[2:]) != want.echo:
		return fmt.Errorf("the answer to a close has the text %q, want %q", p[2:], want.echo)
	}
	return nil
}

// connTrace is what must become of a stream.
type connTrace struct {
	output   []byte   // frames of the server before its close frame
	messages []string // as described by describe
	pongs    []string
	code     frame.CloseCode
	text     string // of the peer's close frame
	echo     string // of the answer to that
	remote   bool
}

// decodeConn is the engine in its plainest form: it sees the whole stream at once, and looks at its bytes in the order
// in which they arrive. A raw route reflects every frame and knows no messages.
func decodeConn(b []byte, mode byte, raw bool) (tr connTrace) {
	tr.code = frame.CloseAbnormal // unless the stream says something else
	var message []byte
	var opcode byte
	open := false // a fragmented message is being received
	fail := func(code frame.CloseCode) connTrace {
		tr.code = code
		return tr
	}
	for len(b) > 0 {
		fin, op := b[0]&0x80 != 0, b[0]&0x0f
		control := op >= 8
		switch {
		case b[0]&0x70 != 0, op > 2 && op < 8, op > 10, control && !fin, op == 0 && !open, op == 1 && open, op == 2 && open:
			return fail(1002)
		case len(b) < 2:
			return tr
		}
		length, header := uint64(b[1]&0x7f), 2
		switch {
		case b[1]&0x80 == 0, control && length > 125:
			return fail(1002)
		case length == 126:
			if header = 4; len(b) < header {
				return tr
			}
			if length = uint64(binary.BigEndian.Uint16(b[2:])); length < 126 {
				return fail(1002)
			}
		case length == 127:
			header = 10
			if len(b) > 2 && b[2]&0x80 != 0 {
				return fail(1002)
			}
			if len(b) < header {
				return tr
			}
			if length = binary.BigEndian.Uint64(b[2:]); length < 1<<16 {
				return fail(1002)
			}
		}
		if length > connMaxFrame {
			return fail(1009)
		}
		if len(b) < header+4 {
			return tr
		}
		if !control {
			if op != 0 {
				opcode, message = op, nil
			}
			open = !fin
			if !raw && len(message)+int(length) > connMaxMessage {
				return fail(1009)
			}
		}
		key, body := b[header:header+4], b[header+4:]
		whole := uint64(len(body)) >= length
		body = body[:min(length, uint64(len(body)))]
		payload := make([]byte, len(body))
		for i := range body {
			payload[i] = body[i] ^ key[i%4]
		}
		first := b[0]
		b = b[header+4+len(body):]

		switch {
		case op == 8:
			tr = tr.peerCloses(payload, whole)
			if raw {
				tr.echo = tr.text
			}
			return tr
		case raw && whole:
			tr.output = appendServerFrame(tr.output, first, payload)
		case raw:
		case op == 9 && whole:
			tr.output = appendServerFrame(tr.output, 0x8a, payload)
			tr.pongs = append(tr.pongs, string(payload))
		case !control:
			message = append(message, payload...)
			if opcode == 1 && !textSoFar(message, whole && fin) {
				return fail(1007)
			}
			if whole && fin {
				tr.answer(opcode, message, mode)
				message = nil
			}
		}
	}
	return tr
}

// peerCloses judges a close frame, of which only the beginning may have come.
func (tr connTrace) peerCloses(payload []byte, whole bool) connTrace {
	switch {
	case len(payload) == 1 && whole:
		tr.code = 1002
	case len(payload) < 2 && !whole:
	case len(payload) == 0:
		tr.code, tr.remote = frame.CloseNoStatus, true
	default:
		code := binary.BigEndian.Uint16(payload)
		switch {
		case code < 1000, code >= 1004 && code <= 1006, code >= 1015 && code <= 2999, code >= 5000:
			tr.code = 1002
		case !textSoFar(payload[2:], whole):
			tr.code = 1007
		case whole:
			tr.code, tr.text, tr.remote = frame.CloseCode(code), string(payload[2:]), true
		}
	}
	return tr
}

// answer appends what the handler makes of a message.
func (tr *connTrace) answer(opcode byte, message []byte, mode byte) {
	tr.messages = append(tr.messages, describe(frame.OpCode(opcode), message))
	if mode != withFragments {
		tr.output = appendServerFrame(tr.output, 0x80|opcode, message)
		return
	}
	half := len(message) / 2
	tr.output = appendServerFrame(tr.output, opcode, message[:half])
	tr.output = appendServerFrame(tr.output, 0x80, message[half:])
}

// textSoFar reports whether b is UTF-8, or, when more may follow, the beginning of some.
func textSoFar(b []byte, whole bool) bool {
	at, ok := wholeRunes(b, 0)
	return ok && (at == len(b) || !whole)
}

func appendServerFrame(b []byte, first byte, payload []byte) []byte {
	if b = append(b, first); len(payload) < 126 {
		b = append(b, byte(len(payload)))
	} else {
		b = binary.BigEndian.AppendUint16(append(b, 126), uint16(len(payload)))
	}
	return append(b, payload...)
}

// clientFrame is a masked frame in its shortest form.
func clientFrame(first byte, payload string) string {
	key := []byte{0x37, 0xfa, 0x21, 0x3d}
	b := []byte{first}
	if n := len(payload); n < 126 {
		b = append(b, 0x80|byte(n))
	} else {
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(n))
	}
	b = append(b, key...)
	for i := range len(payload) {
		b = append(b, payload[i]^key[i%4])
	}
	return string(b)
}

// seedConn adds an input for every row of the table of errors and for what goes well.
func seedConn(f *testing.F) {
	long := string(bytes.Repeat([]byte("0123456789"), 30))
	hello := clientFrame(0x81, "Hello, 世界")
	several := clientFrame(0x01, "frag") + clientFrame(0x80, "ment") + hello + clientFrame(0x02, "a") + clientFrame(0x89, "ping") +
		clientFrame(0x00, long) + clientFrame(0x80, "b") + hello + clientFrame(0x81, "") + clientFrame(0x02, long) + clientFrame(0x80, "")
	for mode := range 4 { // a session with a small queue, or one that reads in pieces, is in the middle of something each time
		for _, s := range []string{several, several + clientFrame(0x88, "\x03\xe8bye"), several + "\x80\x80"} {
			f.Add([]byte(s), byte(mode<<5|1|1<<3), uint64(mode))
			f.Add([]byte(s), byte(mode<<5|7|1<<7), uint64(mode))
			f.Add([]byte(s), byte(mode<<5), uint64(mode))
		}
	}
	for i, s := range []string{
		hello + clientFrame(0x82, "\xff\x00") + clientFrame(0x82, long) + clientFrame(0x81, ""),
		clientFrame(0x01, "frag") + clientFrame(0x89, "ping") + clientFrame(0x00, "") + clientFrame(0x80, "ment") + clientFrame(0x8a, "pong"),
		hello + clientFrame(0x88, "\x03\xe8bye") + hello,
		clientFrame(0x88, ""),
		clientFrame(0x88, "\x03"),
		clientFrame(0x88, "\x03\xee"),
		clientFrame(0x88, "\x0f\xa0\xff"),
		clientFrame(0x88, "\x03\xe8 half a close")[:12],
		hello + "\xc1\x80",
		hello + "\x83\x80",
		hello + "\x09\x80",
		"\x89\xfe",
		"\x80\x80",
		clientFrame(0x02, "a") + "\x82\x80",
		"\x81\x05Hello",
		"\x82\xff\x80",
		"\x82\xfe\x00\x7d",
		"\x82\xff\x00\x00\x00\x00\x00\x00\xff\xff",
		"\x82\xff\x00\x00\x00\x00\x00\x01\x00\x00",
		"\x82\xfe\x01\x2d",
		clientFrame(0x02, long) + clientFrame(0x00, long) + clientFrame(0x80, long[:101]),
		clientFrame(0x81, "caf\xc3\x28 and more"),
		clientFrame(0x01, "half a rune \xe2\x82") + clientFrame(0x80, "\xac and the rest"),
		clientFrame(0x01, "half a rune \xe2\x82") + clientFrame(0x80, ""),
		hello[:len(hello)-3],
	} {
		f.Add([]byte(s), byte(i%4<<5|i%8|i%3<<3|i%2<<7), uint64(i))
		f.Add([]byte(s), byte(0), uint64(i))
	}
}
