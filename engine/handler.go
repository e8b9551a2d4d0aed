package engine

import (
	"net/http"

	"zeroframe/frame"
)

// Handler is told what happens on the connections of a route. Its methods run on the connection's loop, one at a time
// for one connection, and must not block: other connections wait meanwhile. A panic in one closes the connection with
// 1011 and is logged; the loop goes on.
//
// A handler may implement Upgrader, PingHandler, PongHandler and DrainHandler too.
type Handler interface {
	// OnOpen is the first call, after the handshake was answered; what is sent here follows the answer.
	OnOpen(c *Conn)
	// OnMessage delivers a whole message, Text or Binary. payload is valid, and may be changed, until it returns.
	OnMessage(c *Conn, op frame.OpCode, payload []byte)
	// OnClose is the last call, exactly once for each OnOpen: nothing more is received, and Send returns ErrClosed.
	OnClose(c *Conn, reason CloseReason)
}

// Upgrader is implemented by a Handler that wants to see, or to refuse, the requests that open its connections.
type Upgrader interface {
	// OnUpgrade runs before the handshake is answered: on the loop, or, for a request that net/http has read, on that
	// request's goroutine. A *Rejection refuses with its status; any other error refuses with 500 and is logged. u must
	// not be kept.
	OnUpgrade(u *Upgrade) error
}

// PingHandler is implemented by a Handler that wants to see pings. The pong has been sent already.
type PingHandler interface {
	// OnPing: payload, at most 125 bytes, is valid until it returns.
	OnPing(c *Conn, payload []byte)
}

// PongHandler is implemented by a Handler that wants to see pongs, those for the engine's own pings included.
type PongHandler interface {
	// OnPong: payload, at most 125 bytes, is valid until it returns.
	OnPong(c *Conn, payload []byte)
}

// DrainHandler is implemented by a Handler that sends faster than its peers read.
type DrainHandler interface {
	// OnDrain reports that, after a Send that was refused or after the queue had exceeded MaxBackpressure, the queue
	// has fallen to half of that or below.
	OnDrain(c *Conn)
}

// NopHandler does nothing. Embed it to write only the methods that matter.
type NopHandler struct{}

// OnOpen does nothing.
func (NopHandler) OnOpen(*Conn) {}

// OnMessage drops the message.
func (NopHandler) OnMessage(*Conn, frame.OpCode, []byte) {}

// OnClose does nothing.
func (NopHandler) OnClose(*Conn, CloseReason) {}

// HandlerFunc is a Handler that only receives messages.
type HandlerFunc func(c *Conn, op frame.OpCode, payload []byte)

// OnOpen does nothing.
func (HandlerFunc) OnOpen(*Conn) {}

// OnMessage calls f.
func (f HandlerFunc) OnMessage(c *Conn, op frame.OpCode, payload []byte) { f(c, op, payload) }

// OnClose does nothing.
func (HandlerFunc) OnClose(*Conn, CloseReason) {}

// Upgrade is a request to open a connection (RFC 6455, section 4.2.1), and what OnUpgrade makes of it.
type Upgrade struct {
	// Request is the request, with path values. Its Body is empty. Its context ends with nothing, or, where net/http has
	// read it, with the request's handling. A session keeps it, so that OnUpgrade can hand values on to it in the context
	// of another in its place.
	Request *http.Request
	// Header holds fields to add to the 101 answer, Set-Cookie say; those of the handshake itself are ignored.
	Header http.Header
	// Subprotocol is what the route's Subprotocols chose, "" if none. It may be changed, to one the client offers.
	Subprotocol string
	// UserData becomes Conn.UserData.
	UserData any
}

// Rejection refuses an upgrade with an HTTP answer.
type Rejection struct {
	Status int         // 400 to 599
	Reason string      // the body, plain text
	Header http.Header // added to the answer; may be nil
}

// Error returns the status and the reason.
func (r *Rejection) Error() string {
	return "engine: upgrade refused: " + http.StatusText(r.Status) + ": " + r.Reason
}
