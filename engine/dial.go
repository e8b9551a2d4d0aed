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
	"zeroframe/internal/handshake"
	"zeroframe/pool"
)

// Dial opens a connection as a client (RFC 6455, section 4.1) and serves it with h on the engine's loops, like one that
// was accepted: OnOpen is its first call, and may come before Dial returns. The URL's scheme is ws. The TCP connection
// and the handshake are made on the calling goroutine and end with ctx, or after the handshake timeout. header is added
// to the request and may be nil; the route options that concern requests do not apply, but Subprotocols are offered.
//
// What the client sends is masked with keys from a cryptographic generator. An answer other than 101 is a
// *HandshakeError; after Shutdown or Close the error is ErrServerClosed.
func (e *Engine) Dial(ctx context.Context, rawURL string, header http.Header, h Handler, opts ...RouteOption) (*Conn, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, err
	}
	if u.Scheme != "ws" || u.Host == "" {
		return nil, fmt.Errorf("engine: cannot dial %q: the URL must be ws://host[:port]/path", rawURL)
	}
	r, err := e.newRoute(h, frame.Client, nil, opts)
	if err != nil {
		return nil, err
	}
	if e.closing.Load() {
		return nil, ErrServerClosed
	}
	ctx, cancel := context.WithTimeout(ctx, e.config.handshakeTimeout)
	defer cancel()
	port := u.Port()
	if port == "" {
		port = "80"
	}
	var d net.Dialer
	d.SetMultipathTCP(false)
	nc, err := d.DialContext(ctx, "tcp", net.JoinHostPort(u.Hostname(), port))
	if err != nil {
		return nil, err
	}
	c, err := e.dialOn(ctx, nc, u, header, r)
	if err != nil {
		nc.Close()
		return nil, err
	}
	return c, nil
}

// HandshakeError is returned by Dial for an answer that does not open the connection.
type HandshakeError struct {
	Status int    // HTTP status; 101 when the answer upgrades but breaks RFC 6455; 0 when it is not HTTP
	Reason string // why it is not accepted
}

// Error returns the status and the reason.
func (e *HandshakeError) Error() string {
	return fmt.Sprintf("engine: handshake failed: %d: %s", e.Status, e.Reason)
}

// dialOn makes the handshake on nc and gives it to a loop. On error nc stays the caller's.
func (e *Engine) dialOn(ctx context.Context, nc net.Conn, u *url.URL, header http.Header, r *route) (*Conn, error) {
	stop := context.AfterFunc(ctx, func() { nc.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	key := handshake.NewKey()
	if _, err := nc.Write(handshake.AppendRequest(nil, u, key, r.subprotocols, r.offerExtensions(header))); err != nil {
		return nil, dialError(ctx, err)
	}
	buf := pool.Get(4 << 10)
	defer func() { pool.Put(buf) }()
	for {
		n, answer, err := handshake.VerifyResponse(buf.B, key)
		switch {
		case err != nil:
			return nil, handshakeError(err)
		case n == 0:
			if cap(buf.B) == len(buf.B) {
				grown := pool.Get(2 * cap(buf.B))
				grown.B = append(grown.B, buf.B...)
				pool.Put(buf)
				buf = grown
			}
			m, err := nc.Read(buf.B[len(buf.B):cap(buf.B)])
			buf.B = buf.B[:len(buf.B)+m]
			if m == 0 && err != nil {
				return nil, dialError(ctx, err)
			}
		default:
			if !stop() {
				return nil, ctx.Err()
			}
			return e.adoptClient(nc, r, answer, buf.B[n:])
		}
	}
}

// adoptClient gives a connection to a loop whose handshake is over, with the bytes that came behind the answer.
func (e *Engine) adoptClient(nc net.Conn, r *route, answer handshake.ResponseInfo, rest []byte) (_ *Conn, err error) {
	if answer.Subprotocol == "" && r.needSubprotocol {
		return nil, &HandshakeError{http.StatusSwitchingProtocols, "the server chose none of the subprotocols"}
	}
	c := e.newConn(r)
	defer func() {
		if x := c.extensions(); err != nil && x != nil { // the loop does not know of them
			x.close()
		}
	}()
	if err := c.acceptExtensions(answer.Extensions); err != nil {
		e.connEnded()
		return nil, &HandshakeError{http.StatusSwitchingProtocols, err.Error()}
	}
	if answer.Subprotocol != "" {
		c.setSubprotocol(answer.Subprotocol)
		if c.protocol == 0 {
			e.connEnded()
			return nil, &HandshakeError{http.StatusSwitchingProtocols, "the server chose a subprotocol that was not offered"}
		}
	}
	if _, ok := r.handler.(sessions); ok {
		c.beginSession(nil, nil)
	}
	c.flags.Or(flagMasking | flagUpgraded) // whoever called Dial may send at once, before OnOpen
	if err := e.takeOver(c, nc, rest); err != nil {
		return nil, err
	}
	return c, nil
}

func dialError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

func handshakeError(err error) error {
	if s, ok := err.(*handshake.StatusError); ok {
		return &HandshakeError{s.Status, s.Reason}
	}
	if errors.Is(err, handshake.ErrMalformedResponse) || errors.Is(err, handshake.ErrResponseTooLarge) {
		return &HandshakeError{0, err.Error()}
	}
	return &HandshakeError{http.StatusSwitchingProtocols, err.Error()}
}
