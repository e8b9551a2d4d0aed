package frame_test

import (
	"bytes"
	"testing"
	"unsafe"

	"zeroframe/frame"
)

// breaches are streams that break a rule at their last byte, not before.
var breaches = []struct {
	name   string
	rules  frame.Rules
	stream []byte
	err    *frame.Error
}{
	// Section 5.2: opcodes.
	{"opcode 3", frame.Rules{}, unhex("83"), frame.ErrReservedOpCode},
	{"opcode 7", frame.Rules{}, unhex("87"), frame.ErrReservedOpCode},
	{"opcode B", frame.Rules{}, unhex("8b"), frame.ErrReservedOpCode},
	{"opcode F", frame.Rules{}, unhex("8f"), frame.ErrReservedOpCode},
	{"opcode 3 before its reserved bits", frame.Rules{}, unhex("f3"), frame.ErrReservedOpCode},
	// Section 5.2: reserved bits.
	{"RSV1", frame.Rules{}, unhex("c1"), frame.ErrReservedBits},
	{"RSV2", frame.Rules{}, unhex("a2"), frame.ErrReservedBits},
	{"RSV3", frame.Rules{}, unhex("91"), frame.ErrReservedBits},
	{"RSV2 where RSV1 is allowed", frame.Rules{RSV: frame.RSV1}, unhex("a2"), frame.ErrReservedBits},
	{"RSV1 on a control frame", frame.Rules{RSV: frame.RSV1, FirstRSV: frame.RSV1}, unhex("c9"), frame.ErrReservedBits},
	{"RSV1 on a continuation", frame.Rules{FirstRSV: frame.RSV1}, unhex("41 80 00000000 c0"), frame.ErrReservedBits},
	// Section 5.4 and 5.5: fragmentation.
	{"fragmented close", frame.Rules{}, unhex("08"), frame.ErrFragmentedControl},
	{"fragmented ping", frame.Rules{}, unhex("09"), frame.ErrFragmentedControl},
	{"fragmented pong", frame.Rules{}, unhex("0a"), frame.ErrFragmentedControl},
	{"continuation first", frame.Rules{}, unhex("80"), frame.ErrStrayContinuation},
	{"unfinished continuation first", frame.Rules{}, unhex("00"), frame.ErrStrayContinuation},
	{"continuation after a whole message", frame.Rules{}, unhex("81 80 00000000 80"), frame.ErrStrayContinuation},
	{"continuation after the last fragment", frame.Rules{}, unhex("01 80 00000000 80 80 00000000 00"), frame.ErrStrayContinuation},
	{"text inside a message", frame.Rules{}, unhex("01 80 00000000 81"), frame.ErrInterleavedData},
	{"binary after a ping inside a message", frame.Rules{}, unhex("02 80 00000000 89 80 00000000 02"), frame.ErrInterleavedData},
	{"text after a second fragment", frame.Rules{}, unhex("01 80 00000000 00 80 00000000 01"), frame.ErrInterleavedData},
	// Section 5.1: masking.
	{"unmasked to a server", frame.Rules{}, unhex("81 05"), frame.ErrUnmasked},
	{"unmasked ping to a server", frame.Rules{}, unhex("89 00"), frame.ErrUnmasked},
	{"masked to a client", frame.Rules{Role: frame.Client}, unhex("81 85"), frame.ErrMasked},
	{"masking before the control length", frame.Rules{}, unhex("89 7e"), frame.ErrUnmasked},
	// Section 5.5: control frames.
	{"close of 126", frame.Rules{}, unhex("88 fe"), frame.ErrControlTooLong},
	{"ping of 64 bits", frame.Rules{}, unhex("89 ff"), frame.ErrControlTooLong},
	{"pong of 126 to a client", frame.Rules{Role: frame.Client}, unhex("8a 7e"), frame.ErrControlTooLong},
	// Section 5.2: lengths.
	{"top bit", frame.Rules{}, unhex("82 ff 80"), frame.ErrLengthTopBit},
	{"top bit before the limit", frame.Rules{MaxFrame: 1}, unhex("82 ff ff"), frame.ErrLengthTopBit},
	{"16 bits for 125", frame.Rules{}, unhex("82 fe 00 7d"), frame.ErrLengthNotMinimal},
	{"16 bits for 0", frame.Rules{Role: frame.Client}, unhex("82 7e 00 00"), frame.ErrLengthNotMinimal},
	{"64 bits for 65535", frame.Rules{}, unhex("82 ff 00 00 00 00 00 00 ff ff"), frame.ErrLengthNotMinimal},
	{"64 bits for 0", frame.Rules{}, unhex("82 ff 00 00 00 00 00 00 00 00"), frame.ErrLengthNotMinimal},
	{"form before the limit", frame.Rules{MaxFrame: 10}, unhex("82 fe 00 7d"), frame.ErrLengthNotMinimal},
	// Limits.
	{"101 of 100", frame.Rules{MaxFrame: 100}, unhex("82 e5"), frame.ErrFrameTooBig},
	{"126 of 125", frame.Rules{MaxFrame: 125}, unhex("82 fe 00 7e"), frame.ErrFrameTooBig},
	{"65536 of 65535", frame.Rules{MaxFrame: 65535}, unhex("82 ff 00 00 00 00 00 01 00 00"), frame.ErrFrameTooBig},
	{"all of 63 bits", frame.Rules{MaxFrame: 1 << 40}, unhex("82 ff 7f ff ff ff ff ff ff ff"), frame.ErrFrameTooBig},
	{"a continuation", frame.Rules{MaxFrame: 4}, unhex("01 80 00000000 80 85"), frame.ErrFrameTooBig},
	{"a ping", frame.Rules{MaxFrame: 4}, unhex("89 85"), frame.ErrFrameTooBig},
}

// drain feeds b to p until it is used up or fails, and returns what was consumed.
func drain(p *frame.Parser, b []byte, r *frame.Rules) (consumed int, err error) {
	var c frame.Chunk
	for consumed < len(b) && err == nil {
		var n int
		n, err = p.Next(b[consumed:], r, &c)
		consumed += n
	}
	return consumed, err
}

func TestBreachesAreFoundAtTheByteThatProvesThem(t *testing.T) {
	for _, test := range breaches {
		// What follows must not matter, nor be consumed.
		stream := append(bytes.Clone(test.stream), bytes.Repeat([]byte{0xFF}, 20)...)
		for cut := range len(stream) + 1 {
			var p frame.Parser
			n, err := drain(&p, stream[:cut], &test.rules)
			if cut < len(test.stream) {
				if n != cut || err != nil {
					t.Fatalf("%s, %d bytes: consumed %d, %v", test.name, cut, n, err)
				}
				var rest int
				rest, err = drain(&p, stream[cut:], &test.rules)
				n += rest
			}
			if n != len(test.stream) || err != error(test.err) {
				t.Errorf("%s, cut at %d: consumed %d of %d, %v", test.name, cut, n, len(test.stream), err)
			}
		}
	}
}

func TestAnErrorIsFinal(t *testing.T) {
	good := frame.AppendFrame(nil, frame.Header{OpCode: frame.Text, Fin: true, Masked: true}, []byte("more"))
	for _, test := range breaches {
		var p frame.Parser
		_, want := drain(&p, test.stream, &test.rules)
		c := frame.Chunk{First: true, Payload: good}
		for _, more := range [][]byte{good, nil} {
			if n, err := p.Next(more, &test.rules, &c); n != 0 || err != want || c.First || c.Payload != nil {
				t.Errorf("%s: then n %d, err %v, %+v", test.name, n, err, c)
			}
		}
		if !p.InFrame() || p.Remaining() != 0 {
			t.Errorf("%s: InFrame() = %v, Remaining() = %d", test.name, p.InFrame(), p.Remaining())
		}
	}
}

func TestLimitsAdmitEquality(t *testing.T) {
	for _, size := range []int{1, 125, 126, 65535, 65536} {
		b := frame.AppendFrame(nil, frame.Header{OpCode: frame.Binary, Fin: true, Masked: true, Key: 7}, make([]byte, size))
		for _, limit := range []int64{int64(size), 0} {
			var p frame.Parser
			if n, err := drain(&p, b, &frame.Rules{MaxFrame: limit}); n != len(b) || err != nil {
				t.Errorf("%d of %d: consumed %d, %v", size, limit, n, err)
			}
		}
	}
}

func TestReservedBitsPassWhereAnExtensionAllowsThem(t *testing.T) {
	for _, test := range []struct {
		rules  frame.Rules
		stream string
	}{
		{frame.Rules{RSV: frame.RSV1 | frame.RSV2}, "61 80 00000000 e0 80 00000000"},
		{frame.Rules{FirstRSV: frame.RSV1}, "41 80 00000000 80 80 00000000"},
		{frame.Rules{RSV: frame.RSV3, FirstRSV: frame.RSV1}, "d2 80 00000000 52 80 00000000 90 80 00000000"},
	} {
		var p frame.Parser
		b := unhex(test.stream)
		if n, err := drain(&p, b, &test.rules); n != len(b) || err != nil {
			t.Errorf("%s: consumed %d, %v", test.stream, n, err)
		}
	}
}

func TestAFrameInPiecesKeepsItsHeaderAndKeyPhase(t *testing.T) {
	payload := []byte("0123456789abcdefghij")
	h := frame.Header{OpCode: frame.Text, Fin: true, Masked: true, Key: 0x44332211, Length: int64(len(payload))}
	wire := frame.AppendFrame(nil, h, payload)
	for step := 1; step <= len(wire); step++ {
		b := bytes.Clone(wire)
		var p frame.Parser
		var c frame.Chunk
		var got []byte
		firsts, lasts := 0, 0
		for at := 0; at < len(b); at += step {
			piece := b[at:min(at+step, len(b))]
			n, err := p.Next(piece, &frame.Rules{}, &c)
			if n != len(piece) || err != nil {
				t.Fatalf("step %d: n %d, %v", step, n, err)
			}
			header := at+n < h.Size()
			if header && (c.First || c.Last || c.Payload != nil || c.Header != frame.Header{}) {
				t.Fatalf("step %d: chunk of an incomplete header: %+v", step, c)
			}
			if !header && c.Header != h {
				t.Fatalf("step %d: header %+v", step, c.Header)
			}
			room := 0
			if at == 0 && c.First {
				room = h.Size()
			}
			if c.Room != room {
				t.Fatalf("step %d at %d: room %d, want %d", step, at, c.Room, room)
			}
			if cap(c.Payload) != len(c.Payload) {
				t.Fatalf("step %d: spare capacity %d", step, cap(c.Payload)-len(c.Payload))
			}
			c.Unmask()
			got = append(got, c.Payload...)
			if c.First {
				firsts++
			}
			if c.Last {
				lasts++
			}
			if want := min(int64(len(wire)-at-n), h.Length); (header && p.Remaining() != 0) || (!header && p.Remaining() != want) {
				t.Fatalf("step %d: Remaining() = %d", step, p.Remaining())
			}
			if p.InFrame() == c.Last {
				t.Fatalf("step %d: InFrame() = %v at %d", step, p.InFrame(), at+n)
			}
		}
		if string(got) != string(payload) || firsts != 1 || lasts != 1 {
			t.Errorf("step %d: %q, %d first, %d last", step, got, firsts, lasts)
		}
	}
}

func TestAnEmptyPieceConsumesNothing(t *testing.T) {
	wire := frame.AppendFrame(nil, frame.Header{OpCode: frame.Text, Fin: true, Masked: true, Key: 9}, []byte("abc"))
	for cut := range len(wire) + 1 {
		var p frame.Parser
		var c frame.Chunk
		r := frame.Rules{}
		drain(&p, wire[:cut], &r)
		inFrame, left := p.InFrame(), p.Remaining()
		if n, err := p.Next(nil, &r, &c); n != 0 || err != nil || c.First || c.Last || len(c.Payload) != 0 {
			t.Errorf("at %d: n %d, err %v, %+v", cut, n, err, c)
		}
		if p.InFrame() != inFrame || p.Remaining() != left {
			t.Errorf("at %d: state changed", cut)
		}
	}
}

func TestAFrameEndsTheCall(t *testing.T) {
	one := frame.AppendFrame(nil, frame.Header{OpCode: frame.Ping, Fin: true, Masked: true, Key: 3}, nil)
	b := append(bytes.Clone(one), one...)
	var p frame.Parser
	var c frame.Chunk
	n, err := p.Next(b, &frame.Rules{}, &c)
	if n != len(one) || err != nil || !c.First || !c.Last || c.Payload == nil || len(c.Payload) != 0 || c.Room != len(one) {
		t.Errorf("n %d, err %v, %+v", n, err, c)
	}
}

func TestInMessageSpansAFragmentedMessage(t *testing.T) {
	r := &frame.Rules{}
	type piece struct {
		wire string
		want bool // InMessage after it
	}
	for _, byteWise := range []bool{false, true} {
		var p frame.Parser
		for i, piece := range []piece{
			{"82 81 00000000 61", false}, // a message of one frame
			{"82 81 00000000", false},    // the same, stopped before its payload
			{"61", false},
			{"01 82 00000000", true}, // first fragment
			{"61", true},
			{"61", true},
			{"89 80 00000000", true}, // interleaved ping
			{"89 81 00000000", true},
			{"61", true},
			{"00 81 00000000 61", true},
			{"80 82 00000000 61", true}, // last fragment, unfinished
			{"61", false},
			{"89 81 00000000", false},
			{"61", false},
			{"02 80 00000000", true},
			{"80 80 00000000", false}, // an empty last fragment
		} {
			b := unhex(piece.wire)
			step := len(b)
			if byteWise {
				step = 1
			}
			for ; len(b) > 0; b = b[step:] {
				if _, err := drain(&p, b[:step], r); err != nil {
					t.Fatalf("%d: %v", i, err)
				}
			}
			if p.InMessage() != piece.want {
				t.Errorf("byte by byte %v: after piece %d: InMessage() = %v", byteWise, i, p.InMessage())
			}
		}
	}
}

func TestTheSpaceBeforeThePayloadTakesAReplyHeader(t *testing.T) {
	payload := bytes.Repeat([]byte("z"), 300)
	b := frame.AppendFrame(nil, frame.Header{OpCode: frame.Text, Fin: true, Masked: true, Key: 77}, payload)
	var p frame.Parser
	var c frame.Chunk
	n, err := p.Next(b, &frame.Rules{}, &c)
	if err != nil {
		t.Fatal(err)
	}
	c.Unmask()
	reply := frame.Header{Length: c.Header.Length, OpCode: frame.Text, Fin: true}
	start := n - len(c.Payload) - reply.Size()
	if c.Room < reply.Size() {
		t.Fatalf("room %d", c.Room)
	}
	frame.PutHeader(b[start:], reply)
	if want := frame.AppendFrame(nil, reply, payload); !bytes.Equal(b[start:n], want) {
		t.Errorf("% x", b[start:start+16])
	}
}

func TestAParserTakes24Bytes(t *testing.T) {
	if size := unsafe.Sizeof(frame.Parser{}); size > 24 {
		t.Errorf("%d bytes", size)
	}
}

func TestParsingAllocatesNothing(t *testing.T) {
	var stream []byte
	for _, size := range []int{0, 32, 126, 1024, 70000} {
		stream = frame.AppendFrame(stream, frame.Header{OpCode: frame.Binary, Fin: true, Masked: true, Key: 5}, make([]byte, size))
	}
	rules := &frame.Rules{MaxFrame: 1 << 20}
	var p frame.Parser
	for _, step := range []int{len(stream), 1000, 3} {
		if n := testing.AllocsPerRun(10, func() {
			var c frame.Chunk
			for at := 0; at < len(stream); {
				n, err := p.Next(stream[at:min(at+step, len(stream))], rules, &c)
				if err != nil {
					t.Fatal(err)
				}
				c.Unmask()
				at += n
			}
		}); n != 0 {
			t.Errorf("pieces of %d: %v allocations", step, n)
		}
	}
	bad := []byte{0x83}
	if n := testing.AllocsPerRun(10, func() {
		var p frame.Parser
		if _, err := drain(&p, bad, rules); err == nil {
			t.Fatal("no error")
		}
	}); n != 0 {
		t.Errorf("an error: %v allocations", n)
	}
}

func BenchmarkNext(b *testing.B) {
	for _, bench := range []struct {
		name        string
		count, size int
	}{{"16x32B", 16, 32}, {"1KiB", 1, 1024}, {"16x1KiB", 16, 1024}, {"64KiB", 1, 65536}} {
		var stream []byte
		for range bench.count {
			stream = frame.AppendFrame(stream, frame.Header{OpCode: frame.Binary, Fin: true, Masked: true, Key: 0x12345678}, make([]byte, bench.size))
		}
		for _, unmask := range []bool{false, true} {
			name := bench.name
			if unmask {
				name += "/unmask"
			}
			b.Run(name, func(b *testing.B) {
				rules := &frame.Rules{MaxFrame: 16 << 20}
				p, c := new(frame.Parser), new(frame.Chunk)
				b.ReportAllocs()
				b.SetBytes(int64(len(stream)))
				for b.Loop() {
					for rest := stream; len(rest) > 0; {
						n, err := p.Next(rest, rules, c)
						if err != nil {
							b.Fatal(err)
						}
						if unmask {
							c.Unmask()
						}
						rest = rest[n:]
					}
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*bench.count), "ns/frame")
			})
		}
	}
}

// A header that straddles two reads is the price of a cut.
func BenchmarkNextCutHeader(b *testing.B) {
	stream := frame.AppendFrame(nil, frame.Header{OpCode: frame.Binary, Fin: true, Masked: true, Key: 0x12345678}, make([]byte, 1024))
	rules := &frame.Rules{}
	var p frame.Parser
	var c frame.Chunk
	b.ReportAllocs()
	b.SetBytes(int64(len(stream)))
	for b.Loop() {
		p.Next(stream[:5], rules, &c)
		p.Next(stream[5:], rules, &c)
	}
}
