package main

import (
	"zeroframe/engine"
	"zeroframe/frame"
)

const (
	floodMessage = 64 << 10
	maxFlood     = 1 << 40
)

// floodBytes is what every flood sends a part of.
var floodBytes [floodMessage]byte

// floodHandler sends as many bytes as its peer takes, up to the number in the path for each message: Send until it is
// refused, and on when OnDrain says so.
type floodHandler struct{ engine.NopHandler }

// flood belongs to its connection's loop.
type flood struct{ bytes, left int64 }

// OnUpgrade refuses what is no number, or one out of bounds.
func (floodHandler) OnUpgrade(u *engine.Upgrade) error {
	n, err := pathNumber(u, "/flood/{bytes}", "bytes", 1, maxFlood)
	if err != nil {
		return err
	}
	u.UserData = &flood{bytes: n}
	return nil
}

// OnMessage begins a flood, or makes the one that is on longer.
func (h floodHandler) OnMessage(c *engine.Conn, _ frame.OpCode, _ []byte) {
	f := c.UserData().(*flood)
	f.left = min(f.left+f.bytes, maxFlood)
	h.OnDrain(c)
}

// OnDrain sends on until the queue is full.
func (floodHandler) OnDrain(c *engine.Conn) {
	for f := c.UserData().(*flood); f.left > 0; {
		n := min(f.left, floodMessage)
		if c.Send(frame.Binary, floodBytes[:n]) != nil {
			return
		}
		f.left -= n
	}
}
