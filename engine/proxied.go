package engine

import (
	"log/slog"
	"net"

	"zeroframe/internal/loop"
	"zeroframe/internal/proxied"
)

// behindProxies makes what stands on the descriptor of each connection of a listener: what reads its PROXY header, if
// WithProxyProtocol wants one, and layer on that, if it is not nil.
func (e *Engine) behindProxies(layer func(lower loop.Stream) loop.Stream) func() loop.Stream {
	trusted := e.config.trustedProxies
	switch {
	case trusted == nil && layer == nil:
		return nil
	case trusted == nil:
		return func() loop.Stream { return layer(nil) }
	}
	policy := proxied.NewPolicy(trusted, e.announced)
	if layer == nil {
		return func() loop.Stream { return policy.Stream() }
	}
	return func() loop.Stream { return layer(policy.Stream()) }
}

// proxiedFrom returns the source in the connection's PROXY header, nil if there was none.
func (c *Conn) proxiedFrom() net.Addr {
	if r := c.rare.Load(); r != nil && r.named != nil {
		return r.named.remote
	}
	return nil
}

// announced keeps the source in a connection's PROXY header; nil: the peer's own address counts. err says that it has no
// header, and is closed. Loop only.
func (e *Engine) announced(lc *loop.Conn, src net.Addr, err error) {
	if err != nil {
		lc.Loop().Local().(*shard).count.ProxyFailures++
		e.config.logger.Debug("no PROXY header", slog.Any("error", err), slog.Any("remote", lc.RemoteAddr()))
		return
	}
	c := (*Conn)(lc.Endpoint().(*endpoint))
	if src != nil {
		c.naming().remote = src
	}
	if e.closing.Load() { // it could not be told before
		c.shutDown()
	}
}
