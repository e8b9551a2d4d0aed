// Package secure runs crypto/tls on event loops. A Wire is the net.Conn under a tls.Conn; a Stream is the same object as
// a loop sees it: the loop reads ciphertext from the descriptor, the tls.Conn takes it from the Wire, and what it makes of
// the output goes back the same way.
package secure

import (
	"crypto/tls"
	"errors"
	"net"
	"sync/atomic"
	"time"

	"zeroframe/internal/loop"
	"zeroframe/pool"
)

// phase says whose a Wire is.
type phase uint32

const (
	blocking    phase = iota // a goroutine's: reads and writes wait on nc
	waiting                  // a loop's: nothing has come yet
	handshaking              // a loop's, with a goroutine at the handshake: handshake.go
	open                     // a loop's: stream.go
	failed                   // a loop's: the handshake failed, and the peer is still to read why
	closed
)

// Wire is the net.Conn under a tls.Conn, which cannot be given another one. To begin with it is the connection it was
// made of, with all that blocks; a loop that takes the tls.Conn over changes what is behind it.
type Wire struct {
	nc    net.Conn // while blocking; else nil
	phase atomic.Uint32
	tls   *tls.Conn

	// What follows belongs to the loop.
	c     *loop.Conn
	lower loop.Stream               // what the ciphertext comes from; nil: c's descriptor
	hs    atomic.Pointer[handshake] // until it is over; set and read by others too
	turns Turns                     // of servers

	in     []byte       // ciphertext read and not yet taken by tls, in stash or in the loop's scratch
	stash  *pool.Buffer // where in stands between two reads
	out    *pool.Buffer // ciphertext that the descriptor has not taken, from outAt on
	outAt  uint32
	held   uint32 // bytes at the front of the connection's output queue that are in out already
	left   uint16 // bytes of the record in hand that are still to be taken
	header [recordHeader]byte
	got    uint8         // bytes of header that were taken
	hungry bool          // the descriptor may be read: nothing has come of this read yet
	dry    bool          // tls has asked for more than there is
	more   bool          // tls may have plaintext or an error that was not returned yet
	ending bool          // the outgoing direction ends when out is written
	lends  bool          // tls has no buffers of its own: lend.go
	tls13  bool          // known while lending
	rest   *pool.Buffer  // plaintext that tls is to return next, while lending
	sum    *loop.Scratch // output is being collected there
}

// recordHeader is the length of a TLS record's header: type, version, length (RFC 8446, section 5.1).
const recordHeader = 5

// NewWire returns a Wire over nc. Make the tls.Conn on it.
func NewWire(nc net.Conn) *Wire { return &Wire{nc: nc} }

// Under returns the connection that the Wire was made of; nil while a loop has it.
func (w *Wire) Under() net.Conn { return w.nc }

func (w *Wire) is(p phase) bool { return phase(w.phase.Load()) == p }

// Read gives ciphertext to the tls.Conn.
func (w *Wire) Read(p []byte) (int, error) {
	switch phase(w.phase.Load()) {
	case blocking:
		if len(w.in) > 0 {
			n := copy(p, w.in)
			w.in = w.in[n:]
			w.follow(p[:n])
			return n, nil
		}
		n, err := w.nc.Read(p)
		w.follow(p[:n]) // tls may have read ahead into a record when a loop takes over
		return n, err
	case handshaking:
		return w.hs.Load().read(w, p)
	case open:
		if w.lends {
			if err := w.c.Loop().Scratch().Err; err != nil {
				return 0, err
			}
			w.dry = true
			return 0, errStarved
		}
		if len(w.in) == 0 {
			if err := w.fill(); err != nil {
				return 0, err
			}
		}
		n := w.portion(p, w.in)
		w.in = w.in[n:]
		return n, nil
	}
	return 0, net.ErrClosed
}

// portion copies ciphertext to tls, not beyond the record it is at: what it is given too early stays in a buffer of its
// own, which grows with it and is kept for the life of the connection. A record goes whole if it can, for tls allocates 24
// bytes for each call that it makes.
func (w *Wire) portion(p, in []byte) (n int) {
	switch {
	case w.left > 0:
		n = int(w.left)
	case w.got == 0 && len(in) >= recordHeader:
		n = recordHeader + int(in[3])<<8 + int(in[4])
	default:
		n = recordHeader - int(w.got)
	}
	n = copy(p, in[:min(len(in), n)])
	w.follow(p[:n])
	return n
}

// follow keeps where in a record the ciphertext stands that tls was given.
func (w *Wire) follow(b []byte) {
	for len(b) > 0 {
		if w.left > 0 {
			n := min(len(b), int(w.left))
			w.left -= uint16(n)
			b = b[n:]
			continue
		}
		n := copy(w.header[w.got:], b)
		b = b[n:]
		if w.got += uint8(n); w.got == recordHeader {
			w.got = 0
			w.left = uint16(w.header[3])<<8 | uint16(w.header[4])
		}
	}
}

// Write takes ciphertext from the tls.Conn, all of it: on a loop, what the descriptor does not take is kept.
func (w *Wire) Write(p []byte) (int, error) {
	switch phase(w.phase.Load()) {
	case blocking:
		return w.nc.Write(p)
	case handshaking:
		return w.hs.Load().write(w, p)
	case open:
		switch {
		case w.sum != nil:
			w.sum.Out = append(w.sum.Out, p...)
		case w.out != nil && len(w.out.B)-int(w.outAt) > maxHeld:
			return 0, errNotRead // tls keeps it for the next write
		default:
			w.keep(p)
		}
		return len(p), nil
	}
	return 0, net.ErrClosed
}

// maxHeld bounds what is kept for a peer that does not read and yet asks for answers of tls's own, by updating keys.
const maxHeld = 64 << 10

var errNotRead = errors.New("secure: the peer does not read what it asks for")

// Close closes the connection while that is a goroutine's, and ends a handshake whose callback calls it; a loop closes
// its own.
func (w *Wire) Close() error {
	switch phase(w.phase.Load()) {
	case blocking:
		return w.nc.Close()
	case handshaking:
		if h := w.hs.Load(); h != nil {
			h.leave()
		}
	}
	return nil
}

// SetDeadline and its kin have a meaning for goroutines alone.
func (w *Wire) SetDeadline(t time.Time) error {
	if w.is(blocking) {
		return w.nc.SetDeadline(t)
	}
	return nil
}

// SetReadDeadline is as SetDeadline.
func (w *Wire) SetReadDeadline(t time.Time) error {
	if w.is(blocking) {
		return w.nc.SetReadDeadline(t)
	}
	return nil
}

// SetWriteDeadline is as SetDeadline.
func (w *Wire) SetWriteDeadline(t time.Time) error {
	if w.is(blocking) {
		return w.nc.SetWriteDeadline(t)
	}
	return nil
}

// LocalAddr returns our end's address.
func (w *Wire) LocalAddr() net.Addr {
	if w.is(blocking) {
		return w.nc.LocalAddr()
	}
	return w.c.LocalAddr()
}

// RemoteAddr returns the peer's address.
func (w *Wire) RemoteAddr() net.Addr {
	if w.is(blocking) {
		return w.nc.RemoteAddr()
	}
	return w.c.RemoteAddr()
}

// starved is what tls gets for a read that would block. It is temporary, so that tls does not keep it: the next read goes
// on in the middle of the record.
type starved struct{}

var errStarved net.Error = starved{}

func (starved) Error() string   { return "secure: nothing to read yet" }
func (starved) Timeout() bool   { return false }
func (starved) Temporary() bool { return true }
