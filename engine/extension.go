package engine

import (
	"io"
	"sync"

	"zeroframe/deflate"
	"zeroframe/frame"
	"zeroframe/pool"
)

// Extension is an extension of the protocol (RFC 6455, section 9), for what WithCompression is not. Its methods may be
// called by many goroutines at once.
type Extension interface {
	// Name is the extension's registered token.
	Name() string
	// ReservedBits are those of frame.RSV1 to RSV3 that its frames may have set, 0 for none.
	ReservedBits() byte
	// Negotiate answers a client's offer with the parameters that are accepted and what works on the connection then;
	// nil declines the offer, and the next one of that name is tried.
	Negotiate(offer []deflate.Param) (accepted []deflate.Param, x FrameTransformer)
	// Offer returns the parameters that a client offers.
	Offer() []deflate.Param
	// Accept takes a server's answer to that, or refuses it: then the handshake fails.
	Accept(answer []deflate.Param) (FrameTransformer, error)
}

// FrameTransformer is an extension at work on one connection. One that is an io.Closer is closed, on the loop, when the
// connection has ended. It is given data frames only, whole and unmasked, and may
// change their payload in place, replace it, and set or clear the extension's reserved bits; the rest it must leave. A
// message is one frame on its way out unless it is sent in fragments.
type FrameTransformer interface {
	// Outgoing works on a frame before it is sent; payload is a copy. One call at a time, on any goroutine; it must not send
	// on the connection. After an error the frame is not sent, and the sender gets the error.
	Outgoing(f *Frame) error
	// Incoming works on a frame that was received, on the connection's loop. A payload of its own is valid until the next
	// call. It must clear the extension's bits. An error ends the connection, with the code of a *frame.Error, else 1002.
	Incoming(f *Frame) error
}

// WithExtensions installs extensions: each is agreed on when the peer offers it, or, given to Dial, offered. Outgoing
// frames pass them in the order given, incoming ones in reverse. Compression comes last on the way out, unless
// WithCompression was given before this option: then it comes first. Two extensions of one name, or that claim the same
// reserved bit, are refused. On such a connection frames are joined and copied before they are delivered. On a raw route
// it counts only among the route's own options; frames are delivered there as they leave the extensions. Default: none.
func WithExtensions(list ...Extension) Setting {
	return setting(func(s *settings) error {
		s.extensions = append([]Extension(nil), list...)
		s.deflateFirst = s.compression != nil
		return nil
	})
}

// checkExtensions looks for two that cannot work together.
func (s *settings) checkExtensions() error {
	var bits byte
	names := make(map[string]bool)
	if s.compression != nil {
		bits, names[deflate.Name] = frame.RSV1, true
	}
	if s.reserved&bits != 0 {
		return &OptionError{"WithReservedBits", "RSV1 is that of the route's compression"}
	}
	bits |= s.reserved
	for _, x := range s.extensions {
		if x == nil {
			return &OptionError{"WithExtensions", "nil"}
		}
		name, rsv := x.Name(), x.ReservedBits()
		switch {
		case !isToken(name):
			return &OptionError{"WithExtensions", "the name is not a token of HTTP: " + name}
		case rsv&^(frame.RSV1|frame.RSV2|frame.RSV3) != 0:
			return &OptionError{"WithExtensions", name + " claims bits that are not reserved bits"}
		case names[name]:
			return &OptionError{"WithExtensions", "two are called " + name}
		case rsv&bits != 0:
			return &OptionError{"WithExtensions", name + " claims a reserved bit that another has"}
		}
		bits |= rsv
		names[name] = true
	}
	return nil
}

// extensions is what a connection needs for user's extensions, and for compression with context takeover.
type extensions struct {
	mu      sync.Mutex // guards what is sent: a message enters out, or a transformer, in the order it is queued
	out     *deflate.History
	writing *messageWriter // has a compressed message under way, which goes on in out

	in      *deflate.History // the loop's, or, under a session, the receiver's
	list    []FrameTransformer
	names   []string
	rules   frame.Rules
	message *pool.Buffer // frames of a message that the transformers have seen; loop only
	rsv     byte         // of its first frame; loop only
}

// beginFragment takes x.mu for a fragment, unless a message is under way that the fragment must not get between: one
// that is in the history already, or is about to be. Who may not wait for that does not.
func (x *extensions) beginFragment(by *messageWriter, b bound) bool {
	if b == waiting || len(x.list) > 0 {
		x.mu.Lock()
	} else if !x.mu.TryLock() {
		return false
	}
	if x.writing != nil && x.writing != by {
		x.mu.Unlock()
		return false
	}
	return true
}

// extensions returns what c needs beyond a flag for its extensions; nil if nothing.
func (c *Conn) extensions() *extensions {
	if r := c.rare.Load(); r != nil {
		return r.extensions
	}
	return nil
}

func (c *Conn) moreExtensions() *extensions {
	r := c.more()
	if r.extensions == nil {
		r.extensions = new(extensions)
	}
	return r.extensions
}

// Extensions returns the names of the extensions that were agreed on, in the order outgoing messages pass them.
func (c *Conn) Extensions() []string {
	var names []string
	f := c.flags.Load()
	if x := c.extensions(); x != nil {
		names = append(names, x.names...)
	}
	switch {
	case f&flagDeflate == 0:
	case c.route.deflateFirst:
		names = append([]string{deflate.Name}, names...)
	default:
		names = append(names, deflate.Name)
	}
	return names
}

// close ends the transformers that want to know.
func (x *extensions) close() {
	for _, t := range x.list {
		if t, ok := t.(io.Closer); ok {
			t.Close()
		}
	}
}
