package fuzz

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"testing"

	"zeroframe/internal/proxied"
)

// FuzzProxyHeader checks that the parser of PROXY headers does not panic, that
// its verdict does not depend on how the bytes arrive nor on what is behind the
// header, and that no header is longer than it may be.
func FuzzProxyHeader(f *testing.F) {
	v2 := func(command, family byte, rest string) []byte {
		b := append([]byte("\r\n\r\n\x00\r\nQUIT\n"), command, family)
		return append(binary.BigEndian.AppendUint16(b, uint16(len(rest))), rest...)
	}
	for _, header := range [][]byte{
		[]byte("PROXY TCP4 192.0.2.1 192.0.2.2 1234 443\r\n"),
		[]byte("PROXY TCP6 2001:db8::1 ::ffff:192.0.2.2 1234 443\r\n"),
		[]byte("PROXY UNKNOWN\r\n"),
		[]byte("PROXY UNKNOWN some more\r\n"),
		v2(0x20, 0, ""),
		v2(0x21, 0, "\x04\x00\x01x"),
		v2(0x21, 0x11, "\xc0\x00\x02\x01\xc0\x00\x02\x02\x04\xd2\x01\xbb"),
		v2(0x21, 0x22, string(make([]byte, 36))+"\x04\x00\x01x"),
		v2(0x21, 0x31, string(make([]byte, 216))),
		[]byte("GET / HTTP/1.1\r\n"),
	} {
		f.Add(header)
		f.Add(append(header, "GET / HTTP/1.1\r\n"...))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		want := describeProxyHeader(t, data)
		decided := ""
		for end := range min(len(data), 4<<10+17) + 1 {
			got := describeProxyHeader(t, data[:end:end])
			switch {
			case decided == "" && got != undecided:
				decided = got
			case decided != "" && got != decided:
				t.Fatalf("%q: %s, and with %d bytes %s", data, decided, end, got)
			}
		}
		if decided == "" {
			decided = undecided
		}
		if decided != want {
			t.Fatalf("%q: in pieces %s, at once %s", data, decided, want)
		}
	})
}

const undecided = "incomplete"

// describeProxyHeader is the verdict on b. All that is refused is the same.
func describeProxyHeader(t *testing.T, b []byte) string {
	n, src, err := proxied.Parse(b)
	switch {
	case err != nil && (n != 0 || src != nil):
		t.Fatalf("%q: %d, %v, %v", b, n, src, err)
	case err != nil:
		return "refused"
	case n == 0 && src != nil:
		t.Fatalf("%q: incomplete, from %v", b, src)
	case n == 0:
		return undecided
	case n > len(b) || n > 16+4<<10 || b[0] == 'P' && (n > 107 || !bytes.HasSuffix(b[:n], []byte("\r\n"))):
		t.Fatalf("%q: a header of %d bytes", b, n)
	}
	if src == nil {
		return fmt.Sprintf("%d bytes of nobody", n)
	}
	return fmt.Sprintf("%d bytes of %s %s", n, src.Network(), src)
}
