package netconn

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"zeroframe/internal/loop"
	"zeroframe/pool"
)

func TestMain(m *testing.M) {
	pool.Verify(true)
	os.Exit(m.Run())
}

// signals stands for the loop's connection: it counts what it is told.
type signals struct {
	mu                 sync.Mutex
	readable, writable int
}

func (s *signals) StreamReadable() { s.mu.Lock(); s.readable++; s.mu.Unlock() }
func (s *signals) StreamWritable() { s.mu.Lock(); s.writable++; s.mu.Unlock() }

func (s *signals) counts() (readable, writable int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.readable, s.writable
}

// over returns a Stream over nc that tells signals.
func over(nc net.Conn) (*Stream, *signals) {
	s, told := New(nc), new(signals)
	s.ready = told
	return s, told
}

// settled runs f with a clock of its own, on which synctest.Wait waits until nothing moves any more. When f has returned,
// no goroutine may be left and no pooled buffer out.
func settled(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, f)
	if out := pool.Outstanding(); len(out) != 0 {
		t.Errorf("buffers still out: %v", out)
	}
}

// dropped reports whether the connection was told to close.
func (s *Stream) dropped() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// resting reports whether there is neither a writer nor anything for it.
func (s *Stream) resting() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.writing && s.out == nil && s.pending == 0
}

// closeIt ends s and whatever its tests have left pending.
func closeIt(s *Stream, peer io.Closer) {
	s.Close()
	peer.Close()
	synctest.Wait()
}

// readNow is a Read of the loop's when everything that may happen before it has happened.
func readNow(s *Stream, size int) (string, error) {
	synctest.Wait()
	b := make([]byte, size)
	n, err := s.Read(b)
	return string(b[:n]), err
}

func numbered(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*31 ^ i>>8)
	}
	return b
}

// scripted is a net.Conn whose calls do what the test says, and end with Close unless they are told not to.
type scripted struct {
	read       func([]byte) (int, error) // nil: blocks
	write      func([]byte) (int, error) // nil: blocks
	shut       chan struct{}             // closed by Close
	closeHangs chan struct{}             // Close waits for this, unless nil

	mu        sync.Mutex
	closes    int
	deadlines []time.Time
}

func newScripted() *scripted { return &scripted{shut: make(chan struct{})} }

func (c *scripted) do(f func([]byte) (int, error), b []byte) (int, error) {
	select {
	case <-c.shut:
		return 0, net.ErrClosed
	default:
	}
	if f != nil {
		return f(b)
	}
	<-c.shut
	return 0, net.ErrClosed
}

func (c *scripted) Read(b []byte) (int, error)  { return c.do(c.read, b) }
func (c *scripted) Write(b []byte) (int, error) { return c.do(c.write, b) }

func (c *scripted) Close() error {
	c.mu.Lock()
	c.closes++
	first := c.closes == 1
	c.mu.Unlock()
	if !first {
		return errors.New("closed twice")
	}
	if c.closeHangs != nil {
		<-c.closeHangs
	}
	close(c.shut)
	return nil
}

func (c *scripted) SetDeadline(t time.Time) error      { c.deadlines = append(c.deadlines, t); return nil }
func (c *scripted) SetReadDeadline(t time.Time) error  { return errors.ErrUnsupported }
func (c *scripted) SetWriteDeadline(t time.Time) error { return errors.ErrUnsupported }
func (c *scripted) LocalAddr() net.Addr                { return &net.UnixAddr{Name: "ours", Net: "unix"} }
func (c *scripted) RemoteAddr() net.Addr               { return &net.UnixAddr{Name: "theirs", Net: "unix"} }

// closed reports how often the connection was closed.
func (c *scripted) closed() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closes
}

// half is a connection that can end one direction: it says so in what is written.
type half struct {
	net.Conn
	err error
}

func (c half) CloseWrite() error {
	fmt.Fprint(c.Conn, "<end>")
	return c.err
}

var _ interface {
	StreamReadable()
	StreamWritable()
} = (*loop.Conn)(nil)
