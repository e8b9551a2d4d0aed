package engine

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"

	"zeroframe/frame"
)

// Dial opens a connection as a client (RFC 6455, section 4.1) and serves it with h on the engine's loops, like one that
// was accepted: OnOpen is its first call, and may come before Dial returns. Any goroutine may call it, but a loop's must
// not: Dial waits on the goroutine that calls it, for a name to be looked up, for the connection, a proxy, TLS and the
// server's answer, until ctx ends, or WithHandshakeTimeout, which bounds all of it together. After that the connection
// outlives ctx.
//
// The URL is one of
//
//	ws://host[:port]/path?query                         port 80
//	wss://host[:port]/path?query                        TLS, port 443
//	ws+unix:///path/to/socket:/request/path?query       a unix socket; the request names the host localhost
//	wss+unix:///path/to/socket:/request/path?query      TLS over it
//
// without a fragment. User information in it, ws://user:password@host/, becomes Basic authorization unless header has an
// Authorization. header is added to the request and may be nil; the fields of the handshake itself, Host among them, are
// Dial's own: to reach a host elsewhere than at its address there is WithDialContext. WithClientTLS and WithProxy are
// the other options for clients, Subprotocols and WithCompression say what is offered; those about requests do not apply.
// WithMaxConns does not bound what is dialed, which counts, though, where it bounds what is accepted.
//
// What the client sends is masked, each frame with a key of its own from a generator of cryptographic strength (ChaCha8,
// seeded by the system) that costs no system call; the payload given to Send is left as it is.
//
// An answer other than 101 is a *HandshakeError, a redirect too, which is not followed, and so is what a proxy says. A
// certificate that does not verify is crypto/tls's *tls.CertificateVerificationError; when ctx or the time has ended,
// errors.Is finds context.Canceled or context.DeadlineExceeded. Shutdown and Close of the engine end a Dial under way, and
// those after them: the error is ErrServerClosed.
// Nothing is tried twice: examples/reconnect shows how a client comes back.
func (e *Engine) Dial(ctx context.Context, rawURL string, header http.Header, h Handler, opts ...RouteOption) (*Conn, error) {
	to, err := parseDestination(rawURL)
	if err != nil {
		return nil, err
	}
	r, err := e.newRoute(h, frame.Client, nil, opts)
	if err != nil {
		return nil, err
	}
	if e.closing.Load() {
		return nil, ErrServerClosed
	}
	ctx, goDown := context.WithCancelCause(ctx)
	defer goDown(nil)
	defer context.AfterFunc(e.up, func() { goDown(ErrServerClosed) })()
	ctx, cancel := context.WithTimeout(ctx, e.config.handshakeTimeout)
	defer cancel()
	if err := ctx.Err(); err != nil {
		return nil, dialError(ctx, to, err)
	}
	by, err := r.findProxy(ctx, to, header)
	if err != nil {
		return nil, dialError(ctx, to, err)
	}
	address := to.address
	if by != nil {
		address = hostPort(by, defaultPort(by))
	}
	socket, err := r.socket(ctx, to.network, address)
	if err != nil {
		return nil, dialError(ctx, to, proxyError(by, err))
	}
	stop := context.AfterFunc(ctx, func() { socket.Close() }) // what is under way on it fails then
	c, err := r.open(ctx, stop, socket, by, to, header)
	if err == nil {
		return c, nil
	}
	stop()
	socket.Close()
	return nil, dialError(ctx, to, err)
}

// dialError is what a dial fails with: err, unless that came of the end of ctx, or of the engine's.
func dialError(ctx context.Context, to *destination, err error) error {
	ended := ctx.Err()
	if end, ok := ctx.Deadline(); ok && ended == nil && !time.Now().Before(end) {
		ended = context.DeadlineExceeded // a deadline of the socket's came first
	}
	var answered *HandshakeError
	switch {
	case ended == nil || errors.As(err, &answered):
		return err
	case context.Cause(ctx) == ErrServerClosed:
		return ErrServerClosed
	}
	return fmt.Errorf("engine: dialing %s: %w", to.address, ended)
}

// socket makes the connection that everything else stands on.
func (r *route) socket(ctx context.Context, network, address string) (net.Conn, error) {
	if r.dialContext != nil {
		nc, err := r.dialContext(ctx, network, address)
		if nc == nil && err == nil {
			err = errors.New("engine: WithDialContext: the function returned neither a connection nor an error")
		}
		return nc, err
	}
	config := &r.engine.config
	d := net.Dialer{KeepAlive: config.keepAlive}
	if config.keepAlive == 0 {
		d.KeepAlive = -1 // 0 is not off there
	}
	d.SetMultipathTCP(false)
	nc, err := d.DialContext(ctx, network, address)
	if tcp, ok := nc.(*net.TCPConn); ok && !config.noDelay {
		tcp.SetNoDelay(false)
	}
	return nc, err
}

// open goes from a socket, to the server or its proxy, to a connection on a loop. stop is called before a loop gets it,
// and false when ctx has ended. On error the socket is still the caller's.
func (r *route) open(ctx context.Context, stop func() bool, nc net.Conn, by *url.URL, to *destination, header http.Header) (*Conn, error) {
	if by != nil {
		over, err := r.tunnel(ctx, nc, by, to.address, header)
		if err != nil {
			return nil, proxyError(by, err)
		}
		nc = over
	}
	if to.secure {
		over, err := r.overTLS(ctx, nc, to.url.Hostname(), false)
		if err != nil {
			return nil, err
		}
		nc = over
	}
	return r.shakeHands(ctx, stop, nc, to.url, header)
}
