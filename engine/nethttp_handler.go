package engine

import (
	"net/http"

	"zeroframe/frame"
)

// Handler returns an http.Handler that upgrades requests and serves their connections with h, for use in any router of
// net/http's kind. Middleware before it may wrap the ResponseWriter, as long as the wrapper can be hijacked or has an
// Unwrap method (see http.ResponseController); behind one that does neither, http.TimeoutHandler say, the answer is 500.
//
// The request is judged as on a route of the engine's own; which path it is for is the router's affair. OnUpgrade and
// WithCheckOrigin's function run on the goroutine of the request, several at once, and their panics are the router's.
// The fields that middleware has set for the answer go out with the 101, Content-Type and Content-Encoding excepted. Then
// the connection is taken from net/http and belongs to a loop: no goroutine stays, ServeHTTP returns at once, and
// http.Server.Shutdown does not know of it any more, nor do the server's timeouts. A refused request leaves the HTTP
// connection usable.
//
// WithMaxConns is heeded, with 503. The socket's options, and WithAcceptHook, are for listeners of the engine's own.
//
// Options that contradict each other panic with *OptionError, as a bad pattern does in http.ServeMux.
func (e *Engine) Handler(h Handler, opts ...RouteOption) http.Handler {
	return e.mount(h, nil, opts)
}

// SessionHandler is Handler for sessions: f serves each connection on a goroutine of its own, not on that of the request,
// which ends. Session.Request is the router's request with its path values, and the values of its context; what else a
// router keeps for a request, and uses again for the next (chi.URLParam, gin.Context, echo.Context), must be read before,
// in WithOnUpgrade.
func (e *Engine) SessionHandler(f SessionHandler, opts ...RouteOption) http.Handler {
	if f == nil {
		panic(&OptionError{"SessionHandler", "nil"})
	}
	return e.mount(sessions{}, sessionLayer(f), opts)
}

// RawHandler is Handler for frames; see HandleRaw.
func (e *Engine) RawHandler(h FrameHandler, opts ...RouteOption) http.Handler {
	if h == nil {
		panic(&OptionError{"FrameHandler", "nil"})
	}
	return e.mount(rawLayer{h}, rawRoute(h), opts)
}

func (e *Engine) mount(h Handler, layer func(*route), opts []RouteOption) http.Handler {
	r, err := e.newRoute(h, frame.Server, layer, opts)
	if err != nil {
		panic(err)
	}
	return mounted{r}
}

// mounted is a route in somebody else's router.
type mounted struct{ route *route }

// ServeHTTP answers the request, whatever it is.
func (m mounted) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	m.route.engine.upgradeRequest(w, r, m.route)
}

// Upgrade is what a Handler of Engine.Handler does with one request, for HTTP handlers that decide themselves, with
// settings and a handler for this connection. It makes a route, which costs about a microsecond and stays with the
// connection, over 1 KiB of heap: where the options are the same for all, Engine.Handler costs none of that.
//
// On error the request has been answered, and w must not be used: a *Rejection when the request was refused,
// ErrServerClosed with it after Shutdown or Close, an *OptionError for options that contradict each other (500).
// The Conn may be used at once; OnOpen, on the loop, may come before Upgrade returns.
func (e *Engine) Upgrade(w http.ResponseWriter, r *http.Request, h Handler, opts ...RouteOption) (*Conn, error) {
	to, err := e.newRoute(h, frame.Server, nil, opts)
	if err != nil {
		e.refuseRequest(w, r, refuseInternal)
		return nil, err
	}
	return e.upgradeRequest(w, r, to)
}
