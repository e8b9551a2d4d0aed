package engine

import (
	"context"
	"log/slog"
	"net"
	"net/http"

	"zeroframe/internal/handshake"
)

// httpServer is what WithHTTPHandler makes: the net/http Server that gets the connections of the engine which do not
// begin with the upgrade for a route.
type httpServer struct {
	engine   *Engine
	handler  http.Handler // the user's
	server   http.Server
	http2    bool // connections that have agreed on it are taken
	incoming handOver
	served   chan struct{} // closed when the server's Serve has returned
}

// httpSlop is what net/http's server takes of a head beyond MaxHeaderBytes.
const httpSlop = 4 << 10

func newHTTPServer(e *Engine) *httpServer {
	h := &httpServer{engine: e, handler: e.config.httpHandler, served: make(chan struct{})}
	h.incoming.init(e)
	h.server.ReadHeaderTimeout = e.config.handshakeTimeout
	h.server.IdleTimeout = DefaultHTTPIdleTimeout
	h.server.MaxHeaderBytes = max(e.config.maxHead-httpSlop, 1)
	h.server.ErrorLog = slog.NewLogLogger(e.config.logger.Handler(), slog.LevelError)
	if f := e.config.httpConfigure; f != nil {
		f(&h.server)
	}
	h.server.Handler = h
	if next := h.server.TLSNextProto; next != nil {
		h.http2 = next[http2Protocol] != nil
	} else {
		h.http2 = h.server.Protocols == nil || h.server.Protocols.HTTP2()
	}
	inContext, inState := h.server.ConnContext, h.server.ConnState
	h.server.ConnContext = func(ctx context.Context, nc net.Conn) context.Context {
		if inContext != nil {
			ctx = inContext(ctx, nc)
		}
		return context.WithValue(ctx, handedKey{}, nc)
	}
	h.server.ConnState = func(nc net.Conn, state http.ConnState) {
		if c, ok := nc.(*handedConn); ok {
			switch state {
			case http.StateHijacked:
				c.hijacked()
			case http.StateIdle:
				c.refusal = nil // net/http has answered the first request itself, OPTIONS *
			}
		}
		if inState != nil {
			inState(nc, state)
		}
	}
	return h
}

// handedKey is the key of a connection, as Accept returned it, in the context of its requests.
type handedKey struct{}

func (h *httpServer) serve() {
	defer close(h.served)
	if err := h.server.Serve(&h.incoming); err != net.ErrClosed { // that of incoming: nothing else ends it in order
		h.engine.config.logger.Error("the HTTP server does not serve", slog.Any("error", err))
	}
}

// stop ends the taking over of connections. It returns when the server knows all that it was given.
func (h *httpServer) stop() {
	h.incoming.Close()
	<-h.served
}

// shutdownHTTP begins to end the HTTP server, if there is one. finish ends what of it has not ended by then.
func (e *Engine) shutdownHTTP(ctx context.Context) (finish func()) {
	if e.http == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		e.http.stop()
		if e.http.server.Shutdown(ctx) != nil {
			e.http.server.Close()
		}
	}()
	return func() {
		cancel() // Shutdown looks for the end of connections twice a second only
		<-done
	}
}

// close ends the server and its connections at once.
func (h *httpServer) close() {
	h.stop()
	h.server.Close()
}

// ServeHTTP stands before the user's handler and looks for what is the engine's: the upgrades for its routes.
func (h *httpServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e := h.engine
	var refusal *handshake.Refusal
	if c := handed(r); c != nil {
		if c.tls != nil {
			r.TLS = c.tls // which net/http looks for in a tls.Conn
		}
		if r.ProtoMajor == 1 { // one request at a time, and this is the first
			refusal, c.refusal = c.refusal, nil
		}
		if refusal != nil && !c.malformed {
			e.refuseRequest(w, r, refusal)
			return
		}
	}
	if asksUpgrade(r) {
		if to := e.router.match(r); to != nil {
			if refusal != nil {
				e.refuseRequest(w, r, refusal)
			} else {
				e.upgradeRequest(w, r, to)
			}
			return
		}
	}
	h.handler.ServeHTTP(w, r)
}

// handed returns the connection of a request if a loop has handed it over.
func handed(r *http.Request) *handedConn {
	c, _ := r.Context().Value(handedKey{}).(*handedConn)
	return c
}

// counts reports whether the connection of a request counts for MaxConns already.
func (e *Engine) counts(r *http.Request) bool {
	c := handed(r)
	return c != nil && c.seat.engine == e
}

// asksUpgrade reports whether a request is for a WebSocket, or is too malformed to tell: then its route refuses it.
func asksUpgrade(r *http.Request) bool {
	if r.ProtoMajor > 1 {
		return r.Method == http.MethodConnect && len(r.Header[":protocol"]) > 0 // RFC 8441
	}
	if len(r.Header["Upgrade"]) == 0 {
		return false
	}
	d := desks.Get().(*desk)
	defer desks.Put(d)
	return d.head.SetRequest(r) != nil || d.head.IsUpgrade()
}
