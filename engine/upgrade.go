package engine

import (
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"zeroframe/internal/handshake"
	"zeroframe/pool"
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
		c.refuse(err)
	case n == 0 && c.assembly == nil:
		c.keepHead(b)
	case n != 0:
		var buf *pool.Buffer // the head and what follows may stand in it
		if c.assembly != nil {
			buf = c.takeAssembly(s)
		}
		c.upgrade(s)
		if c.state == stateOpen && len(b) > n {
			c.receive(b[n:])
		}
		if buf != nil {
			c.lc.WriteOut()
			c.lc.Loop().Buffers().Put(buf)
		}
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

// upgrade answers a complete head.
func (c *Conn) upgrade(s *shard) {
	h := &s.request
	e := c.route.engine
	if e.closing.Load() {
		c.refuse(handshake.ErrUnavailable)
		return
	}
	to, req, err := e.router.find(h)
	if err == nil {
		err = h.CheckUpgrade()
	}
	if err == nil {
		err = to.admitOrigin(h, &req)
	}
	if err != nil {
		c.refuse(err)
		return
	}
	protocol, ok := handshake.Subprotocol(h, to.subprotocols)
	if !ok && to.needSubprotocol {
		c.refuse(&handshake.Refusal{Status: http.StatusBadRequest, Reason: "none of the subprotocols offered is spoken here"})
		return
	}
	var extra http.Header
	if to.upgrader != nil {
		u := Upgrade{Request: req, Header: make(http.Header), Subprotocol: protocol}
		if err := c.askUpgrader(to, h, &u); err != nil {
			c.refuse(err)
			return
		}
		protocol, extra = u.Subprotocol, u.Header
		c.userData = u.UserData
	}
	c.route = to
	c.setSubprotocol(protocol)
	s.answer = handshake.AppendSwitching(s.answer[:0], h.Key(), protocol, "", extra)
	c.write(s.answer)
	c.step(evUpgraded)
}

// askUpgrader lets the handler look at the request.
func (c *Conn) askUpgrader(to *route, h *handshake.Head, u *Upgrade) error {
	if u.Request == nil {
		req, err := h.Request()
		if err != nil {
			return handshake.ErrBadRequest
		}
		u.Request = req
	}
	if addr := c.RemoteAddr(); addr != nil {
		u.Request.RemoteAddr = addr.String()
	}
	chosen := u.Subprotocol
	err := to.upgrader.OnUpgrade(u)
	var no *Rejection
	switch {
	case err == nil && u.Subprotocol != chosen && u.Subprotocol != "" && !h.HasToken("Sec-WebSocket-Protocol", u.Subprotocol):
		err = errors.New("OnUpgrade chose a subprotocol that the client does not offer")
	case err == nil:
		return nil
	case errors.As(err, &no) && no.Status >= 400 && no.Status < 600:
		return &handshake.Refusal{Status: no.Status, Reason: no.Reason, Header: no.Header}
	}
	c.route.engine.config.logger.Error("OnUpgrade failed", slog.Any("error", err))
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
	c.more().subprotocol = name
}

// admitOrigin refuses browsers on pages of other origins (RFC 6455, section 10.2).
func (r *route) admitOrigin(h *handshake.Head, req **http.Request) error {
	if r.checkOrigin != nil {
		if *req == nil {
			made, err := h.Request()
			if err != nil {
				return handshake.ErrBadRequest
			}
			*req = made
		}
		if !r.checkOrigin(*req) {
			return handshake.ErrForbidden
		}
		return nil
	}
	origin, has := h.Get("Origin")
	if !has || r.anyOrigin || h.Count("Origin") == 1 && handshake.SameOrigin(origin, h.Host()) {
		return nil
	}
	for _, allowed := range r.origins {
		if matchOrigin(allowed, string(origin)) {
			return nil
		}
	}
	return handshake.ErrForbidden
}

func matchOrigin(allowed, origin string) bool {
	allowed, origin = strings.ToLower(allowed), strings.ToLower(origin)
	scheme, domain, wild := strings.Cut(allowed, "://*.")
	if !wild {
		return allowed == origin
	}
	host, ok := strings.CutPrefix(origin, scheme+"://")
	return ok && len(host) > len(domain)+1 && strings.HasSuffix(host, "."+domain)
}

// refuse answers the request with an error and ends the connection once that is written.
func (c *Conn) refuse(err error) {
	var r *handshake.Refusal
	if !errors.As(err, &r) {
		r = handshake.ErrBadRequest
	}
	s := c.shard()
	s.count.countRefusal(r.Status)
	s.answer = handshake.AppendRefusal(s.answer[:0], r, time.Now())
	c.write(s.answer)
	c.step(evRefused)
}

// write queues bytes that are not frames.
func (c *Conn) write(b []byte) {
	c.lc.Lock()
	if dst := c.lc.Append(len(b)); dst != nil {
		copy(dst, b)
	}
	c.lc.Unlock(true)
}
