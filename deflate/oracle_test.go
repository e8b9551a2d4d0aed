package deflate

import (
	"bytes"
	"testing"
)

// oracle inflates after the words of RFC 1951, a bit at a time, and notes the
// longest distance. It shares nothing with flate, and unlike zlib it sees every
// distance: zlib lets those pass that stay inside one piece of output.
type oracle struct {
	in       []byte
	bit      int
	text     []byte // the dictionary, and what was inflated behind it
	farthest int
	bad      bool
}

func (o *oracle) bits(n int) (v int) {
	for i := range n {
		if o.bit == 8*len(o.in) {
			o.bad = true
			return 0
		}
		v |= int(o.in[o.bit/8]>>(o.bit%8)&1) << i
		o.bit++
	}
	return v
}

// symbol reads a code of the canonical code with these lengths (section 3.2.2).
func (o *oracle) symbol(lengths []int) int {
	code, first := 0, 0
	for n := 1; n <= 15 && !o.bad; n++ {
		code = code<<1 | o.bits(1)
		first <<= 1
		at := first
		for s, length := range lengths {
			if length == n {
				if at == code {
					return s
				}
				at++
			}
		}
		first = at
	}
	o.bad = true
	return 0
}

// inflate reads blocks up to the empty one that the tail completes.
func (o *oracle) inflate(message []byte) {
	o.in, o.bit = append(bytes.Clone(message), tail...), 0
	for !o.bad && o.bit < 8*len(o.in) {
		o.bits(1)
		switch o.bits(2) {
		case 0:
			o.bit = (o.bit + 7) / 8 * 8
			n := o.bits(16)
			if o.bits(16) != n^0xFFFF {
				o.bad = true
			}
			for ; n > 0 && !o.bad; n-- {
				o.text = append(o.text, byte(o.bits(8)))
			}
		case 1:
			var lit [288]int
			for i := range lit {
				lit[i] = 8
				if i >= 144 && i < 256 {
					lit[i] = 9
				} else if i >= 256 && i < 280 {
					lit[i] = 7
				}
			}
			o.block(lit[:], bytesOf(5, 30))
		case 2:
			lit, dist := o.codes()
			o.block(lit, dist)
		default:
			o.bad = true
		}
	}
}

func bytesOf(length, n int) []int {
	lengths := make([]int, n)
	for i := range lengths {
		lengths[i] = length
	}
	return lengths
}

// codes reads the code lengths of section 3.2.7.
func (o *oracle) codes() (lit, dist []int) {
	nlit, ndist, n := 257+o.bits(5), 1+o.bits(5), 4+o.bits(4)
	var order [19]int
	for i := range n {
		order[[]int{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}[i]] = o.bits(3)
	}
	var all []int
	for len(all) < nlit+ndist && !o.bad {
		switch s := o.symbol(order[:]); {
		case s < 16:
			all = append(all, s)
		case s == 16 && len(all) > 0:
			all = append(all, bytesOf(all[len(all)-1], 3+o.bits(2))...)
		case s == 17:
			all = append(all, make([]int, 3+o.bits(3))...)
		case s == 18:
			all = append(all, make([]int, 11+o.bits(7))...)
		}
	}
	if o.bad || len(all) != nlit+ndist {
		o.bad = true
		return nil, nil
	}
	return all[:nlit], all[nlit:]
}

// block reads the symbols of section 3.2.5.
func (o *oracle) block(lit, dist []int) {
	for !o.bad {
		s := o.symbol(lit)
		if s < 256 {
			o.text = append(o.text, byte(s))
			continue
		}
		if s == 256 {
			return
		}
		length := 258
		if s -= 257; s < 8 {
			length = 3 + s
		} else if s < 28 {
			extra := s/4 - 1
			length = 3 + (4+s%4)<<extra + o.bits(extra)
		}
		distance := 1 + o.symbol(dist)
		if d := distance - 1; d >= 4 {
			extra := d/2 - 1
			distance = 1 + (2+d%2)<<extra + o.bits(extra)
		}
		if distance > len(o.text) {
			o.bad = true
			return
		}
		o.farthest = max(o.farthest, distance)
		for range length {
			o.text = append(o.text, o.text[len(o.text)-distance])
		}
	}
}

// RFC 7692, section 7.1.2: no distance may exceed the window, which a peer need
// not have kept more of. The texts repeat themselves at every distance around
// it.
func TestNoDistanceExceedsTheWindow(t *testing.T) {
	c := new(Compressor)
	for bits := MinWindowBits; bits < MaxWindowBits; bits++ {
		window := 1 << bits
		for _, level := range levels {
			if raceEnabled && level > 1 {
				break
			}
			h := NewHistory(window)
			var o oracle
			r := newRand(uint64(bits))
			source := noise(r, 2*window)
			farthest := 0
			for at := 0; at < 6*window && at < 40000; {
				n := 1 + r.IntN(window*5/4)
				if r.IntN(2) == 0 {
					n = min(n, 40+r.IntN(120))
				}
				// It comes back after a window and up to 100 bytes, more or less.
				period := window - 100 + r.IntN(200)
				m := make([]byte, n)
				for i := range m {
					m[i] = source[(at+i)%period]
				}
				at += n
				before := len(o.text)
				out := c.Compress(nil, m, Setting{level, bits}, h)
				if o.inflate(out); o.bad || !bytes.Equal(o.text[before:], m) {
					t.Fatalf("bits %d, level %d: %d bytes do not inflate", bits, level, n)
				}
				if o.farthest > window {
					t.Fatalf("bits %d, level %d: a distance of %d in %d bytes", bits, level, o.farthest, n)
				}
				farthest = max(farthest, o.farthest)
			}
			if level != HuffmanOnly && farthest < window/2 {
				t.Errorf("bits %d, level %d: the text repeats at %d at most", bits, level, farthest)
			}
		}
	}
}
