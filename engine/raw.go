package engine

import (
	"zeroframe/frame"
)

// Frame is a frame as it came, or as it shall leave (RFC 6455, section 5.2).
type Frame struct {
	OpCode  frame.OpCode // Continuation too
	Fin     bool         // the message ends with it; always set on control frames
	RSV     byte         // frame.RSV1 to RSV3
	Payload []byte       // unmasked
}

// FrameHandler is told of every frame on the connections of a raw route. Its methods run on the connection's loop, one
// at a time for one connection, and must not block. Like a Handler it may implement Upgrader and DrainHandler too.
type FrameHandler interface {
	// OnOpen is the first call, after the handshake was answered.
	OnOpen(c *Conn)
	// OnFrame delivers a frame, unmasked: data and control frames alike, in the order they came, each whole. f.Payload is
	// valid, and may be changed, until it returns. Nothing has been answered, and nothing will be: a ping wants a pong, and
	// the peer's close frame, the last that is delivered, a Close within CloseTimeout.
	OnFrame(c *Conn, f Frame)
	// OnClose is the last call, exactly once for each OnOpen.
	OnClose(c *Conn, reason CloseReason)
}

// HandleRaw serves the requests that match pattern with h, frame by frame: nothing is answered or joined for h, and text
// is not checked. The engine still answers what breaks the protocol with 1002 and a frame above MaxFrameSize with 1009;
// MaxMessageSize applies to compressed messages only. It pings only when opts have a WithPingInterval. After Conn.Close
// frames are delivered until the peer's close frame. Pattern and errors are those of Handle.
func (e *Engine) HandleRaw(pattern string, h FrameHandler, opts ...RouteOption) error {
	if h == nil {
		return &OptionError{"FrameHandler", "nil"}
	}
	return e.handle(pattern, rawLayer{h}, rawRoute(h), opts)
}

// rawRoute makes a route a raw one.
func rawRoute(h FrameHandler) func(*route) {
	return func(r *route) {
		r.raw = h
		r.pingInterval, r.compression, r.extensions = 0, nil, nil
	}
}

// rawLayer is the Handler of a raw route: frames go past it, unless extensions make them of others.
type rawLayer struct{ FrameHandler }

// OnMessage delivers what was compressed.
func (l rawLayer) OnMessage(c *Conn, op frame.OpCode, payload []byte) {
	l.OnFrame(c, Frame{OpCode: op, Fin: true, Payload: payload})
}

// receiveRaw takes a piece of a data frame on a raw route; b holds it with what of its header came with it.
func (c *Conn) receiveRaw(s *shard, ch *frame.Chunk, b []byte) {
	if !c.delivering() {
		return
	}
	if c.flags.Load()&flagCompressed != 0 || ch.First && ch.Header.RSV&c.rulesInForce(c.flags.Load()).FirstRSV != 0 {
		c.receiveData(s, ch, b) // it is delivered, in one frame, when it is complete
		return
	}
	ch.Unmask()
	switch {
	case !ch.Last:
		if len(ch.Payload) > 0 || c.parser.Remaining() >= directFrom {
			c.assemble(s, ch.Payload)
		}
	case c.assembly == nil:
		s.serving.begin(c, ch.Payload, b[len(b)-len(ch.Payload)-ch.Room:], nil)
		c.deliverFrame(s, &ch.Header)
	default:
		c.assemble(s, ch.Payload)
		buf := c.takeAssembly(s)
		s.serving.begin(c, buf.B[assemblyRoom:], buf.B, buf)
		c.deliverFrame(s, &ch.Header)
	}
}

// deliverFrame hands the data frame being served to the handler.
func (c *Conn) deliverFrame(s *shard, h *frame.Header) {
	s.count.MessagesIn++
	c.route.raw.OnFrame(c, Frame{OpCode: h.OpCode, Fin: h.Fin, RSV: h.RSV, Payload: s.serving.payload})
	s.finishServing(c)
}

// controlRaw is control on a raw route.
func (c *Conn) controlRaw(s *shard, op frame.OpCode, payload, around []byte) {
	if !c.delivering() {
		return
	}
	s.serving.begin(c, payload, around, nil)
	switch op {
	case frame.Close:
		c.deliverCloseFrame(s, payload)
		return
	case frame.Ping:
		s.count.PingsIn++
	case frame.Pong:
		s.count.PongsIn++
		c.receivePong(s, payload)
	}
	c.route.raw.OnFrame(c, Frame{OpCode: op, Fin: true, Payload: payload})
	s.finishServing(c)
}

// deliverCloseFrame hands over the peer's close frame, the last frame there is; the answer is the handler's.
func (c *Conn) deliverCloseFrame(s *shard, payload []byte) {
	code, text, err := frame.ParseClosePayload(payload)
	if err != nil {
		s.finishServing(c)
		e := err.(*frame.Error)
		c.fault(e.Code, e.Reason, e)
		return
	}
	c.lc.Lock()
	c.setReason(CloseReason{Code: code, Text: string(text), Remote: true})
	c.lc.Unlock(false)
	c.route.raw.OnFrame(c, Frame{OpCode: frame.Close, Fin: true, Payload: payload})
	s.finishServing(c)
	if c.state == stateClosing {
		c.step(evPeerClose)
	} else {
		c.step(evCloseSeen)
	}
}

// SendFrame queues one frame as it is, for what messages do not say: on a raw route, or a fragment on any. A whole message
// passes the connection's extensions as in Send; a fragment is not compressed. It copies the payload before it returns and
// never blocks. A close frame is sent as Close does it. It returns ErrFrame for a frame that RFC 6455 does not allow,
// ErrFragment for one that does not continue what was sent before it, and the errors of Send, Ping and Close.
func (c *Conn) SendFrame(f Frame) error { return c.queueFrame(f, bounded) }

// ReplyFrame sends a frame from inside the connection's own OnFrame: what Reply is to messages, and with its rules. Only
// a whole message, or a pong, leaves from where it stands; other frames are copied.
func (c *Conn) ReplyFrame(f Frame) error {
	if f.Fin && f.RSV == 0 && (f.OpCode.IsData() || f.OpCode == frame.Pong) {
		return c.Reply(f.OpCode, f.Payload)
	}
	if c.shard().serving.conn == c {
		return c.queueFrame(f, exempt)
	}
	return c.queueFrame(f, bounded)
}

func (c *Conn) queueFrame(f Frame, b bound) error {
	control := f.OpCode.IsControl()
	switch {
	case f.OpCode.IsReserved(), f.RSV&^c.route.rules.RSV != 0, control && (!f.Fin || f.RSV != 0):
		return ErrFrame
	case control && len(f.Payload) > frame.MaxControlPayload:
		return ErrMessageTooBig
	case f.OpCode == frame.Close:
		code, text, err := frame.ParseClosePayload(f.Payload)
		if err == frame.ErrCloseReason {
			return ErrCloseReason
		} else if err != nil {
			return ErrCloseCode
		}
		return c.Close(code, string(text))
	}
	h := frame.Header{Fin: f.Fin, OpCode: f.OpCode, RSV: f.RSV}
	switch {
	case control:
		return c.queue(h, f.Payload, exempt)
	case f.Fin && f.OpCode != frame.Continuation:
		return c.queue(h, f.Payload, b)
	case c.flags.Load()&flagExtended != 0:
		return c.frameExtended(f, b)
	}
	if x := c.extensions(); x != nil {
		if !x.beginFragment(nil, b) {
			return ErrFragment
		}
		defer x.mu.Unlock()
	}
	c.lc.Lock()
	flags := c.flags.Load()
	if flags&flagSendClosed == 0 && ((f.OpCode == frame.Continuation) != (flags&flagFragment != 0) || flags&flagWriting != 0) {
		return c.unlock(ErrFragment)
	}
	err := c.appendLocked(h, f.Payload, b)
	if err == nil {
		c.sentFragment(f.OpCode, f.Fin, nil)
	}
	return c.unlock(err)
}
