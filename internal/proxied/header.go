// Package proxied reads the PROXY protocol, versions 1 and 2 (haproxy.org, doc/proxy-protocol.txt), with which a balancer
// says whom it has a connection from: a header in front of the connection's own bytes, below TLS and HTTP.
package proxied

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"slices"

	proxyproto "github.com/pires/go-proxyproto"
)

const (
	maxLine   = 107     // bytes of a version 1 header, its CRLF included (section 2.1)
	fixedPart = 16      // bytes of a version 2 header before what its length counts (section 2.2)
	maxRest   = 4 << 10 // and how many of those are taken: addresses and TLVs, a client certificate among them
	maxHeader = fixedPart + maxRest
)

// Errors of Parse that are not the library's.
var (
	errNoHeader = errors.New("proxied: the connection does not begin with a PROXY header")
	errLine     = errors.New("proxied: a version 1 header must be a line of at most 107 bytes that ends in CRLF")
	errVersion  = errors.New("proxied: a version 2 header of an unknown version or command")
	errFamily   = errors.New("proxied: a version 2 header of an unknown address family")
	errLength   = errors.New("proxied: a version 2 header that is too short for its addresses, or longer than 4 KiB")
)

// Parse looks for a header at the beginning of b. It returns its length and the source address in it: nil if that is
// UNKNOWN, or the balancer speaks for itself (LOCAL), and the peer's own address is the one that counts. A length of 0
// without an error means that the header is incomplete. An error comes as soon as no further byte can make b begin with
// a header; only the addresses of a version 1 line are judged no sooner than at its end.
func Parse(b []byte) (n int, src net.Addr, err error) {
	n, err = length(b)
	if n == 0 || err != nil {
		return 0, nil, err
	}
	if b[0] == sigV2[0] && proxyproto.AddressFamilyAndProtocol(b[13]) == proxyproto.UNSPEC {
		return n, nil, nil // the library takes that for LOCAL alone; the specification leaves it to the receiver
	}
	h, err := proxyproto.Read(bufio.NewReaderSize(bytes.NewReader(b[:n]), n))
	switch {
	case err != nil:
		return 0, nil, fmt.Errorf("proxied: %w", err)
	case h.Command.IsLocal():
		return n, nil, nil
	}
	return n, h.SourceAddr, nil
}

var sigV2 = proxyproto.SIGV2

// length returns the length of the header at the beginning of b, 0 if it is incomplete.
func length(b []byte) (int, error) {
	switch {
	case len(b) == 0:
		return 0, nil
	case b[0] == sigV2[0]:
		return lengthV2(b)
	}
	return lengthV1(b)
}

// lineStarts are how a line begins whose rest is worth waiting for.
var lineStarts = [...]string{"PROXY TCP4 ", "PROXY TCP6 ", "PROXY UNKNOWN"}

func lengthV1(b []byte) (int, error) {
	known := slices.ContainsFunc(lineStarts[:], func(start string) bool {
		n := min(len(start), len(b))
		return start[:n] == string(b[:n])
	})
	if !known {
		return 0, errNoHeader
	}
	b = b[:min(len(b), maxLine)]
	end := bytes.IndexAny(b, "\r\n")
	switch {
	case end < 0 && len(b) < maxLine-1, end >= 0 && end+1 == len(b) && b[end] == '\r' && len(b) < maxLine:
		return 0, nil
	case end < 0 || end+1 == len(b) || b[end] != '\r' || b[end+1] != '\n':
		return 0, errLine
	}
	return end + 2, nil
}

func lengthV2(b []byte) (int, error) {
	if n := min(len(b), len(sigV2)); !bytes.Equal(b[:n], sigV2[:n]) {
		return 0, errNoHeader
	}
	if len(b) > 12 && b[12] != byte(proxyproto.LOCAL) && b[12] != byte(proxyproto.PROXY) {
		return 0, errVersion
	}
	if len(b) <= 13 {
		return 0, nil
	}
	var addresses int
	switch proxyproto.AddressFamilyAndProtocol(b[13]) {
	case proxyproto.UNSPEC:
	case proxyproto.TCPv4, proxyproto.UDPv4:
		addresses = 2 * (4 + 2)
	case proxyproto.TCPv6, proxyproto.UDPv6:
		addresses = 2 * (16 + 2)
	case proxyproto.UnixStream, proxyproto.UnixDatagram:
		addresses = 2 * 108
	default:
		return 0, errFamily
	}
	if len(b) < fixedPart {
		return 0, nil
	}
	rest := int(binary.BigEndian.Uint16(b[14:]))
	if rest > maxRest || rest < addresses && b[12] == byte(proxyproto.PROXY) {
		return 0, errLength
	}
	if len(b) < fixedPart+rest {
		return 0, nil
	}
	return fixedPart + rest, nil
}
