package engine

import (
	"log/slog"
	"net/http"

	"zeroframe/frame"
)

// Handler returns an http.Handler that upgrades requests and serves their connections with h, for any router and server
// of net/http's kind. Options that contradict each other panic with an *OptionError, as a bad pattern does in
// http.ServeMux.
//
// The request is judged as on a route of the engine's own; which path it is for is the router's affair. OnUpgrade and
// WithCheckOrigin's function run on the goroutine of the request, several at once; a panic in them is logged and answered
// by 500, but http.ErrAbortHandler is passed on. The fields that middleware has set for the answer go out with the 101,
// Content-Type and Content-Encoding excepted. A request that is refused leaves its HTTP connection in use. WithMaxConns
// is heeded, with 503; WithAcceptHook and the socket options are for listeners of the engine's own.
//
// An upgraded connection is taken from net/http and belongs to a loop. It costs what one of the engine's own costs: no
// goroutine stays with it, and ServeHTTP returns at once. No timeout of the http.Server reaches it, and neither does
// http.Server.Shutdown: Engine.Shutdown does. That holds for TCP and unix sockets, and for TLS over them if the listener
// is from WrapListener; any other net.Conn is fed by goroutines.
//
// Middleware before it may wrap the ResponseWriter if the wrapper can be hijacked or has an Unwrap method (see
// http.ResponseController). Behind one that has neither, like http.TimeoutHandler's, the answer is 500, and logged.
//
// Over HTTP/2 a connection is a stream, which extended CONNECT opens (RFC 8441), and which net/http keeps: ServeHTTP
// returns when it has ended, and goroutines feed it. net/http has that switched off unless the environment says
// GODEBUG=http2xconnect=1; then clients use HTTP/1.1. Other requests over HTTP/2 are answered 400. See docs/http.md.
func (e *Engine) Handler(h Handler, opts ...RouteOption) http.Handler {
	return e.mount(h, nil, opts)
}

// SessionHandler is Handler for sessions: f serves each connection on a goroutine of its own, not on the request's, which
// goes on and ends. Session.Request is the router's request, with its path values and the values of its context; to keep
// it takes 1 to 2 KiB of heap more than a session of the engine's own. What else a router keeps for a request it may use
// again for the next (chi.URLParam, gin.Context, echo.Context): take it in WithOnUpgrade, or put it into the request
// before.
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

// Upgrade is what the http.Handler of Engine.Handler does, for one request: for HTTP handlers that choose the Handler or
// the options for each. It makes a route, which stays with the connection and takes 450 B of heap more. Where the choice
// is between a few, make a Handler of each once; it costs none of that.
//
// On error the request has been answered, and w must not be used. The error is a *Rejection when the request was refused,
// with ErrServerClosed in it after Shutdown or Close; an *OptionError for options that contradict each other and a
// *PanicError for a panic in OnUpgrade (500); or why the connection could not be taken over (500), http.ErrHijacked if
// somebody had it already (not answered then).
// The Conn may be used at once, by any goroutine. OnOpen, which runs on a loop, may come before Upgrade returns. Over
// HTTP/2 Upgrade returns when the connection has ended.
func (e *Engine) Upgrade(w http.ResponseWriter, r *http.Request, h Handler, opts ...RouteOption) (*Conn, error) {
	to, err := e.newRoute(h, frame.Server, nil, opts)
	if err != nil {
		e.config.logger.Error("request cannot be upgraded", slog.Any("error", err))
		e.refuseRequest(w, r, refuseInternal)
		return nil, err
	}
	return e.upgradeRequest(w, r, to)
}
