package mask

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

const (
	maxLength = 1200
	maxAlign  = 63
	guard     = 64
	guardByte = 0xA5
	testKey   = 0xC3F15A27 // wire bytes 27 5A F1 C3
)

// kernel is one implementation under test. It masks lengths from min up, with
// the key already rotated to the first byte.
type kernel struct {
	name string
	min  int
	xor  func(b []byte, key uint32)
}

// kernels lists what this build and this processor can run.
func kernels() []kernel {
	return append([]kernel{
		{"XOR", 0, func(b []byte, key uint32) { XOR(b, key, 0) }},
		{"portable", 0, xorPortable},
	}, archKernels()...)
}

func keyByte(key uint32, i int) byte { return byte(key >> (8 * (i & 3))) }

func randomBytes(n int) []byte {
	r := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// byteLoop masks src the slow way, once for each phase of the key. A prefix of
// the result is the expectation for every shorter length.
func byteLoop(src []byte) (want [4][]byte) {
	for phase := range want {
		want[phase] = make([]byte, len(src))
		for i, c := range src {
			want[phase][i] = c ^ keyByte(testKey, phase+i)
		}
	}
	return want
}

func TestEveryKernelMatchesTheByteLoopAtEveryLengthAlignmentAndPhase(t *testing.T) {
	src := randomBytes(maxLength)
	want := byteLoop(src)
	untouched := bytes.Repeat([]byte{guardByte}, guard+maxAlign)
	buf := make([]byte, guard+maxAlign+maxLength+guard)
	for _, k := range kernels() {
		t.Run(k.name, func(t *testing.T) {
			for n := k.min; n <= maxLength; n++ {
				for align := 0; align <= maxAlign; align++ {
					for phase := range want {
						window := buf[:guard+align+n+guard]
						before, b, after := window[:guard+align], window[guard+align:guard+align+n], window[guard+align+n:]
						copy(before, untouched)
						copy(after, untouched)
						copy(b, src)
						k.xor(b, Rotate(testKey, phase))
						if !bytes.Equal(b, want[phase][:n]) {
							t.Fatalf("length %d, alignment %d, phase %d: differs from the byte loop", n, align, phase)
						}
						if !bytes.Equal(before, untouched[:len(before)]) || !bytes.Equal(after, untouched[:len(after)]) {
							t.Fatalf("length %d, alignment %d, phase %d: wrote outside the slice", n, align, phase)
						}
					}
				}
			}
		})
	}
}

func TestKernelsAgreeOnLargeRandomPayloads(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	src := randomBytes(200_000)
	for range 40 {
		start := r.IntN(64)
		b := src[start : start+maxLength+r.IntN(len(src)-maxLength-64)]
		key := r.Uint32()
		want := bytes.Clone(b)
		xorPortable(want, key)
		for i := range want {
			if want[i] != b[i]^keyByte(key, i) {
				t.Fatalf("portable, length %d: byte %d is wrong", len(b), i)
			}
		}
		for _, k := range kernels() {
			got := make([]byte, start+len(b))[start:]
			copy(got, b)
			k.xor(got, key)
			if !bytes.Equal(got, want) {
				t.Fatalf("%s, length %d: differs from the portable kernel", k.name, len(b))
			}
		}
	}
}

func TestOffsetSelectsTheKeyByte(t *testing.T) {
	src := randomBytes(100)
	for _, offset := range []int{0, 1, 2, 3, 4, 5, 62, 63, 125, 65_535, 1<<31 - 1, -1, -2, -3, -4} {
		for n := 0; n <= len(src); n++ {
			b := bytes.Clone(src[:n])
			XOR(b, testKey, offset)
			for i := range b {
				if want := src[i] ^ keyByte(testKey, offset+i); b[i] != want {
					t.Fatalf("offset %d, length %d: byte %d is %#x, want %#x", offset, n, i, b[i], want)
				}
			}
		}
	}
}

func TestPiecesMaskLikeTheWhole(t *testing.T) {
	src := randomBytes(300)
	whole := bytes.Clone(src)
	XOR(whole, testKey, 0)
	for cut := 0; cut <= len(src); cut++ {
		byOffset, byRotate := bytes.Clone(src), bytes.Clone(src)
		XOR(byOffset[:cut], testKey, 0)
		XOR(byOffset[cut:], testKey, cut)
		XOR(byRotate[:cut], testKey, 0)
		XOR(byRotate[cut:], Rotate(testKey, cut), 0)
		if !bytes.Equal(byOffset, whole) || !bytes.Equal(byRotate, whole) {
			t.Fatalf("cut at %d: the pieces differ from the whole", cut)
		}
	}
}

func TestRFC6455MaskedHello(t *testing.T) {
	// RFC 6455, section 5.7: "Hello" under the key 37 fa 21 3d.
	b := []byte{0x7f, 0x9f, 0x4d, 0x51, 0x58}
	XOR(b, 0x3d21fa37, 0)
	if string(b) != "Hello" {
		t.Fatalf("got %q, want Hello", b)
	}
}

func TestXORAllocatesNothing(t *testing.T) {
	b := make([]byte, 1000)
	if n := testing.AllocsPerRun(100, func() {
		XOR(b[:3], testKey, 1)
		XOR(b[:13], testKey, 2)
		XOR(b[:125], testKey, 3)
		XOR(b, testKey, 4)
	}); n != 0 {
		t.Fatalf("%v allocations per run", n)
	}
}

// The benchmarks walk over 16 KiB of payloads, as a read buffer full of frames
// would be. Masking one payload over and over would measure how the processor
// forwards the last stores into the next loads, which no server waits for.
const walk = 16 << 10

var benchSizes = []struct {
	name string
	n    int
}{{"16", 16}, {"64", 64}, {"125", 125}, {"1Ki", 1 << 10}, {"4Ki", 4 << 10}, {"16Ki", 16 << 10}, {"1Mi", 1 << 20}}

// next is where the payload after the one at at begins.
func next(at, n int) int {
	if at += (n + 63) &^ 63; at >= walk {
		return 0
	}
	return at
}

// BenchmarkXOR sets XOR beside copy, each called directly: at 16 bytes one more
// indirect call would be a quarter of the figure.
func BenchmarkXOR(b *testing.B) {
	src := make([]byte, walk+1<<20)
	dst := make([]byte, walk+1<<20)
	for _, size := range benchSizes {
		n := size.n
		b.Run(size.name+"/copy", func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(n))
			for i, at := 0, 0; i < b.N; i, at = i+1, next(at, n) {
				copy(dst[at:at+n], src[at:at+n])
			}
		})
		b.Run(size.name+"/XOR", func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(n))
			for i, at := 0, 0; i < b.N; i, at = i+1, next(at, n) {
				XOR(dst[at:at+n], testKey, 0)
			}
		})
	}
}

// BenchmarkKernels compares the implementations with each other.
func BenchmarkKernels(b *testing.B) {
	buf := make([]byte, walk+1<<20)
	for _, size := range benchSizes {
		n := size.n
		for _, k := range kernels() {
			if n < k.min {
				continue
			}
			b.Run(size.name+"/"+k.name, func(b *testing.B) {
				b.ReportAllocs()
				b.SetBytes(int64(n))
				for i, at := 0, 0; i < b.N; i, at = i+1, next(at, n) {
					k.xor(buf[at:at+n], testKey)
				}
			})
		}
	}
}
