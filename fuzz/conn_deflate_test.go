package fuzz

import (
	"bytes"
	stdflate "compress/flate"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/klauspost/compress/flate"

	"zeroframe/engine"
	"zeroframe/frame"
	"zeroframe/internal/bridge"
	"zeroframe/internal/memconn"
	"zeroframe/pool"
)

// FuzzConnDeflate gives a connection with permessage-deflate three messages in fragments with pings between them, and
// compares what comes back with what plain readers make of it. A message is sent as it is, compressed, or said to be
// compressed, two bits of kinds each; bits of texts say which is text. how is that of FuzzConn, less the narrow pipe,
// which here is context takeover.
func FuzzConnDeflate(f *testing.F) {
	pool.Verify(true)
	f.Cleanup(func() { pool.Verify(false) })
	h := new(answering)
	e, err := engine.New(
		engine.WithLoops(1),
		bridge.PoisonOption().(engine.Option),
		engine.WithMaxMessageSize(connMaxMessage),
		engine.WithPingInterval(0),
		engine.WithHandshakeTimeout(2*connPatience),
		engine.WithCloseTimeout(2*connPatience),
	)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { e.Close() })
	alone := engine.WithCompression(engine.Compression{Threshold: -1})
	takeover := engine.WithCompression(engine.Compression{Threshold: -1, TakeoverOut: true, TakeoverIn: true})
	for _, err := range []error{
		e.Handle("/callback/alone", h, alone),
		e.Handle("/callback/takeover", h, takeover),
		e.HandleSession("/session/alone", h.serve, alone),
		e.HandleSession("/session/takeover", h.serve, takeover, engine.WithSessionQueue(1, 50)),
	} {
		if err != nil {
			f.Fatal(err)
		}
	}
	const asIs, compressed, said = 0, 1, 2
	hello := []byte("Hello, Hello, Hello, 世界")
	long := bytes.Repeat([]byte("0123456789"), 70)
	for how := range 4 {
		how := byte(how<<5 | how<<3 | how<<1 | how<<7&0x80)
		f.Add(hello, long, hello, byte(compressed|compressed<<2|compressed<<4), byte(7), how, uint64(how))
		f.Add(hello, []byte("\xf2\x48\xcd\xc9\xc9\x07\x00"), []byte("\xf2\x00\x11\x00\x00"), byte(said<<2|said<<4), byte(7), how, uint64(how))
		f.Add(hello, append(long, 'x'), long, byte(compressed|compressed<<2), byte(1), how, uint64(how))
		f.Add(hello, []byte("\xff"), long, byte(compressed|compressed<<2), byte(2), how, uint64(how))
		f.Add([]byte{}, []byte{}, []byte("\x01"), byte(compressed<<2|said<<4), byte(0), how, uint64(how))
	}
	f.Fuzz(func(t *testing.T, one, two, three []byte, kinds, texts, how byte, seed uint64) {
		mode, way := how>>5&3, "/alone"
		if how&0x80 != 0 {
			way = "/takeover"
		}
		var s deflatedStream
		s.rng = rand.New(rand.NewPCG(seed, 0))
		s.takeover = how&0x80 != 0
		for i, payload := range [][]byte{one, two, three} {
			op := frame.Binary
			if texts>>i&1 != 0 {
				op = frame.Text
			}
			if s.add(op, payload, kinds>>(2*i)&3); s.want.code != 0 {
				break
			}
		}
		if s.unclear {
			return
		}
		if s.want.code == 0 {
			s.wire = append(s.wire, clientFrame(0x88, "\x03\xe8bye")...)
			s.want.code, s.want.text, s.want.remote = frame.CloseNormal, "bye", true
		}
		for _, path := range []string{"/callback", "/session"} {
			x := &execution{mode: mode, ended: make(chan engine.CloseReason, 1), received: make(chan []string, 1),
				fields: "Sec-WebSocket-Extensions: permessage-deflate\r\n"}
			h.next = x
			faults := memconn.Faults{Seed: seed, Cut: int(how & 7), Again: 0.2 * float64(how>>3&3)}
			err := x.run(e, faults, path+way, s.wire, s.want, func(r io.Reader, want connTrace) error {
				return expectDeflated(r, want, path == "/callback", s.takeover)
			})
			if err != nil {
				t.Fatalf("%s: %v", path+way, err)
			}
			if path == "/session" {
				got, err := await("the messages", x.received)
				if err != nil || !slices.Equal(got, s.want.messages) {
					t.Fatalf("%s: received %q, %v, want %q", path+way, got, err, s.want.messages)
				}
			}
			for end := time.Now().Add(connPatience); len(pool.Outstanding()) > 0; runtime.Gosched() {
				if time.Now().After(end) {
					t.Fatalf("%s: still out: %v", path+way, pool.Outstanding())
				}
			}
		}
	})
}

// deflatedStream is what a client sends, and what must become of it.
type deflatedStream struct {
	rng      *rand.Rand
	takeover bool
	wire     []byte
	history  []byte // of the client's compressed messages
	want     connTrace
	unclear  bool // which of two faults is found first
}

// add sends one more message.
func (s *deflatedStream) add(op frame.OpCode, payload []byte, kind byte) {
	payload = payload[:min(len(payload), connMaxMessage)]
	first, body, text, verdict := byte(op), payload, payload, isWhole
	var dict []byte
	if s.takeover {
		dict = s.history
	}
	if kind == 1 {
		if body = compressAfter(dict, payload); len(body) > connMaxMessage {
			kind, body = 0, payload
		}
	}
	if kind != 0 {
		first |= 0x40
		in := inflation{body, dict, 0, connMaxMessage}
		text, verdict = in.by(flate.NewReaderDict)
		s.unclear = verdict == isTooLong && (in.bothFaults() || op == frame.Text && !textSoFar(text, false))
		s.history = append(s.history, text...)
	}
	switch {
	case verdict == isTooLong:
		s.want.code = frame.CloseMessageTooBig
	case verdict != isWhole, op == frame.Text && !utf8.Valid(text):
		s.want.code = frame.CloseInvalidPayload
	default:
		s.want.messages = append(s.want.messages, describe(op, text))
	}
	for {
		n := len(body)
		if s.rng.IntN(2) == 0 {
			n = s.rng.IntN(len(body) + 1)
		}
		fin := n == len(body) && s.rng.IntN(4) > 0
		if fin {
			first |= 0x80
		}
		s.wire = append(s.wire, clientFrame(first, string(body[:n]))...)
		if first, body = 0, body[n:]; fin {
			return
		}
		if s.want.code == 0 && s.rng.IntN(4) == 0 { // a fault may be found in front of it, or behind
			ping := fmt.Sprint("ping ", len(s.wire))
			s.wire = append(s.wire, clientFrame(0x89, ping)...)
			s.want.pongs = append(s.want.pongs, ping)
		}
	}
}

// compressAfter is a message of text that may refer to dict.
func compressAfter(dict, text []byte) []byte {
	var b bytes.Buffer
	w, err := stdflate.NewWriterDict(&b, 6, dict)
	if err != nil {
		panic(err)
	}
	w.Write(text)
	w.Flush()
	return bytes.TrimSuffix(b.Bytes(), []byte(deflateTail))
}

// expectDeflated reads what is sent back up to the close frame, messages and pongs each in order. all says that none may
// be missing.
func expectDeflated(r io.Reader, want connTrace, all, takeover bool) error {
	messages, pongs := want.messages, want.pongs
	var history, message []byte
	var op frame.OpCode
	deflated := false
	for {
		h := make([]byte, 4)
		if _, err := io.ReadFull(r, h[:2]); err != nil {
			return fmt.Errorf("%v; to come are %q, pongs %q, close %d", err, messages, pongs, want.code)
		}
		if h[0] == 0x88 {
			if len(pongs) > 0 || all && len(messages) > 0 {
				return fmt.Errorf("a close frame; to come are %q, pongs %q", messages, pongs)
			}
			return readClose(io.MultiReader(bytes.NewReader(h[:2]), r), want)
		}
		n := int(h[1])
		if n == 126 {
			if _, err := io.ReadFull(r, h[2:]); err != nil {
				return err
			}
			n = int(binary.BigEndian.Uint16(h[2:]))
		}
		p := make([]byte, n)
		if _, err := io.ReadFull(r, p); err != nil {
			return err
		}
		if h[0] == 0x8a {
			if len(pongs) == 0 || pongs[0] != string(p) {
				return fmt.Errorf("pong %q; to come are %q", p, pongs)
			}
			pongs = pongs[1:]
			continue
		}
		if code := frame.OpCode(h[0] & 0x0f); code != 0 {
			op, deflated, message = code, h[0]&0x40 != 0, nil
		}
		if message = append(message, p...); h[0]&0x80 == 0 {
			continue
		}
		if deflated {
			var dict []byte
			if takeover {
				dict = history
			}
			out, v := inflation{message, dict, 0, connMaxMessage}.by(stdflate.NewReaderDict)
			if v != isWhole {
				return fmt.Errorf("% x is no compressed message, after %q", message, dict)
			}
			message, history = out, append(history, out...)
		}
		if got := describe(op, message); len(messages) == 0 || messages[0] != got {
			return fmt.Errorf("got %q; to come are %q", got, messages)
		}
		messages = messages[1:]
	}
}
