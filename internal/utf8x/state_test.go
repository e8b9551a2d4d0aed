package utf8x

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"
	"unsafe"
)

func TestEverySequenceIsJudgedExactlyAtEveryCut(t *testing.T) {
	var v verdicts
	sequences(func(b []byte) {
		judge(b, &v)
		for cut := 0; cut <= len(b); cut++ {
			var s State
			if ok := s.Next(b[:cut]); ok != v.ok[cut] || s.Complete() != v.complete[cut] {
				t.Fatalf("% x: Next %v, Complete %v; want %v, %v", b[:cut], ok, s.Complete(), v.ok[cut], v.complete[cut])
			}
			if ok := s.Next(b[cut:]); ok != v.ok[len(b)] || s.Complete() != v.complete[len(b)] {
				t.Fatalf("% x after % x: Next %v, Complete %v; want %v, %v",
					b[cut:], b[:cut], ok, s.Complete(), v.ok[len(b)], v.complete[len(b)])
			}
		}
		var s State
		for i := range b {
			if ok := s.Next(b[i : i+1]); ok != v.ok[i+1] || s.Complete() != v.complete[i+1] {
				t.Fatalf("% x by bytes: wrong after byte %d", b, i)
			}
		}
		if Valid(b) != v.complete[len(b)] {
			t.Fatalf("Valid(% x) is %v", b, Valid(b))
		}
	})
}

// The vectors, and the blocks of 32 and 8 bytes that pass over ASCII, must not shift a verdict.
func TestSequencesAreJudgedExactlyAtEveryPlaceInABlock(t *testing.T) {
	onEveryKernel(t, func(t *testing.T) {
		interesting := []string{
			"é", "\xC2", "\xC1", "\xFF", "\x80", "€", "\xE2\x82", "\xE0\x9F", "\xE0\xA0\x80", "\xED\x9F\xBF", "\xED\xA0",
			"😀", "\xF0\x8F", "\xF0\x90\x80", "\xF4\x8F\xBF\xBF", "\xF4\x90", "\xF5", "\xE2\x82a", "\xF0\x9F\x98a",
		}
		var v verdicts
		for _, seq := range interesting {
			for before := range 72 {
				for _, after := range []int{0, 1, 7, 8, 31, 32, 40} {
					b := []byte(strings.Repeat("a", before) + seq + strings.Repeat("z", after))
					judge(b, &v)
					for cut := before; cut <= before+len(seq); cut++ {
						var s State
						if ok := s.Next(b[:cut]); ok != v.ok[cut] || s.Complete() != v.complete[cut] {
							t.Fatalf("%q cut at %d: wrong before the cut", b, cut)
						}
						if ok := s.Next(b[cut:]); ok != v.ok[len(b)] || s.Complete() != v.complete[len(b)] {
							t.Fatalf("%q cut at %d: wrong at the end", b, cut)
						}
					}
				}
			}
		}
	})
}

func TestRandomTextIsJudgedExactlyAtEveryCut(t *testing.T) {
	onEveryKernel(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(5, 6))
		var v verdicts
		for range 1000 {
			b := mix(r, r.IntN(200))
			judge(b, &v)
			for cut := 0; cut <= len(b); cut++ {
				var s State
				if ok := s.Next(b[:cut]); ok != v.ok[cut] || s.Complete() != v.complete[cut] {
					t.Fatalf("% x cut at %d: wrong before the cut", b, cut)
				}
				if ok := s.Next(b[cut:]); ok != v.ok[len(b)] || s.Complete() != v.complete[len(b)] {
					t.Fatalf("% x cut at %d: wrong at the end", b, cut)
				}
			}
			if Valid(b) != utf8.Valid(b) {
				t.Fatalf("Valid(% x) is %v", b, Valid(b))
			}
		}
	})
}

func TestRefusalIsFinal(t *testing.T) {
	var s State
	if s.Next([]byte("ok\xC0")) {
		t.Fatal("C0 was taken")
	}
	for _, b := range []string{"", "a", strings.Repeat("a", 100), "\x80"} {
		if s.Next([]byte(b)) || s.Complete() || Unmask([]byte(b), 0, 0, &s) {
			t.Fatalf("%q revived a refused stream", b)
		}
	}
}

func TestEmptyPiecesChangeNothing(t *testing.T) {
	var s State
	if !s.Next(nil) || !s.Complete() {
		t.Fatal("an empty stream is valid")
	}
	if !s.Next([]byte("\xE2\x82")) || !s.Next(nil) || s.Complete() || !s.Next([]byte("\xAC")) || !s.Complete() {
		t.Fatal("an empty piece inside a rune changed the verdict")
	}
}

func TestStateFitsInFourBytes(t *testing.T) {
	if n := unsafe.Sizeof(State(0)); n != 4 {
		t.Fatalf("State takes %d bytes", n)
	}
}

// The words of the texts are random: a processor learns a repeated sentence by
// heart, and then branches cost nothing that cost most in real text.
var benchTexts = []struct {
	name string
	text []byte
}{
	{"ASCII24", words('a', 26, 24)},
	{"Cyrillic24", words('а', 32, 24)},
	{"ASCII64", words('a', 26, 64)},
	{"Cyrillic64", words('а', 32, 64)},
	{"CJK64", words('一', 5000, 64)},
	{"ASCII1Ki", words('a', 26, 1<<10)},
	{"Cyrillic1Ki", words('а', 32, 1<<10)},
	{"CJK1Ki", words('一', 5000, 1<<10)},
	{"ASCII64Ki", words('a', 26, 64<<10)},
	{"Cyrillic64Ki", words('а', 32, 64<<10)},
	{"CJK64Ki", words('一', 5000, 64<<10)},
}

// words returns n bytes of words of 1 to 12 letters out of count from first up.
func words(first rune, count, n int) []byte {
	r := rand.New(rand.NewPCG(9, 10))
	var b []byte
	for len(b) < n {
		for range 1 + r.IntN(12) {
			b = utf8.AppendRune(b, first+rune(r.IntN(count)))
		}
		b = append(b, ' ')
	}
	b = b[:n]
	for !utf8.Valid(b) {
		b = b[:len(b)-1]
	}
	return append(b, bytes.Repeat([]byte{' '}, n-len(b))...)
}

func BenchmarkValid(b *testing.B) {
	names := Kernels()
	defer Force(names[0])
	for _, c := range benchTexts {
		b.Run(c.name+"/utf8", func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(c.text)))
			for range b.N {
				if !utf8.Valid(c.text) {
					b.Fatal("refused")
				}
			}
		})
		for _, name := range names {
			Force(name)
			b.Run(c.name+"/"+name, func(b *testing.B) {
				b.ReportAllocs()
				b.SetBytes(int64(len(c.text)))
				for range b.N {
					if !Valid(c.text) {
						b.Fatal("refused")
					}
				}
			})
		}
		Force(names[0])
	}
}
