package engine

import (
	"context"
	"errors"
	"io"
	"sync"

	"zeroframe/deflate"
	"zeroframe/frame"
	"zeroframe/pool"
)

// NextWriter returns a writer for a message of type op that need not be known whole: what is written leaves in fragments
// of at most 64 KiB, smaller writes together, and Close ends the message (RFC 6455, section 5.4). A message of less than
// that leaves in one frame, on Close. Of longer ones at most 16 per loop are compressed at a time. Writes wait like Send,
// until ctx ends; after an error the message cannot be completed, and once a part of it has left, only the connection can
// be closed. It is for one goroutine at a time.
//
// Other goroutines' messages wait from its first fragment to its end, and so does another NextWriter from this call on;
// so does Send on the goroutine that holds the writer, without hope. The error is ctx's, a *CloseError, or ErrFragment
// for another opcode and behind a message that was left unfinished.
func (s *Session) NextWriter(ctx context.Context, op frame.OpCode) (io.WriteCloser, error) {
	if !op.IsData() {
		return nil, ErrFragment
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		if s.end != nil {
			return nil, s.end
		}
		if s.writer == nil {
			if s.conn.flags.Load()&flagFragment != 0 { // what is written now would continue a message that was given up
				return nil, ErrFragment
			}
			s.writer = &messageWriter{session: s, ctx: ctx, op: op}
			return s.writer, nil
		}
		w := s.senders.join()
		s.mu.Unlock()
		err := s.wait(ctx, w)
		s.mu.Lock()
		s.senders.leave(w)
		if err != nil && s.end == nil {
			return nil, err
		}
	}
}

// errAbandoned: the handler returned without closing its writer.
var errAbandoned = errors.New("engine: the writer's message was not ended")

var errWriterClosed = errors.New("engine: the writer's message was ended by Close")

// messageWriter writes one message.
type messageWriter struct {
	session *Session
	ctx     context.Context
	op      frame.OpCode

	mu    sync.Mutex      // against the handler's end, which ends the writer too
	buf   *pool.Buffer    // what has been written and has not left; nil: nothing
	begun bool            // a part of the message has left, or has gone to z
	z     *deflate.Writer // compresses the message; nil: it leaves as it is
	err   error           // sticky
	ended bool            // by Close, or the handler's end
}

// Write adds p to the message; see NextWriter. It copies p before it returns.
func (w *messageWriter) Write(p []byte) (n int, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil && w.session.conn.flags.Load()&flagSendClosed != 0 { // not found out before the buffer is full
		w.err = w.session.ended()
	}
	for len(p) > 0 && w.err == nil {
		var m int
		if w.buf == nil && len(p) >= pieceSize {
			m = pieceSize
			w.fragment(p[:m], false)
		} else {
			m = w.keep(p)
		}
		if w.err == nil {
			n += m
			p = p[m:]
		}
	}
	return n, w.err
}

// keep copies a part of p to the buffer, sends that when it is full, and returns how much it took.
func (w *messageWriter) keep(p []byte) int {
	if w.buf == nil {
		w.buf = pool.Get(min(len(p), pieceSize))
	}
	if have := len(w.buf.B); cap(w.buf.B)-have < len(p) && cap(w.buf.B) < pieceSize {
		grown := pool.Get(min(max(2*have, have+len(p)), pieceSize))
		grown.B = append(grown.B, w.buf.B...)
		pool.Put(w.buf)
		w.buf = grown
	}
	n := min(len(p), cap(w.buf.B)-len(w.buf.B))
	w.buf.B = append(w.buf.B, p[:n]...)
	if len(w.buf.B) == pieceSize {
		w.fragment(w.buf.B, false)
		w.recycle()
	}
	return n
}

// fragment sends a part of the message, which p need not outlive.
func (w *messageWriter) fragment(p []byte, fin bool) {
	switch {
	case !w.begun && fin:
		c := w.session.conn
		w.err = w.session.send(w.ctx, w, func() error {
			return c.queue(frame.Header{Fin: true, OpCode: w.op}, p, waiting)
		})
		return
	case !w.begun:
		w.begun = true
		w.compress(len(p))
	}
	if w.z == nil {
		w.err = w.emit(p, fin, 0)
		return
	}
	if _, w.err = w.z.Write(p); w.err == nil && fin {
		w.err = w.z.Close()
	}
	if w.err == nil {
		w.session.conn.countDeflated(len(p), 0)
	}
}

// emit sends bytes of the message as they are on the wire.
func (w *messageWriter) emit(p []byte, fin bool, rsv byte) error {
	s := w.session
	return s.send(w.ctx, w, func() error { return s.conn.queueFragment(w.op, p, fin, rsv, w, waiting) })
}

// maxStreams is how many messages per loop are compressed as they are written, each by 0.3 to 1.4 MB of its own: a peer
// whose messages are answered as they come could have as many under way as it has connections.
const maxStreams = 16

// compress decides whether the message, of which size bytes are known, is compressed.
func (w *messageWriter) compress(size int) {
	c := w.session.conn
	f := c.flags.Load()
	if f&flagDeflate == 0 || f&flagExtended != 0 || !c.compresses(w.op, size) {
		return
	}
	e := c.route.engine
	if e.streams.Add(1) > int64(maxStreams*e.config.loops) {
		e.streams.Add(-1)
		return
	}
	var h *deflate.History
	if x := c.extensions(); x != nil && x.out != nil {
		x.mu.Lock()
		x.writing = w
		x.mu.Unlock()
		h = x.out
	}
	w.z = deflate.NewWriter(func(p []byte, fin bool) error {
		if w.err != nil { // it was given up
			return w.err
		}
		err := w.emit(p, fin, frame.RSV1)
		if err == nil {
			c.countDeflated(0, len(p))
		}
		return err
	}, c.deflateSetting(f), h)
}

func (w *messageWriter) recycle() {
	if w.buf != nil {
		pool.Put(w.buf)
		w.buf = nil
	}
}

// Close ends the message with what has not left yet. It returns the first error of a Write, and an error when called
// again.
func (w *messageWriter) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended {
		return w.err
	}
	if w.err == nil {
		var rest []byte
		if w.buf != nil {
			rest = w.buf.B
		}
		w.fragment(rest, true)
	}
	err := w.err
	w.end(errWriterClosed)
	return err
}

// abandon ends a writer that its handler has left open.
func (w *messageWriter) abandon() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.ended {
		w.err = errAbandoned
		w.end(w.session.ended())
	}
}

// end gives back what the writer holds; later calls fail with err.
func (w *messageWriter) end(err error) {
	failed := w.err
	w.err, w.ended = err, true
	w.recycle()
	s := w.session
	if w.z != nil {
		w.z.Close()
		s.conn.route.engine.streams.Add(-1)
		if x := s.conn.extensions(); x != nil && x.out != nil {
			if failed != nil { // what later messages would refer to has not left
				s.conn.closeWith(CloseReason{Code: frame.CloseInternalError, Text: "message given up", Err: failed})
			}
			x.mu.Lock()
			x.writing = nil
			x.mu.Unlock()
		}
	}
	s.mu.Lock()
	s.writer = nil
	s.senders.ring()
	s.mu.Unlock()
}
