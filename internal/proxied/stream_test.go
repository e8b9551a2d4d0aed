package proxied

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"zeroframe/internal/loop"
	"zeroframe/pool"
)

func TestMain(m *testing.M) {
	pool.Verify(true)
	os.Exit(m.Run())
}

// descriptor stands for a loop's connection: its descriptor has what is sent in pieces, and then ends.
type descriptor struct {
	peer   net.Addr
	pieces []string // "": nothing is there for now
	end    error    // behind the pieces
	stream loop.Stream
}

func (d *descriptor) RemoteAddr() net.Addr    { return d.peer }
func (d *descriptor) Stream() loop.Stream     { return d.stream }
func (d *descriptor) SetStream(s loop.Stream) { d.stream = s }

func (d *descriptor) ReadFD(p []byte) (int, error) {
	if len(d.pieces) == 0 {
		return 0, d.end
	}
	n := copy(p, d.pieces[0])
	if d.pieces[0] = d.pieces[0][n:]; d.pieces[0] == "" {
		d.pieces = d.pieces[1:]
	}
	if n == 0 {
		return 0, loop.ErrAgain
	}
	return n, nil
}

func (d *descriptor) WriteFD(p []byte) (int, error) { return len(p), nil }
func (d *descriptor) CloseWriteFD() error           { return nil }

// verdict is what a Policy was told.
type verdict struct {
	src string
	err error
}

// open puts a stream on d, alone or under one that stands on it.
func open(d *descriptor, alone bool, trusted ...string) (s *Stream, told *[]verdict) {
	told = new([]verdict)
	var prefixes []netip.Prefix
	for _, p := range trusted {
		prefixes = append(prefixes, netip.MustParsePrefix(p))
	}
	s = NewPolicy(prefixes, func(_ *loop.Conn, src net.Addr, err error) {
		*told = append(*told, verdict{describe(src), err})
	}).Stream()
	if d.stream = nil; alone {
		d.stream = s
	}
	s.attach(d)
	return s, told
}

// readAll reads as a loop does, which forgets what it has read into, up to an error other than ErrAgain.
func readAll(s *Stream, size int) (all string, err error) {
	p := make([]byte, size)
	for {
		clear(p)
		n, err := s.Read(p)
		all += string(p[:n])
		if err != nil && err != loop.ErrAgain {
			return all, err
		}
	}
}

var balancer = &net.TCPAddr{IP: net.IPv4(10, 1, 2, 3), Port: 5}

func TestAStreamTakesTheHeaderOffAndStepsAside(t *testing.T) {
	const behind = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
	for _, row := range headers {
		whole := row.header + behind
		ways := map[string][]string{
			"at once":      {whole},
			"header first": {row.header, "", behind},
			"byte by byte": strings.Split(whole, ""),
		}
		for _, b := range []byte(whole) {
			ways["waiting"] = append(ways["waiting"], "", string([]byte{b}))
		}
		for way, pieces := range ways {
			for _, alone := range []bool{true, false} {
				d := &descriptor{peer: balancer, pieces: slices.Clone(pieces), end: io.EOF}
				s, told := open(d, alone, "10.0.0.0/8")
				if s.Ready() || s.RemoteAddr() != nil {
					t.Fatal("ready before the header")
				}
				got, err := readAll(s, 600)
				if got != behind || err != io.EOF {
					t.Fatalf("%s, %s: got %q, %v", row.name, way, got, err)
				}
				if len(*told) != 1 || (*told)[0] != (verdict{row.src, nil}) || describe(s.RemoteAddr()) != row.src {
					t.Fatalf("%s, %s: told %v, want %q once", row.name, way, *told, row.src)
				}
				if !s.Ready() || d.stream != nil {
					t.Fatalf("%s, %s: still in the way", row.name, way)
				}
			}
		}
	}
	if out := pool.Outstanding(); len(out) != 0 {
		t.Errorf("buffers still out: %v", out)
	}
}

func TestAStreamFailsWithoutAHeader(t *testing.T) {
	reset := errors.New("reset")
	for _, row := range []struct {
		name   string
		pieces []string
		end    error
		told   bool
	}{
		{"a request", []string{"GET / HTTP/1.1\r\n\r\n"}, nil, true},
		{"a request in pieces", []string{"P", "O", "", "ST / HTTP/1.1\r\n\r\n"}, nil, true},
		{"a header that breaks", []string{"PROXY TCP4 1.2.3.4 ", "1.2.3.4 0 0 0\r\n"}, nil, true},
		{"an endless header", []string{"PROXY UNKNOWN ", strings.Repeat("x", 70_000), "x"}, nil, true},
		{"the end inside", []string{"PROXY TCP4"}, io.EOF, true},
		{"a reset inside", []string{"PROXY TCP4"}, reset, false},
		{"the end at once", nil, io.EOF, false}, // as a balancer does to see that somebody listens
	} {
		d := &descriptor{peer: balancer, pieces: row.pieces, end: row.end}
		s, told := open(d, true, "10.0.0.0/8")
		got, err := readAll(s, 600)
		if got != "" || err == nil || row.end == reset && err != reset {
			t.Errorf("%s: got %q, %v", row.name, got, err)
		}
		if s.Ready() || (len(*told) == 1) != row.told || row.told && (*told)[0] != (verdict{"", err}) {
			t.Errorf("%s: told %v, failed with %v", row.name, *told, err)
		}
		s.Close()
	}
	if out := pool.Outstanding(); len(out) != 0 {
		t.Errorf("buffers still out: %v", out)
	}
}

func TestOnlyTrustedPeersSendHeaders(t *testing.T) {
	const header = "PROXY TCP4 192.0.2.1 192.0.2.2 1234 443\r\n"
	tcp := func(ip string) net.Addr { return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(ip)) }
	unixSocket := &net.UnixAddr{Net: "unix"}
	for _, row := range []struct {
		peer    net.Addr
		prefix  string
		trusted bool
	}{
		{tcp("10.1.2.3:1"), "10.0.0.0/8", true},
		{tcp("11.1.2.3:1"), "10.0.0.0/8", false},
		{tcp("[::ffff:10.1.2.3]:1"), "10.0.0.0/8", true}, // of a listener for both families
		{tcp("[fd00::1]:1"), "10.0.0.0/8", false},
		{tcp("[fd00::1]:1"), "fd00::/8", true},
		{tcp("[fe80::1%eth0]:1"), "fe80::/10", true},
		{tcp("[::1]:1"), "127.0.0.0/8", false},
		{tcp("1.2.3.4:1"), "0.0.0.0/0", true},
		{unixSocket, "127.0.0.0/8", true},
		{unixSocket, "::1/128", true},
		{unixSocket, "10.0.0.0/8", false},
		{nil, "0.0.0.0/0", false}, // gone already
	} {
		for _, alone := range []bool{true, false} {
			d := &descriptor{peer: row.peer, pieces: []string{header + "x"}, end: io.EOF}
			s, told := open(d, alone, "203.0.113.7/32", row.prefix)
			if s.Ready() == row.trusted || (d.stream == nil) == (row.trusted && alone) {
				t.Errorf("%v and %s: ready %v", row.peer, row.prefix, s.Ready())
			}
			got, err := readAll(s, 600)
			if want := map[bool]string{true: "x", false: header + "x"}[row.trusted]; got != want || err != io.EOF {
				t.Errorf("%v and %s: got %q, %v", row.peer, row.prefix, got, err)
			}
			if (len(*told) != 0) != row.trusted {
				t.Errorf("%v and %s: told %v", row.peer, row.prefix, *told)
			}
		}
	}
}
