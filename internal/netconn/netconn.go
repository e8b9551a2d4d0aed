// Package netconn puts any net.Conn on an event loop, for connections that have no descriptor a loop could work with: a
// listener's wrapper, a pipe, a stream of HTTP/2. Goroutines do the blocking calls, which costs what event loops are
// there to save; whatever has a descriptor is better off without this package.
package netconn

import (
	"crypto/tls"
	"net"
	"sync"
	"time"

	"zeroframe/internal/loop"
	"zeroframe/pool"
)

const (
	// maxPending bounds the bytes that Write has taken and the connection has not.
	maxPending = 64 << 10
	// closeWithin bounds the time from Close until the connection is closed, while pending bytes are written.
	closeWithin = 5 * time.Second
	// lingering is how long after CloseWrite a connection that cannot close one direction waits for the peer to go
	// first. It is as long as net/http waits before it closes a connection whose peer may still be sending.
	lingering = 500 * time.Millisecond
)

// Stream is a loop.Stream over a net.Conn that blocks. A goroutine reads, from the loop's first Read to the end; it holds
// what it has read until the loop has taken it and reads on only then, so that a connection whose reading is paused
// pushes its peer back after one buffer. Another writes, and is there only while there is something to write.
//
// While nothing comes, the reader waits with a buffer of 512 B, or a pooled one of up to 4 KiB where that much usually
// comes at once; larger ones, up to 64 KiB, are held only while each read fills them. With the reader's stack a connection
// that waits takes about 5 KB, TCP or TLS, beside the net.Conn itself: BenchmarkIdle measures it.
type Stream struct {
	nc    net.Conn
	ready interface {
		StreamReadable()
		StreamWritable()
	}

	mu        sync.Mutex   // guards what follows
	taken     sync.Cond    // in has become empty, or closing true
	in        []byte       // read, and not taken by the loop yet
	inBuf     *pool.Buffer // where in stands; nil: in the reader's own
	out       *pool.Buffer // written next; nil: nothing
	pending   int          // bytes in out and in the writer's hands
	readErr   error
	writeErr  error
	timer     *time.Timer // ends lingering, or closing
	reading   bool        // the reader was started
	writing   bool        // the writer is there
	wantRead  bool        // the loop found nothing to read and waits to be told
	wantWrite bool        // the loop found no room and waits to be told
	ending    bool        // CloseWrite
	ended     bool        // and the connection has been told
	closing   bool        // Close
	closed    bool        // and the connection has been told
}

var _ loop.Stream = (*Stream)(nil)

// New returns a Stream over nc. Until the loop has it, nothing is done with nc, which stays the caller's; from then on it
// is the Stream's, which closes it.
func New(nc net.Conn) *Stream {
	s := &Stream{nc: nc}
	s.taken.L = &s.mu
	return s
}

// Attach names the connection to be told of readiness and takes off nc the deadlines of whoever had it before.
func (s *Stream) Attach(c *loop.Conn) {
	s.nc.SetDeadline(time.Time{})
	s.ready = c
}

// RemoteAddr is that of the net.Conn. Any goroutine may call it.
func (s *Stream) RemoteAddr() net.Addr { return s.nc.RemoteAddr() }

// LocalAddr is that of the net.Conn. Any goroutine may call it.
func (s *Stream) LocalAddr() net.Addr { return s.nc.LocalAddr() }

// TLS returns what the TLS handshake under the net.Conn agreed on, which it tells as a tls.Conn or by a TLS method; nil if
// it does not. Any goroutine may call it.
func (s *Stream) TLS() *tls.ConnectionState {
	switch nc := s.nc.(type) {
	case interface{ ConnectionState() tls.ConnectionState }:
		state := nc.ConnectionState()
		return &state
	case interface{ TLS() *tls.ConnectionState }:
		return nc.TLS()
	}
	return nil
}

// CloseWrite ends the outgoing direction behind what is pending, and returns at once. A connection that has no method
// CloseWrite ends in both directions half a second later: Read returns io.EOF, unless the peer goes first.
func (s *Stream) CloseWrite() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ending = true
	s.startWriter()
	return nil
}

// Close closes the connection when what is pending has been written, or after five seconds, and returns at once. What
// was read is dropped.
func (s *Stream) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closing = true
	s.wantRead, s.wantWrite = false, false
	s.emptied()
	s.setTimer(closeWithin, s.drop)
	s.startWriter() // also when nothing is pending: closing may block too
	return nil
}

// drop closes the connection, which ends every call that blocks in it.
func (s *Stream) drop() {
	s.mu.Lock()
	first := !s.closed
	s.closed = true
	s.mu.Unlock()
	if first {
		s.nc.Close()
	}
}

// setTimer replaces what the timer was to do. The caller holds mu.
func (s *Stream) setTimer(d time.Duration, f func()) {
	if s.timer != nil {
		s.timer.Stop()
	}
	s.timer = time.AfterFunc(d, f)
}

// tellReadable wakes the loop if it waits for something to read. The caller holds mu.
func (s *Stream) tellReadable() {
	if s.wantRead {
		s.wantRead = false
		s.ready.StreamReadable()
	}
}

// tellWritable wakes the loop if it waits for room. The caller holds mu.
func (s *Stream) tellWritable() {
	if s.wantWrite {
		s.wantWrite = false
		s.ready.StreamWritable()
	}
}
