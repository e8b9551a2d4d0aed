package frame_test

import (
	"bytes"
	"encoding/hex"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"zeroframe/frame"
	"zeroframe/mask"
)

func unhex(s string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		panic(err)
	}
	return b
}

// rfc57 are the examples of RFC 6455, section 5.7.
var rfc57 = []struct {
	name    string
	wire    []byte
	header  frame.Header
	payload string
}{
	{"unmasked text", unhex("81 05 48 65 6c 6c 6f"), frame.Header{Fin: true, OpCode: frame.Text}, "Hello"},
	{"masked text", unhex("81 85 37 fa 21 3d 7f 9f 4d 51 58"), frame.Header{Fin: true, OpCode: frame.Text, Masked: true, Key: 0x3d21fa37}, "Hello"},
	{"first fragment", unhex("01 03 48 65 6c"), frame.Header{OpCode: frame.Text}, "Hel"},
	{"last fragment", unhex("80 02 6c 6f"), frame.Header{Fin: true, OpCode: frame.Continuation}, "lo"},
	{"ping", unhex("89 05 48 65 6c 6c 6f"), frame.Header{Fin: true, OpCode: frame.Ping}, "Hello"},
	{"masked pong", unhex("8a 85 37 fa 21 3d 7f 9f 4d 51 58"), frame.Header{Fin: true, OpCode: frame.Pong, Masked: true, Key: 0x3d21fa37}, "Hello"},
	{"256 bytes", append(unhex("82 7e 01 00"), make([]byte, 256)...), frame.Header{Fin: true, OpCode: frame.Binary}, strings.Repeat("\x00", 256)},
	{"64 KiB", append(unhex("82 7f 00 00 00 00 00 01 00 00"), make([]byte, 65536)...), frame.Header{Fin: true, OpCode: frame.Binary}, strings.Repeat("\x00", 65536)},
}

func TestFramesAreEncodedAsInSection57(t *testing.T) {
	for _, test := range rfc57 {
		prefix := []byte("before")
		got := frame.AppendFrame(prefix, test.header, []byte(test.payload))
		if want := append([]byte("before"), test.wire...); !bytes.Equal(got, want) {
			t.Errorf("%s: % x", test.name, got[:min(len(got), 32)])
		}
	}
}

func TestFramesAreDecodedAsInSection57(t *testing.T) {
	var server, client frame.Parser
	for _, test := range rfc57 {
		p, rules := &client, &frame.Rules{Role: frame.Client}
		if test.header.Masked {
			p, rules = &server, &frame.Rules{}
		}
		want := test.header
		want.Length = int64(len(test.payload))
		b := bytes.Clone(test.wire)
		var c frame.Chunk
		n, err := p.Next(b, rules, &c)
		if n != len(b) || err != nil || !c.First || !c.Last || c.Header != want {
			t.Errorf("%s: n %d, err %v, %+v", test.name, n, err, c.Header)
			continue
		}
		if c.Room != len(b)-len(test.payload) || c.Key != want.Key {
			t.Errorf("%s: room %d, key %x", test.name, c.Room, c.Key)
		}
		c.Unmask()
		if string(c.Payload) != test.payload {
			t.Errorf("%s: payload %q", test.name, c.Payload)
		}
	}
}

func TestHeadersTakeTheShortestForm(t *testing.T) {
	for _, test := range []struct {
		length int64
		wire   string // of the length
	}{
		{0, "00"},
		{1, "01"},
		{125, "7d"},
		{126, "7e 00 7e"},
		{127, "7e 00 7f"},
		{65535, "7e ff ff"},
		{65536, "7f 00 00 00 00 00 01 00 00"},
		{math.MaxUint32 + 1, "7f 00 00 00 01 00 00 00 00"},
		{math.MaxInt64, "7f 7f ff ff ff ff ff ff ff"},
	} {
		for _, masked := range []bool{false, true} {
			h := frame.Header{Length: test.length, OpCode: frame.Binary, RSV: frame.RSV1 | frame.RSV3, Fin: true}
			want := append([]byte{0xd2}, unhex(test.wire)...)
			if masked {
				h.Masked, h.Key = true, 0x04030201
				want[1] |= 0x80
				want = append(want, 1, 2, 3, 4)
			}
			if got := frame.AppendHeader([]byte("p"), h); string(got) != "p"+string(want) {
				t.Errorf("%d: % x, want % x", test.length, got[1:], want)
			}
			if h.Size() != len(want) {
				t.Errorf("%d: Size() = %d, want %d", test.length, h.Size(), len(want))
			}
			put := bytes.Repeat([]byte{0xEE}, 16)
			if n := frame.PutHeader(put, h); n != len(want) || !bytes.Equal(put[:n], want) || put[n] != 0xEE {
				t.Errorf("%d: PutHeader wrote %d: % x", test.length, n, put)
			}

			rules := frame.Rules{RSV: frame.RSV1 | frame.RSV3}
			if !masked {
				rules.Role = frame.Client
			}
			for cut := range len(want) + 1 {
				var p frame.Parser
				var c frame.Chunk
				n, err := p.Next(want[:cut], &rules, &c)
				if n == cut && cut < len(want) && err == nil && !c.First {
					n, err = p.Next(want[cut:], &rules, &c)
					n += cut
				}
				if n != len(want) || err != nil || !c.First || c.Header != h {
					t.Errorf("%d cut at %d: n %d, err %v, %+v", test.length, cut, n, err, c)
				}
				room := 0 // unless the header came in one piece
				if cut == 0 || cut == len(want) {
					room = len(want)
				}
				if c.Room != room {
					t.Errorf("%d cut at %d: room %d, want %d", test.length, cut, c.Room, room)
				}
				if c.Last != (test.length == 0) || p.Remaining() != test.length {
					t.Errorf("%d cut at %d: last %v, remaining %d", test.length, cut, c.Last, p.Remaining())
				}
			}
		}
	}
}

func TestFieldsOutOfRangeDoNotSpillIntoOthers(t *testing.T) {
	got := frame.AppendHeader(nil, frame.Header{OpCode: 0xF2, RSV: 0x8F})
	if want := []byte{0x02, 0x00}; !bytes.Equal(got, want) {
		t.Errorf("% x, want % x", got, want)
	}
}

func TestMaskingAFrameLeavesThePayloadUntouched(t *testing.T) {
	payload := make([]byte, 1000)
	for i := range payload {
		payload[i] = byte(rand.N(256))
	}
	before := bytes.Clone(payload)
	h := frame.Header{OpCode: frame.Binary, Fin: true, Masked: true, Key: 0xdeadbeef, Length: 7}
	wire := frame.AppendFrame(nil, h, payload)
	if !bytes.Equal(payload, before) {
		t.Error("payload changed")
	}
	body := wire[len(wire)-len(payload):]
	if bytes.Equal(body, payload) {
		t.Error("copy not masked")
	}
	mask.XOR(body, h.Key, 0)
	if !bytes.Equal(body, payload) {
		t.Error("copy not masked with the key")
	}
}

func TestAppendingAllocatesNothing(t *testing.T) {
	buf := make([]byte, 0, 4096)
	payload := make([]byte, 1024)
	h := frame.Header{OpCode: frame.Binary, Fin: true, Masked: true, Key: 1}
	if n := testing.AllocsPerRun(100, func() {
		b := frame.AppendFrame(buf, h, payload)
		b = frame.AppendHeader(b, h)
		b = frame.AppendClosePayload(b, frame.CloseNormal, frame.TruncateReason("bye"))
		if _, _, err := frame.ParseClosePayload(b[len(b)-5:]); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkAppendFrame(b *testing.B) {
	for _, bench := range []struct {
		name   string
		size   int
		masked bool
	}{{"32B", 32, false}, {"1KiB", 1024, false}, {"32B/masked", 32, true}, {"1KiB/masked", 1024, true}} {
		b.Run(bench.name, func(b *testing.B) {
			h := frame.Header{OpCode: frame.Binary, Fin: true, Masked: bench.masked, Key: 0x12345678}
			payload := make([]byte, bench.size)
			buf := make([]byte, 0, bench.size+frame.MaxHeaderSize)
			b.ReportAllocs()
			b.SetBytes(int64(bench.size))
			for b.Loop() {
				buf = frame.AppendFrame(buf[:0], h, payload)
			}
		})
	}
}
