package proxied

import (
	"encoding/binary"
	"net"
	"strings"
	"testing"
)

// v2 is a version 2 header.
func v2(command, family byte, rest string) string {
	return "\r\n\r\n\x00\r\nQUIT\n" + string([]byte{command, family}) +
		string(binary.BigEndian.AppendUint16(nil, uint16(len(rest)))) + rest
}

const (
	local = 0x20
	proxy = 0x21
)

var (
	rest4 = "\xc0\x00\x02\x01\xc0\x00\x02\x02\x04\xd2\x01\xbb" // 192.0.2.1:1234 to 192.0.2.2:443
	rest6 = "\x20\x01\x0d\xb8" + strings.Repeat("\x00", 11) + "\x01" + "\x20\x01\x0d\xb8" + strings.Repeat("\x00", 11) + "\x02" + "\x04\xd2\x01\xbb"
	unix  = "/run/client" + strings.Repeat("\x00", 108-11) + "/run/us" + strings.Repeat("\x00", 108-7)
	tlvs  = "\x03\x00\x04\xde\xad\xbe\xef\x04\x00\x05\x00\x00\x00\x00\x00"
)

var headers = []struct {
	name, header string
	src          string // network and address; "": the peer's own counts
}{
	{"v1 TCP4", "PROXY TCP4 192.0.2.1 192.0.2.2 1234 443\r\n", "tcp 192.0.2.1:1234"},
	{"v1 TCP4, largest", "PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", "tcp 255.255.255.255:65535"},
	{"v1 TCP6", "PROXY TCP6 2001:db8::1 2001:db8::2 1234 443\r\n", "tcp [2001:db8::1]:1234"},
	{"v1 TCP6, IPv4 in it", "PROXY TCP6 ::ffff:192.0.2.1 ::ffff:192.0.2.2 1234 443\r\n", "tcp 192.0.2.1:1234"},
	{"v1 TCP6, longest", "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
		"tcp [ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535"},
	{"v1 UNKNOWN", "PROXY UNKNOWN\r\n", ""},
	{"v1 UNKNOWN with what is to be ignored", "PROXY UNKNOWN 192.0.2.1 192.0.2.2 1234 443\r\n", ""},
	{"v1 UNKNOWN, longest", "PROXY UNKNOWN " + strings.Repeat("x", 91) + "\r\n", ""},
	{"v2 TCP over IPv4", v2(proxy, 0x11, rest4), "tcp 192.0.2.1:1234"},
	{"v2 TCP over IPv4 with TLVs", v2(proxy, 0x11, rest4+tlvs), "tcp 192.0.2.1:1234"},
	{"v2 TCP over IPv6", v2(proxy, 0x21, rest6), "tcp [2001:db8::1]:1234"},
	{"v2 TCP over IPv6 with TLVs", v2(proxy, 0x21, rest6+tlvs), "tcp [2001:db8::1]:1234"},
	{"v2 UDP over IPv4", v2(proxy, 0x12, rest4), "udp 192.0.2.1:1234"},
	{"v2 UDP over IPv6", v2(proxy, 0x22, rest6), "udp [2001:db8::1]:1234"},
	{"v2 unix stream", v2(proxy, 0x31, unix), "unix /run/client"},
	{"v2 unix stream with TLVs", v2(proxy, 0x31, unix+tlvs), "unix /run/client"},
	{"v2 unix stream of no name", v2(proxy, 0x31, strings.Repeat("\x00", 216)), "unix "},
	{"v2 largest", v2(proxy, 0x11, rest4+"\x04"+string(binary.BigEndian.AppendUint16(nil, maxRest-15))+strings.Repeat("x", maxRest-15)), "tcp 192.0.2.1:1234"},
	{"v2 LOCAL", v2(local, 0, ""), ""},
	{"v2 LOCAL with addresses", v2(local, 0x11, rest4+tlvs), ""},
	{"v2 LOCAL with fewer bytes than its family has", v2(local, 0x21, rest4), ""},
	{"v2 of no family", v2(proxy, 0, ""), ""},
	{"v2 of no family with TLVs", v2(proxy, 0, tlvs), ""},
}

func describe(src net.Addr) string {
	if src == nil {
		return ""
	}
	return src.Network() + " " + src.String()
}

// Wherever a header is cut, nothing is decided before its last byte, and nothing behind that counts.
func TestHeadersAreReadHoweverTheyCome(t *testing.T) {
	for _, row := range headers {
		for _, behind := range []string{"", "\x16", "\r\n", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", row.header, strings.Repeat("\n", 5000)} {
			b := []byte(row.header + behind)
			for cut := range len(b) + 1 {
				n, src, err := Parse(b[:cut:cut])
				switch {
				case err != nil:
					t.Fatalf("%s: %v after %d of %d bytes", row.name, err, cut, len(row.header))
				case cut < len(row.header) && (n != 0 || src != nil):
					t.Fatalf("%s: decided after %d of %d bytes", row.name, cut, len(row.header))
				case cut >= len(row.header) && (n != len(row.header) || describe(src) != row.src):
					t.Fatalf("%s: %d bytes, %q; want %d, %q", row.name, n, describe(src), len(row.header), row.src)
				}
			}
		}
	}
}

// at is how many bytes are enough to tell.
var broken = []struct {
	name, b string
	at      int
}{
	{"a request", "GET / HTTP/1.1\r\n", 1},
	{"a request that begins alike", "PROPFIND / HTTP/1.1\r\n", 4},
	{"a ClientHello", "\x16\x03\x01\x02\x00", 1},
	{"lower case", "proxy TCP4", 1},
	{"a space more", "PROXY  TCP4", 7},
	{"a tab", "PROXY\tTCP4", 6},
	{"another protocol", "PROXY UDP4 ", 8},
	{"another protocol of the same beginning", "PROXY TCP5 ", 10},
	{"nothing more", "PROXY\r\n", 6},
	{"LF alone", "PROXY UNKNOWN\n", 14},
	{"CR alone", "PROXY UNKNOWN\rx", 15},
	{"two CR", "PROXY UNKNOWN\r\r\n", 15},
	{"no end of the line", "PROXY UNKNOWN " + strings.Repeat("x", 92), 106},
	{"the end of the line too late", "PROXY UNKNOWN " + strings.Repeat("x", 91) + "x\r\n", 106},
	{"UNKNOWN and something", "PROXY UNKNOWNS\r\n", 16},
	{"no addresses", "PROXY TCP4 \r\n", 13},
	{"one port", "PROXY TCP4 192.0.2.1 192.0.2.2 1234\r\n", 37},
	{"three ports", "PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n", 38},
	{"a name", "PROXY TCP4 localhost 192.0.2.2 1 2\r\n", 36},
	{"IPv6 in TCP4", "PROXY TCP4 ::1 ::1 1 2\r\n", 24},
	{"IPv4 in TCP6", "PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n", 36},
	{"a zone", "PROXY TCP6 fe80::1%eth0 fe80::2 1 2\r\n", 37},
	{"an octet too large", "PROXY TCP4 192.0.2.256 192.0.2.2 1 2\r\n", 38},
	{"a leading zero", "PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n", 37},
	{"a port too large", "PROXY TCP4 192.0.2.1 192.0.2.2 65536 2\r\n", 40},
	{"a negative port", "PROXY TCP4 192.0.2.1 192.0.2.2 -1 2\r\n", 37},
	{"signature broken off", "\r\n\r\n\x00\r\nQUIX\n", 11},
	{"blank lines", "\r\n\r\nGET / HTTP/1.1\r\n", 5},
	{"version 1 in version 2's form", v2(0x11, 0x11, rest4), 13},
	{"version 3", v2(0x31, 0x11, rest4), 13},
	{"an unknown command", v2(0x22, 0x11, rest4), 13},
	{"an unknown family", v2(proxy, 0x41, rest4), 14},
	{"an unknown transport", v2(proxy, 0x13, rest4), 14},
	{"an unknown family with LOCAL", v2(local, 0x44, ""), 14},
	{"shorter than IPv4", v2(proxy, 0x11, rest4[1:]), 16},
	{"shorter than IPv6", v2(proxy, 0x21, rest6[1:]), 16},
	{"shorter than unix", v2(proxy, 0x31, unix[1:]), 16},
	{"longer than is taken", v2(proxy, 0x11, rest4+strings.Repeat("\x00", maxRest+1-len(rest4))), 16},
	{"LOCAL, longer than is taken", v2(local, 0, strings.Repeat("\x00", maxRest+1)), 16},
}

func TestWhatIsNoHeaderIsRefusedAsSoonAsThatShows(t *testing.T) {
	for _, row := range broken {
		b := []byte(row.b + "and more")
		for cut := range len(b) + 1 {
			n, src, err := Parse(b[:cut:cut])
			if (err != nil) != (cut >= row.at) || n != 0 || src != nil {
				t.Fatalf("%s: %d, %v, %v after %d bytes; want an error from %d bytes on", row.name, n, src, err, cut, row.at)
			}
		}
	}
}
