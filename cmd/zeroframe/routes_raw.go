package main

import "zeroframe/engine"

// rawEcho sends back every frame as it came: a ping is answered by a ping, a close frame by one with the same code and
// text.
type rawEcho struct{}

func (rawEcho) OnOpen(*engine.Conn)                      {}
func (rawEcho) OnFrame(c *engine.Conn, f engine.Frame)   { c.ReplyFrame(f) }
func (rawEcho) OnClose(*engine.Conn, engine.CloseReason) {}
