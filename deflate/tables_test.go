package deflate

import (
	"bytes"
	"testing"
)

// The codes of one message do not decode what another has none for.
func TestNoMessageIsReadByTheCodesOfAnother(t *testing.T) {
	dirty := dirtyDecompressors(t)
	messagesWithoutCodes(func(name string, message []byte) {
		for _, h := range []func() *History{noHistory, historyOfZeroes} {
			for i, d := range dirty {
				if d.in.tables.literals == nil || d.in.tables.distances == nil {
					t.Fatal("the tables of flate are not found")
				}
				if got, err := d.Decompress(nil, message, 1000, h()); err != ErrCorrupt || len(got) > 1 {
					t.Fatalf("%s, behind message %d: %q, %v", name, i, got, err)
				}
			}
		}
	})
}

// With another version of flate, its tables may not be where they were.
func TestHiddenCodesAreOverwritten(t *testing.T) {
	dirty := dirtyDecompressors(t)
	fresh := new(Decompressor)
	mustInflate(t, fresh, []byte{0}, 0, nil)
	for _, d := range append(dirty, fresh) {
		d.in.tables.literals, d.in.tables.distances = nil, nil
	}
	messagesWithoutCodes(func(name string, message []byte) {
		for _, h := range []func() *History{noHistory, historyOfZeroes} {
			want, wantErr := fresh.Decompress(nil, message, 1000, h())
			for i, d := range dirty {
				if got, err := d.Decompress(nil, message, 1000, h()); err != wantErr || !bytes.Equal(got, want) {
					t.Fatalf("%s, behind message %d: %q, %v; behind none: %q, %v", name, i, got, err, want, wantErr)
				}
			}
		}
	})
	d, message := dirty[0], bomb(100)
	buf := make([]byte, 0, 200)
	if n := testing.AllocsPerRun(100, func() { buf, _ = d.Decompress(buf[:0], message, 100, nil) }); n != 0 && !raceEnabled {
		t.Errorf("%v allocations", n)
	}
}

// dirtyDecompressors have inflated messages with various codes of their own.
func dirtyDecompressors(t *testing.T) (dirty []*Decompressor) {
	for _, text := range [][]byte{varied(newRand(2), 5000), bytes.Repeat([]byte{0, 0, 0, 1, 2, 0, 0, 3}, 100), bytes.Repeat([]byte{0, 1}, 3000)} {
		d := new(Decompressor)
		mustInflate(t, d, stdDeflate(text, 6), len(text), nil)
		dirty = append(dirty, d)
	}
	return dirty
}

func noHistory() *History { return nil }

func historyOfZeroes() *History {
	h := NewHistory(maxWindow)
	h.Append(make([]byte, maxWindow))
	return h
}

// messagesWithoutCodes yields messages that use an empty code, with any bits:
// for a distance behind an x, and for the lengths of codes. The first of these
// is permitted (RFC 1951, section 3.2.7) where it is not used.
func messagesWithoutCodes(yield func(name string, message []byte)) {
	for i := range uint32(1 << 12) {
		bits := i * 0x9E3779B1
		var w bitWriter
		w.put(0b10_0, 3)
		w.put(1, 5) // 258 literals and lengths
		w.put(0, 5)
		w.put(18-4, 4)
		for _, symbol := range []uint8{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1} {
			switch symbol {
			case 0, 1, 2, 18: // as 00, 01, 10 and 11
				w.put(2, 3)
			default:
				w.put(0, 3)
			}
		}
		const zero, one, two, zeroes = 0b00, 0b10, 0b01, 0b11 // their first bit is the lowest
		w.put(zeroes, 2)
		w.put('x'-11, 7)
		w.put(one, 2)
		w.put(zeroes, 2)
		w.put(endOfBlock-'x'-1-11, 7)
		w.put(two, 2)
		w.put(two, 2)
		w.put(zero, 2) // no distance
		w.put(0b0, 1)  // x
		w.put(0b11, 2) // three bytes
		w.put(bits, 32)
		yield("no distances", append(w.finish(), make([]byte, 100)...))

		w.reset()
		w.put(0b10_0, 3)
		w.put(0, 5+5+4)
		w.put(0, 4*3)
		w.put(bits, 32)
		yield("no code lengths", append(w.finish(), bytes.Repeat([]byte{byte(bits)}, 100)...))
	}
}
