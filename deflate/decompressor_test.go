package deflate

import (
	"bytes"
	"encoding/hex"
	"io"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
)

func unhex(s string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		panic(err)
	}
	return b
}

// Ways to inflate a message, all of which must agree.
var inflaters = []struct {
	name    string
	inflate func(message []byte, limit int, h *History) ([]byte, error)
}{
	{"whole", func(message []byte, limit int, h *History) ([]byte, error) {
		return new(Decompressor).Decompress(nil, message, limit, h)
	}},
	{"into what is just enough", func(message []byte, limit int, h *History) ([]byte, error) {
		n, err := new(Decompressor).Decompress(nil, message, limit, nil)
		if err != nil {
			n = nil
		}
		return new(Decompressor).Decompress(make([]byte, 0, len(n)), message, limit, h)
	}},
	{"step by step", func(message []byte, limit int, h *History) (out []byte, err error) {
		d := new(Decompressor)
		if err := d.Start(message, limit, h); err != nil {
			return nil, err
		}
		for done := false; !done && err == nil; {
			if out, done, err = d.Step(out); len(out) == cap(out) {
				out = append(make([]byte, 0, len(out)+1+len(out)/64), out...)
			}
		}
		return out, err
	}},
	{"streaming", func(message []byte, limit int, h *History) ([]byte, error) {
		return io.ReadAll(NewReader(bytes.NewReader(message), limit, h))
	}},
	{"streaming by single bytes", func(message []byte, limit int, h *History) ([]byte, error) {
		return io.ReadAll(iotest.OneByteReader(NewReader(iotest.OneByteReader(bytes.NewReader(message)), limit, h)))
	}},
	{"streaming with the end known", func(message []byte, limit int, h *History) ([]byte, error) {
		return io.ReadAll(NewReader(iotest.DataErrReader(bytes.NewReader(message)), limit, h))
	}},
}

func TestExamplesOfTheRFC(t *testing.T) {
	for _, c := range []struct{ section, wire, text string }{
		{"7.2.3.1", "f2 48 cd c9 c9 07 00", "Hello"},
		{"7.2.3.3, no compression", "00 05 00 fa ff 48 65 6c 6c 6f 00", "Hello"},
		{"7.2.3.4, BFINAL", "f3 48 cd c9 c9 07 00 00", "Hello"},
		{"7.2.3.5, two blocks", "f2 48 05 00 00 00 ff ff ca c9 c9 07 00", "Hello"},
		{"7.2.3.6", "00", ""},
	} {
		for _, in := range inflaters {
			if got, err := in.inflate(unhex(c.wire), 5, nil); err != nil || string(got) != c.text {
				t.Errorf("section %s, %s: %q, %v", c.section, in.name, got, err)
			}
		}
	}
}

// RFC 7692, section 7.2.3.2.
func TestExampleOfContextTakeover(t *testing.T) {
	for _, in := range inflaters {
		h := NewHistory(maxWindow)
		for _, wire := range []string{"f2 48 cd c9 c9 07 00", "f2 00 11 00 00"} {
			if got, err := in.inflate(unhex(wire), 100, h); err != nil || string(got) != "Hello" {
				t.Errorf("%s: % x: %q, %v", in.name, wire, got, err)
			}
		}
		if got := h.newest(nil, 100); string(got) != "HelloHello" {
			t.Errorf("%s: history %q", in.name, got)
		}
	}
	// The same without the first message refers to nothing.
	for _, in := range inflaters {
		for _, h := range []*History{nil, NewHistory(maxWindow)} {
			if got, err := in.inflate(unhex("f2 00 11 00 00"), 100, h); err != ErrCorrupt {
				t.Errorf("%s: %q, %v", in.name, got, err)
			}
		}
	}
}

// Section 7.2.1 allows BFINAL in any block, and more blocks behind it, from the
// next byte on.
func TestFinalBlocksDoNotEndAMessage(t *testing.T) {
	for _, c := range []struct{ name, wire, text string }{
		{"two final blocks", "f3 48 cd c9 c9 07 00 f3 48 cd c9 c9 07 00 00", "HelloHello"},
		{"a final block and another", "f3 48 cd c9 c9 07 00 f2 48 cd c9 c9 07 00", "HelloHello"},
		{"a reference back over it", "f3 48 cd c9 c9 07 00 f2 00 11 00 00", "HelloHello"},
		{"a final empty block", "03 00 f2 48 cd c9 c9 07 00", "Hello"},
		{"a final stored block", "01 02 00 fd ff 48 65 00 03 00 fc ff 6c 6c 6f 00", "Hello"},
		{"nothing behind it, not even the empty block", "f3 48 cd c9 c9 07 00", "Hello"},
		{"the empty block of the tail is final", "f2 48 cd c9 c9 07 00 00 00 ff ff 01", "Hello"},
		{"only an empty final block", "03 00", ""},
		{"only an empty final stored block", "01", ""},
	} {
		for _, in := range inflaters {
			for _, h := range []*History{nil, NewHistory(maxWindow)} {
				got, err := in.inflate(unhex(c.wire), len(c.text), h)
				if err != nil || string(got) != c.text {
					t.Errorf("%s, %s: %q, %v", c.name, in.name, got, err)
				}
				if h != nil && string(h.newest(nil, 100)) != c.text {
					t.Errorf("%s, %s: history %q", c.name, in.name, h.newest(nil, 100))
				}
			}
		}
	}
}

// Each costs as much as inflating a window.
func TestFinalBlocksAreBounded(t *testing.T) {
	many := func(block []byte, n int) []byte { return append(bytes.Repeat(block, n), 0) }
	long := append(unhex("01 40 00 bf ff"), bytes.Repeat([]byte("x"), 64)...)
	notFinal := append(unhex("00"), long[1:]...)
	for _, in := range inflaters {
		for _, h := range []*History{nil, NewHistory(maxWindow)} {
			if got, err := in.inflate(many(unhex("03 00"), 60), 10, h); err != nil || len(got) != 0 {
				t.Errorf("%s, a few empty ones: %q, %v", in.name, got, err)
			}
			if _, err := in.inflate(many(unhex("03 00"), 5000), 100000, h); err != ErrCorrupt {
				t.Errorf("%s, many empty ones: %v", in.name, err)
			}
			// What is behind them is no excuse, whether it has arrived or not.
			if _, err := in.inflate(append(bytes.Repeat(unhex("03 00"), 100), many(notFinal, 60)...), 100000, h); err != ErrCorrupt {
				t.Errorf("%s, many empty ones before a long text: %v", in.name, err)
			}
			if got, err := in.inflate(many(long, 1500), 64*1500, h); err != nil || len(got) != 64*1500 {
				t.Errorf("%s, many long ones: %d bytes, %v", in.name, len(got), err)
			}
		}
	}
}

func TestCorruptMessagesAreRefused(t *testing.T) {
	for _, c := range []struct{ name, wire string }{
		{"nothing", ""},
		{"reserved block type", "06"},
		{"reserved block type behind data", "f2 48 cd c9 c9 07 00 00 00 ff ff 06"},
		{"no empty block at the end", "f2 48 cd c9 c9 07"},
		{"cut inside a block", "f2 48 cd c9"},
		{"the tail sent along", "f2 48 cd c9 c9 07 00 00 00 ff ff"},
		{"half of the tail sent along", "f2 48 cd c9 c9 07 00 00 00"},
		{"stored block with wrong check", "00 05 00 fa fe 48 65 6c 6c 6f 00"},
		{"stored block cut off", "00 05 00 fa ff 48 65"},
		{"stored block that takes the tail for data", "00 04 00 fb ff"},
		{"stored block that takes some of the tail", "00 07 00 f8 ff 48 65 6c"},
		{"stored block that takes all that follows", "00 09 00 f6 ff"},
		{"final stored block that takes the tail for data", "01 04 00 fb ff"},
		{"final stored block that takes some of the tail", "01 02 00 fd ff"},
		{"garbage behind a final block", "f3 48 cd c9 c9 07 00 de ad be ef"},
		{"text behind a final block", "f3 48 cd c9 c9 07 00 48 65 6c 6c 6f"},
		{"zeroes behind a final block", "f3 48 cd c9 c9 07 00 00 00 00"},
		{"distance beyond the beginning", "f2 00 11 00 00"},
		{"distance beyond the beginning, behind a final block", "03 00 f2 00 11 00 00"},
		{"length code that does not exist", "1b 03 00"},
		{"more codes than there are", "fc ff ff 00"},
		{"plain text", hex.EncodeToString([]byte("Hello, world"))},
		{"zlib header", "78 9c f2 48 cd c9 c9 07 00"},
	} {
		for _, in := range inflaters {
			for _, h := range []*History{nil, NewHistory(maxWindow)} {
				if got, err := in.inflate(unhex(c.wire), 1000, h); err != ErrCorrupt {
					t.Errorf("%s, %s: %q, %v", c.name, in.name, got, err)
				}
			}
		}
	}
}

// What was cut off must not pass for a shorter message, nor what fills the place
// of the rest for a longer one.
func TestTruncatedMessagesAreRefusedAtEveryByte(t *testing.T) {
	d := new(Decompressor)
	c := new(Compressor)
	for seed, n := range []int{1, 4, 20, 32, 33, 100, 127, 128, 1000, 5000} {
		r := newRand(uint64(seed))
		for _, m := range [][]byte{varied(r, n), noise(r, n), bytes.Repeat([]byte{0}, n)} {
			for _, level := range []Level{Stateless, 1, 6, 9, HuffmanOnly} {
				message := c.Compress(nil, m, Setting{Level: level}, nil)
				for cut := range message {
					if cut == 1 && message[0] == 0 {
						continue // the header of a stored block: an empty message
					}
					if got, err := d.Decompress(nil, message[:cut], 1<<20, nil); err != ErrCorrupt {
						t.Fatalf("level %d, %d bytes, cut at %d of %d: %d bytes, %v\n% x", level, n, cut, len(message), len(got), err, message)
					}
				}
			}
		}
	}
}

func TestLimitIsTheLongestMessage(t *testing.T) {
	c := new(Compressor)
	for _, n := range []int{0, 1, 5, 100, 32767, 32768, 32769, 70000} {
		m := bytes.Repeat([]byte("0123456789abcdef"), n/16+1)[:n]
		message := c.Compress(nil, m, Setting{}, nil)
		for _, in := range inflaters {
			if got, err := in.inflate(message, n, nil); err != nil || !bytes.Equal(got, m) {
				t.Errorf("%s: %d bytes under a limit of as many: %d, %v", in.name, n, len(got), err)
			}
			if n == 0 {
				continue
			}
			for _, limit := range []int{n - 1, n / 2, 0, -1} {
				got, err := in.inflate(message, limit, nil)
				if err != ErrTooBig || len(got) > max(0, limit) || !bytes.HasPrefix(m, got) {
					t.Errorf("%s: %d bytes under a limit of %d: %d, %v", in.name, n, limit, len(got), err)
				}
			}
		}
	}
	for _, in := range inflaters {
		if got, err := in.inflate(unhex("f2 48 cd c9 c9 07 00"), int(^uint(0)>>1), nil); err != nil || string(got) != "Hello" {
			t.Errorf("%s: without a limit: %q, %v", in.name, got, err)
		}
	}
}

// A message of empty blocks inflates to nothing for as long as it likes.
func TestCompressedBytesAreBoundedByTheLimitToo(t *testing.T) {
	const limit = 10000
	long := bytes.Repeat(unhex("00 00 00 ff ff"), limit/4)
	long = append(long, 0)
	for _, in := range inflaters {
		if got, err := in.inflate(long, limit, nil); err != ErrTooBig {
			t.Errorf("%s: %d bytes, %v", in.name, len(got), err)
		}
		if got, err := in.inflate(long, len(long), nil); err != nil || len(got) != 0 {
			t.Errorf("%s: %d bytes, %v", in.name, len(got), err)
		}
	}
	// What does not shrink is longer on the wire than it is, and that is fine.
	m := noise(newRand(1), limit)
	message := stdDeflate(m, 0)
	for _, in := range inflaters {
		if got, err := in.inflate(message, limit, nil); err != nil || !bytes.Equal(got, m) {
			t.Errorf("%s: %d bytes on the wire: %v", in.name, len(message), err)
		}
	}
}

// bomb returns a message that inflates to n zeroes, a thousandth as long.
func bomb(n int) []byte {
	return stdDeflate(make([]byte, n), 9)
}

func TestBombCostsNoMoreThanTheLimit(t *testing.T) {
	const limit = 256 << 10
	message := bomb(64 << 20)
	if len(message) > 80<<10 {
		t.Fatalf("the bomb has %d bytes", len(message))
	}
	for _, in := range inflaters {
		if strings.Contains(in.name, "single bytes") || strings.Contains(in.name, "step") {
			continue // the test's own copies are the cost
		}
		t.Run(in.name, func(t *testing.T) {
			in.inflate(message[:10], limit, nil) // what is made once
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			got, err := in.inflate(message, limit, nil)
			runtime.ReadMemStats(&after)
			if err != ErrTooBig || len(got) > limit {
				t.Fatalf("%d bytes, %v", len(got), err)
			}
			// All that was ever allocated, whether or not it was in use at once.
			// Growing by doubling makes that twice the limit; io.ReadAll grows by
			// a quarter.
			if cost := after.TotalAlloc - before.TotalAlloc; cost > 8*limit {
				t.Errorf("%d bytes allocated", cost)
			}
		})
	}
}

// The reader that inflated a message has it still in its window.
func TestNoMessageReachesIntoAnotherConnection(t *testing.T) {
	d := new(Decompressor)
	secret := varied(newRand(2), 40000)
	mustInflate(t, d, stdDeflate(secret, 6), len(secret), NewHistory(maxWindow))
	// References to every distance, in a message of one byte.
	for distance := 2; distance <= maxWindow; distance++ {
		var w bitWriter
		w.put(0b01_0, 3)
		w.literal('x')
		w.match(100, distance)
		w.put(uint32(fixedLengths[endOfBlock].code), fixedLengths[endOfBlock].size)
		w.put(0, 3)
		message := w.finish()
		for _, h := range []*History{nil, NewHistory(maxWindow)} {
			if got, err := d.Decompress(nil, message, 1000, h); err != ErrCorrupt {
				t.Fatalf("distance %d: %q, %v", distance, got, err)
			}
		}
	}
}

func TestHistoryIsNoLongerThanTheWindow(t *testing.T) {
	d := new(Decompressor)
	for _, window := range []int{256, 1000, 4096} {
		for _, over := range []int{0, 1} {
			h := NewHistory(window)
			mustInflate(t, d, stdDeflate(varied(newRand(3), window+500), 6), 1<<20, h)
			var w bitWriter
			w.put(0b01_0, 3)
			w.match(4, window+over)
			w.put(uint32(fixedLengths[endOfBlock].code), fixedLengths[endOfBlock].size)
			w.put(0, 3)
			got, err := d.Decompress(nil, w.finish(), 1000, h)
			if want := varied(newRand(3), window+500)[500:504]; over == 0 && (err != nil || !bytes.Equal(got, want)) {
				t.Errorf("window %d: %q, %v; want %q", window, got, err, want)
			}
			if over == 1 && err != ErrCorrupt {
				t.Errorf("window %d: a byte beyond it: %q, %v", window, got, err)
			}
		}
	}
}

func TestADecompressorWorksAfterAnError(t *testing.T) {
	d := new(Decompressor)
	for _, wire := range []string{"", "06", "00 05 00 fa ff 48 65", "f3 48 cd c9 c9 07 00 de ad", "f2 48 cd c9 c9"} {
		if _, err := d.Decompress(nil, unhex(wire), 100, nil); err != ErrCorrupt {
			t.Errorf("% x: %v", wire, err)
		}
		if _, err := d.Decompress(nil, bomb(1000), 100, nil); err != ErrTooBig {
			t.Errorf("bomb: %v", err)
		}
		if got := mustInflate(t, d, unhex("f2 48 cd c9 c9 07 00"), 5, nil); string(got) != "Hello" {
			t.Errorf("%q", got)
		}
	}
}

// A message that was given up in the middle leaves nothing to the next.
func TestStartDropsTheMessageBefore(t *testing.T) {
	d := new(Decompressor)
	h := NewHistory(100)
	if err := d.Start(bomb(100000), 100000, h); err != nil {
		t.Fatal(err)
	}
	if out, done, err := d.Step(make([]byte, 0, 10)); len(out) != 10 || done || err != nil {
		t.Fatalf("%q, %v, %v", out, done, err)
	}
	if got := mustInflate(t, d, unhex("f2 48 cd c9 c9 07 00"), 5, h); string(got) != "Hello" || h.Len() != 5 {
		t.Errorf("%q, history %d", got, h.Len())
	}
}

func TestStepsAreOfAtMostAWindow(t *testing.T) {
	d := new(Decompressor)
	m := varied(newRand(4), 200000)
	if err := d.Start(stdDeflate(m, 6), len(m), nil); err != nil {
		t.Fatal(err)
	}
	out := append(make([]byte, 0, len(m)+100), "head"...)
	for done, steps := false, 0; !done; steps++ {
		before := len(out)
		var err error
		if out, done, err = d.Step(out); err != nil || len(out)-before > maxWindow || steps > 10 {
			t.Fatalf("step %d: from %d to %d, %v", steps, before, len(out), err)
		}
	}
	if string(out[:4]) != "head" || !bytes.Equal(out[4:], m) {
		t.Error("not what was compressed")
	}
}
