package engine

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"sync"
	"time"

	"zeroframe/internal/handshake"
)

// desk is what a request is handled on, so that none needs its own.
type desk struct {
	head   handshake.Head
	answer []byte
}

var desks = sync.Pool{New: func() any { return new(desk) }}

// upgradeRequest answers a request that net/http has read, and gives its connection to a loop. On error the request has
// been answered with it, through w where that is possible: then the HTTP connection stays in use. A stream of HTTP/2 is
// open for as long as its request is handled: of one, it returns when the connection has ended. Any goroutine but a
// loop's.
func (e *Engine) upgradeRequest(w http.ResponseWriter, r *http.Request, to *route) (*Conn, error) {
	c, nc, rest, err := e.acceptRequest(w, r, to)
	if err != nil {
		return nil, err
	}
	c.flags.Or(flagUpgraded)
	e.live.Add(1)
	if err := e.takeOver(c, nc, rest); err != nil {
		c.forgetExtensions()
		e.refuseHijacked(nc, err)
		return nil, err
	}
	if s, ok := nc.(*requestStream); ok {
		s.wait()
	}
	return c, nil
}

// acceptRequest judges a request, takes its connection from net/http, with what was read behind it, and answers: with
// 101 in c's queue, or with 200 over HTTP/2. Or it refuses.
func (e *Engine) acceptRequest(w http.ResponseWriter, r *http.Request, to *route) (
	_ *Conn, nc net.Conn, rest []byte, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = e.refusePanic(w, r, v)
		}
	}()
	d := desks.Get().(*desk)
	defer desks.Put(d)
	seen := withoutBody(r)
	v, err := e.judgeRequest(&d.head, seen, to)
	if err != nil {
		return nil, nil, nil, e.refuseRequest(w, r, err)
	}
	if v.request == nil {
		v.request = seen
	}
	c := newConn(to)
	defer func() {
		if nc == nil { // an extension may have panicked, too
			c.forgetExtensions()
		}
	}()
	extensions := c.agree(to, &d.head, &v, nil)
	if r.ProtoMajor > 1 {
		nc, err = answerConnect(w, r, v.protocol, extensions, v.header)
	} else {
		nc, rest, err = hijack(w)
	}
	if err != nil {
		e.config.logger.Error("request cannot be upgraded", slog.Any("error", err))
		if !errors.Is(err, http.ErrHijacked) { // then it is not ours to answer on
			e.refuseRequest(w, r, refuseInternal)
		}
		return nil, nil, nil, err
	}
	if r.ProtoMajor == 1 {
		d.answer = handshake.AppendSwitching(d.answer[:0], d.head.Key(), v.protocol, extensions, answerHeader(w, v.header))
		c.lc.Lock()
		copy(c.lc.Append(len(d.answer)), d.answer)
		c.lc.Unlock(false) // the loop that gets c writes it before OnOpen
	}
	return c, nc, rest, nil
}

// forgetExtensions ends those of a connection that no loop got.
func (c *Conn) forgetExtensions() {
	if x := c.extensions(); x != nil {
		x.close()
	}
}

// withoutBody returns a request that a session can keep: nothing of the connection it came on hangs on it.
func withoutBody(r *http.Request) *http.Request {
	if r.Body == nil || r.Body == http.NoBody {
		return r
	}
	r = r.WithContext(r.Context())
	r.Body = http.NoBody
	return r
}

// judgeRequest is what upgrade does first for a request that came to a loop.
func (e *Engine) judgeRequest(h *handshake.Head, r *http.Request, to *route) (verdict, error) {
	if e.closing.Load() {
		return verdict{}, handshake.ErrUnavailable
	}
	// Of HTTP/2 each stream counts, wherever the connection under it came from.
	if most := e.config.maxConns; most > 0 && e.group.Len() >= most && (r.ProtoMajor > 1 || !e.counts(r)) {
		e.refused.maxConns.Add(1)
		return verdict{}, handshake.ErrUnavailable
	}
	if err := h.SetRequest(r); err != nil {
		return verdict{}, err
	}
	return to.judge(h, func() (*http.Request, error) { return r, nil })
}

// hijack takes the connection away from net/http, with what was read behind the request.
func hijack(w http.ResponseWriter) (nc net.Conn, rest []byte, err error) {
	nc, brw, err := http.NewResponseController(w).Hijack()
	if err == nil && nc == nil {
		err = http.ErrNotSupported // and says so in its own way
	}
	if err != nil {
		return nil, nil, fmt.Errorf("engine: the connection under a %T cannot be taken over: %w", w, err)
	}
	nc.SetDeadline(time.Time{})
	if brw != nil && brw.Reader != nil {
		rest, _ = brw.Reader.Peek(brw.Reader.Buffered())
	}
	return nc, rest, nil
}

// answerHeader returns the fields to add to a 101: those that OnUpgrade wants, and what middleware has set for the
// answer, less what is about content.
func answerHeader(w http.ResponseWriter, wanted http.Header) http.Header {
	set := w.Header()
	if len(set) == 0 {
		return wanted
	}
	all := make(http.Header, len(set)+len(wanted))
	handshake.SetFields(all, set, "Content-Type", "Content-Encoding")
	handshake.SetFields(all, wanted)
	return all
}

// refuseRequest answers a request through net/http, and returns the error for the caller of Upgrade.
func (e *Engine) refuseRequest(w http.ResponseWriter, r *http.Request, err error) error {
	no := asRefusal(err)
	e.refused.byStatus[refusalIndex(no.Status)].Add(1)
	if r.ProtoMajor > 1 { // RFC 9113, section 8.2.2
		handshake.SetFields(w.Header(), no.Header, "Connection", "Upgrade")
	} else {
		handshake.SetFields(w.Header(), no.Header)
	}
	reason := no.Reason
	if reason == "" {
		reason = http.StatusText(no.Status)
	}
	http.Error(w, reason, no.Status)
	rejection := &Rejection{Status: no.Status, Reason: reason, Header: no.Header.Clone()}
	if no == handshake.ErrUnavailable && e.closing.Load() {
		return errors.Join(ErrServerClosed, rejection)
	}
	return rejection
}

// refusePanic answers a request whose OnUpgrade, say, has panicked. Who wants the server to drop the request has it.
func (e *Engine) refusePanic(w http.ResponseWriter, r *http.Request, v any) error {
	if v == http.ErrAbortHandler {
		panic(v)
	}
	p := &PanicError{v, debug.Stack()}
	e.config.logger.Error("panic in a handler", slog.Any("panic", v), slog.String("stack", string(p.Stack)))
	e.refuseRequest(w, r, refuseInternal)
	return p
}

// refuseHijacked ends a connection that net/http has given up and no loop took.
func (e *Engine) refuseHijacked(nc net.Conn, err error) {
	no := handshake.ErrInternal
	if errors.Is(err, ErrServerClosed) {
		no = handshake.ErrUnavailable
	} else {
		e.config.logger.Error("hijacked connection cannot be served", slog.Any("error", err))
	}
	e.refused.byStatus[refusalIndex(no.Status)].Add(1)
	if _, answered := nc.(*requestStream); !answered {
		nc.SetDeadline(time.Now().Add(e.config.handshakeTimeout))
		nc.Write(handshake.AppendRefusal(nil, no, time.Now())) // fails where it is closed already
	}
	nc.Close()
}
