package engine

import (
	"context"
	"errors"
	"io"

	"zeroframe/frame"
	"zeroframe/pool"
)

// NextReader waits for the beginning of the next message and returns its type and a reader of its payload, which need
// not have come: a message larger than memory flows through. The limits on frames and messages hold, and text is checked
// as it comes. The rest of a message that is not read to its end is skipped by the next call of NextReader or Receive,
// which also ends the use of r. A compressed message is inflated as it comes; when ctx ends inside one, and the peer may
// refer to it later on (Compression.TakeoverIn), the connection cannot go on and is closed with 1011.
//
// r's Read waits while nothing is there, until ctx ends; after the message it returns io.EOF, and when the connection
// ends inside it, the *CloseError. r is an io.WriterTo, too, which copies nothing on the way. Errors are those of
// Receive.
func (s *Session) NextReader(ctx context.Context) (op frame.OpCode, r io.Reader, err error) {
	if err := s.leave(ctx); err != nil {
		return 0, nil, err
	}
	if c := s.conn; c.flags.Or(flagPieces)&flagPieces == 0 {
		c.lc.Notify(mailPieces)
	}
	it, err := s.begin(ctx)
	if err != nil {
		return 0, nil, err
	}
	s.reader = &messageReader{session: s, ctx: ctx}
	s.reader.use(it)
	if it.compressed {
		s.inflating = s.reader.inflate(it.op)
		return it.op, s.inflating, nil
	}
	return it.op, s.reader, nil
}

// leave ends the use of what the last call of Receive or NextReader returned. The rest of a compressed message that
// later ones can refer to is inflated for their sake.
func (s *Session) leave(ctx context.Context) error {
	var err error
	if r := s.inflating; r != nil {
		err = r.skip(ctx)
		s.inflating = nil
	}
	s.release()
	if err == nil && s.broken != nil {
		return s.broken
	}
	return err
}

var errReaderDone = errors.New("engine: the reader's message was left by another Receive or NextReader")

// messageReader reads one message. Its piece is the session's current buffer.
type messageReader struct {
	session *Session
	ctx     context.Context
	rest    []byte // of the piece
	last    bool   // the message ends with the piece
}

func (r *messageReader) use(it item) {
	r.session.current = it.buf
	r.rest, r.last = it.payload(), it.last
}

// fill waits until something is there to be read, and returns io.EOF at the end of the message.
func (r *messageReader) fill() error {
	if r.session.reader != r {
		return errReaderDone
	}
	for len(r.rest) == 0 {
		r.recycle()
		if r.last {
			return io.EOF
		}
		it, err := r.session.next(r.ctx)
		if err != nil {
			return err
		}
		r.use(it)
	}
	return nil
}

// recycle gives back the piece that was read.
func (r *messageReader) recycle() {
	if r.session.current != nil {
		pool.Put(r.session.current)
		r.session.current = nil
	}
}

// Read reads a part of the message; see NextReader.
func (r *messageReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if err := r.fill(); err != nil {
		return 0, err
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// WriteTo writes the rest of the message to w, piece by piece.
func (r *messageReader) WriteTo(w io.Writer) (n int64, err error) {
	for {
		switch err := r.fill(); err {
		case nil:
		case io.EOF:
			return n, nil
		default:
			return n, err
		}
		m, err := w.Write(r.rest)
		n += int64(m)
		r.rest = r.rest[m:]
		if err != nil {
			return n, err
		}
	}
}
