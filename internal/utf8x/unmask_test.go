package utf8x

import (
	"bytes"
	"math/bits"
	"math/rand/v2"
	"testing"
	"unicode/utf8"
)

// testKey has the top bit set in every byte: a kernel that judged masked or
// missing bytes would take them for non-ASCII.
const testKey uint32 = 0xC3F1DA87

// kernel is one implementation of UnmaskASCII, for lengths from min up, with
// the key already rotated to the first byte.
type kernel struct {
	name   string
	min    int
	unmask func(b []byte, key uint32) bool
}

// kernels lists what this build and this processor can run.
func kernels() []kernel {
	return append([]kernel{
		{"UnmaskASCII", 0, func(b []byte, key uint32) bool { return UnmaskASCII(b, key, 0) }},
		{"generic", 8, unmaskGeneric},
	}, archKernels()...)
}

func rotate(key uint32, n int) uint32 { return bits.RotateLeft32(key, -8*(n&3)) }

// masked returns b masked the slow way, as if it began at offset.
func masked(b []byte, offset int) []byte {
	m := make([]byte, len(b))
	for i, c := range b {
		m[i] = c ^ byte(testKey>>(8*((offset+i)&3)))
	}
	return m
}

func TestEveryKernelUnmasksLikeTheByteLoopAtEveryLengthAlignmentAndPhase(t *testing.T) {
	const maxLength, maxAlign, guard = 700, 63, 64
	plain := bytes.Repeat([]byte("The quick brown fox\x00\x7F"), maxLength/20)[:maxLength]
	var wire [4][]byte
	for phase := range wire {
		wire[phase] = masked(plain, phase)
	}
	untouched := bytes.Repeat([]byte{0xA5}, guard+maxAlign)
	buf := make([]byte, guard+maxAlign+maxLength+guard)
	for _, k := range kernels() {
		t.Run(k.name, func(t *testing.T) {
			for n := k.min; n <= maxLength; n++ {
				for align := 0; align <= maxAlign; align++ {
					phase := (n + align) & 3
					if align&1 == 1 {
						phase ^= 2 // so that every length meets every phase
					}
					window := buf[:guard+align+n+guard]
					before, b, after := window[:guard+align], window[guard+align:guard+align+n], window[guard+align+n:]
					copy(before, untouched)
					copy(after, untouched)
					copy(b, wire[phase])
					if !k.unmask(b, rotate(testKey, phase)) {
						t.Fatalf("length %d, alignment %d, phase %d: ASCII not recognised", n, align, phase)
					}
					if !bytes.Equal(b, plain[:n]) {
						t.Fatalf("length %d, alignment %d, phase %d: differs from the byte loop", n, align, phase)
					}
					if !bytes.Equal(before, untouched[:len(before)]) || !bytes.Equal(after, untouched[:len(after)]) {
						t.Fatalf("length %d, alignment %d, phase %d: wrote outside the slice", n, align, phase)
					}
				}
			}
		})
	}
}

func TestEveryKernelSeesASingleHighBitAnywhere(t *testing.T) {
	const maxLength = 600
	plain := bytes.Repeat([]byte{'a'}, maxLength)
	wire := masked(plain, 0)
	buf := make([]byte, 64+maxLength)
	for _, k := range kernels() {
		t.Run(k.name, func(t *testing.T) {
			for n := k.min; n <= maxLength; n++ {
				if n > 330 && n%7 != 0 {
					continue
				}
				align := n * 5 & 63
				b := buf[align : align+n]
				for at := range b {
					copy(b, wire)
					b[at] ^= 0x80
					if k.unmask(b, testKey) {
						t.Fatalf("length %d, alignment %d: the high bit of byte %d was missed", n, align, at)
					}
					if b[at] != 'a'^0x80 {
						t.Fatalf("length %d, alignment %d: byte %d is %#x", n, align, at, b[at])
					}
				}
			}
		})
	}
}

func TestUnmaskJudgesExactlyAtEveryCut(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	var v verdicts
	for range 700 {
		plain := mix(r, r.IntN(220))
		judge(plain, &v)
		start := r.IntN(8)
		wire := masked(plain, start)
		b := make([]byte, len(wire))
		for cut := 0; cut <= len(wire); cut++ {
			copy(b, wire)
			var s State
			first := Unmask(b[:cut], testKey, start, &s)
			if first != v.ok[cut] || s.Complete() != v.complete[cut] {
				t.Fatalf("% x cut at %d: wrong before the cut", plain, cut)
			}
			second := Unmask(b[cut:], testKey, start+cut, &s)
			if second != v.ok[len(b)] || s.Complete() != v.complete[len(b)] {
				t.Fatalf("% x cut at %d: wrong at the end", plain, cut)
			}
			if second && !bytes.Equal(b, plain) {
				t.Fatalf("% x cut at %d: unmasked to % x", plain, cut, b)
			}
		}
	}
}

func TestUnmaskJudgesExactlyAcrossItsBlocks(t *testing.T) {
	var v verdicts
	for _, seq := range []string{"é", "€", "😀", "\xC1", "\xE0\x9F\x80", "\xED\xA0\x80", "\xF4\x90", "\xF0\x9F\x98a"} {
		for _, size := range []int{block, 2 * block} {
			for at := size - 5; at <= size+1; at++ {
				for _, rest := range []int{0, 1, 40, block + 3} {
					plain := bytes.Repeat([]byte{'a'}, at+len(seq)+rest)
					copy(plain[at:], seq)
					judge(plain, &v)
					b := masked(plain, 1)
					var s State
					ok := Unmask(b, testKey, 1, &s)
					if ok != v.ok[len(b)] || s.Complete() != v.complete[len(b)] {
						t.Fatalf("%q at %d, %d bytes after it: %v", seq, at, rest, ok)
					}
					if ok && !bytes.Equal(b, plain) {
						t.Fatalf("%q at %d, %d bytes after it: unmasked wrongly", seq, at, rest)
					}
				}
			}
		}
	}
}

func TestUnmaskAndNextAllocateNothing(t *testing.T) {
	b := words('一', 5000, 9000)
	if n := testing.AllocsPerRun(50, func() {
		var s State
		if !s.Next(b[:5]) || !s.Next(b[5:]) || !Unmask(b, 0, 0, &s) || !s.Complete() {
			t.Error("refused")
		}
	}); n != 0 {
		t.Fatalf("%v allocations per run", n)
	}
}

// The key of the benchmarks is zero, so that the text stays as it is; a kernel
// does the same work for every key.
func BenchmarkUnmask(b *testing.B) {
	for _, c := range benchTexts {
		text := bytes.Clone(c.text)
		b.Run(c.name+"/then-utf8.Valid", func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(text)))
			for range b.N {
				if !UnmaskASCII(text, 0, 0) && !utf8.Valid(text) {
					b.Fatal("refused")
				}
			}
		})
		b.Run(c.name+"/Unmask", func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(text)))
			for range b.N {
				var s State
				if !Unmask(text, 0, 0, &s) {
					b.Fatal("refused")
				}
			}
		})
	}
}
