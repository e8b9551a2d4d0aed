package engine

import (
	"bytes"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"zeroframe/internal/handshake"
)

var (
	refuseInternal = handshake.ErrInternal
	refuseTimeout  = handshake.ErrRequestTimeout
)

// readHead takes a piece of the request head. A head that comes in one read, as most do, is parsed where it stands.
func (c *Conn) readHead(b []byte) {
	s := c.shard()
	s.count.BytesIn += uint64(len(b))
	seen := 0
	if c.assembly != nil {
		seen = len(c.assembly.B)
		c.keepHead(b)
		b = c.assembly.B
	}
	n, err := s.request.ParseFrom(b, seen)
	switch {
	case err != nil:
		if !c.toHTTP(b, asRefusal(err), true) {
			c.refuse(err)
		}
	case n == 0 && c.assembly == nil:
		c.keepHead(b)
	case n != 0:
		if c.assembly == nil {
			c.takeUp(s, b, n)
			return
		}
		buf := c.takeAssembly(s) // the head and what follows stand in it
		defer c.lc.Loop().Buffers().Put(buf)
		defer c.recoverHandler()
		defer c.lc.WriteOut() // before the buffer goes, for replies that stand in it
		c.takeUp(s, b, n)
	}
}

// takeUp answers the complete head in b[:n] and goes on with the frames behind it.
func (c *Conn) takeUp(s *shard, b []byte, n int) {
	if c.route.engine.http != nil && !s.request.IsUpgrade() && c.toHTTP(b, nil, false) {
		return
	}
	if err := c.upgrade(s, b[:n]); err != nil {
		if !c.toHTTP(b, decided(err), false) {
			c.answerRefusal(err, string(s.request.Method()) == http.MethodHead)
		}
		return
	}
	if c.state == stateOpen && len(b) > n {
		s.count.BytesIn -= uint64(len(b) - n) // receive counts them
		c.receive(b[n:])
	}
}

// keepHead keeps a piece of an incomplete head; MaxHead bounds it.
func (c *Conn) keepHead(b []byte) {
	buffers := c.lc.Loop().Buffers()
	old := c.assembly
	if old == nil || cap(old.B)-len(old.B) < len(b) {
		have := 0
		if old != nil {
			have = len(old.B)
		}
		c.assembly = buffers.Get(max(have+len(b), 2*have))
		if old != nil {
			c.assembly.B = append(c.assembly.B, old.B...)
			buffers.Put(old)
		}
		c.shard().reserved += cap(c.assembly.B)
		if old != nil {
			c.shard().reserved -= cap(old.B)
		}
	}
	c.assembly.B = append(c.assembly.B, b...)
}

// upgrade opens the connection that a complete head, parsed already, asks for, or says why not.
func (c *Conn) upgrade(s *shard, head []byte) error {
	h := &s.request
	e := c.route.engine
	if e.closing.Load() {
		return handshake.ErrUnavailable
	}
	to, req, err := e.router.find(h)
	if err != nil {
		return err
	}
	v, err := to.judge(h, func() (*http.Request, error) { return c.httpRequest(to, h, req) })
	if err != nil {
		return err
	}
	extensions := c.agree(to, h, &v, head)
	s.answer = handshake.AppendSwitching(s.answer[:0], h.Key(), v.protocol, extensions, v.header)
	if !c.lc.WriteInPlace(s.answer) { // not queued: what OnOpen sends is judged against an empty queue
		c.write(s.answer)
	}
	c.step(evUpgraded)
	return nil
}

// verdict is what the connection shall be that a request may open.
type verdict struct {
	protocol string
	header   http.Header // for the answer
	userData any
	request  *http.Request // for a session; nil: to be made again from the head, which takes less memory till then
}

// judge decides about a request by the rules that hold wherever it was read. look makes an http.Request of it, for those
// who want to see one.
func (r *route) judge(h *handshake.Head, look func() (*http.Request, error)) (v verdict, err error) {
	if err := h.CheckUpgrade(); err != nil {
		return v, err
	}
	asked := r.upgrader != nil || r.onUpgrade != nil
	var req *http.Request
	if r.checkOrigin != nil || asked {
		if req, err = look(); err != nil {
			return v, err
		}
	}
	if !r.admitsOrigin(h, req) {
		return v, handshake.ErrForbidden
	}
	protocol, ok := handshake.Subprotocol(h, r.subprotocols)
	if !ok && r.needSubprotocol {
		return v, &handshake.Refusal{Status: http.StatusBadRequest, Reason: "none of the subprotocols offered is spoken here"}
	}
	v.protocol = protocol
	if asked {
		u := Upgrade{Request: req, Header: make(http.Header), Subprotocol: protocol}
		if err := r.askUpgrader(h, &u); err != nil {
			return v, err
		}
		v = verdict{protocol: u.Subprotocol, header: u.Header, userData: u.UserData, request: u.Request}
	}
	return v, nil
}

// agree makes c the connection that v says, and returns the extensions to answer. head is the request's, for a session
// to make the request of when v has none.
func (c *Conn) agree(to *route, h *handshake.Head, v *verdict, head []byte) (extensions string) {
	c.route = to
	c.userData = v.userData
	if to.session != nil {
		c.beginSession(head, v.request)
	}
	c.setSubprotocol(v.protocol)
	return c.negotiate(h)
}

// httpRequest completes the request that the router made, or makes it, for handlers to look at.
func (c *Conn) httpRequest(to *route, h *handshake.Head, req *http.Request) (*http.Request, error) {
	if req == nil {
		var err error
		if req, err = h.Request(); err != nil {
			return nil, handshake.ErrBadRequest
		}
		req.Pattern = to.pattern
	}
	if addr := c.RemoteAddr(); addr != nil {
		req.RemoteAddr = addr.String()
	}
	req.TLS = c.TLS()
	return req, nil
}

// askUpgrader lets the handler, and then the route's option, look at the request.
func (r *route) askUpgrader(h *handshake.Head, u *Upgrade) error {
	chosen := u.Subprotocol
	var err error
	if r.upgrader != nil {
		err = r.upgrader.OnUpgrade(u)
	}
	if err == nil && r.onUpgrade != nil {
		err = r.onUpgrade(u)
	}
	var no *Rejection
	switch {
	case err == nil && u.Subprotocol != chosen && u.Subprotocol != "":
		if _, offered := handshake.Subprotocol(h, []string{u.Subprotocol}); offered {
			return nil
		}
		err = errors.New("OnUpgrade chose a subprotocol that the client does not offer")
	case err == nil:
		return nil
	case errors.As(err, &no) && no.Status >= 400 && no.Status < 600:
		return &handshake.Refusal{Status: no.Status, Reason: no.Reason, Header: no.Header}
	}
	r.engine.config.logger.Error("OnUpgrade failed", slog.Any("error", err))
	return refuseInternal
}

func (c *Conn) setSubprotocol(name string) {
	if name == "" {
		return
	}
	if i := slices.Index(c.route.subprotocols, name); i >= 0 {
		c.protocol = uint8(i + 1)
		return
	}
	c.naming().subprotocol = name
}

// admitsOrigin refuses browsers on pages of other origins (RFC 6455, section 10.2). req is set when checkOrigin is.
func (r *route) admitsOrigin(h *handshake.Head, req *http.Request) bool {
	if r.checkOrigin != nil {
		return r.checkOrigin(req)
	}
	origin, has := h.Get("Origin")
	if !has || r.anyOrigin {
		return true
	}
	if h.Count("Origin") != 1 { // no browser sends two, and which of them counts would be anyone's guess
		return false
	}
	return handshake.SameOrigin(origin, h.Host()) || r.allowsOrigin(origin)
}

// allowsOrigin reports whether origin is one of those allowed, which are in lower case.
func (r *route) allowsOrigin(origin []byte) bool {
	var room [128]byte
	low := append(room[:0], origin...)
	for i, b := range low {
		if 'A' <= b && b <= 'Z' {
			low[i] = b | 0x20
		}
	}
	for _, allowed := range r.origins {
		if matchOrigin(allowed, low) {
			return true
		}
	}
	return false
}

// matchOrigin compares an origin with an allowed one, both in lower case.
func matchOrigin(allowed string, origin []byte) bool {
	i := strings.Index(allowed, "://*.")
	if i < 0 {
		return allowed == string(origin)
	}
	scheme, domain := allowed[:i+len("://")], allowed[i+len("://*"):]
	return len(origin) > len(scheme)+len(domain) && string(origin[:len(scheme)]) == scheme && bytes.HasSuffix(origin, []byte(domain))
}

// refuse answers the request with an error and ends the connection once that is written.
func (c *Conn) refuse(err error) { c.answerRefusal(err, false) }

// answerRefusal is refuse; the answer to a HEAD has no body (RFC 9110, section 9.3.2).
func (c *Conn) answerRefusal(err error, headOnly bool) {
	r := asRefusal(err)
	s := c.shard()
	s.count.countRefusal(r.Status)
	s.answer = handshake.AppendRefusal(s.answer[:0], r, time.Now())
	if headOnly {
		s.answer = s.answer[:bytes.Index(s.answer, []byte("\r\n\r\n"))+4]
	}
	c.write(s.answer)
	c.step(evRefused)
}

// asRefusal returns the answer that an error of the handshake stands for.
func asRefusal(err error) *handshake.Refusal {
	var r *handshake.Refusal
	if !errors.As(err, &r) {
		return handshake.ErrBadRequest
	}
	return r
}

// write queues bytes that are not frames.
func (c *Conn) write(b []byte) {
	c.lc.Lock()
	if dst := c.lc.Append(len(b)); dst != nil {
		copy(dst, b)
	}
	c.lc.Unlock(true)
}
