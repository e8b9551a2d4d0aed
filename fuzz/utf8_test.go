package fuzz

import (
	"bytes"
	"testing"
	"unicode/utf8"

	"zeroframe/internal/utf8x"
	"zeroframe/mask"
)

// FuzzUTF8 checks validation in pieces, with and without unmasking, against
// unicode/utf8 at every piece: refused exactly when no continuation could help,
// complete exactly when the text so far is valid. It uses every kernel that the processor can run.
func FuzzUTF8(f *testing.F) {
	kernels := utf8x.Kernels()
	f.Cleanup(func() { utf8x.Force(kernels[0]) })
	for _, text := range []string{
		"plain", "déjà vu, привет, 漢字, 😀", "\xc0\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "cut \xf0\x9f\x98", "\xff",
		"0123456789012345678901234567890123456789 long ASCII, then € and \xe2\x28\xa1",
		"Широкая электрификация южных губерний даст мощный толчок подъёму сельского хозяйства, 文字化け, \xf0\x90\x80",
	} {
		f.Add([]byte(text), uint32(0x3d21fa37), byte(3))
		f.Add(bytes.Repeat([]byte(text), 4), uint32(0xc2a5e0f4), byte(40))
	}

	f.Fuzz(func(t *testing.T, text []byte, key uint32, step byte) {
		masked := bytes.Clone(text)
		mask.XOR(masked, key, 0)
		size := int(step) + 1
		boundary := 0 // text[:boundary] is whole runes
		plain, fused := make([]utf8x.State, len(kernels)), make([]utf8x.State, len(kernels))
		wires := make([][]byte, len(kernels))
		for i := range wires {
			wires[i] = bytes.Clone(masked)
		}
		for at := 0; at < len(text); at += size {
			end := min(at+size, len(text))
			var ok bool
			boundary, ok = wholeRunes(text[:end], boundary)
			complete := ok && boundary == end
			for i, name := range kernels {
				utf8x.Force(name)
				if got := plain[i].Next(text[at:end]); got != ok || plain[i].Complete() != complete {
					t.Fatalf("%s: Next to %d: %v, complete %v; want %v, %v", name, end, got, plain[i].Complete(), ok, complete)
				}
				piece := wires[i][at:end]
				if got := utf8x.Unmask(piece, key, at, &fused[i]); got != ok || fused[i].Complete() != complete {
					t.Fatalf("%s: Unmask to %d: %v, complete %v; want %v, %v", name, end, got, fused[i].Complete(), ok, complete)
				}
				if ok && !bytes.Equal(piece, text[at:end]) {
					t.Fatalf("%s: unmasked %q, want %q", name, piece, text[at:end])
				}
			}
			if !ok {
				break
			}
		}
		for _, name := range kernels {
			utf8x.Force(name)
			if got := utf8x.Valid(text); got != utf8.Valid(text) {
				t.Fatalf("%s: Valid = %v", name, got)
			}
		}
	})
}

// wholeRunes moves on over the runes of b that are complete. ok says that what
// is left, if anything, can still become a rune.
func wholeRunes(b []byte, from int) (boundary int, ok bool) {
	for from < len(b) {
		if !utf8.FullRune(b[from:]) {
			return from, true
		}
		r, size := utf8.DecodeRune(b[from:])
		if r == utf8.RuneError && size == 1 {
			return from, false
		}
		from += size
	}
	return from, true
}
