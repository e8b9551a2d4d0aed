package utf8x

import (
	"math/rand/v2"
	"testing"
	"unicode/utf8"
)

// oracle follows a stream byte by byte after the grammar of RFC 3629, section
// 4. It shares nothing with the implementation.
type oracle struct {
	low, high byte // bounds of the next byte while need > 0
	need      int  // bytes missing to the end of the rune
	bad       bool
}

func (o *oracle) step(c byte) {
	switch {
	case o.bad:
	case o.need > 0:
		if c < o.low || c > o.high {
			o.bad = true
			return
		}
		o.need--
		o.low, o.high = 0x80, 0xBF
	case c <= 0x7F:
	case c < 0xC2 || c > 0xF4:
		o.bad = true
	default:
		o.low, o.high = 0x80, 0xBF
		switch c {
		case 0xE0:
			o.low = 0xA0
		case 0xED:
			o.high = 0x9F
		case 0xF0:
			o.low = 0x90
		case 0xF4:
			o.high = 0x8F
		}
		switch {
		case c < 0xE0:
			o.need = 1
		case c < 0xF0:
			o.need = 2
		default:
			o.need = 3
		}
	}
}

func (o *oracle) complete() bool { return !o.bad && o.need == 0 }

// verdicts holds the oracle's answers after every prefix of b.
type verdicts struct{ ok, complete []bool }

func judge(b []byte, v *verdicts) {
	var o oracle
	v.ok = append(v.ok[:0], true)
	v.complete = append(v.complete[:0], true)
	for _, c := range b {
		o.step(c)
		v.ok = append(v.ok, !o.bad)
		v.complete = append(v.complete, o.complete())
	}
}

// cornerBytes are the ends of every range in the grammar and what lies just
// beyond them.
var cornerBytes = []byte{
	0x00, 'a', 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC1, 0xC2, 0xDF, 0xE0, 0xE1,
	0xEC, 0xED, 0xEE, 0xEF, 0xF0, 0xF1, 0xF3, 0xF4, 0xF5, 0xFF,
}

// sequences calls f with every sequence of one and two bytes and with every
// sequence of three and four corner bytes. f must not keep its argument.
func sequences(f func(b []byte)) {
	var b [4]byte
	for i := range 256 {
		b[0] = byte(i)
		f(b[:1])
		for j := range 256 {
			b[1] = byte(j)
			f(b[:2])
		}
	}
	for _, b[0] = range cornerBytes {
		for _, b[1] = range cornerBytes {
			for _, b[2] = range cornerBytes {
				f(b[:3])
				for _, b[3] = range cornerBytes {
					f(b[:4])
				}
			}
		}
	}
}

// mix returns about n bytes of runes of all lengths with runs of ASCII between
// them and, in two of three texts, some damage.
func mix(r *rand.Rand, n int) []byte {
	var b []byte
	for len(b) < n {
		switch r.IntN(6) {
		case 0:
			for range r.IntN(80) {
				b = append(b, byte(r.IntN(0x80)))
			}
		case 1:
			b = utf8.AppendRune(b, rune(r.IntN(0x80)))
		case 2:
			b = utf8.AppendRune(b, rune(0x80+r.IntN(0x780)))
		case 3:
			b = utf8.AppendRune(b, rune(0x800+r.IntN(0xD000)))
		case 4:
			b = utf8.AppendRune(b, rune(0xE000+r.IntN(0x2000)))
		case 5:
			b = utf8.AppendRune(b, rune(0x10000+r.IntN(0x100000)))
		}
	}
	b = b[:n] // may cut the last rune, which is part of the exercise
	if n > 0 {
		switch r.IntN(3) {
		case 0:
			b[r.IntN(n)] = cornerBytes[r.IntN(len(cornerBytes))]
		case 1:
			b[r.IntN(n)] ^= 1 << r.IntN(8)
		}
	}
	return b
}

func TestOracleAgreesWithTheStandardLibraryOnWholeStrings(t *testing.T) {
	check := func(b []byte) {
		var o oracle
		for _, c := range b {
			o.step(c)
		}
		if o.complete() != utf8.Valid(b) {
			t.Fatalf("% x: oracle says %v, unicode/utf8 %v", b, o.complete(), utf8.Valid(b))
		}
	}
	sequences(check)
	r := rand.New(rand.NewPCG(1, 1))
	for range 5000 {
		check(mix(r, r.IntN(200)))
	}
}

// A refusal must not come late: what the oracle has not refused must have a
// valid continuation.
func TestOracleRefusesNothingThatCanStillBecomeValid(t *testing.T) {
	tails := [][]byte{{}}
	for _, b0 := range []byte{0x80, 0x90, 0xA0} {
		tails = append(tails, []byte{b0}, []byte{b0, 0x80}, []byte{b0, 0x80, 0x80})
	}
	sequences(func(b []byte) {
		var o oracle
		for _, c := range b {
			o.step(c)
		}
		possible := false
		for _, tail := range tails {
			var whole [8]byte
			n := copy(whole[:], b)
			n += copy(whole[n:], tail)
			possible = possible || utf8.Valid(whole[:n])
		}
		if o.bad == possible {
			t.Fatalf("% x: refused %v, can become valid %v", b, o.bad, possible)
		}
	})
}
