package engine

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"zeroframe/internal/handshake"
	"zeroframe/internal/secure"
)

// toHTTP gives the connection, with what was read of it, to the engine's HTTP server and reports whether it could. refusal,
// if not nil, is the answer to its first request; to one that the loop found malformed only if net/http does not, and it is
// an upgrade for a route. Loop only.
func (c *Conn) toHTTP(read []byte, refusal *handshake.Refusal, malformed bool) bool {
	e := c.route.engine
	if e.http == nil || e.closing.Load() {
		return false
	}
	e.group.CountOutside(1)
	h, err := c.detach()
	if err != nil {
		e.group.CountOutside(-1)
		return false
	}
	h.unread = bytes.Clone(read)
	h.refusal, h.malformed = refusal, malformed
	if r := c.rare.Load(); r != nil {
		h.seat.release, r.release = r.release, nil
	}
	c.dropAssembly()
	c.step(evHandOver)
	c.shard().count.HandedOver++
	e.http.incoming.push(h)
	c.lc.Loop().Yield() // Accept was woken
	return true
}

// decided returns the refusal in err if it is that of an upgrade. Of a request that no route is there for nothing is
// decided.
func decided(err error) *handshake.Refusal {
	if none := (*noRoute)(nil); errors.As(err, &none) {
		return nil
	}
	return asRefusal(err)
}

// detach takes the connection away from its loop. What it returns becomes a net.Conn by its open method.
func (c *Conn) detach() (*handedConn, error) {
	s, secured := c.lc.Stream().(*secure.Stream)
	if !secured && c.lc.Stream() != nil {
		return nil, fmt.Errorf("engine: a %T has no net.Conn", c.lc.Stream())
	}
	fd, err := c.lc.Detach()
	if err != nil {
		return nil, err
	}
	if secured {
		s.Leave()
	}
	return &handedConn{fd: fd, secure: s, remote: c.proxiedFrom(), seat: seat{engine: c.route.engine, counts: true, awaited: true}}, nil
}

// open makes the net.Conn of what detach took from a loop: h, or, where HTTP/2 was agreed on, the tls.Conn that net/http
// wants to see, and h under it. On error the peer has been refused. It makes system calls, and runs on the goroutine of
// the HTTP server.
func (h *handedConn) open() (net.Conn, error) {
	nc, err := h.seat.engine.group.NetConn(h.fd, h.unavailable())
	switch {
	case err != nil:
		return nil, err
	case h.secure == nil:
		h.Conn = nc
		return h, nil
	}
	state := h.secure.ConnectionState()
	if state.NegotiatedProtocol == http2Protocol {
		h.Conn = nc
		return h.secure.Release(h), nil
	}
	h.tls = &state
	h.Conn = h.secure.Release(nc)
	return h, nil
}

// http2Protocol is the name of HTTP/2 in ALPN (RFC 9113, section 3.2).
const http2Protocol = "h2"

// refuse ends a connection that open was not called for.
func (h *handedConn) refuse() {
	h.seat.engine.group.Refuse(h.fd, h.unavailable())
	h.seat.leave()
}

// unavailable is what a peer is told that cannot be served; nothing where it expects TLS.
func (h *handedConn) unavailable() []byte {
	if h.secure != nil {
		return nil
	}
	return handshake.AppendRefusal(nil, handshake.ErrUnavailable, time.Now())
}

// handOver is the listener of an engine's HTTP server: loops push connections into it, and Accept makes net.Conns of them.
type handOver struct {
	engine *Engine
	some   sync.Cond
	mu     sync.Mutex
	list   []*handedConn // bounded by WithMaxConns
	closed bool
}

func (q *handOver) init(e *Engine) {
	q.engine = e
	q.some.L = &q.mu
}

// push gives a connection to Accept, or refuses it after Close. It does not block.
func (q *handOver) push(h *handedConn) {
	q.mu.Lock()
	closed := q.closed
	if !closed {
		q.list = append(q.list, h)
	}
	q.mu.Unlock()
	if closed {
		h.refuse()
		return
	}
	q.some.Signal()
}

// Accept returns the next connection, a *handedConn or, for HTTP/2, a *tls.Conn, or net.ErrClosed after Close.
func (q *handOver) Accept() (net.Conn, error) {
	for {
		h := q.next()
		if h == nil {
			return nil, net.ErrClosed
		}
		nc, err := h.open()
		if err == nil {
			return nc, nil
		}
		q.engine.config.logger.Warn("connection could not be handed to net/http", slog.Any("error", err))
		h.seat.leave()
	}
}

func (q *handOver) next() *handedConn {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.list) == 0 && !q.closed {
		q.some.Wait()
	}
	if q.closed {
		return nil
	}
	h := q.list[0]
	q.list[0] = nil
	if q.list = q.list[1:]; len(q.list) == 0 {
		q.list = nil // its array is not grown for ever
	}
	return h
}

// Close ends Accept and refuses what it has not taken.
func (q *handOver) Close() error {
	q.mu.Lock()
	q.closed = true
	list := q.list
	q.list = nil
	q.mu.Unlock()
	q.some.Broadcast()
	for _, h := range list {
		h.refuse()
	}
	return nil
}

// Addr names the listener; it has no address of its own.
func (q *handOver) Addr() net.Addr { return handOverAddr{} }

type handOverAddr struct{}

func (handOverAddr) Network() string { return "zeroframe" }
func (handOverAddr) String() string  { return "connections handed over" }
