package fuzz

import (
	"bytes"
	"testing"

	"zeroframe/mask"
)

// FuzzMask checks masking against the loop of RFC 6455, section 5.3, at any
// length, offset and alignment, and that it stays inside its slice.
func FuzzMask(f *testing.F) {
	f.Add([]byte("Hello"), uint32(0x3d21fa37), 0, byte(0), uint16(2))
	f.Add(bytes.Repeat([]byte("0123456789"), 30), uint32(0x80000001), 3, byte(5), uint16(129))
	f.Add(make([]byte, 600), uint32(0xfffefdfc), -1, byte(63), uint16(513))

	f.Fuzz(func(t *testing.T, data []byte, key uint32, offset int, lead byte, cut uint16) {
		const guard = 64
		start := guard + int(lead%64) // alignment
		buf := bytes.Repeat([]byte{0xA5}, start+len(data)+guard)
		b := buf[start : start+len(data)]
		copy(b, data)

		want := bytes.Clone(buf)
		for i := range data {
			want[start+i] ^= byte(key >> (8 * uint((offset+i)&3)))
		}
		mask.XOR(b, key, offset)
		if i := firstDifference(buf, want); i >= 0 {
			t.Fatalf("whole: byte %d of %d is %#x, want %#x", i-start, len(b), buf[i], want[i])
		}

		copy(b, data)
		at := min(int(cut), len(b))
		mask.XOR(b[:at], key, offset)
		mask.XOR(b[at:], mask.Rotate(key, offset+at), 0)
		if i := firstDifference(buf, want); i >= 0 {
			t.Fatalf("cut at %d: byte %d of %d is %#x, want %#x", at, i-start, len(b), buf[i], want[i])
		}
	})
}

// firstDifference returns where a and b, of one length, differ, or -1.
func firstDifference(a, b []byte) int {
	for i := range a {
		if a[i] != b[i] {
			return i
		}
	}
	return -1
}
