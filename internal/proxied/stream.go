package proxied

import (
	"io"
	"net"
	"net/netip"

	"zeroframe/internal/loop"
	"zeroframe/pool"
)

// Policy says whose connections begin with a header, and what becomes of it.
type Policy struct {
	trusted []netip.Prefix
	done    func(c *loop.Conn, src net.Addr, err error)
}

// NewPolicy returns the Policy that the connections of peers in trusted must begin with a header, and others may not: of
// them nothing is read. Peers on unix sockets count as 127.0.0.1 and as ::1. done is called on the connection's loop when
// its header has been read, with what Parse returns; after an error the connection is closed with it.
func NewPolicy(trusted []netip.Prefix, done func(c *loop.Conn, src net.Addr, err error)) *Policy {
	return &Policy{trusted: trusted, done: done}
}

// Stream returns the stream of a new connection, for a loop or for what stands on it, TLS say. It stands on the
// connection's descriptor until the header has been read. Then it puts the descriptor in its own place, if a loop has it;
// whoever else has it may do so when it is Ready.
func (p *Policy) Stream() *Stream { return &Stream{policy: p} }

func (p *Policy) trusts(peer net.Addr) bool {
	switch peer := peer.(type) {
	case *net.TCPAddr:
		return p.contains(peer.AddrPort().Addr())
	case *net.UnixAddr:
		return p.contains(netip.AddrFrom4([4]byte{127, 0, 0, 1})) || p.contains(netip.IPv6Loopback())
	}
	return false
}

func (p *Policy) contains(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	for _, prefix := range p.trusted {
		if prefix.Contains(a) {
			return true
		}
	}
	return false
}

// Stream reads a header off the front of a connection. The loop alone calls it.
type Stream struct {
	policy *Policy
	c      conn
	held   *pool.Buffer // the header as far as it has come, if it came in pieces
	src    net.Addr
	ready  bool
}

// conn is what a Stream needs of a loop.Conn.
type conn interface {
	RemoteAddr() net.Addr
	Stream() loop.Stream
	SetStream(s loop.Stream)
	ReadFD(p []byte) (int, error)
	WriteFD(p []byte) (int, error)
	CloseWriteFD() error
}

var (
	_ conn        = (*loop.Conn)(nil)
	_ loop.Stream = (*Stream)(nil)
)

// Attach lets the connections of others than trusted peers pass.
func (s *Stream) Attach(c *loop.Conn) { s.attach(c) }

func (s *Stream) attach(c conn) {
	s.c = c
	if !s.policy.trusts(c.RemoteAddr()) {
		s.stepAside()
	}
}

// Ready reports whether the header has been read, or none is awaited: until then the peer must not be told anything.
func (s *Stream) Ready() bool { return s.ready }

// RemoteAddr returns the source in the header; nil when there is none yet, or the peer's own address is the one that
// counts.
func (s *Stream) RemoteAddr() net.Addr { return s.src }

func (s *Stream) stepAside() {
	s.ready = true
	if s.c.Stream() == loop.Stream(s) {
		s.c.SetStream(nil)
	}
}

// Read reads what is behind the header.
func (s *Stream) Read(p []byte) (int, error) {
	for !s.ready {
		n, err := s.c.ReadFD(p)
		switch {
		case n == 0 && err == io.EOF && s.held != nil:
			return 0, s.fail(io.ErrUnexpectedEOF)
		case n == 0 && err != nil:
			return 0, err
		}
		if n, err = s.take(p, n); n > 0 || err != nil {
			return n, err
		}
	}
	return s.c.ReadFD(p)
}

// take takes the header, or a piece of it, out of p[:n], and returns how many bytes are left: what is behind the header,
// moved to the beginning of p.
func (s *Stream) take(p []byte, n int) (left int, err error) {
	whole, before := p[:n], 0
	if s.held != nil {
		before = len(s.held.B)
		whole = s.keep(p[:n])
	}
	size, src, err := Parse(whole)
	switch {
	case err != nil:
		return 0, s.fail(err)
	case size == 0:
		if s.held == nil {
			s.keep(p[:n])
		}
		return 0, nil
	}
	s.drop()
	s.src = src
	s.stepAside()
	s.tell(src, nil)
	return copy(p, p[size-before:n]), nil
}

// keep holds b, or what of it may still be part of the header, and returns all that is held.
func (s *Stream) keep(b []byte) []byte {
	if s.held == nil {
		s.held = pool.Get(len(b))
	}
	b = b[:min(len(b), maxHeader-len(s.held.B))]
	if cap(s.held.B)-len(s.held.B) < len(b) {
		grown := pool.Get(len(s.held.B) + len(b))
		grown.B = append(grown.B, s.held.B...)
		pool.Put(s.held)
		s.held = grown
	}
	s.held.B = append(s.held.B, b...)
	return s.held.B
}

func (s *Stream) fail(err error) error {
	s.drop()
	s.tell(nil, err)
	return err
}

func (s *Stream) tell(src net.Addr, err error) {
	c, _ := s.c.(*loop.Conn)
	s.policy.done(c, src, err)
}

func (s *Stream) drop() {
	if s.held != nil {
		pool.Put(s.held)
		s.held = nil
	}
}

// Write writes to the descriptor.
func (s *Stream) Write(p []byte) (int, error) { return s.c.WriteFD(p) }

// CloseWrite ends the outgoing direction of the descriptor.
func (s *Stream) CloseWrite() error { return s.c.CloseWriteFD() }

// Close gives back what is held; the descriptor is the loop's to close.
func (s *Stream) Close() error {
	s.drop()
	return nil
}
