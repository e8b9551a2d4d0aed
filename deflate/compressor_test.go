package deflate

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
)

// sizes are all up to dense, and then a stride up to 70,000.
func sizes(dense, stride int) func(yield func(int) bool) {
	if raceEnabled {
		dense, stride = dense/8, stride*16
	}
	return func(yield func(int) bool) {
		for n := 0; n <= 70000; n++ {
			if n > dense {
				n = min(n+stride-1, 70000)
			}
			if !yield(n) {
				return
			}
		}
	}
}

// RFC 7692, section 7.2.3.6.
func TestEmptyMessageIsOneZeroByte(t *testing.T) {
	c := new(Compressor)
	for _, level := range levels {
		for bits := MinWindowBits; bits <= MaxWindowBits; bits++ {
			for _, h := range []*History{nil, NewHistory(256)} {
				if h != nil {
					h.Append([]byte("earlier"))
				}
				if got := c.Compress([]byte("x"), nil, Setting{level, bits}, h); string(got) != "x\x00" {
					t.Errorf("level %d, bits %d: % x", level, bits, got)
				}
			}
		}
	}
}

func TestEverySizeComesBackFromTheStandardLibrary(t *testing.T) {
	c, d := new(Compressor), new(Decompressor)
	text := append(varied(newRand(1), 40000), noise(newRand(2), 30000)...)
	var out, back []byte
	for _, level := range []Level{DefaultLevel, Stateless} {
		for n := range sizes(2100, 89) {
			m := text[len(text)-n:]
			if n < 40000 {
				m = text[:n]
			}
			out = c.Compress(out[:0], m, Setting{Level: level}, nil)
			if got := stdInflate(t, out, nil); !bytes.Equal(got, m) {
				t.Fatalf("level %d, %d bytes: compress/flate has %d", level, n, len(got))
			}
			var err error
			if back, err = d.Decompress(back[:0], out, n, nil); err != nil || !bytes.Equal(back, m) {
				t.Fatalf("level %d, %d bytes: %v", level, n, err)
			}
		}
	}
}

// Every size, with the levels and windows in turn: each pair of them gets some 700 sizes over the whole range.
func TestEverySizeRoundTripsAtSomeLevelAndWindow(t *testing.T) {
	if raceEnabled || testing.Short() {
		t.Skip("2.4 GB of messages")
	}
	text := varied(newRand(6), 70000)
	t.Run("", func(t *testing.T) {
		const parts = 2
		for part := range parts {
			t.Run(fmt.Sprint(part), func(t *testing.T) {
				t.Parallel()
				c, d := new(Compressor), new(Decompressor)
				var out, back []byte
				for n := part; n <= len(text); n += parts {
					s := Setting{Level: levels[n/parts%len(levels)], WindowBits: 9 + n/parts/len(levels)%7}
					out = c.Compress(out[:0], text[:n], s, nil)
					var err error
					if back, err = d.Decompress(back[:0], out, n, nil); err != nil || !bytes.Equal(back, text[:n]) {
						t.Fatalf("%+v, %d bytes: %v", s, n, err)
					}
				}
			})
		}
	})
}

func TestEveryLevelAndWindowRoundTrips(t *testing.T) {
	c, d := new(Compressor), new(Decompressor)
	text := varied(newRand(3), 70000)
	for _, level := range levels {
		for bits := MinWindowBits; bits <= MaxWindowBits; bits++ {
			sent, received := NewHistory(1<<bits), NewHistory(1<<bits)
			for n := range sizes(260, 4999+bits) {
				m := text[n/2 : n/2+n/2]
				s := Setting{level, bits}
				out := c.Compress(nil, m, s, nil)
				if got := mustInflate(t, d, out, n, nil); !bytes.Equal(got, m) {
					t.Fatalf("level %d, bits %d, %d bytes", level, bits, n)
				}
				out = c.Compress(nil, m, s, sent)
				if got := mustInflate(t, d, out, n, received); !bytes.Equal(got, m) {
					t.Fatalf("level %d, bits %d, %d bytes, with history", level, bits, n)
				}
			}
		}
	}
}

func TestWhatTheStandardLibraryDeflatesIsInflated(t *testing.T) {
	d := new(Decompressor)
	text := varied(newRand(4), 70000)
	for level := -2; level <= 9; level++ {
		for n := range sizes(40, 3989) {
			if got := mustInflate(t, d, stdDeflate(text[:n], level), n, nil); !bytes.Equal(got, text[:n]) {
				t.Fatalf("level %d, %d bytes", level, n)
			}
		}
	}
}

// A klauspost writer that is Reset after ResetDict keeps the dictionary, so that
// the next connection's stream would refer to another's plaintext. What is
// compressed without history must not depend on what was compressed before, and
// must inflate without a dictionary.
func TestNoMessageRefersToAnotherConnection(t *testing.T) {
	secret := varied(newRand(5), 4096)
	for _, level := range levels {
		for _, bits := range []int{8, 9, 12, 15} {
			for _, n := range []int{20, 100, 127, 128, 200, 500, 1024, 3000} {
				s := Setting{level, bits}
				used := new(Compressor)
				first := NewHistory(1 << bits)
				for i := range 3 {
					used.Compress(nil, secret[i*300:][:n], s, first)
				}
				// What the next connection sends is what the first had secret:
				// it would be found in any dictionary that was left.
				m := secret[600:][:n]
				got := used.Compress(nil, m, s, nil)
				if want := new(Compressor).Compress(nil, m, s, nil); !bytes.Equal(got, want) {
					t.Fatalf("level %d, bits %d, %d bytes: another stream has left its mark:\n% x\n% x", level, bits, n, got, want)
				}
				if back := stdInflate(t, got, nil); !bytes.Equal(back, m) {
					t.Fatalf("level %d, bits %d, %d bytes: does not inflate alone", level, bits, n)
				}
				// Nor with a history of its own, of other text.
				other := NewHistory(1 << bits)
				other.Append(noise(newRand(6), 200))
				dict := other.newest(nil, maxWindow)
				got = used.Compress(nil, m, s, other)
				if back := stdInflate(t, got, dict); !bytes.Equal(back, m) {
					t.Fatalf("level %d, bits %d, %d bytes: does not inflate with its own history", level, bits, n)
				}
			}
		}
	}
}

func TestHistoryShortensWhatIsRepeated(t *testing.T) {
	c := new(Compressor)
	for _, level := range levels {
		if level == HuffmanOnly {
			continue
		}
		for _, bits := range []int{10, 12, 15} {
			for _, n := range []int{16, 40, 100, 127, 128, 200, 500} {
				h := NewHistory(1 << bits)
				m := varied(newRand(7), n)
				c.Compress(nil, m, Setting{level, bits}, h)
				// The second time it is little more than references.
				if got := c.Compress(nil, m, Setting{level, bits}, h); len(got) > 12+n/16 {
					t.Errorf("level %d, bits %d, %d bytes: again %d", level, bits, n, len(got))
				}
			}
		}
	}
}

func TestMessagesThatDoNotShrinkAreLeftAlone(t *testing.T) {
	c := new(Compressor)
	for _, level := range levels {
		for _, bits := range []int{9, 15} {
			for _, n := range []int{0, 1, 2, 3, 10, 50, 127, 128, 1000, 70000} {
				for _, h := range []*History{nil, NewHistory(512)} {
					if h != nil {
						h.Append([]byte("what was there before"))
					}
					dst := append(make([]byte, 0, 100000), "head"...)
					m := noise(newRand(8), n)
					out, ok := c.Shrink(dst, m, Setting{level, bits}, h)
					if ok || string(out) != "head" {
						t.Errorf("level %d, %d bytes of noise: %d bytes, %v", level, n, len(out)-4, ok)
					}
					if beyond := dst[:cap(dst)][4+n+8:]; !bytes.Equal(beyond, make([]byte, len(beyond))) {
						t.Errorf("level %d, %d bytes: written beyond the payload's length", level, n)
					}
					if h != nil && string(h.newest(nil, 512)) != "what was there before" {
						t.Errorf("level %d, %d bytes: a message that is sent raw is in the history", level, n)
					}
				}
			}
		}
	}
}

func TestMessagesThatShrinkAreShorterAndInTheHistory(t *testing.T) {
	c := new(Compressor)
	for _, level := range levels {
		for n := range sizes(400, 7919) {
			m := bytes.Repeat([]byte("abcdefg"), n/7+1)[:n]
			out, ok := c.Shrink([]byte("head"), m, Setting{Level: level}, nil)
			want := c.Compress(nil, m, Setting{Level: level}, nil)
			if shrinks := len(want) < n; ok != shrinks {
				t.Fatalf("level %d, %d bytes to %d: %v", level, n, len(want), ok)
			}
			if ok && string(out) != "head"+string(want) {
				t.Fatalf("level %d, %d bytes: %q", level, n, out)
			}
			if h := NewHistory(64); n > 300 {
				out, ok := c.Shrink(nil, m, Setting{Level: level}, h)
				if !ok || len(out) >= n || !bytes.Equal(h.newest(nil, 64), m[n-64:]) {
					t.Fatalf("level %d, %d bytes, with history: %d, %v", level, n, len(out), ok)
				}
			}
		}
	}
}

// If a first message that has nothing to refer to were sent raw, so would all
// that follow.
func TestShortMessagesEnterTheHistoryToBeFound(t *testing.T) {
	c := new(Compressor)
	for _, level := range levels {
		if level == HuffmanOnly {
			continue
		}
		for _, before := range []int{0, DefaultHistory} {
			h := NewHistory(DefaultHistory)
			h.Append(noise(newRand(11), before))
			total, raw := 0, 0
			for i := range 20 {
				m := fmt.Appendf(nil, `{"type":"tick","symbol":"ZFR","price":10%d.25}`, i)
				out, ok := c.Shrink(nil, m, Setting{Level: level}, h)
				if len(out) > len(m)+2 {
					t.Errorf("level %d: %d bytes become %d", level, len(m), len(out))
				}
				total, raw = total+len(m), raw+len(m)
				if ok {
					raw += len(out) - len(m)
				}
			}
			if raw > total/3 {
				t.Errorf("level %d, behind %d bytes of something else: %d bytes become %d", level, before, total, raw)
			}
		}
	}
}

// klauspost's writers count up to 2^31 before they wrap their tables round. A
// message advances them by a window and itself, so that takes 60,000 messages.
func TestWritersSurviveTheirWrap(t *testing.T) {
	if raceEnabled {
		t.Skip("seventy thousand messages")
	}
	c, d := new(Compressor), new(Decompressor)
	text := varied(newRand(9), 5000)
	sent, received := NewHistory(200), NewHistory(200)
	var out, back []byte
	for i := range 70000 {
		m := text[i%4500:][:150]
		h, peer := sent, received
		if i%2 == 0 {
			h, peer = nil, nil
		}
		out = c.Compress(out[:0], m, Setting{}, h)
		var err error
		if back, err = d.Decompress(back[:0], out, 150, peer); err != nil || !bytes.Equal(back, m) {
			t.Fatalf("message %d: %v", i, err)
		}
	}
}

func TestInvalidSettingsAreTakenAsTheNearest(t *testing.T) {
	m := varied(newRand(10), 3000)
	compress := func(s Setting) []byte { return new(Compressor).Compress(nil, m, s, nil) }
	for _, c := range []struct{ got, want Setting }{
		{Setting{Level: 99}, Setting{Level: BestLevel}},
		{Setting{Level: -99}, Setting{Level: HuffmanOnly}},
		{Setting{WindowBits: 1}, Setting{WindowBits: MinWindowBits}},
		{Setting{WindowBits: 16}, Setting{}},
	} {
		if !slices.Equal(compress(c.got), compress(c.want)) {
			t.Errorf("%+v is not %+v", c.got, c.want)
		}
	}
}
