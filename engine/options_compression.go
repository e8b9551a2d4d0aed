package engine

import (
	"zeroframe/deflate"
	"zeroframe/frame"
)

// DefaultCompressionThreshold is the payload size, in bytes, from which messages are compressed by default.
const DefaultCompressionThreshold = 512

// Compression is how permessage-deflate (RFC 7692) is agreed on and used. The zero value takes nothing over from message
// to message: it costs a connection no memory. "Out" is what this end sends, "in" what the peer sends.
type Compression struct {
	// TakeoverOut lets each message sent refer to those before it, if the peer allows that. It costs a connection
	// HistoryOut, and about 250 B. The peer is the one to pay for the other end of it.
	TakeoverOut bool
	// TakeoverIn allows that to the peer. It costs a connection the peer's window: 32 KiB unless WindowBitsIn is agreed on.
	TakeoverIn bool
	// HistoryOut bounds, in bytes, what is kept of the messages sent. Default 4 KiB; at most 32 KiB, and the window.
	HistoryOut int
	// WindowBitsOut and WindowBitsIn bound the windows, 8 to 15, their logarithms in bytes: of what is sent, by what this
	// end can do, and of what the peer sends, if it can be asked to. Default 15.
	WindowBitsOut, WindowBitsIn int
	// Level is how hard to compress. Default deflate.FastestLevel.
	Level deflate.Level
	// Threshold is the payload size in bytes from which a message is compressed; below 0: every one. Default 512.
	Threshold int
	// CompressIf, if not nil, is asked about messages that the threshold lets through; size is that of the payload, or of
	// what is known of it when it is streamed. Any goroutine may call it; it must not send on the connection.
	CompressIf func(op frame.OpCode, size int) bool
}

// WithCompression agrees to permessage-deflate where the peer offers it, or, given to Dial, offers it. Messages that
// compression would not make shorter are sent as they are. A message that comes compressed is bounded by MaxMessageSize
// twice: compressed, and while it is inflated; a corrupt one is answered by 1007. Default: no compression. On a raw route
// it counts only among the route's own options; there a compressed message is delivered as one frame when it is
// complete.
//
// What compresses costs 0.3 to 1.4 MB for each level and each smaller window in use, per loop and per goroutine that
// sends at the same time; what inflates, 40 KB. A connection costs nothing without takeover, except while it streams a
// compressed message: 72 KB to read one, and as much as a loop to write one of more than 64 KiB.
func WithCompression(c Compression) Setting {
	err := c.check()
	if c.Threshold == 0 {
		c.Threshold = DefaultCompressionThreshold
	}
	if c.HistoryOut == 0 {
		c.HistoryOut = deflate.DefaultHistory
	}
	return setting(func(s *settings) error {
		if err == nil {
			s.compression = &c
		}
		return err
	})
}

// WithoutCompression takes WithCompression back, on a route.
func WithoutCompression() Setting {
	return setting(func(s *settings) error { s.compression = nil; return nil })
}

func (c *Compression) check() error {
	const name = "WithCompression"
	if c.Level < deflate.HuffmanOnly || c.Level > deflate.BestLevel {
		return &OptionError{name, "unknown level"}
	}
	if c.HistoryOut < 0 || c.HistoryOut > 1<<deflate.MaxWindowBits {
		return &OptionError{name, "HistoryOut is not between 0 and 32 KiB"}
	}
	if err := c.terms(frame.Server).Check(); err != nil {
		return &OptionError{name, err.Error()}
	}
	return nil
}
