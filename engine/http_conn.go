package engine

import (
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"zeroframe/internal/handshake"
	"zeroframe/internal/secure"
)

// handedConn is a connection that a loop has handed to net/http. It is the net.Conn it embeds with, in front of what that
// will read, what the loop had read. It has a seat in the engine's books until it is closed, or goes back to a loop.
type handedConn struct {
	net.Conn  // nil before open
	fd        int
	remote    net.Addr             // the peer's address where it is not Conn's: behind a proxy that told us; nil: it is
	secure    *secure.Stream       // what stood on the descriptor; nil: nothing
	tls       *tls.ConnectionState // of Conn, which is a tls.Conn then; else nil
	refusal   *handshake.Refusal   // how to answer the first request; used by its handler
	malformed bool                 // refusal is for an upgrade alone: the loop found the head malformed
	seat      seat

	mu     sync.Mutex
	unread []byte    // what the loop had read, less what Read has returned
	readBy time.Time // the read deadline, as long as there is something unread
}

// Read returns what the loop had read, and then what comes.
func (h *handedConn) Read(p []byte) (int, error) {
	h.mu.Lock()
	if len(h.unread) == 0 || len(p) == 0 {
		h.mu.Unlock()
		return h.Conn.Read(p)
	}
	defer h.mu.Unlock()
	if !h.readBy.IsZero() && !time.Now().Before(h.readBy) {
		return 0, os.ErrDeadlineExceeded
	}
	n := copy(p, h.unread)
	if h.unread = h.unread[n:]; len(h.unread) == 0 {
		h.unread = nil
	}
	return n, nil
}

// takeUnread returns what Read would return first, and takes it out.
func (h *handedConn) takeUnread() []byte {
	h.mu.Lock()
	defer h.mu.Unlock()
	b := h.unread
	h.unread = nil
	return b
}

// ReadFrom lets net/http send files by sendfile.
func (h *handedConn) ReadFrom(r io.Reader) (int64, error) {
	if to, ok := h.Conn.(io.ReaderFrom); ok {
		return to.ReadFrom(r)
	}
	return io.Copy(h.Conn, r)
}

// CloseWrite ends our direction.
func (h *handedConn) CloseWrite() error {
	if half, ok := h.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

// SetDeadline sets both deadlines, also for what the loop had read.
func (h *handedConn) SetDeadline(t time.Time) error {
	h.keepDeadline(t)
	return h.Conn.SetDeadline(t)
}

// SetReadDeadline sets that of Read, also for what the loop had read.
func (h *handedConn) SetReadDeadline(t time.Time) error {
	h.keepDeadline(t)
	return h.Conn.SetReadDeadline(t)
}

func (h *handedConn) keepDeadline(t time.Time) {
	h.mu.Lock()
	h.readBy = t
	h.mu.Unlock()
}

// RemoteAddr returns the peer's address.
func (h *handedConn) RemoteAddr() net.Addr {
	if h.remote != nil {
		return h.remote
	}
	return h.Conn.RemoteAddr()
}

// Close closes the connection and takes it off the engine's books.
func (h *handedConn) Close() error {
	err := h.Conn.Close()
	h.seat.leave()
	return err
}

// hijacked says that net/http, and so Shutdown, is no longer concerned with the connection.
func (h *handedConn) hijacked() { h.seat.excuse() }

// handedBack ends the connection's time with net/http. When no loop could take it, it is still to be closed, and what the
// accept hook wants called is called then.
func (h *handedConn) handedBack(c *Conn, taken bool) {
	if taken {
		h.seat.excuse()
		return
	}
	if r := c.rare.Load(); r != nil {
		h.seat.mu.Lock()
		h.seat.release, r.release = r.release, nil
		h.seat.mu.Unlock()
	}
}

// seat is the place of a connection in the engine's books while net/http has it.
type seat struct {
	engine *Engine

	mu      sync.Mutex
	counts  bool   // for MaxConns and Stats
	awaited bool   // by Shutdown
	release func() // what the accept hook wants called at the end
}

// vacate takes the connection out of the counts. It returns what the accept hook wants called, which is the caller's affair
// then: to call it, or to give it to the loop that the connection lives on in. The caller ends with excuse.
func (s *seat) vacate() (release func()) {
	s.mu.Lock()
	counts := s.counts
	s.counts = false
	release, s.release = s.release, nil
	s.mu.Unlock()
	if counts {
		s.engine.group.CountOutside(-1)
	}
	return release
}

// excuse takes the connection off the list of those that Shutdown waits for.
func (s *seat) excuse() {
	s.mu.Lock()
	awaited := s.awaited
	s.awaited = false
	s.mu.Unlock()
	if awaited {
		s.engine.connEnded()
	}
}

// leave takes the connection off the books, for it has ended. Later calls do nothing.
func (s *seat) leave() {
	defer s.excuse()
	release := s.vacate()
	if release == nil {
		return
	}
	defer func() {
		if v := recover(); v != nil {
			s.engine.config.logger.Error("panic in the accept hook's release", slog.Any("panic", v))
		}
	}()
	release()
}
