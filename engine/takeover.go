package engine

import (
	"crypto/tls"
	"errors"
	"net"
	"slices"

	"zeroframe/internal/loop"
	"zeroframe/internal/netconn"
	"zeroframe/internal/secure"
	"zeroframe/pool"
)

// takeOver gives c, whose handshake was made on nc by other means, to a loop, which parses rest first: bytes read from nc
// behind the handshake. nc is closed, or the loop's. On error nc is still the caller's to close, and c off the books.
// Any goroutine.
func (e *Engine) takeOver(c *Conn, nc net.Conn, rest []byte) error {
	h, _ := nc.(*handedConn)
	if h != nil { // one of ours, on its way back
		nc = h.Conn
		rest = append(slices.Clip(rest), h.takeUnread()...) // which had not been read by whoever read rest
		if release := h.seat.vacate(); release != nil {
			c.more().release = release
		}
		if h.remote != nil {
			c.naming().remote = h.remote
		}
	}
	if len(rest) > 0 {
		stash := pool.Get(len(rest))
		stash.B = append(stash.B, rest...)
		c.more().stash = stash
	}
	err := e.started(c, func(c *Conn) error { return e.adopt(c, nc) })
	if err != nil {
		c.lc.Abandon()
		if len(rest) > 0 {
			pool.Put(c.more().stash)
		}
	}
	if h != nil {
		h.handedBack(c, err == nil)
	}
	if errors.Is(err, loop.ErrClosed) {
		return ErrServerClosed
	}
	return err
}

// adopt picks what of nc the loop can work with: its descriptor, or else nc itself, fed by goroutines.
func (e *Engine) adopt(c *Conn, nc net.Conn) error {
	switch nc := nc.(type) {
	case *net.TCPConn, *net.UnixConn:
		return e.group.Adopt(&c.lc, nc, nil)
	case *secure.Wire: // from a wrapped listener, without TLS
		return e.adopt(c, nc.Under())
	case *tls.Conn:
		if s, under, ok := secure.Adopt(nc); ok {
			switch under.(type) {
			case *net.TCPConn, *net.UnixConn:
				if e.config.tlsRelease {
					s.Lend()
				}
				err := e.group.Adopt(&c.lc, under, s)
				if err != nil {
					s.Release(under)
				}
				return err
			}
			s.Release(under)
		}
	}
	return e.group.NewStreamConn(&c.lc, netconn.New(nc))
}
