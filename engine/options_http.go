package engine

import (
	"net/http"
	"time"
)

// DefaultHTTPIdleTimeout is how long a connection that net/http serves may be idle between two requests.
const DefaultHTTPIdleTimeout = 2 * time.Minute

// WithHTTPHandler serves with h every request on the engine's port that opens no WebSocket: those for paths without a
// route, those for a route's path that ask for no upgrade, and all that come on their connection after them. Such a
// connection is handed, with what was read of it, to a net/http Server of the engine's: keep-alive, pipelining, bodies
// and malformed heads are its affair, and h may do whatever a net/http handler may, Hijack included. A request on that
// connection that is an upgrade for a route of the engine still opens a WebSocket, at the cost of a native one; OnUpgrade
// and WithCheckOrigin's function run on the goroutine of the request then, and h does not see it. An upgrade that is
// refused leaves the connection usable. See docs/http.md.
//
// The connection counts for WithMaxConns until it closes, and the release that WithAcceptHook's function returned is
// called then.
// Shutdown waits for the requests that are being answered, not for connections that h hijacked. A head that does not
// arrive within WithHandshakeTimeout is answered 408 by the engine itself. Default: none, and such requests are refused
// by the engine with 404, 405 or 426. See WithHTTPServer for timeouts.
func WithHTTPHandler(h http.Handler) Option {
	return engineOption(func(c *config) error {
		if h == nil {
			return &OptionError{"WithHTTPHandler", "nil"}
		}
		c.httpHandler = h
		return nil
	})
}

// WithHTTPServer has configure change the http.Server behind WithHTTPHandler, once, inside New: its timeouts, its limits,
// its Protocols, ConnContext and so on. It is given one with ReadHeaderTimeout as WithHandshakeTimeout says (default
// 10 s), IdleTimeout DefaultHTTPIdleTimeout (2 min), MaxHeaderBytes such that a head is too large there when it is for
// WithMaxHead, but no less than 4 KiB, and an ErrorLog that writes to WithLogger's at level Error; ReadTimeout and
// WriteTimeout are off. None of its timeouts apply to a connection once it is a WebSocket. What configure sets as Handler
// or Addr has no effect. Without WithHTTPHandler New fails.
func WithHTTPServer(configure func(*http.Server)) Option {
	return engineOption(func(c *config) error {
		if configure == nil {
			return &OptionError{"WithHTTPServer", "nil"}
		}
		c.httpConfigure = configure
		return nil
	})
}
