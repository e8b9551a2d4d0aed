package engine

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"zeroframe/frame"
	"zeroframe/internal/handshake"
	"zeroframe/pool"
)

// SessionHandler serves one connection on a goroutine of its own, which may block. When it returns nil the connection is
// closed with 1000, when it returns an error with 1011 and the error's text, cut to fit; unless it was closed before, by
// either side. A panic is logged with its stack and answered by 1011 without a text. ctx ends with the connection; its
// cause is the *CloseError; what came before that can still be received then. s may be used beyond the handler's return,
// by goroutines that send.
type SessionHandler func(ctx context.Context, s *Session) error

// Session is a connection with a goroutine to serve it: the same Conn, with calls that wait. What the peer sends is
// queued, within WithSessionQueue's bounds, until Receive takes it; when the queue is full the socket is not read, so
// that TCP pushes back on the peer. A peer that does not read makes Send wait.
//
// Receive, Messages, NextReader and what these return are for one goroutine at a time, the handler's; all else may be
// called from any, but not from a loop: not from the callbacks of a Handler.
//
// Beyond its goroutine a session takes about 720 B of live heap more than a Conn, most of it the request's head.
type Session struct {
	conn   *Conn
	ctx    context.Context
	cancel context.CancelCauseFunc

	mu        sync.Mutex // guards the fields up to the blank line; may be taken while the output queue is held
	inbox     inbox
	finished  bool        // the handler has returned: what comes is dropped
	crowded   atomic.Bool // the writer waits for room: nobody else takes it
	end       *CloseError // set once
	writer    *messageWriter
	receivers bell // something came, or the end
	senders   bell // there is room, for one of them, or the writer is done, or the end
	watchers  bell // the end
	head      string
	request   *http.Request

	handed int64 // bytes of the message being received that the inbox got in pieces; loop only
	ponged int   // bytes of pongs in an output queue above MaxBackpressure; loop only

	current *pool.Buffer   // what the last Receive returned; the receiver's
	reader  *messageReader // what the last NextReader returned; the receiver's
	// inflating is what the last NextReader returned of a compressed message; the receiver's.
	inflating *inflatingReader
	broken    *CloseError // a compressed message was not inflated to its end: none can be after it; the receiver's
	begun     item        // the beginning of a message that Receive did not see the end of; the receiver's
}

// HandleSession serves the requests that match pattern with h, each connection on a goroutine of its own. Pattern and
// errors are those of Handle.
func (e *Engine) HandleSession(pattern string, h SessionHandler, opts ...RouteOption) error {
	if h == nil {
		return &OptionError{"SessionHandler", "nil"}
	}
	return e.handle(pattern, sessions{}, sessionLayer(h), opts)
}

// sessionLayer makes a route one of sessions.
func sessionLayer(h SessionHandler) func(*route) { return func(r *route) { r.session = h } }

// DialSession is Dial for a caller that wants to wait for messages itself: it returns a Session without a handler, which
// the caller closes. What it leaves unread is dropped with it.
func (e *Engine) DialSession(ctx context.Context, rawURL string, header http.Header, opts ...RouteOption) (*Session, error) {
	c, err := e.Dial(ctx, rawURL, header, sessions{}, opts...)
	if err != nil {
		return nil, err
	}
	return c.session(), nil
}

// sessions is the Handler under every Session: it passes on what the loop tells.
type sessions struct{}

func (sessions) OnOpen(c *Conn) {
	if c.route.session != nil {
		c.route.engine.live.Add(1)
		go c.session().run(c.route.session)
		c.Yield()
	}
}

func (sessions) OnMessage(c *Conn, op frame.OpCode, payload []byte) {
	c.session().take(op, payload)
}

func (sessions) OnDrain(c *Conn) {
	s := c.session()
	s.mu.Lock()
	if s.writer != nil { // its fragments have to go first, whoever came first
		s.senders.ring()
	} else {
		s.senders.ringOne()
	}
	s.mu.Unlock()
	c.Yield()
}

func (sessions) OnClose(c *Conn, r CloseReason) {
	s := c.session()
	end := s.end
	if end.Reason.Err == nil && r.Err != nil { // since it was decided, the closing handshake has failed
		end = &CloseError{Reason: r}
	}
	s.cancel(end)
	c.Yield()
}

// session returns the Session on top of c, nil if there is none.
func (c *Conn) session() *Session {
	if r := c.rare.Load(); r != nil {
		return r.session
	}
	return nil
}

// beginSession puts a Session on top of c, whose route is set. head is the request, or request is, when it was made
// for OnUpgrade, who may have changed it.
func (c *Conn) beginSession(head []byte, request *http.Request) {
	s := &Session{conn: c, request: request}
	ctx := context.Background()
	if request != nil {
		ctx = context.WithoutCancel(request.Context()) // the calls that wait with ours trust that it ends with the connection
	} else {
		s.head = string(head)
	}
	s.ctx, s.cancel = context.WithCancelCause(ctx)
	c.more().session = s
}

var errGoexit = errors.New("engine: the session's handler called runtime.Goexit")

// run is the session's goroutine.
func (s *Session) run(h SessionHandler) {
	err := errGoexit
	defer s.conn.route.engine.connEnded()
	defer func() {
		if v := recover(); v != nil {
			err = &PanicError{v, debug.Stack()}
		}
		s.conn.closeWith(s.verdict(err))
		s.discard()
	}()
	err = h(s.ctx, s)
}

// verdict makes a close reason of what a handler returned, or ended with. The error's own methods may panic, too.
func (s *Session) verdict(err error) (reason CloseReason) {
	log := s.conn.route.engine.config.logger
	defer func() {
		if v := recover(); v != nil {
			p := &PanicError{v, debug.Stack()}
			log.Error("panic in a session's error", slog.Any("panic", v), slog.String("stack", string(p.Stack)))
			reason = CloseReason{Code: frame.CloseInternalError, Err: p}
		}
	}()
	if err == nil {
		return CloseReason{Code: frame.CloseNormal}
	}
	var p *PanicError
	if errors.As(err, &p) {
		log.Error("panic in a session's handler", slog.Any("panic", p.Value), slog.String("stack", string(p.Stack)))
		return CloseReason{Code: frame.CloseInternalError, Err: err}
	}
	text := frame.TruncateReason(strings.ToValidUTF8(err.Error(), "\uFFFD"))
	if !errors.Is(err, ErrClosed) && s.ctx.Err() == nil {
		log.Warn("a session's handler failed", slog.Any("error", err))
	}
	return CloseReason{Code: frame.CloseInternalError, Text: text, Err: err}
}

// decide keeps how the connection ends and wakes all who wait. The caller holds the output queue.
func (s *Session) decide(r CloseReason) {
	s.mu.Lock()
	s.end = &CloseError{Reason: r}
	s.receivers.ring()
	s.senders.ring()
	s.watchers.ring()
	s.mu.Unlock()
}

// ended returns the error that calls on a connection that has ended fail with. When the socket has just gone, it waits
// for the loop to say why.
func (s *Session) ended() error {
	s.CloseReason(context.Background())
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.end
}

// wait waits for w to be woken, or for the end of ctx.
func (s *Session) wait(ctx context.Context, w *waiter) error {
	if ctx == s.ctx || ctx.Done() == nil { // the end wakes everyone
		<-w.woken
		return nil
	}
	select {
	case <-w.woken:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// CloseReason waits until it is decided how the connection ends, and returns that: the first close frame, sent or
// received, decides, or the end of the socket without one (RFC 6455, section 7.1.5). It is decided once. The error is
// ctx's.
func (s *Session) CloseReason(ctx context.Context) (CloseReason, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.end == nil {
		w := s.watchers.join()
		s.mu.Unlock()
		err := s.wait(ctx, w)
		s.mu.Lock()
		s.watchers.leave(w)
		if err != nil && s.end == nil {
			return CloseReason{}, err
		}
	}
	return s.end.Reason, nil
}

// Close sends a close frame behind what is queued and returns; see Conn.Close. What was received before can still be
// received. To wait until the peer has answered, or CloseTimeout has passed, wait for Context to end.
func (s *Session) Close(code frame.CloseCode, reason string) error { return s.conn.Close(code, reason) }

// Terminate drops the connection at once, without a close frame; the reason is 1006.
func (s *Session) Terminate() { s.conn.Terminate() }

// Conn returns the connection under the session, for what Session itself does not offer. Its Send does not wait.
func (s *Session) Conn() *Conn { return s.conn }

// Context returns the handler's context: it ends with the connection, when the closing handshake is over or the socket
// has gone. Its cause is a *CloseError, with ErrCloseTimeout where the peer did not answer our close frame.
func (s *Session) Context() context.Context { return s.ctx }

// Request returns the request that opened the session, with path values; the same one at each call. Its context is the
// session's, and it has no body. nil on the client side.
func (s *Session) Request() *http.Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	if head := s.head; head != "" {
		s.mu.Unlock() // the peer's address stands under the output queue's lock, which goes before ours
		request := s.conn.parseRequest(head)
		s.mu.Lock()
		if s.head != "" {
			s.request, s.head = request, ""
		}
	}
	if s.request != nil && s.request.Context() != s.ctx {
		s.request = s.request.WithContext(s.ctx)
	}
	return s.request
}

// parseRequest makes the request of a head that was answered with 101.
func (c *Conn) parseRequest(head string) *http.Request {
	h := handshake.Head{MaxBytes: len(head)}
	if n, err := h.Parse([]byte(head)); n == 0 || err != nil {
		return nil
	}
	req, err := c.route.request(&h)
	if err != nil {
		return nil
	}
	if addr := c.RemoteAddr(); addr != nil {
		req.RemoteAddr = addr.String()
	}
	req.TLS = c.TLS()
	return req
}

// Engine returns the session's engine.
func (s *Session) Engine() *Engine { return s.conn.Engine() }

// Subprotocol returns the subprotocol that was agreed on, "" for none (RFC 6455, section 1.9).
func (s *Session) Subprotocol() string { return s.conn.Subprotocol() }

// RemoteAddr returns the peer's address, nil when the connection has ended.
func (s *Session) RemoteAddr() net.Addr { return s.conn.RemoteAddr() }

// TLS is Conn.TLS.
func (s *Session) TLS() *tls.ConnectionState { return s.conn.TLS() }

// RTT returns the round-trip time of the last ping that was answered; 0 before the first.
func (s *Session) RTT() time.Duration { return s.conn.RTT() }

// SetPingInterval is Conn.SetPingInterval.
func (s *Session) SetPingInterval(d time.Duration) { s.conn.SetPingInterval(d) }

// SetPingTimeout is Conn.SetPingTimeout.
func (s *Session) SetPingTimeout(d time.Duration) { s.conn.SetPingTimeout(d) }

// SetMaxFrameSize is Conn.SetMaxFrameSize.
func (s *Session) SetMaxFrameSize(bytes int64) { s.conn.SetMaxFrameSize(bytes) }

// SetMasking is Conn.SetMasking.
func (s *Session) SetMasking(on bool) { s.conn.SetMasking(on) }
