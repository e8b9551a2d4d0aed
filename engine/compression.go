package engine

import (
	"zeroframe/deflate"
	"zeroframe/frame"
)

// terms are what is agreed to, or offered, in a role.
func (c *Compression) terms(role frame.Role) deflate.Config {
	if role == frame.Client {
		return deflate.Config{
			ServerContextTakeover: c.TakeoverIn, ClientContextTakeover: c.TakeoverOut,
			ServerMaxWindowBits: c.WindowBitsIn, ClientMaxWindowBits: c.WindowBitsOut,
		}
	}
	return deflate.Config{
		ServerContextTakeover: c.TakeoverOut, ClientContextTakeover: c.TakeoverIn,
		ServerMaxWindowBits: c.WindowBitsOut, ClientMaxWindowBits: c.WindowBitsIn,
	}
}

// The window of what a connection sends stands in the highest bits of its flags, less MinWindowBits: without takeover
// it is all that a connection need remember.
const windowShift = 29

// beginDeflate puts what was agreed on into force. The route is set.
func (c *Conn) beginDeflate(p deflate.Params) {
	o := c.route.compression
	bits := p.ServerMaxWindowBits
	out, in := p.ServerHistory(o.HistoryOut), p.ClientHistory(1<<deflate.MaxWindowBits)
	if c.route.rules.Role == frame.Client {
		bits = p.ClientMaxWindowBits
		out, in = p.ClientHistory(o.HistoryOut), p.ServerHistory(1<<deflate.MaxWindowBits)
	}
	c.flags.Or(flagDeflate | uint32(bits-deflate.MinWindowBits)<<windowShift)
	if !o.TakeoverOut {
		out = 0
	}
	if out > 0 || in > 0 {
		x := c.moreExtensions()
		x.out, x.in = deflate.NewHistory(out), deflate.NewHistory(in)
	}
}

// setting is how the connection's messages are compressed.
func (c *Conn) deflateSetting(flags uint32) deflate.Setting {
	return deflate.Setting{
		Level:      c.route.compression.Level,
		WindowBits: int(flags>>windowShift) + deflate.MinWindowBits,
	}
}

// compresses reports whether a message of size bytes is to be compressed, on a connection with compression.
func (c *Conn) compresses(op frame.OpCode, size int) bool {
	o := c.route.compression
	return size >= o.Threshold && (o.CompressIf == nil || o.CompressIf(op, size))
}
