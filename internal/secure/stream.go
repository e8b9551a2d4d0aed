package secure

import (
	"crypto/tls"
	"errors"
	"net"
	"runtime/debug"

	"zeroframe/internal/loop"
)

// Stream is a Wire as the loop sees it: what it reads and writes is plaintext.
type Stream Wire

var (
	_ loop.Stream       = (*Stream)(nil)
	_ loop.VectorWriter = (*Stream)(nil)
	_ loop.Holder       = (*Stream)(nil)
)

// Adopt makes a stream for a loop of a tls.Conn that was made on a Wire and has finished its handshake; under is the
// connection whose descriptor the stream is to stand on. Nobody may be at work on tc. ok is false when it was made on
// something else.
func Adopt(tc *tls.Conn) (s *Stream, under net.Conn, ok bool) {
	w, ok := tc.NetConn().(*Wire)
	if !ok || !w.is(blocking) || !tc.ConnectionState().HandshakeComplete {
		return nil, nil, false
	}
	under = w.nc
	w.tls, w.nc = tc, nil
	w.more = true
	w.phase.Store(uint32(open))
	return (*Stream)(w), under, true
}

// Lend makes a stream from Adopt keep no buffers of its own, where Lendable; before it is a loop's.
func (s *Stream) Lend() {
	if Lendable() {
		(*Wire)(s).beginLending()
	}
}

// Leave prepares a stream for Release: what it has read ahead stays with it. It must hold no output. Loop only.
func (s *Stream) Leave() {
	w := (*Wire)(s)
	if w.rest != nil {
		w.moveInput(make([]byte, input(w.tls).Len()))
		w.dropRest()
	}
	if len(w.in) > 0 {
		w.in = append([]byte(nil), w.in...)
	}
	w.dropStash()
}

// Release gives the tls.Conn of a stream that has left its loop back to goroutines: from now on it reads and writes nc,
// where the loop's descriptor went. It undoes Adopt too, for a stream that no loop has taken. Any goroutine may call it.
func (s *Stream) Release(nc net.Conn) *tls.Conn {
	w := (*Wire)(s)
	w.nc, w.c, w.lower, w.lends = nc, nil, nil, false
	w.phase.Store(uint32(blocking))
	return w.tls
}

// ConnectionState returns what the handshake agreed on. Any goroutine may call it once Ready.
func (s *Stream) ConnectionState() tls.ConnectionState { return s.tls.ConnectionState() }

// RemoteAddr returns the address that the stream below knows; nil when it stands on a descriptor.
func (s *Stream) RemoteAddr() net.Addr {
	if a, ok := s.lower.(interface{ RemoteAddr() net.Addr }); ok {
		return a.RemoteAddr()
	}
	return nil
}

// LocalAddr is as RemoteAddr.
func (s *Stream) LocalAddr() net.Addr {
	if a, ok := s.lower.(interface{ LocalAddr() net.Addr }); ok {
		return a.LocalAddr()
	}
	return nil
}

// Ready reports whether the handshake is over and went well. Loop only.
func (s *Stream) Ready() bool { return (*Wire)(s).is(open) }

// Attach is called by the loop.
func (s *Stream) Attach(c *loop.Conn) {
	s.c = c
	if s.lower != nil {
		s.lower.Attach(c)
	}
}

// Read returns plaintext: what one read of the descriptor brings, as far as p takes it, or more reads when that is less
// than a record.
func (s *Stream) Read(p []byte) (n int, err error) {
	w := (*Wire)(s)
	switch phase(w.phase.Load()) {
	case waiting, handshaking:
		return 0, w.feed(p)
	case failed: // what is not read would make a reset of the close, which overtakes the alert
		return w.readBelow(p)
	case closed:
		return 0, net.ErrClosed
	}
	if w.lends {
		return w.readLent(p)
	}
	hidden := w.more // tls may have more than what it is given now
	w.more = false
	for n < len(p) && err == nil {
		w.hungry, w.dry = n == 0, false
		var m int
		m, err = w.decrypt(p[n:])
		n += m
		if err == errStarved && !w.dry {
			err = errRenegotiated
		}
		if n < len(p) && len(w.in) == 0 && !hidden && n > 0 && err == nil {
			err = errStarved // as the next read would find, at some cost
		}
	}
	w.keepInput()
	if err == errStarved {
		if n == 0 {
			return 0, loop.ErrAgain
		}
		return n, nil
	}
	w.more = true // plaintext that p had no room for, or the error, which tls will repeat
	if n > 0 {
		return n, nil
	}
	return 0, err
}

// errRenegotiated is for a server of TLS 1.2 that wants another handshake where the client's configuration allows one: it
// starved, and tls will never ask for more.
var errRenegotiated = errors.New("secure: no handshake is made on an open connection")

// decrypt reads from tls, which may call back: a session cache that panics is the end of the connection.
func (w *Wire) decrypt(p []byte) (n int, err error) {
	defer func() {
		if v := recover(); v != nil {
			n, err = 0, &PanicError{v, debug.Stack()}
		}
	}()
	return w.tls.Read(p)
}

// keepInput takes ciphertext that was not used out of the scratch, which others use next.
func (w *Wire) keepInput() {
	switch {
	case len(w.in) == 0:
		w.dropStash()
	case w.stash == nil:
		w.stash = w.c.Loop().Buffers().Get(len(w.in))
		w.stash.B = append(w.stash.B, w.in...)
		w.in = w.stash.B
	}
}

// fill reads ciphertext from the descriptor.
func (w *Wire) fill() error {
	w.dropStash()
	if w.hungry {
		buf := w.c.Loop().Scratch().In[:64<<10]
		n, err := w.readBelow(buf)
		if n > 0 {
			w.in = buf[:n]
			return nil
		}
		if err != loop.ErrAgain {
			return err
		}
	}
	w.dry = true
	return errStarved
}

// Write is WriteVector for one piece; of an empty one it is another try to write what is held.
func (s *Stream) Write(p []byte) (int, error) {
	v := [1][]byte{p}
	return s.WriteVector(v[:])
}

const (
	maxChunk = 48 << 10 // plaintext that is encrypted at once
	joinOver = 4 << 10  // a piece this long is worth a record of its own
)

// WriteVector encrypts and writes. Plaintext counts as written when all of its ciphertext is: a chunk of which a part was
// refused is reported with a later call, which must begin with the same bytes, as a connection's queue does.
func (s *Stream) WriteVector(v [][]byte) (n int, err error) {
	w := (*Wire)(s)
	switch phase(w.phase.Load()) {
	case waiting:
		return 0, loop.ErrAgain
	case handshaking:
		if err := w.pushHandshake(); err != nil {
			return 0, err
		}
		return 0, loop.ErrAgain
	case closed:
		return 0, net.ErrClosed
	}
	if err := w.push(); err != nil {
		return 0, err
	}
	if w.is(failed) {
		return 0, nil // nobody has more to say
	}
	total := 0
	for _, b := range v {
		total += len(b)
	}
	n = min(int(w.held), total)
	w.held -= uint32(n)
	skip := n // of v's first piece
	scratch := w.c.Loop().Scratch()
	for n < total {
		for skip >= len(v[0]) {
			skip -= len(v[0])
			v = v[1:]
		}
		chunk := nextChunk(v, skip, scratch)
		scratch.Out = scratch.Out[:0]
		w.sum = scratch
		_, err := w.tls.Write(chunk)
		w.sum = nil
		if err != nil {
			return n, err
		}
		sent, err := w.writeBelow(scratch.Out)
		if err != nil {
			if err == loop.ErrAgain {
				w.keep(scratch.Out[sent:])
				w.held = uint32(len(chunk))
			}
			return n, err
		}
		n += len(chunk)
		skip += len(chunk)
	}
	return n, nil
}

// nextChunk returns what of v is encrypted next, from skip bytes into its first piece on: a long piece where it stands,
// short ones put together, for a record costs 22 bytes and a microsecond.
func nextChunk(v [][]byte, skip int, scratch *loop.Scratch) []byte {
	first := v[0][skip:]
	if len(v) == 1 || len(first) >= joinOver {
		return first[:min(len(first), maxChunk)]
	}
	scratch.Sum = append(scratch.Sum[:0], first...)
	for _, b := range v[1:] {
		if len(scratch.Sum)+len(b) > maxChunk {
			break
		}
		scratch.Sum = append(scratch.Sum, b...)
	}
	return scratch.Sum
}

// keep holds ciphertext back until the descriptor takes it.
func (w *Wire) keep(p []byte) {
	buffers := w.c.Loop().Buffers()
	switch {
	case w.out == nil:
		w.out, w.outAt = buffers.Get(len(p)), 0
	case cap(w.out.B)-len(w.out.B) < len(p):
		left := w.out.B[w.outAt:]
		grown := buffers.Get(2*len(left) + len(p))
		grown.B = append(grown.B, left...)
		buffers.Put(w.out)
		w.out, w.outAt = grown, 0
	}
	w.out.B = append(w.out.B, p...)
}

// push writes what is held, and ends the outgoing direction behind it if that was asked for.
func (w *Wire) push() error {
	if w.out != nil {
		n, err := w.writeBelow(w.out.B[w.outAt:])
		if w.outAt += uint32(n); n > 0 {
			w.c.StreamProgressed()
		}
		if err != nil {
			return err
		}
		w.dropOut()
	}
	if w.ending {
		w.ending = false
		return w.closeWriteBelow()
	}
	return nil
}

// Holds implements loop.Holder.
func (s *Stream) Holds() (input, output bool) {
	w := (*Wire)(s)
	switch phase(w.phase.Load()) {
	case handshaking:
		return false, w.hs.Load().holds()
	case open:
		if w.lends {
			return w.more || records(w.in, w.maxRecord(), 1) > 0, w.out != nil
		}
		return len(w.in) > 0 || w.more, w.out != nil
	case failed:
		return false, w.out != nil
	}
	return false, false
}

// CloseWrite sends close_notify and then ends the direction (RFC 8446, section 6.1).
func (s *Stream) CloseWrite() error {
	w := (*Wire)(s)
	switch phase(w.phase.Load()) {
	case open:
		if err := w.tls.CloseWrite(); err != nil {
			return err
		}
	case failed:
	default:
		return w.closeWriteBelow()
	}
	w.ending = true
	if err := w.push(); err != loop.ErrAgain {
		return err
	}
	return nil
}

// Close drops the connection; what is held, an alert say, is tried once more.
func (s *Stream) Close() error {
	w := (*Wire)(s)
	w.phase.Store(uint32(closed))
	if w.out != nil {
		w.writeBelow(w.out.B[w.outAt:])
	}
	w.dropOut()
	w.dropStash()
	w.dropRest()
	w.in = nil
	if h := w.hs.Load(); h != nil {
		h.abandon()
	}
	if w.lower != nil {
		return w.lower.Close()
	}
	return nil
}

func (w *Wire) dropOut() {
	if w.out != nil {
		w.c.Loop().Buffers().Put(w.out)
		w.out = nil
	}
}

func (w *Wire) dropStash() {
	if w.stash != nil {
		w.c.Loop().Buffers().Put(w.stash)
		w.stash = nil
	}
}

func (w *Wire) readBelow(p []byte) (int, error) {
	if w.lower == nil {
		return w.c.ReadFD(p)
	}
	n, err := w.lower.Read(p)
	if n == 0 && err == nil {
		err = loop.ErrAgain
	}
	return n, err
}

func (w *Wire) writeBelow(p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		var m int
		if w.lower == nil {
			m, err = w.c.WriteFD(p[n:])
		} else if m, err = w.lower.Write(p[n:]); m == 0 && err == nil {
			err = loop.ErrAgain
		}
		n += m
	}
	if n == len(p) && errors.Is(err, loop.ErrAgain) {
		err = nil
	}
	return n, err
}

func (w *Wire) closeWriteBelow() error {
	if w.lower == nil {
		return w.c.CloseWriteFD()
	}
	return w.lower.CloseWrite()
}
