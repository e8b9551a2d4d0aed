package utf8x

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"

	"zeroframe/mask"
)

// testKey has the top bit set in every byte: a kernel that judged masked or
// missing bytes would take them for non-ASCII.
const testKey uint32 = 0xC3F1DA87

// kernel is one implementation under test, called directly: for lengths from
// min up, with the key already rotated to the first byte. What it answers for
// text that ends inside a rune is not said.
type kernel struct {
	name   string
	min    int
	unmask func(b []byte, key uint32) bool
}

// kernels lists what this build and this processor can run.
func kernels() []kernel {
	return append([]kernel{
		{"Unmask", 0, func(b []byte, key uint32) bool { var s State; return Unmask(b, key, 0, &s) }},
		{"portable", 8, func(b []byte, key uint32) bool { return unmaskPortable(b, key) != refused }},
	}, archKernels()...)
}

// onEveryKernel runs f once for each kernel, while Unmask uses that one.
func onEveryKernel(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	names := Kernels()
	defer Force(names[0])
	for _, name := range names {
		Force(name)
		t.Run(name, f)
	}
}

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
	untouched := bytes.Repeat([]byte{0xA5}, guard+maxAlign)
	buf := make([]byte, guard+maxAlign+maxLength+guard)
	for _, text := range []struct {
		name  string
		plain []byte
	}{
		{"ASCII", bytes.Repeat([]byte("The quick brown fox\x00\x7F"), maxLength/20)[:maxLength]},
		{"CJK", words('一', 5000, maxLength)},
		{"ASCII first", append(bytes.Repeat([]byte{'a'}, 333), words('а', 32, maxLength-333)...)},
	} {
		var wire [4][]byte
		for phase := range wire {
			wire[phase] = masked(text.plain, phase)
		}
		for _, k := range kernels() {
			t.Run(k.name+"/"+text.name, func(t *testing.T) {
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
							t.Fatalf("length %d, alignment %d, phase %d: refused", n, align, phase)
						}
						if !bytes.Equal(b, text.plain[:n]) {
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
}

// One byte of a valid text is replaced by one that can stand nowhere, and then
// by a continuation that is one too many.
func TestEveryKernelSeesAWrongByteAnywhere(t *testing.T) {
	const maxLength = 600
	buf := make([]byte, 64+maxLength)
	for _, filler := range []string{"a", "é"} {
		plain := []byte(strings.Repeat(filler, maxLength))[:maxLength]
		wire := masked(plain, 0)
		for _, k := range kernels() {
			t.Run(k.name+"/"+filler, func(t *testing.T) {
				for n := max(k.min, 1); n <= maxLength; n++ {
					if n > 330 && n%7 != 0 {
						continue
					}
					align := n * 5 & 63
					b := buf[align : align+n]
					for at := range b {
						if at%len(filler) != 0 || at == n-1 { // of the end, a kernel says nothing
							continue
						}
						for _, wrong := range []byte{0xFF, 0x80} {
							copy(b, wire)
							b[at] ^= plain[at] ^ wrong
							if k.unmask(b, testKey) {
								t.Fatalf("length %d, alignment %d: %#x at %d was missed", n, align, wrong, at)
							}
						}
					}
				}
			})
		}
	}
}

// inPieces unmasks plain, masked in wire, in pieces that end at the cuts, and
// fails where a verdict is not v's or a byte is wrong.
func inPieces(t *testing.T, plain, wire, b []byte, v *verdicts, cuts ...int) {
	b = b[:copy(b, wire)]
	var s State
	at := 0
	for _, cut := range append(cuts, len(plain)) {
		ok := Unmask(b[at:cut], testKey, at, &s)
		if ok != v.ok[cut] || s.Complete() != v.complete[cut] {
			t.Fatalf("%d bytes cut at %v: %v, complete %v after % x at %d; want %v, %v", len(plain), cuts,
				ok, s.Complete(), plain[max(0, cut-8):cut], cut, v.ok[cut], v.complete[cut])
		}
		if ok && !bytes.Equal(b[at:cut], plain[at:cut]) {
			t.Fatalf("%d bytes cut at %v: unmasked wrongly from %d to %d", len(plain), cuts, at, cut)
		}
		at = cut
	}
}

// Every pair of bytes and every class of longer sequences, at every place
// relative to the vectors, in ASCII and in other text, at the end and before
// more.
func TestUnmaskJudgesEverySequenceExactlyAtEveryPlace(t *testing.T) {
	var all [][]byte
	for first := range 256 {
		for second := range 256 {
			all = append(all, []byte{byte(first), byte(second)})
		}
	}
	pairs := len(all)
	all = append(all, []byte{}, []byte{'a'}, []byte{0x80}, []byte{0xC1}, []byte{0xC2}, []byte{0xE0}, []byte{0xF4}, []byte{0xF5})
	for _, first := range []byte{'a', 0x80, 0xC0, 0xC2, 0xDF, 0xE0, 0xE1, 0xED, 0xEF, 0xF0, 0xF3, 0xF4, 0xF5} {
		for _, second := range []byte{0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC2} {
			for _, third := range []byte{0x7F, 0x80, 0xBF, 0xC2, 0xF0} {
				all = append(all, []byte{first, second, third})
				for _, fourth := range []byte{0x7F, 0x80, 0xBF, 0xE0} {
					all = append(all, []byte{first, second, third, fourth})
				}
			}
		}
	}
	edges := []int{1, 15, 16, 31, 32, 63, 64, 78, 127, 128, 143}
	everywhere := make([]int, 200)
	for i := range everywhere {
		everywhere[i] = i
	}
	const longest = 270
	buf := make([]byte, longest+100)
	onEveryKernel(t, func(t *testing.T) {
		for _, around := range []struct{ head, unit string }{{"", "a"}, {"", "é"}, {"a", "é"}} {
			run := []byte(strings.Repeat(around.unit, longest))
			head := masked(append([]byte(around.head), run...), 0)
			var wire [4][]byte
			for phase := range wire {
				wire[phase] = masked(run, phase)
			}
			for i, seq := range all {
				places, afters := everywhere, []int{0, len(around.unit), 40}
				if i < pairs {
					places, afters = edges, []int{0, 40}
				}
				for _, after := range afters {
					var o oracle
					for _, c := range seq {
						o.step(c)
					}
					for _, c := range run[:after] {
						o.step(c)
					}
					for _, before := range places {
						if (before-len(around.head))%len(around.unit) != 0 {
							continue
						}
						b := buf[before&31:][:before+len(seq)+after]
						copy(b, head[:before])
						for j, c := range seq {
							b[before+j] = c ^ byte(testKey>>(8*((before+j)&3)))
						}
						copy(b[before+len(seq):], wire[(before+len(seq))&3])
						var s State
						if ok := Unmask(b, testKey, 0, &s); ok == o.bad || s.Complete() != o.complete() {
							t.Fatalf("% x between %d and %d bytes of %q: %v, complete %v", seq, before, after, around.unit, ok, s.Complete())
						}
					}
				}
			}
		}
	})
}

// The ends of the grammar's ranges and what lies beyond them, whole and cut
// short, around the ends of vectors: every way to cut each text in three.
func TestUnmaskJudgesExactlyAtEveryTwoCuts(t *testing.T) {
	seqs := []string{
		"\x7F", "\x80", "\xBF", "\xC0\x80", "\xC1\xBF", "\xC2\x80", "\xC2", "\xDF\xBF", "\xE0\x9F\xBF", "\xE0\xA0\x80", "\xE0\xA0",
		"\xED\x9F\xBF", "\xED\xA0\x80", "\xEE\x80\x80", "\xEF\xBF\xBF", "\xF0\x8F\xBF\xBF", "\xF0\x90\x80\x80", "\xF0\x90\x80",
		"\xF4\x8F\xBF\xBF", "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xFF", "é\x80", "€\xBF", "😀\x80",
	}
	buf := make([]byte, 200)
	onEveryKernel(t, func(t *testing.T) {
		var v verdicts
		for i, seq := range seqs {
			for _, before := range []string{
				strings.Repeat("a", 62+i%3), strings.Repeat("é", 32-i%2), strings.Repeat("€", 11) + strings.Repeat("😀", i%4),
			} {
				plain := []byte(before + seq + "aé€😀" + strings.Repeat("я", 18+i%3))
				judge(plain, &v)
				wire := masked(plain, 0)
				for cut := range len(plain) + 1 {
					for next := cut; next <= len(plain); next++ {
						inPieces(t, plain, wire, buf, &v, cut, next)
					}
				}
			}
		}
	})
}

func TestUnmaskJudgesRandomTextExactlyAtEveryCut(t *testing.T) {
	buf := make([]byte, 300)
	onEveryKernel(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(7, 8))
		var v verdicts
		for range 700 {
			plain := mix(r, r.IntN(260))
			judge(plain, &v)
			wire := masked(plain, 0)
			for cut := 0; cut <= len(wire); cut++ {
				inPieces(t, plain, wire, buf, &v, cut)
			}
		}
	})
}

func TestUnmaskJudgesLongRandomTextExactlyInRandomPieces(t *testing.T) {
	buf := make([]byte, 12_000+64)
	onEveryKernel(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(9, 10))
		var v verdicts
		for range 1500 {
			plain := mix(r, r.IntN(12_000))
			judge(plain, &v)
			var cuts []int
			for at := r.IntN(2000); at < len(plain); at += r.IntN(2000) {
				cuts = append(cuts, at)
			}
			inPieces(t, plain, masked(plain, 0), buf[r.IntN(64):], &v, cuts...)
		}
	})
}

func TestUnmaskJudgesExactlyAcrossItsBlocks(t *testing.T) {
	buf := make([]byte, 3*block+20)
	onEveryKernel(t, func(t *testing.T) {
		var v verdicts
		for _, seq := range []string{"é", "€", "😀", "\xC1", "\xE0\x9F\x80", "\xED\xA0\x80", "\xF4\x90", "\xF0\x9F\x98a"} {
			for _, size := range []int{block, 2 * block} {
				for at := size - 5; at <= size+1; at++ {
					for _, rest := range []int{0, 1, 7, 8, 40, block + 3} {
						plain := bytes.Repeat([]byte{'a'}, at+len(seq)+rest)
						copy(plain[at:], seq)
						judge(plain, &v)
						inPieces(t, plain, masked(plain, 0), buf, &v)
					}
				}
			}
		}
	})
}

func TestOffsetSelectsTheKeyByte(t *testing.T) {
	onEveryKernel(t, func(t *testing.T) {
		for _, offset := range []int{0, 1, 2, 3, 4, 5, 125, 65_535, 1<<31 - 1, -1, -2, -3, -4} {
			for _, n := range []int{0, 1, 2, 3, 5, 9, 17, 33, 65, 300} {
				plain := words('а', 32, n)
				b := masked(plain, offset&3)
				var s State
				if !Unmask(b, testKey, offset, &s) || !bytes.Equal(b, plain) {
					t.Fatalf("offset %d, length %d: unmasked to %q, want %q", offset, n, b, plain)
				}
			}
		}
	})
}

func TestUnmaskAndNextAllocateNothing(t *testing.T) {
	onEveryKernel(t, func(t *testing.T) {
		b := words('一', 5000, 9000)
		if n := testing.AllocsPerRun(50, func() {
			var s State
			if !s.Next(b[:5]) || !s.Next(b[5:]) || !s.Complete() {
				t.Error("refused")
			}
			for _, n := range []int{30, 59, 1000, len(b)} { // which cut runes, too
				s = boundary
				if !Unmask(b[:n], 0, 0, &s) || !Unmask(b[n:], 0, 0, &s) || !s.Complete() {
					t.Error("refused")
				}
			}
		}); n != 0 {
			t.Fatalf("%v allocations per run", n)
		}
	})
}

// The benchmarks walk over 16 KiB of messages, as a read buffer full of frames
// would be. Unmasking one message over and over would measure how the processor
// forwards the last stores into the next loads. The key is zero, so that the
// text stays as it is; a kernel does the same work for every key.
const walk = 16 << 10

func BenchmarkUnmask(b *testing.B) {
	names := Kernels()
	defer Force(names[0])
	for _, c := range benchTexts {
		n := len(c.text)
		stride := (n + 63) &^ 63
		buf := make([]byte, max(walk, stride))
		for at := 0; at+n <= len(buf); at += stride {
			copy(buf[at:], c.text)
		}
		// Each is called directly: one more indirect call would be a third of the shortest.
		b.Run(c.name+"/mask-then-utf8.Valid", func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(n))
			for i, at := 0, 0; i < b.N; i, at = i+1, next(at, stride) {
				mask.XOR(buf[at:at+n], 0, 0)
				if !utf8.Valid(buf[at : at+n]) {
					b.Fatal("refused")
				}
			}
		})
		for _, name := range names {
			Force(name)
			b.Run(c.name+"/"+name, func(b *testing.B) {
				b.ReportAllocs()
				b.SetBytes(int64(n))
				for i, at := 0, 0; i < b.N; i, at = i+1, next(at, stride) {
					var s State
					if !Unmask(buf[at:at+n], 0, 0, &s) {
						b.Fatal("refused")
					}
				}
			})
		}
		Force(names[0])
	}
}

// next is where the message after the one at at begins.
func next(at, stride int) int {
	if at += stride; at >= walk {
		return 0
	}
	return at
}
