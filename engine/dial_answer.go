package engine

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"zeroframe/internal/handshake"
	"zeroframe/pool"
)

// HandshakeError is returned by Dial for an answer, the server's or a proxy's, that does not open the connection.
// Redirects are not followed: Header has the Location.
type HandshakeError struct {
	Status int         // HTTP status; 101 when the answer upgrades but breaks RFC 6455; 0 when it is not HTTP, or too long
	Reason string      // why it is not accepted; for another status than 101, the text that came with it
	Header http.Header // of the answer; nil when it could not be read
	Body   []byte      // of a refusal: the first 4 KiB, or what of them came within a second
	Proxy  string      // host and port of the proxy, if it was that which answered
}

// Error returns the status and the reason.
func (e *HandshakeError) Error() string {
	if e.Proxy != "" {
		return fmt.Sprintf("engine: handshake failed: proxy %s: %d: %s", e.Proxy, e.Status, e.Reason)
	}
	return fmt.Sprintf("engine: handshake failed: %d: %s", e.Status, e.Reason)
}

const (
	maxAnswer = handshake.DefaultMaxBytes // of an answer's head, interim answers before it included
	maxBody   = 4 << 10
	bodyTime  = time.Second
)

// shakeHands makes the opening handshake on nc and gives the connection to a loop, before which it calls stop.
func (r *route) shakeHands(ctx context.Context, stop func() bool, nc net.Conn, u *url.URL, header http.Header) (*Conn, error) {
	key := handshake.NewKey()
	header = r.offerExtensions(authorized(header, u.User))
	if _, err := nc.Write(handshake.AppendRequest(nil, u, key, r.subprotocols, header)); err != nil {
		return nil, fmt.Errorf("engine: sending the handshake: %w", err)
	}
	buf := pool.Get(4 << 10)
	defer func() { pool.Put(buf) }()
	for {
		n, answer, err := handshake.VerifyResponse(buf.B, key)
		switch {
		case err != nil:
			return nil, refused(nc, buf.B, err)
		case n > 0:
			c, err := r.newClient(answer)
			if err != nil {
				return nil, refused(nc, buf.B, err)
			}
			return c.enter(ctx, stop, nc, buf.B[n:])
		}
		if cap(buf.B) == len(buf.B) {
			grown := pool.Get(2 * cap(buf.B))
			grown.B = append(grown.B, buf.B...)
			pool.Put(buf)
			buf = grown
		}
		m, err := nc.Read(buf.B[len(buf.B):cap(buf.B)])
		buf.B = buf.B[:len(buf.B)+m]
		if m == 0 && err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return nil, fmt.Errorf("engine: waiting for the server's answer: %w", err)
		}
	}
}

// authorized adds the user information of a URL to the request's header, unless that says who asks.
func authorized(header http.Header, u *url.Userinfo) http.Header {
	if u == nil {
		return header
	}
	for name := range header {
		if strings.EqualFold(name, "Authorization") {
			return header
		}
	}
	if header = header.Clone(); header == nil {
		header = make(http.Header)
	}
	header.Set("Authorization", basicAuthorization(u))
	return header
}

// newClient makes the connection that an answer opens, if that chose from what was offered (RFC 6455, section 4.1).
func (r *route) newClient(answer handshake.ResponseInfo) (*Conn, error) {
	c := r.engine.newConn(r)
	if err := c.accept(answer); err != nil {
		c.discard()
		r.engine.connEnded()
		return nil, err
	}
	return c, nil
}

func (c *Conn) accept(answer handshake.ResponseInfo) error {
	if err := c.acceptExtensions(answer.Extensions); err != nil {
		return err
	}
	c.setSubprotocol(answer.Subprotocol)
	switch {
	case answer.Subprotocol != "" && c.protocol == 0:
		return errors.New("the server chose a subprotocol that was not offered")
	case answer.Subprotocol == "" && c.route.needSubprotocol:
		return errors.New("the server chose none of the subprotocols")
	}
	return nil
}

// enter gives a connection whose handshake is over to a loop, with the bytes that came behind the answer, unless ctx has
// ended: stop is false then.
func (c *Conn) enter(ctx context.Context, stop func() bool, nc net.Conn, rest []byte) (*Conn, error) {
	e := c.route.engine
	if !stop() {
		c.discard()
		e.connEnded()
		return nil, ctx.Err()
	}
	if _, ok := c.route.handler.(sessions); ok {
		c.beginSession(nil, nil)
	}
	c.flags.Or(flagMasking | flagUpgraded) // whoever called Dial may send at once, before OnOpen
	if err := e.takeOver(c, nc, rest); err != nil {
		c.discard()
		return nil, err
	}
	return c, nil
}

// discard lets go of what a connection has that no loop will ever know.
func (c *Conn) discard() {
	if x := c.extensions(); x != nil {
		x.close()
	}
}

// refused is the error for an answer of which head has come, and that err is wrong with.
func refused(nc net.Conn, head []byte, err error) error {
	if errors.Is(err, handshake.ErrMalformedResponse) || errors.Is(err, handshake.ErrResponseTooLarge) {
		return &HandshakeError{Reason: err.Error()}
	}
	b := bufio.NewReader(io.MultiReader(bytes.NewReader(head), nc))
	answer, readErr := readAnswer(b, &http.Request{Method: http.MethodGet})
	var status *handshake.StatusError
	switch {
	case !errors.As(err, &status):
		he := &HandshakeError{Status: http.StatusSwitchingProtocols, Reason: err.Error()}
		if readErr == nil {
			he.Header = answer.Header
		}
		return he
	case readErr != nil: // net/http disagrees about the length of the body
		return &HandshakeError{Status: status.Status, Reason: status.Reason}
	}
	return refusedBy(nc, answer, "")
}

// readAnswer reads the head of a final answer.
func readAnswer(b *bufio.Reader, to *http.Request) (*http.Response, error) {
	for {
		answer, err := http.ReadResponse(b, to)
		if err != nil || answer.StatusCode >= 200 || answer.StatusCode == http.StatusSwitchingProtocols {
			return answer, err
		}
	}
}

// refusedBy is the error for an answer with another status than was asked for.
func refusedBy(nc net.Conn, answer *http.Response, proxy string) error {
	_, reason, _ := strings.Cut(answer.Status, " ")
	if reason == "" {
		reason = http.StatusText(answer.StatusCode)
	}
	timer := time.AfterFunc(bodyTime, func() { nc.Close() })
	defer timer.Stop()
	body, _ := io.ReadAll(io.LimitReader(answer.Body, maxBody)) // what came of it will do
	return &HandshakeError{Status: answer.StatusCode, Reason: reason, Header: answer.Header, Body: body, Proxy: proxy}
}
