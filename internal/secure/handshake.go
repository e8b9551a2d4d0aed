package secure

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime/debug"
	"strings"
	"sync"

	"zeroframe/internal/loop"
)

// Turns bounds how many handshakes compute at once, so that many of them do not keep the loops from their processors. A
// turn is given back while the handshake waits for its peer.
type Turns chan struct{}

func (t Turns) take() {
	if t != nil {
		t <- struct{}{}
	}
}

func (t Turns) giveBack() {
	if t != nil {
		<-t
	}
}

// Server makes the streams of a listener's connections.
type Server struct {
	config *tls.Config
	turns  Turns
	lend   bool
	done   func(c *loop.Conn, err error)
}

// NewServer returns a Server with a configuration that must not be changed any more. done is called on the connection's
// loop when its handshake is over: err says why it failed. The callbacks of the configuration that may wait, for a
// certificate to be fetched or to be looked up among the revoked, do so without a turn.
func NewServer(config *tls.Config, turns Turns, done func(c *loop.Conn, err error)) *Server {
	config = withoutTurns(config, turns)
	if get := config.GetConfigForClient; get != nil {
		config.GetConfigForClient = withoutTurn(turns, func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			own, err := get(hello)
			if own != nil {
				own = withoutTurns(own, turns)
			}
			return own, err
		})
	}
	return &Server{config: config, turns: turns, done: done}
}

// Lend makes connections keep no buffers of their own, where Lendable; before the first of them.
func (s *Server) Lend() { s.lend = Lendable() }

// withoutTurns returns a copy of config whose callbacks wait without a turn.
func withoutTurns(config *tls.Config, turns Turns) *tls.Config {
	config = config.Clone()
	if get := config.GetCertificate; get != nil {
		config.GetCertificate = withoutTurn(turns, get)
	}
	if get := config.GetEncryptedClientHelloKeys; get != nil {
		config.GetEncryptedClientHelloKeys = withoutTurn(turns, get)
	}
	if verify := config.VerifyPeerCertificate; verify != nil {
		config.VerifyPeerCertificate = func(raw [][]byte, chains [][]*x509.Certificate) error {
			return turns.apart(func() error { return verify(raw, chains) })
		}
	}
	if verify := config.VerifyConnection; verify != nil {
		config.VerifyConnection = func(state tls.ConnectionState) error {
			return turns.apart(func() error { return verify(state) })
		}
	}
	return config
}

// withoutTurn makes of a callback one that is called apart.
func withoutTurn[T any](turns Turns, f func(*tls.ClientHelloInfo) (T, error)) func(*tls.ClientHelloInfo) (T, error) {
	return func(hello *tls.ClientHelloInfo) (v T, err error) {
		err = turns.apart(func() (err error) {
			v, err = f(hello)
			return err
		})
		return v, err
	}
}

// apart calls a callback, with the turn given back meanwhile. It fails when f panics: then tls tells the peer.
func (t Turns) apart(f func() error) (err error) {
	t.giveBack()
	defer func() {
		t.take()
		if p := recover(); p != nil {
			err = &PanicError{p, debug.Stack()}
		}
	}()
	return f()
}

// PanicError is what a handshake fails with when a callback of the configuration panics.
type PanicError struct {
	Value any
	Stack []byte
}

// Error tells the value.
func (e *PanicError) Error() string { return fmt.Sprintf("panic in a TLS handshake: %v", e.Value) }

// Stream returns the stream of a new connection; lower is what it stands on, nil for a descriptor.
func (s *Server) Stream(lower loop.Stream) *Stream {
	h := &handshake{server: s}
	h.changed.L = &h.mu
	w := &Wire{lower: lower, turns: s.turns}
	w.hs.Store(h)
	w.phase.Store(uint32(waiting))
	w.tls = tls.Server(w, s.config)
	return (*Stream)(w)
}

// handshake is what a connection has until its handshake is over. The loop reads and writes the descriptor; a goroutine,
// started when the first bytes come, runs the handshake and waits for the loop here.
type handshake struct {
	server  *Server
	mu      sync.Mutex
	changed sync.Cond
	in      []byte // read, and not yet taken
	out     []byte // to be written
	err     error  // why nothing more will be read
	gone    bool   // the connection was closed
	full    bool   // the loop rests from reading
	cancel  func() // of the context that callbacks are given; nil until there is one
}

// maxAhead is how many bytes the loop reads ahead of a handshake: two records.
const maxAhead = 32 << 10

// feed reads from the descriptor for the handshake. Loop only.
func (w *Wire) feed(buf []byte) error {
	h := w.hs.Load()
	for {
		h.mu.Lock()
		room := maxAhead - len(h.in)
		h.mu.Unlock()
		if room <= 0 {
			return loop.ErrAgain
		}
		n, err := w.readBelow(buf[:min(len(buf), room)])
		if n == 0 && (err == loop.ErrAgain || w.is(waiting)) {
			return err
		}
		h.mu.Lock()
		h.in = append(h.in, buf[:n]...)
		if n == 0 {
			h.err = err
			if h.broken() && h.cancel != nil {
				h.cancel()
			}
		}
		h.full = n == 0 || len(h.in) >= maxAhead
		rest := h.full
		h.changed.Broadcast()
		h.mu.Unlock()
		if w.is(waiting) {
			w.phase.Store(uint32(handshaking))
			go w.shake()
		}
		if rest {
			w.c.PauseReading()
			return loop.ErrAgain
		}
	}
}

var errLeft = errors.New("secure: a callback ended the goroutine of its handshake")

// shake runs the handshake.
func (w *Wire) shake() {
	ctx := w.hs.Load().context()
	w.turns.take()
	err := errLeft
	defer func() {
		if v := recover(); v != nil {
			err = &PanicError{v, debug.Stack()}
		}
		w.turns.giveBack()
		w.c.Loop().Do(func() { w.shaken(err) })
	}()
	err = w.tls.HandshakeContext(ctx)
}

// context returns one that ends with the connection, for callbacks that wait.
func (h *handshake) context() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	h.mu.Lock()
	defer h.mu.Unlock()
	h.cancel = cancel
	if h.gone || h.broken() {
		cancel()
	}
	return ctx
}

// broken reports whether the peer is gone: at the mere end of its stream there may still be somebody to answer. The caller
// holds mu.
func (h *handshake) broken() bool { return h.err != nil && h.err != io.EOF }

// read gives the handshake what the loop has read, and waits for it, without a turn.
func (h *handshake) read(w *Wire, p []byte) (int, error) {
	h.mu.Lock()
	if len(h.in) == 0 && h.err == nil && !h.gone {
		h.mu.Unlock()
		w.turns.giveBack()
		h.mu.Lock()
		for len(h.in) == 0 && h.err == nil && !h.gone {
			h.changed.Wait()
		}
		h.mu.Unlock()
		w.turns.take()
		h.mu.Lock()
	}
	defer h.mu.Unlock()
	switch {
	case h.gone:
		return 0, net.ErrClosed
	case len(h.in) == 0:
		return 0, h.err
	}
	n := w.portion(p, h.in)
	h.in = h.in[n:]
	if h.full && h.err == nil && len(h.in) < maxAhead/2 {
		h.full = false
		w.c.Loop().Do(func() {
			if w.is(handshaking) {
				w.c.ResumeReading()
				w.c.StreamReadable() // no event announces what had come by then
			}
		})
	}
	return n, nil
}

// write takes what the handshake has to say.
func (h *handshake) write(w *Wire, p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.gone {
		return 0, net.ErrClosed
	}
	h.out = append(h.out, p...)
	w.c.StreamWritable()
	return len(p), nil
}

func (h *handshake) holds() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.out) > 0
}

// abandon ends the handshake, and what its callbacks wait for, when the connection has ended.
func (h *handshake) abandon() {
	h.leave()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.cancel != nil {
		h.cancel()
	}
}

// leave makes the handshake fail.
func (h *handshake) leave() {
	h.mu.Lock()
	h.gone = true
	h.changed.Broadcast()
	h.mu.Unlock()
}

// pushHandshake writes what the handshake has said. Loop only.
func (w *Wire) pushHandshake() error {
	h := w.hs.Load()
	h.mu.Lock()
	defer h.mu.Unlock()
	n, err := w.writeBelow(h.out)
	h.out = h.out[n:]
	return err
}

// shaken acts on the end of the handshake. Loop only.
func (w *Wire) shaken(err error) {
	if !w.is(handshaking) {
		return
	}
	h := w.hs.Load()
	w.hs.Store(nil)
	h.cancel()
	if l, ok := w.lower.(interface{ Ready() bool }); ok && l.Ready() {
		w.lower = nil // it had something to read before us, and has done its part
	}
	if err == nil {
		w.in = h.in
		w.more = true // tls may have bytes already, and there may be some behind the handshake
		if h.server.lend {
			w.beginLending()
		}
		w.phase.Store(uint32(open))
	} else {
		h.out = append(h.out, plainAnswer(err)...)
		w.phase.Store(uint32(failed))
	}
	if len(h.out) > 0 {
		w.keep(h.out)
		w.push() // what is left holds output
	}
	w.c.ResumeReading()
	w.c.StreamReadable()
	w.c.StreamWritable()
	h.server.done(w.c, err) // last, for it may take the connection away
}

// plainAnswer is what a client is told that speaks HTTP where TLS is spoken: the words of net/http.
func plainAnswer(err error) string {
	var e tls.RecordHeaderError
	if !errors.As(err, &e) || e.Conn == nil {
		return ""
	}
	switch start := string(e.RecordHeader[:]); {
	case start == "GET /", start == "HEAD ", start == "POST ", start == "PUT /", start == "OPTIO", strings.HasPrefix(start, "PRI *"):
		return "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n"
	}
	return ""
}
