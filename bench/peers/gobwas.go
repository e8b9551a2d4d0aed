package peers

import (
	"bytes"
	"io"

	"github.com/gobwas/ws"
	"github.com/panjf2000/gnet/v2"
)

var gobwasServer = &Server{
	Name: "gobwas", How: "gobwas/ws 1.5 on gnet 2.9: one event loop, frames read with ws.ReadHeaderBuffer and unmasked with ws.Cipher in " +
		"gnet's buffer, the answers to what one read brought written at once; text not checked",
	echo: serveGobwas,
}

// gobwasEcho answers frame by frame, as the library's own example does.
type gobwasEcho struct {
	gnetServer
	in      bytes.Reader
	scratch [ws.MaxHeaderSize]byte
	out     bytes.Buffer // answers, until all that is there to read has been
	pieces  [2][]byte
}

func serveGobwas(_ Options, up upFunc) error {
	return runGnet(&gobwasEcho{gnetServer: gnetServer{up: up}})
}

const (
	// maxHead bounds a request.
	maxHead = 16 << 10
	// uncopied is from where on a payload is written from where it lies, with those before it.
	uncopied = 8 << 10
)

// OnTraffic is called when bytes have come. The connection's context is nil until its request is answered, and then how many bytes
// it takes to go on: until all of a frame is there, the buffer is not to be looked at, for that may copy it.
func (s *gobwasEcho) OnTraffic(c gnet.Conn) gnet.Action {
	if c.Context() == nil {
		if action, done := s.upgrade(c); !done {
			return action
		}
	}
	if c.InboundBuffered() < c.Context().(int) {
		return gnet.None
	}
	in, err := c.Peek(-1)
	if err != nil {
		return gnet.Close
	}
	used, want := 0, 0
	for used < len(in) {
		s.in.Reset(in[used:])
		h, err := ws.ReadHeaderBuffer(&s.in, s.scratch[:])
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			break
		}
		if err != nil || !h.Masked {
			return gnet.Close
		}
		size := len(in) - used - s.in.Len() + int(h.Length)
		if size > len(in)-used {
			want = size
			break
		}
		payload := in[used+size-int(h.Length):][:h.Length]
		used += size
		if s.answer(c, h, payload) != nil {
			return gnet.Close
		}
		if h.OpCode == ws.OpClose {
			s.flush(c, nil)
			return gnet.Close
		}
	}
	if err := s.flush(c, nil); err != nil {
		return gnet.Close
	}
	if used > 0 {
		c.Discard(used)
	}
	c.SetContext(want)
	return gnet.None
}

// answer unmasks a payload and queues the frame with it.
func (s *gobwasEcho) answer(c gnet.Conn, h ws.Header, payload []byte) error {
	ws.Cipher(payload, h.Mask, 0)
	h.Masked = false
	if h.OpCode == ws.OpPing {
		h.OpCode = ws.OpPong
	}
	if err := ws.WriteHeaderBuffer(&s.out, h, s.scratch[:]); err != nil {
		return err
	}
	if len(payload) >= uncopied {
		return s.flush(c, payload)
	}
	s.out.Write(payload)
	return nil
}

// flush writes the answers that are queued, and a payload behind them.
func (s *gobwasEcho) flush(c gnet.Conn, payload []byte) (err error) {
	switch {
	case payload != nil:
		s.pieces = [2][]byte{s.out.Bytes(), payload}
		_, err = c.Writev(s.pieces[:])
	case s.out.Len() > 0:
		_, err = c.Write(s.out.Bytes())
	}
	s.out.Reset()
	return err
}

// upgrade answers a request, once all of it is there.
func (s *gobwasEcho) upgrade(c gnet.Conn) (action gnet.Action, done bool) {
	in, err := c.Peek(-1)
	if err != nil {
		return gnet.Close, false
	}
	end := bytes.Index(in, []byte("\r\n\r\n")) + 4
	if end < 4 {
		if len(in) > maxHead {
			return gnet.Close, false
		}
		return gnet.None, false
	}
	both := struct {
		io.Reader
		io.Writer
	}{bytes.NewReader(in[:end]), c}
	if _, err := ws.Upgrade(both); err != nil {
		return gnet.Close, false
	}
	c.Discard(end)
	c.SetContext(0)
	return gnet.None, true
}
