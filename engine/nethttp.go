package engine

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
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
// been answered with it, through w where that is possible: then the HTTP connection stays in use. Any goroutine but a
// loop's.
func (e *Engine) upgradeRequest(w http.ResponseWriter, r *http.Request, to *route) (*Conn, error) {
	d := desks.Get().(*desk)
	defer desks.Put(d)
	v, err := e.judgeRequest(&d.head, r, to)
	if err != nil {
		return nil, e.refuseRequest(w, r, err)
	}
	if v.request == nil {
		v.request = r
	}
	c := newConn(to)
	served := false
	defer func() {
		if x := c.extensions(); x != nil && !served { // no loop knows of them; one may have panicked, too
			x.close()
		}
	}()
	extensions := c.agree(to, &d.head, &v, nil)
	nc, rest, err := hijack(w)
	if err != nil {
		e.config.logger.Error("request cannot be upgraded", slog.Any("error", err))
		if !errors.Is(err, http.ErrHijacked) {
			e.refuseRequest(w, r, refuseInternal)
		}
		return nil, err
	}
	d.answer = handshake.AppendSwitching(d.answer[:0], d.head.Key(), v.protocol, extensions, answerHeader(w, v.header))
	c.lc.Lock()
	copy(c.lc.Append(len(d.answer)), d.answer)
	c.lc.Unlock(false) // the loop that gets c writes it before OnOpen
	c.flags.Or(flagUpgraded)
	e.live.Add(1)
	if err := e.takeOver(c, nc, rest); err != nil {
		e.refuseHijacked(nc, err)
		return nil, err
	}
	served = true
	return c, nil
}

// judgeRequest is what upgrade does first for a request that came to a loop.
func (e *Engine) judgeRequest(h *handshake.Head, r *http.Request, to *route) (verdict, error) {
	if e.closing.Load() {
		return verdict{}, handshake.ErrUnavailable
	}
	if most := e.config.maxConns; most > 0 && e.group.Len() >= most && !e.counts(r) {
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
	if err != nil {
		return nil, nil, fmt.Errorf("engine: the connection under a %T cannot be hijacked: %w", w, err)
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
	all := set.Clone()
	all.Del("Content-Type")
	all.Del("Content-Encoding")
	addFields(all, wanted)
	return all
}

// addFields puts fields into h: in place of those of the same name, except cookies, which add up.
func addFields(h, fields http.Header) {
	for name, values := range fields {
		name = http.CanonicalHeaderKey(name)
		if name == "Set-Cookie" {
			h[name] = append(h[name], values...)
		} else {
			h[name] = slices.Clone(values)
		}
	}
}

// refuseRequest answers a request through net/http, and returns the error for the caller of Upgrade.
func (e *Engine) refuseRequest(w http.ResponseWriter, r *http.Request, err error) error {
	no := asRefusal(err)
	e.refused.byStatus[refusalIndex(no.Status)].Add(1)
	fields := no.Header.Clone()
	fields.Del("Transfer-Encoding") // the framing is net/http's
	fields.Del("Trailer")
	if r.ProtoMajor > 1 { // RFC 9113, section 8.2.2
		fields.Del("Connection")
		fields.Del("Upgrade")
	}
	addFields(w.Header(), fields)
	reason := no.Reason
	if reason == "" {
		reason = http.StatusText(no.Status)
	}
	http.Error(w, reason, no.Status)
	rejection := &Rejection{Status: no.Status, Reason: reason, Header: fields}
	if e.closing.Load() && no == handshake.ErrUnavailable {
		return errors.Join(ErrServerClosed, rejection)
	}
	return rejection
}

// refuseHijacked answers on a connection that net/http has given up and no loop took.
func (e *Engine) refuseHijacked(nc net.Conn, err error) {
	no := handshake.ErrInternal
	if errors.Is(err, ErrServerClosed) {
		no = handshake.ErrUnavailable
	} else {
		e.config.logger.Error("hijacked connection cannot be served", slog.Any("error", err))
	}
	e.refused.byStatus[refusalIndex(no.Status)].Add(1)
	nc.SetDeadline(time.Now().Add(e.config.handshakeTimeout))
	nc.Write(handshake.AppendRefusal(nil, no, time.Now())) // fails where it is closed already
	nc.Close()
}
