package utf8x

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"sync"
	"syscall"
	"testing"
	"unicode/utf8"
)

// decoder follows a stream byte by byte by the definition of UTF-8 instead of its grammar: it knows what code points
// the bytes so far can still become, and refuses when none of them may be encoded so.
type decoder struct {
	point, least uint32 // the bits so far, and the least code point for this length
	need         int    // bytes missing
	bad          bool
}

func (d *decoder) step(c byte) {
	switch {
	case d.bad:
		return
	case d.need > 0:
		d.bad = c>>6 != 0b10
		d.point = d.point<<6 | uint32(c&0x3F)
		d.need--
	case c>>7 == 0:
		return
	case c>>5 == 0b110:
		*d = decoder{point: uint32(c & 0x1F), least: 0x80, need: 1}
	case c>>4 == 0b1110:
		*d = decoder{point: uint32(c & 0x0F), least: 0x800, need: 2}
	case c>>3 == 0b11110:
		*d = decoder{point: uint32(c & 0x07), least: 0x10000, need: 3}
	default:
		d.bad = true
	}
	low := d.point << (6 * d.need)
	high := low | (1<<(6*d.need) - 1)
	d.bad = d.bad || high < d.least || low > 0x10FFFF || low >= 0xD800 && high <= 0xDFFF
}

// guarded returns a page between two that cannot be touched.
func guarded(t *testing.T) []byte {
	t.Helper()
	page := syscall.Getpagesize()
	m, err := syscall.Mmap(-1, 0, 3*page, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		t.Skip("mmap:", err)
	}
	t.Cleanup(func() { syscall.Munmap(m) })
	for _, outside := range [][]byte{m[:page], m[2*page:]} {
		if err := syscall.Mprotect(outside, syscall.PROT_NONE); err != nil {
			t.Skip("mprotect:", err)
		}
	}
	return m[page : 2*page]
}

// hostileText returns n bytes: ASCII, one or all lengths of runes, noise, each as it is or with a wrong byte, most often
// near the end.
func hostileText(r *rand.Rand, n int) []byte {
	var b []byte
	switch kind := r.IntN(6); kind {
	case 0:
		b = bytes.Repeat([]byte{byte(r.IntN(0x80))}, n)
	case 1, 2, 3:
		first := []rune{0, 'а', '一', '😀'}[kind]
		for len(b) < n {
			b = utf8.AppendRune(b, first+rune(r.IntN(32)))
		}
	case 4:
		b = mix(r, n)
	case 5:
		b = bytes.Repeat([]byte{'a'}, n)
		for range r.IntN(4) {
			if n > 0 {
				copy(b[r.IntN(n):], []string{"é", "€", "😀"}[r.IntN(3)])
			}
		}
	}
	b = b[:n]
	if n > 0 && r.IntN(2) == 0 {
		at := r.IntN(n)
		if r.IntN(2) == 0 {
			at = max(0, n-1-r.IntN(5))
		}
		b[at] = cornerBytes[r.IntN(len(cornerBytes))]
	}
	return b
}

// hostileKey has, in most cases, bytes that look like a part of a rune where a lane holds nothing but the key.
func hostileKey(r *rand.Rand) uint32 {
	return []uint32{r.Uint32(), 0x80808080, 0xBFBFBFBF, 0xC2C2C2C2, 0x80C280C2, 0xFFFFFFFF, 0x8080A0E0, 0x808090F0, 0}[r.IntN(9)]
}

// judgeInPieces gives wire, which is plain under the key, to Unmask in random pieces where it stands, and plain itself to
// Next and Valid, and compares every verdict with the decoder's.
func judgeInPieces(r *rand.Rand, plain, b []byte, key uint32, offset int) error {
	fill := func(masked bool) {
		for i, c := range plain {
			if masked {
				c ^= byte(key >> (8 * ((offset + i) & 3)))
			}
			b[i] = c
		}
	}
	var cuts []int
	for n := r.IntN(4); len(cuts) < n; {
		cuts = append(cuts, r.IntN(len(plain)+1-lastOf(cuts))+lastOf(cuts))
	}
	cuts = append(cuts, len(plain))
	for _, masked := range []bool{true, false} {
		fill(masked)
		var d decoder
		var s State
		at := 0
		for _, cut := range cuts {
			for _, c := range plain[at:cut] {
				d.step(c)
			}
			var ok bool
			if masked {
				ok = Unmask(b[at:cut], key, offset+at, &s)
			} else {
				ok = s.Next(b[at:cut])
			}
			if ok == d.bad || s.Complete() != (!d.bad && d.need == 0) {
				return fmt.Errorf("masked %v, key %#x, offset %d, cuts %v: %v, complete %v after % x", masked, key, offset, cuts, ok,
					s.Complete(), plain[:cut])
			}
			if ok && !bytes.Equal(b[at:cut], plain[at:cut]) {
				return fmt.Errorf("masked %v, key %#x, offset %d, cuts %v: wrong bytes", masked, key, offset, cuts)
			}
			at = cut
		}
		if !masked && (!bytes.Equal(b, plain) || Valid(b) != (!d.bad && d.need == 0)) {
			return fmt.Errorf("Valid(% x) is %v, or something was written", plain, Valid(b))
		}
	}
	return nil
}

func lastOf(cuts []int) int {
	if len(cuts) == 0 {
		return 0
	}
	return cuts[len(cuts)-1]
}

// Every length at every distance from a page that cannot be touched, before and behind; what lies between the text and
// that page would be continuations if a lane took it in, and must stay.
func TestHostileTextIsJudgedExactlyBesideForbiddenPages(t *testing.T) {
	page := guarded(t)
	want := make([]byte, len(page))
	rounds := 3
	if testing.Short() {
		rounds = 1
	}
	onEveryKernel(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(11, 12))
		for range rounds {
			for n := 0; n <= 310; n++ {
				for off := range 64 {
					n := n
					if n > 300 {
						n += r.IntN(1000) // long enough for what is done in aligned vectors
					}
					for _, start := range []int{off, len(page) - n - off} {
						key, plain := hostileKey(r), hostileText(r, n)
						around := 0x80 ^ byte(key)
						from, to := max(0, start-64), min(len(page), start+n+64)
						for i := from; i < to; i++ {
							page[i], want[i] = around, around
						}
						err := judgeInPieces(r, plain, page[start:start+n:start+n], key, r.IntN(9)-4)
						if err != nil {
							t.Fatalf("%d bytes at %d of the page: %v", n, start, err)
						}
						if !bytes.Equal(page[from:start], want[from:start]) || !bytes.Equal(page[start+n:to], want[start+n:to]) {
							t.Fatalf("%d bytes at %d of the page: wrote outside", n, start)
						}
					}
				}
			}
		}
	})
}

func TestManyGoroutinesJudgeTextsOfTheirOwn(t *testing.T) {
	onEveryKernel(t, func(t *testing.T) {
		var all sync.WaitGroup
		for i := range 8 {
			all.Go(func() {
				r := rand.New(rand.NewPCG(13, uint64(i)))
				for range 2000 {
					plain := hostileText(r, r.IntN(600))
					if err := judgeInPieces(r, plain, make([]byte, len(plain)), hostileKey(r), 0); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		all.Wait()
	})
}

// The stack may move when assembly goes over to Go, while the state and the text are on it.
func TestTheStackMayMoveDuringACall(t *testing.T) {
	onEveryKernel(t, func(t *testing.T) {
		for depth := range 400 {
			done := make(chan bool)
			go func() { done <- unmaskDeep(depth) }()
			if !<-done {
				t.Fatalf("wrong at a depth of %d", depth)
			}
		}
	})
}

//go:noinline
func unmaskDeep(depth int) bool {
	if depth > 0 {
		var fill [24]byte
		fill[depth%24] = byte(depth)
		return unmaskDeep(depth-1) && fill[depth%24] == byte(depth)
	}
	const text = "я и ты, и мы 漢字 and then some ASCII, for the vectors to have enough of; €"
	var b [len(text)]byte
	for i := range b {
		b[i] = text[i] ^ byte(testKey>>(8*(i&3)))
	}
	var s State
	return Unmask(b[:], testKey, 0, &s) && s.Complete() && string(b[:]) == text && s.Next(b[:]) && s.Complete()
}
