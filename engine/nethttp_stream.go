package engine

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"zeroframe/internal/handshake"
)

// requestStream is the stream of an extended CONNECT (RFC 8441) as a net.Conn: the request's body to read, the answer's to
// write. net/http takes both back, and ends the stream, when the request's handler returns; so that waits for the end of
// the connection, and for calls that are still in them.
type requestStream struct {
	request *http.Request
	w       http.ResponseWriter // the innermost: middleware has no part in a stream, as in a hijacked connection
	control *http.ResponseController

	mu      sync.Mutex
	calls   int  // running, of methods that use w or the body
	writing bool // Write is one of them
	ended   bool
	idle    chan struct{} // closed when ended, and no call runs
}

// answerConnect answers an extended CONNECT with 200, and returns its stream. header is added to the answer.
func answerConnect(w http.ResponseWriter, r *http.Request, protocol, extensions string, header http.Header) (
	net.Conn, error) {
	for {
		under, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			break
		}
		w = under.Unwrap()
	}
	if !flushes(w) {
		return nil, fmt.Errorf("engine: the stream under a %T cannot be taken over: %w", w, http.ErrNotSupported)
	}
	s := &requestStream{request: r, w: w, control: http.NewResponseController(w), idle: make(chan struct{})}
	w.Header().Del("Content-Type")
	w.Header().Del("Content-Encoding")
	handshake.SetConnected(w.Header(), protocol, extensions, header)
	w.WriteHeader(http.StatusOK)
	if err := s.control.Flush(); err != nil {
		return nil, err // the client has gone
	}
	return s, nil
}

func flushes(w http.ResponseWriter) bool {
	switch w.(type) {
	case http.Flusher, interface{ FlushError() error }:
		return true
	}
	return false
}

// wait returns when net/http may have the stream back.
func (s *requestStream) wait() { <-s.idle }

// begin admits a call that uses w or the body. The caller ends it with done.
func (s *requestStream) begin(writing bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return false
	}
	s.calls++
	s.writing = s.writing || writing
	return true
}

// done ends a call and reports whether the stream has been closed meanwhile.
func (s *requestStream) done(writing bool) (ended bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if writing {
		s.writing = false
	}
	if s.calls--; s.ended && s.calls == 0 {
		close(s.idle)
	}
	return s.ended
}

// Read reads from the request's body.
func (s *requestStream) Read(p []byte) (int, error) {
	if !s.begin(false) {
		return 0, io.EOF
	}
	n, err := s.request.Body.Read(p)
	if s.done(false) && err != nil { // it is we who have closed the body
		err = io.EOF
	}
	return n, err
}

// Write writes to the answer, all the way to the client. One goroutine at a time may call it.
func (s *requestStream) Write(p []byte) (int, error) {
	if !s.begin(true) {
		return 0, net.ErrClosed
	}
	defer s.done(true)
	n, err := s.w.Write(p)
	if err == nil {
		err = s.control.Flush()
	}
	return n, err
}

// CloseWrite ends the stream: net/http ends one direction of it only together with the other.
func (s *requestStream) CloseWrite() error { return s.Close() }

// Close ends the stream. Calls that are running fail.
func (s *requestStream) Close() error {
	s.mu.Lock()
	first, writing := !s.ended, s.writing
	s.ended = true
	if first {
		s.calls++ // this one
	}
	s.mu.Unlock()
	if !first {
		return nil
	}
	defer s.done(false)
	s.request.Body.Close()
	if writing {
		s.control.SetWriteDeadline(time.Unix(1, 0)) // resets the stream
	}
	return nil
}

// SetDeadline sets both deadlines: those of the server's, for a request, are not for the life of a connection.
func (s *requestStream) SetDeadline(t time.Time) error {
	if err := s.SetReadDeadline(t); err != nil {
		return err
	}
	return s.SetWriteDeadline(t)
}

// SetReadDeadline ends the stream's reading at t.
func (s *requestStream) SetReadDeadline(t time.Time) error {
	return s.setDeadline(t, s.control.SetReadDeadline)
}

// SetWriteDeadline resets the stream at t.
func (s *requestStream) SetWriteDeadline(t time.Time) error {
	return s.setDeadline(t, s.control.SetWriteDeadline)
}

func (s *requestStream) setDeadline(t time.Time, set func(time.Time) error) error {
	if !s.begin(false) {
		return net.ErrClosed
	}
	defer s.done(false)
	return set(t)
}

// RemoteAddr returns the peer's address, or what middleware has put in its place.
func (s *requestStream) RemoteAddr() net.Addr {
	if a, err := netip.ParseAddrPort(s.request.RemoteAddr); err == nil {
		return net.TCPAddrFromAddrPort(a)
	}
	return requestAddr(s.request.RemoteAddr)
}

// LocalAddr returns the server's address.
func (s *requestStream) LocalAddr() net.Addr {
	if a, ok := s.request.Context().Value(http.LocalAddrContextKey).(net.Addr); ok {
		return a
	}
	return requestAddr("")
}

// TLS returns what the TLS handshake of the connection under the stream agreed on; nil without TLS.
func (s *requestStream) TLS() *tls.ConnectionState { return s.request.TLS }

// requestAddr is an address that is not a TCP address.
type requestAddr string

func (requestAddr) Network() string  { return "http" }
func (a requestAddr) String() string { return string(a) }
