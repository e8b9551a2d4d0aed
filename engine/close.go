package engine

import (
	"unicode/utf8"

	"zeroframe/frame"
	"zeroframe/internal/utf8x"
)

// Close sends a close frame behind what is queued and returns; OnClose follows when the peer has answered or
// CloseTimeout has passed (RFC 6455, section 7.1.2). Nothing is delivered any more. The first close wins: after one, by
// either side, it returns ErrClosed and does nothing. frame.CloseNoStatus sends a close frame without a code. It returns
// ErrCloseCode or ErrCloseReason for what may not be sent.
func (c *Conn) Close(code frame.CloseCode, reason string) error {
	switch {
	case code != frame.CloseNoStatus && !code.OnWire():
		return ErrCloseCode
	case len(reason) > frame.MaxCloseReason || !utf8.ValidString(reason) || code == frame.CloseNoStatus && reason != "":
		return ErrCloseReason
	}
	return c.closeWith(CloseReason{Code: code, Text: reason})
}

// closeWith is Close with a reason made here. Any goroutine.
func (c *Conn) closeWith(r CloseReason) error {
	c.lc.Lock()
	if c.flags.Load()&(flagSendClosed|flagTerminate|flagUpgraded) != flagUpgraded {
		c.lc.Unlock(false)
		return ErrClosed
	}
	c.setReason(r)
	c.appendClose(r.Code, r.Text)
	c.lc.Unlock(true)
	c.lc.Notify(mailClose)
	return nil
}

// appendClose queues a close frame, the last frame there is. The caller holds the output queue.
func (c *Conn) appendClose(code frame.CloseCode, text string) {
	var payload [frame.MaxControlPayload]byte
	p := frame.AppendClosePayload(payload[:0], code, text)
	c.appendLocked(frame.Header{Fin: true, OpCode: frame.Close}, p, exempt)
	c.flags.Or(flagSendClosed)
}

// Terminate drops the connection at once, with what is queued and without a close frame; the reason is 1006.
func (c *Conn) Terminate() {
	c.flags.Or(flagTerminate)
	c.lc.Notify(mailTerminate)
}

// receiveClose acts on the peer's close frame: it is echoed, behind what is queued, unless ours went first.
func (c *Conn) receiveClose(payload []byte) {
	code, text, err := frame.ParseClosePayload(payload)
	if err != nil {
		e := err.(*frame.Error)
		c.fault(e.Code, e.Reason, e)
		return
	}
	c.finish(CloseReason{Code: code, Text: string(text), Remote: true}, code, "")
	c.step(evPeerClose)
}

// checkCloseBeginning looks for what is wrong already with a close payload of which only the beginning has come: its
// peer may never send the rest.
func checkCloseBeginning(p []byte) *frame.Error {
	if len(p) < 2 {
		return nil
	}
	if !(frame.CloseCode(p[0])<<8 | frame.CloseCode(p[1])).OnWire() {
		return frame.ErrCloseCode
	}
	var text utf8x.State
	if !text.Next(p[2:]) {
		return frame.ErrCloseReason
	}
	return nil
}

// fault ends the connection for what the peer, or a handler, did wrong. Nothing is delivered after it. Loop only.
func (c *Conn) fault(code frame.CloseCode, text string, err error) {
	if c.state == stateHead {
		c.refuse(refuseInternal)
		return
	}
	if c.state != stateOpen && c.state != stateClosing && c.state != stateAnswering {
		return
	}
	text = frame.TruncateReason(text)
	c.finish(CloseReason{Code: code, Text: text, Err: err}, code, text)
	c.step(evFault)
}

// finish keeps the reason, unless there is one, and queues the last frame, unless it has gone.
func (c *Conn) finish(r CloseReason, code frame.CloseCode, text string) {
	c.lc.Lock()
	c.setReason(r)
	queued := c.flags.Load()&flagSendClosed == 0
	if queued {
		c.appendClose(code, text)
	}
	c.lc.Unlock(queued)
}
