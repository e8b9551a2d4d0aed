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
)

// toHTTP gives the connection, with what was read of it, to the engine's HTTP server and reports whether it could. refusal,
// if not nil, is the answer to its first request. Loop only.
func (c *Conn) toHTTP(read []byte, refusal *handshake.Refusal) bool {
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
	h.refusal = refusal
	if r := c.rare.Load(); r != nil {
		h.seat.release, r.release = r.release, nil
	}
	c.dropAssembly()
	c.step(evHandOver)
	c.shard().count.HandedOver++
	e.http.incoming.push(h)
	return true
}

// decided returns the refusal in err if it is that of an upgrade. Of a request that no route is there for nothing is
// decided.
func decided(err error) *handshake.Refusal {
	var none *noRoute
	var refusal *handshake.Refusal
	if errors.As(err, &none) || !errors.As(err, &refusal) {
		return nil
	}
	return refusal
}

// detach takes the connection away from its loop. What it returns becomes a net.Conn by its open method.
func (c *Conn) detach() (*handedConn, error) {
	if s := c.lc.Stream(); s != nil {
		return nil, fmt.Errorf("engine: a %T has no net.Conn", s)
	}
	fd, err := c.lc.Detach()
	if err != nil {
		return nil, err
	}
	return &handedConn{fd: fd, seat: seat{engine: c.route.engine, counts: true, awaited: true}}, nil
}

// open makes the net.Conn of what detach took from a loop. On error the peer has been refused. It makes system calls, and
// runs on the goroutine of the HTTP server.
func (h *handedConn) open() (err error) {
	h.Conn, err = h.seat.engine.group.NetConn(h.fd, unavailable())
	return err
}

// refuse ends a connection that open was not called for.
func (h *handedConn) refuse() {
	h.seat.engine.group.Refuse(h.fd, unavailable())
	h.seat.leave()
}

func unavailable() []byte { return handshake.AppendRefusal(nil, handshake.ErrUnavailable, time.Now()) }

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

// Accept returns the next connection, a *handedConn, or net.ErrClosed after Close.
func (q *handOver) Accept() (net.Conn, error) {
	for {
		h := q.next()
		if h == nil {
			return nil, net.ErrClosed
		}
		err := h.open()
		if err == nil {
			return h, nil
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
