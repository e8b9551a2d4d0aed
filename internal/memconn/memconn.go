// Package memconn is a connection in memory with a non-blocking end for an event loop and a net.Conn for the other
// side. It can cut what the loop reads and writes into a few bytes and answer at random that it would block, so that
// every state between two bytes of a stream is visited.
package memconn

import (
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"time"

	"zeroframe/internal/loop"
)

// Faults says how a connection misbehaves towards the loop.
type Faults struct {
	Seed   uint64
	Cut    int     // reads and writes of the loop move 1 to Cut bytes; 0: as many as there are
	Again  float64 // share of the loop's reads and writes that find nothing, though there is something
	Buffer int     // bytes in flight in each direction before a writer must wait; 0: 64 KiB
}

// Pipe returns both ends of a connection.
func Pipe(f Faults) (server *Stream, client *Conn) {
	if f.Buffer == 0 {
		f.Buffer = 64 << 10
	}
	p := &pipe{faults: f, random: rand.New(rand.NewPCG(f.Seed, 1))}
	p.changed.L = &p.mu
	return &Stream{p}, &Conn{p: p}
}

type pipe struct {
	mu       sync.Mutex
	changed  sync.Cond
	faults   Faults
	random   *rand.Rand
	toServer half
	toClient half
	ready    interface {
		StreamReadable()
		StreamWritable()
	}
	wantRead, wantWrite bool // the loop found nothing and waits to be told
}

// half is one direction.
type half struct {
	buf    []byte
	ended  bool // the writer will write no more
	broken bool // the reader is gone
}

func (p *pipe) cut(n int) int {
	if p.faults.Cut > 0 && n > 0 {
		return min(n, 1+p.random.IntN(p.faults.Cut))
	}
	return n
}

func (p *pipe) again() bool { return p.faults.Again > 0 && p.random.Float64() < p.faults.Again }

// tellLoop wakes the loop for what has become possible. The caller holds mu.
func (p *pipe) tellLoop() {
	if p.ready == nil {
		return
	}
	if p.wantRead && (len(p.toServer.buf) > 0 || p.toServer.ended) {
		p.wantRead = false
		p.ready.StreamReadable()
	}
	if p.wantWrite && (len(p.toClient.buf) < p.faults.Buffer || p.toClient.broken) {
		p.wantWrite = false
		p.ready.StreamWritable()
	}
}

// Stream is the loop's end; it implements loop.Stream.
type Stream struct{ p *pipe }

// Attach names the connection to be told of readiness.
func (s *Stream) Attach(c *loop.Conn) {
	s.p.mu.Lock()
	s.p.ready = c
	s.p.mu.Unlock()
}

// Read reads what there is, or a cut of it.
func (s *Stream) Read(b []byte) (int, error) {
	p := s.p
	p.mu.Lock()
	defer p.mu.Unlock()
	h := &p.toServer
	if len(h.buf) == 0 {
		if h.ended {
			return 0, io.EOF
		}
		p.wantRead = true
		return 0, loop.ErrAgain
	}
	if p.again() {
		p.ready.StreamReadable()
		return 0, loop.ErrAgain
	}
	n := copy(b[:min(len(b), p.cut(len(h.buf)))], h.buf)
	h.buf = h.buf[n:]
	if len(h.buf) == 0 {
		h.buf = nil
	}
	p.changed.Broadcast()
	return n, nil
}

// Write writes what fits, or a cut of it.
func (s *Stream) Write(b []byte) (int, error) {
	p := s.p
	p.mu.Lock()
	defer p.mu.Unlock()
	h := &p.toClient
	switch {
	case h.broken:
		return 0, io.ErrClosedPipe
	case h.ended:
		return 0, io.ErrClosedPipe
	case p.again():
		p.ready.StreamWritable()
		return 0, loop.ErrAgain
	}
	n := p.cut(min(len(b), p.faults.Buffer-len(h.buf)))
	h.buf = append(h.buf, b[:n]...)
	p.changed.Broadcast()
	if n == len(b) {
		return n, nil
	}
	p.wantWrite = true
	p.tellLoop()
	return n, loop.ErrAgain
}

// CloseWrite lets the client read to the end.
func (s *Stream) CloseWrite() error {
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	s.p.toClient.ended = true
	s.p.changed.Broadcast()
	return nil
}

// Close ends both directions. Input that was not read resets the connection, as a socket would: the client does not get
// what it has not read yet.
func (s *Stream) Close() error {
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	if len(s.p.toServer.buf) > 0 {
		s.p.toClient.buf = nil
	}
	s.p.toClient.ended = true
	s.p.toServer.broken = true
	s.p.changed.Broadcast()
	return nil
}

// Conn is the client's end, a net.Conn that blocks as usual.
type Conn struct {
	p                     *pipe
	readUntil, writeUntil time.Time // under p.mu
}

// Read blocks until there is something.
func (c *Conn) Read(b []byte) (int, error) {
	p := c.p
	p.mu.Lock()
	defer p.mu.Unlock()
	h := &p.toClient
	for len(h.buf) == 0 {
		switch {
		case h.broken:
			return 0, net.ErrClosed
		case h.ended:
			return 0, io.EOF
		case len(b) == 0:
			return 0, nil
		case passed(c.readUntil):
			return 0, os.ErrDeadlineExceeded
		}
		p.changed.Wait()
	}
	n := copy(b, h.buf)
	h.buf = h.buf[n:]
	if len(h.buf) == 0 {
		h.buf = nil
	}
	p.tellLoop()
	return n, nil
}

// Write blocks until everything is in flight.
func (c *Conn) Write(b []byte) (n int, err error) {
	p := c.p
	p.mu.Lock()
	defer p.mu.Unlock()
	h := &p.toServer
	for len(b) > 0 {
		switch {
		case h.broken || h.ended:
			return n, io.ErrClosedPipe
		case passed(c.writeUntil):
			return n, os.ErrDeadlineExceeded
		}
		m := min(len(b), p.faults.Buffer-len(h.buf))
		if m == 0 {
			p.changed.Wait()
			continue
		}
		h.buf = append(h.buf, b[:m]...)
		b = b[m:]
		n += m
		p.tellLoop()
	}
	return n, nil
}

// CloseWrite ends the client's direction.
func (c *Conn) CloseWrite() error {
	c.p.mu.Lock()
	defer c.p.mu.Unlock()
	c.p.toServer.ended = true
	c.p.tellLoop()
	return nil
}

// Close ends both directions.
func (c *Conn) Close() error {
	c.p.mu.Lock()
	defer c.p.mu.Unlock()
	c.p.toServer.ended = true
	c.p.toClient.broken = true
	c.p.toClient.buf = nil
	c.p.changed.Broadcast()
	c.p.tellLoop()
	return nil
}

func passed(t time.Time) bool { return !t.IsZero() && !time.Now().Before(t) }

// SetDeadline sets both deadlines.
func (c *Conn) SetDeadline(t time.Time) error {
	c.SetReadDeadline(t)
	return c.SetWriteDeadline(t)
}

// SetReadDeadline makes Read fail after t.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.setDeadline(&c.readUntil, t) }

// SetWriteDeadline makes Write fail after t.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.setDeadline(&c.writeUntil, t) }

func (c *Conn) setDeadline(d *time.Time, t time.Time) error {
	c.p.mu.Lock()
	defer c.p.mu.Unlock()
	*d = t
	c.p.changed.Broadcast()
	if !t.IsZero() {
		time.AfterFunc(time.Until(t), c.p.changed.Broadcast)
	}
	return nil
}

type addr struct{}

func (addr) Network() string { return "memory" }
func (addr) String() string  { return "memory" }

// LocalAddr returns a placeholder.
func (c *Conn) LocalAddr() net.Addr { return addr{} }

// RemoteAddr returns a placeholder.
func (c *Conn) RemoteAddr() net.Addr { return addr{} }

// RemoteAddr returns a placeholder.
func (s *Stream) RemoteAddr() net.Addr { return addr{} }
