package fuzz

import (
	"bytes"
	stdflate "compress/flate"
	"io"
	"math/rand/v2"
	"regexp"
	"slices"
	"testing"
	"testing/iotest"

	"zeroframe/deflate"
)

// withCodes is a message with Huffman codes of its own, of random bytes up to 15
// and repetitions.
var withCodes = func() []byte {
	var b bytes.Buffer
	w, _ := stdflate.NewWriter(&b, 9)
	r := rand.New(rand.NewPCG(1, 2))
	var text []byte
	for len(text) < 1000 {
		if n := r.IntN(40); n > 2 && n < len(text) {
			at := r.IntN(len(text) - n)
			text = append(text, text[at:at+n]...)
		}
		text = append(text, byte(r.IntN(4)*r.IntN(6)))
	}
	w.Write(text)
	w.Flush()
	return bytes.TrimSuffix(b.Bytes(), []byte(deflateTail))
}()

// FuzzInflate checks that any bytes inflate to at most the limit, or fail, in
// the same way whole, in steps and streaming, behind another message and with a
// new reader, that compress/flate understands the same, and that the message
// can be referred to by the next.
func FuzzInflate(f *testing.F) {
	for _, message := range []string{
		"\xf2\x48\xcd\xc9\xc9\x07\x00", "\xf3\x48\xcd\xc9\xc9\x07\x00\x00", "\x00\x05\x00\xfa\xffHello\x00", "\x00", "",
		"\xf2\x00\x11\x00\x00", "\xf3\x48\xcd\xc9\xc9\x07\x00\xde\xad\xbe\xef", "\x00\x04\x00\xfb\xff", "\x01\x04\x00\xfb\xff",
		"\x04\xc0\x81\x00\x00\x00\x00\x00\x90\xff\x6b\x00",
	} {
		f.Add([]byte(message), []byte("earlier Hello"), uint16(100), byte(3))
	}
	f.Fuzz(func(t *testing.T, message, earlier []byte, most uint16, step byte) {
		limit := int(most)
		for _, size := range []int{0, 256, 32768} {
			h, inSteps, streamed := deflate.NewHistory(size), deflate.NewHistory(size), deflate.NewHistory(size)
			if size > 0 {
				for _, h := range []*deflate.History{h, inSteps, streamed} {
					h.Append(earlier)
				}
			}
			d := new(deflate.Decompressor)
			if _, err := d.Decompress(nil, withCodes, 1<<20, nil); err != nil {
				t.Fatal(err)
			}
			text := slices.Clone(earlier)
			for range 2 { // the same once more behind it
				got, err := d.Decompress(nil, message, limit, h)
				if len(got) > limit {
					t.Fatalf("%d bytes of at most %d", len(got), limit)
				}
				if err != nil && !isRefusal(err) {
					t.Fatal(err)
				}
				judge := inflation{message, text[max(0, len(text)-size):], size, limit}
				judge.whole(t, got, err)
				for how, again := range map[string]func() ([]byte, error){
					"in steps":  func() ([]byte, error) { return inflateInSteps(message, limit, int(step)+1, inSteps) },
					"streaming": func() ([]byte, error) { return inflateStreaming(message, limit, int(step)+1, streamed) },
				} {
					// What came out before an error may differ; and what is both too long
					// and corrupt is found to be the one or the other first, by the size
					// of the reads.
					b, otherErr := again()
					same := otherErr == err || isRefusal(otherErr) && isRefusal(err) && judge.bothFaults()
					if !same || err == nil && !bytes.Equal(b, got) {
						t.Fatalf("whole: %q, %v; %s: %q, %v", got, err, how, b, otherErr)
					}
				}
				if err != nil || h == nil {
					break
				}
				text = append(text, got...)
			}
		}
	})
}

func isRefusal(err error) bool { return err == deflate.ErrCorrupt || err == deflate.ErrTooBig }

func inflateInSteps(message []byte, limit, step int, h *deflate.History) (out []byte, err error) {
	d := new(deflate.Decompressor)
	if err := d.Start(message, limit, h); err != nil {
		return nil, err
	}
	for {
		full := len(out) == cap(out)
		var done bool
		if out, done, err = d.Step(out); done || err != nil {
			return out, err
		}
		if full || len(out) == cap(out) {
			out = append(make([]byte, 0, len(out)+max(step, len(out)/16)), out...) // a long one by single bytes takes seconds
		}
	}
}

func inflateStreaming(message []byte, limit, step int, h *deflate.History) ([]byte, error) {
	var src io.Reader = bytes.NewReader(message)
	if step%2 == 0 {
		src = iotest.OneByteReader(src)
	}
	r := deflate.NewReader(src, limit, h)
	defer r.Close()
	var out []byte
	b := make([]byte, step)
	for {
		n, err := r.Read(b)
		if out = append(out, b[:n]...); err == io.EOF {
			return out, nil
		} else if err != nil {
			return out, err
		}
	}
}

// FuzzDeflateOffers checks what is made of any Sec-WebSocket-Extensions field
// against a plain reading of RFC 7692, section 7.1, and that a client accepts
// the answer to its own offer.
func FuzzDeflateOffers(f *testing.F) {
	for _, field := range []string{
		"permessage-deflate", "permessage-deflate; client_max_window_bits", "foo, permessage-deflate; server_max_window_bits=\"1\\0\"",
		"permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=8; client_max_window_bits=9",
		"permessage-deflate; bogus, permessage-deflate", "permessage-deflate; server_max_window_bits=07, ,", "a;b=\"", ";",
	} {
		f.Add(field, uint16(0))
		f.Add(field, uint16(0x9F3))
	}
	valid := regexp.MustCompile(`^([89]|1[0-5])$`)
	f.Fuzz(func(t *testing.T, field string, bits uint16) {
		offers, err := deflate.ParseOffers(field)
		if err != nil {
			return
		}
		var fields []string
		for _, o := range offers {
			fields = append(fields, o.String())
		}
		if again, err := deflate.ParseOffers(fields...); err != nil || len(again) != len(offers) ||
			!slices.EqualFunc(again, offers, func(a, b deflate.Offer) bool { return a.Name == b.Name && slices.Equal(a.Params, b.Params) }) {
			t.Fatalf("%q is %v; written as %q it is %v, %v", field, offers, fields, again, err)
		}

		// As the RFC says it, parameter by parameter.
		var first map[string]string
		for _, o := range offers {
			given := map[string]string{}
			ok := o.Name == deflate.Name
			for _, p := range o.Params {
				if _, repeated := given[p.Name]; repeated {
					ok = false
				}
				given[p.Name] = p.Value
				switch p.Name {
				case "server_no_context_takeover", "client_no_context_takeover":
					ok = ok && p.Value == ""
				case "server_max_window_bits":
					ok = ok && valid.MatchString(p.Value)
				case "client_max_window_bits":
					ok = ok && (p.Value == "" || valid.MatchString(p.Value))
				default:
					ok = false
				}
			}
			if ok {
				first = given
				break
			}
		}

		config := deflate.Config{
			ServerContextTakeover: bits&1 != 0, ClientContextTakeover: bits&2 != 0,
			ServerMaxWindowBits: 8 + int(bits>>4&7), ClientMaxWindowBits: 8 + int(bits>>8&7),
		}
		params, answer, ok := deflate.Negotiate(offers, config)
		if ok != (first != nil) {
			t.Fatalf("%q: accepted %v as %q", field, ok, answer)
		}
		if !ok {
			return
		}
		answered, err := deflate.ParseOffers(answer)
		if err != nil || len(answered) != 1 || answered[0].Name != deflate.Name {
			t.Fatalf("%q is answered by %q", field, answer)
		}
		said := map[string]string{}
		for _, p := range answered[0].Params {
			said[p.Name] = p.Value
		}
		_, serverAlone := said["server_no_context_takeover"]
		_, clientAlone := said["client_no_context_takeover"]
		_, asked := first["server_no_context_takeover"]
		if serverAlone != params.ServerNoContextTakeover || clientAlone != params.ClientNoContextTakeover || asked && !serverAlone {
			t.Fatalf("%q is answered by %q for %+v", field, answer, params)
		}
		number := func(s string) int { // of a valid value
			if len(s) == 1 {
				return int(s[0] - '0')
			}
			return 10 + int(s[1]-'0')
		}
		if v, asked := first["server_max_window_bits"]; asked && (said["server_max_window_bits"] == "" || params.ServerMaxWindowBits > number(v)) {
			t.Fatalf("%q is answered by %q for %+v", field, answer, params)
		}
		v, asked := first["client_max_window_bits"]
		if s, told := said["client_max_window_bits"]; told != asked || asked && (!valid.MatchString(s) || v != "" && number(s) > number(v)) {
			t.Fatalf("%q is answered by %q for %+v", field, answer, params)
		}
		if params.ServerMaxWindowBits > config.ServerMaxWindowBits || params.ClientHistory(1<<15) > 1<<config.ClientMaxWindowBits {
			t.Fatalf("%+v negotiates %+v", config, params)
		}
		// A client of ours understands what a server makes of its offer.
		client := deflateConfig(bits>>2 ^ bits>>8)
		offers, err = deflate.ParseOffers(client.Offer())
		if err != nil {
			t.Fatalf("%+v offers %q", client, client.Offer())
		}
		if params, answer, ok = deflate.Negotiate(offers, config); !ok {
			t.Fatalf("%+v offers %q, which %+v declines", client, client.Offer(), config)
		}
		checkAccept(t, answer, client)
		if p, err := client.Accept(answer); err != nil || p != params {
			t.Fatalf("%q is answered by %q: %+v, %v, at the server %+v", client.Offer(), answer, p, err, params)
		}
	})
}

// FuzzDeflateRoundTrip checks that messages of any content come back, whatever
// the level, the window and the history, and that compress/flate inflates them
// too.
func FuzzDeflateRoundTrip(f *testing.F) {
	for _, text := range []string{"", "a", "Hello, Hello, Hello", "\x00\x00\xff\xff\x00\x00\xff\xff"} {
		f.Add([]byte(text), byte(0), byte(15), uint16(0), byte(1))
		f.Add(bytes.Repeat([]byte(text+"0123"), 60), byte(3), byte(8), uint16(300), byte(200))
	}
	// What is shared by all streams, as in a loop.
	c, d := new(deflate.Compressor), new(deflate.Decompressor)
	f.Fuzz(func(t *testing.T, text []byte, level, bits byte, size uint16, step byte) {
		s := deflate.Setting{Level: deflate.Level(level%12) + deflate.HuffmanOnly, WindowBits: 8 + int(bits%8)}
		sent, received := deflate.NewHistory(min(int(size), 1<<s.WindowBits)), deflate.NewHistory(1<<s.WindowBits)
		if sent == nil {
			received = nil
		}
		length := 1 + int(step)*int(step)
		text = text[:min(len(text), 1<<16, 16*length)]
		for at := 0; at <= len(text); at += length {
			m := text[at:min(at+length, len(text))]
			shrunk, shrinks := c.Shrink(nil, m, s, nil)
			alone := c.Compress(nil, m, s, nil)
			if shrinks != (len(alone) < len(m)) || shrinks && !bytes.Equal(shrunk, alone) {
				t.Fatalf("%+v: %d bytes become %d, but Shrink says %v", s, len(m), len(alone), shrinks)
			}
			if back, verdict := (inflation{alone, nil, 0, len(m)}).by(stdflate.NewReaderDict); verdict != isWhole || !bytes.Equal(back, m) {
				t.Fatalf("%+v: compress/flate does not inflate %q from % x", s, m, alone)
			}
			out := c.Compress(nil, m, s, sent)
			if back, err := d.Decompress(nil, out, len(m), received); err != nil || !bytes.Equal(back, m) {
				t.Fatalf("%+v, history of %d: %q becomes %q, %v", s, size, m, back, err)
			}
			var written []byte
			w := deflate.NewWriter(func(piece []byte, _ bool) error { written = append(written, piece...); return nil }, s, nil)
			w.Write(m[:len(m)/2])
			if step%2 == 0 {
				w.Flush()
			}
			w.Write(m[len(m)/2:])
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			if back, err := d.Decompress(nil, written, len(m), nil); err != nil || !bytes.Equal(back, m) {
				t.Fatalf("%+v: %q is written as %q, %v", s, m, back, err)
			}
		}
	})
}
