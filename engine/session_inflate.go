package engine

import (
	"context"
	"io"
	"math"

	"zeroframe/deflate"
	"zeroframe/frame"
	"zeroframe/internal/utf8x"
	"zeroframe/pool"
)

// inflate makes the message of a compressed one.
func (s *Session) inflate(it item) (item, error) {
	e := s.conn.route.engine
	d := e.decompressors.Borrow()
	buf, err := s.conn.inflate(d, nil, it.payload(), it.op, !s.conn.route.skipUTF8)
	e.decompressors.Recycle(d)
	it.recycle()
	if err != nil {
		return item{}, s.fail(err)
	}
	it.buf, it.start, it.compressed = buf, assemblyRoom, false
	return it, nil
}

// fail ends the connection for a compressed message that the peer should not have sent.
func (s *Session) fail(err error) error { return s.giveUp(s.conn.deflateReason(err)) }

// giveUp ends the connection over a compressed message. Nothing is received after it, whatever has come already: a
// history that lacks a message would make others of those behind it. Nor is it an orderly end when the peer has closed
// in order since.
func (s *Session) giveUp(r CloseReason) error {
	s.broken = &CloseError{Reason: r}
	s.conn.closeWith(r)
	return s.broken
}

// inflatingReader reads one compressed message, whose bytes another reader reads as they come.
type inflatingReader struct {
	from  *messageReader
	in    *deflate.Reader
	check bool // the message is text, to be checked
	text  utf8x.State
	err   error // sticky
}

func (r *messageReader) inflate(op frame.OpCode) *inflatingReader {
	c := r.session.conn
	limit := int(min(c.route.maxMessage, math.MaxInt))
	return &inflatingReader{
		from:  r,
		in:    deflate.NewReader(compressedPieces{r}, limit, c.historyIn()),
		check: op == frame.Text && !c.route.skipUTF8,
	}
}

// compressedPieces counts what the messageReader under an inflatingReader reads.
type compressedPieces struct{ from *messageReader }

// Read reads a part of the compressed message.
func (r compressedPieces) Read(p []byte) (int, error) {
	n, err := r.from.Read(p)
	r.from.session.conn.shard().sent.inflatedWire.Add(uint64(n))
	return n, err
}

// historyIn is that of the peer's messages, nil without context takeover.
func (c *Conn) historyIn() *deflate.History {
	if x := c.extensions(); x != nil {
		return x.in
	}
	return nil
}

// Read reads a part of the message; see NextReader.
func (r *inflatingReader) Read(p []byte) (int, error) {
	if r.err == nil && r.from.session.inflating != r {
		return 0, errReaderDone
	}
	if r.err != nil || len(p) == 0 {
		return 0, r.err
	}
	n, err := r.in.Read(p)
	r.from.session.conn.shard().sent.inflated.Add(uint64(n))
	if r.check && !(r.text.Next(p[:n]) && (err != io.EOF || r.text.Complete())) {
		r.in.Close()
		n, err = 0, errUTF8
	}
	if err != nil {
		r.err = r.outcome(err)
		err = r.err
	}
	return n, err
}

// outcome is what the reader's user is told of err, and what becomes of the connection.
func (r *inflatingReader) outcome(err error) error {
	s := r.from.session
	switch {
	case err == io.EOF:
		return err
	case err == errUTF8, err == deflate.ErrTooBig, err == deflate.ErrCorrupt:
		return s.fail(err)
	case s.conn.historyIn() != nil:
		s.giveUp(CloseReason{Code: frame.CloseInternalError, Text: "message given up", Err: err})
	}
	return err
}

// WriteTo writes the rest of the message to w in pieces of at most 64 KiB.
func (r *inflatingReader) WriteTo(w io.Writer) (n int64, err error) {
	buf := pool.Get(pieceSize)
	defer pool.Put(buf)
	for {
		m, err := r.Read(buf.B[:pieceSize])
		if m > 0 {
			m, err := w.Write(buf.B[:m])
			n += int64(m)
			if err != nil {
				return n, err
			}
		}
		switch err {
		case nil:
		case io.EOF:
			return n, nil
		default:
			return n, err
		}
	}
}

// skip ends the use of r. With context takeover the rest of the message is read for the history's sake.
func (r *inflatingReader) skip(ctx context.Context) error {
	if r.err != nil || r.from.session.conn.historyIn() == nil {
		r.in.Close()
		return nil
	}
	r.from.ctx = ctx
	_, err := r.WriteTo(io.Discard)
	return err
}
