package bench

import (
	"fmt"
	"slices"
	"testing"
	"unicode/utf8"
)

func TestPayloadsMatchThemselvesAndNothingElse(t *testing.T) {
	for _, size := range []int{0, 1, 2, 10, 11, 12, 21, 22, 23, 32, 1000, 70_000} {
		for _, kind := range []Kind{Random, JSON, CJK} {
			testPayloadsMatch(t, kind, size)
		}
	}
}

func testPayloadsMatch(t *testing.T, kind Kind, size int) {
	t.Run(fmt.Sprint(kind, size), func(t *testing.T) {
		p := newPayloads(kind, size)
		b := make([]byte, size)
		p.fill(b, 7, 1<<20+3)
		if !utf8.Valid(b) {
			t.Fatalf("not valid as text: %q", b)
		}
		if !p.matches(b, 7, 1<<20+3) {
			t.Fatal("a payload does not match itself")
		}
		for i := 0; i < size; i += max(1, size/100) {
			b[i] ^= 1
			if p.matches(b, 7, 1<<20+3) {
				t.Fatalf("a flipped bit in byte %d is not noticed", i)
			}
			b[i] ^= 1
		}
		if size > 0 && p.matches(b[1:], 7, 1<<20+3) || p.matches(append(slices.Clone(b), '0'), 7, 1<<20+3) {
			t.Error("another length is not noticed")
		}
		if size >= 1 && p.matches(b, 7, 1<<20+4) {
			t.Error("the next message of the connection is taken for this")
		}
		if size >= stampSize && p.matches(b, 8, 1<<20+3) {
			t.Error("the message of another connection is taken for this")
		}
		p.restamp(b, 7, 1<<20+4)
		if !p.matches(b, 7, 1<<20+4) {
			t.Error("a restamped payload is not the next message")
		}
	})
}

func TestTwoHalvesOfDifferentMessagesDoNotMatch(t *testing.T) {
	p := newPayloads(Random, 1000)
	first, second := make([]byte, 1000), make([]byte, 1000)
	p.fill(first, 3, 10)
	p.fill(second, 3, 11)
	for _, cut := range []int{stampSize, 500, 1000 - stampSize} {
		joined := append(slices.Clone(first[:cut]), second[cut:]...)
		if p.matches(joined, 3, 10) || p.matches(joined, 3, 11) {
			t.Errorf("joined at %d, they pass", cut)
		}
	}
}

func TestSizesAreReadAndWritten(t *testing.T) {
	for s, want := range map[string]int64{
		"0": 0, "32": 32, "64KiB": 64 << 10, "16 MiB": 16 << 20, "2GiB": 2 << 30, "1TiB": 1 << 40, "7B": 7,
	} {
		if got, err := ParseSize(s); got != want || err != nil {
			t.Errorf("ParseSize(%q) = %d, %v; want %d", s, got, err, want)
		}
	}
	for _, s := range []string{"", "-1", "1.5MiB", "64kb", "MiB", "1e3", "9000000TiB", "99999999999999999999"} {
		if got, err := ParseSize(s); err == nil {
			t.Errorf("ParseSize(%q) = %d, want an error", s, got)
		}
	}
	for n, want := range map[int64]string{0: "0 B", 32: "32 B", 1 << 10: "1 KiB", 1000: "1000 B", 3 << 20: "3 MiB"} {
		if got := FormatSize(n); got != want {
			t.Errorf("FormatSize(%d) = %q, want %q", n, got, want)
		}
	}
}

func TestRowsAreRead(t *testing.T) {
	for s, want := range map[string]Row{
		"100:32:1":            {"", 100, 32, 1},
		"10:1MiB:2:/send":     {"/send", 10, 1 << 20, 2},
		"1:0:1:/a:b?c=wss://": {"/a:b?c=wss://", 1, 0, 1},
	} {
		if got, err := ParseRow(s); got != want || err != nil {
			t.Errorf("ParseRow(%q) = %+v, %v; want %+v", s, got, err, want)
		}
	}
	for _, s := range []string{"", "100", "100:32", "0:32:1", "100:x:1", "100:32:0", "100:32:1:send", "1048576:1MiB:65536"} {
		if got, err := ParseRow(s); err == nil {
			t.Errorf("ParseRow(%q) = %+v, want an error", s, got)
		}
	}
}
