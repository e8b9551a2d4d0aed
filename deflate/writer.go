package deflate

import (
	"errors"
	"sync"

	"github.com/klauspost/compress/flate"
)

// pieceSize is the length of the pieces that a Writer hands on, in bytes.
const pieceSize = 16 << 10

// Writer compresses one message while it is written. It must not be used by two
// goroutines at once. NewWriter makes one.
//
// It borrows a writer of 0.3 to 1.4 MB until Close. A message that is known as a
// whole is better compressed by a Compressor, which can leave it raw if it does
// not shrink, and does better on short ones.
type Writer struct {
	*deflating
	kind kind
	h    *History
	err  error
}

// deflating is what a Writer borrows.
type deflating struct {
	flate *flate.Writer
	out   pieces
	dict  []byte
}

// writers has a pool for each kind of flate.Writer.
var writers [kinds]sync.Pool

var errWriterClosed = errors.New("deflate: write to a closed Writer")

// NewWriter returns a Writer of one message. Its compressed bytes are handed to
// emit in pieces of at most 16 KiB, fin being true for the last one, for which
// the payloads of the message's frames are meant. emit must not keep a piece. h
// is the history of the stream, or nil without context takeover; it belongs to
// the Writer until Close. Stateless counts as FastestLevel.
func NewWriter(emit func(piece []byte, fin bool) error, s Setting, h *History) *Writer {
	k := kindOf(s.Level)
	if k == kindStateless {
		k = kindOf(FastestLevel)
	}
	bits := windowBits(s.WindowBits)
	if bits < MaxWindowBits && k != kindHuffman {
		k = kindWindow + kind(bits-MinWindowBits)
	}
	d, _ := writers[k].Get().(*deflating)
	if d == nil {
		d = &deflating{flate: newWriter(k)}
	}
	d.out = pieces{emit: emit, b: d.out.b[:0]}
	d.dict = d.dict[:0]
	if h != nil {
		d.dict = h.newest(d.dict, 1<<bits)
	}
	d.flate.ResetDict(&d.out, d.dict) // never Reset: see Compressor
	return &Writer{deflating: d, kind: k, h: h}
}

// Write compresses p, which is not kept. Its errors are those of emit, after
// which the Writer has failed; Close is still to be called.
func (w *Writer) Write(p []byte) (int, error) {
	if w.err != nil {
		return 0, w.err
	}
	if _, w.err = w.flate.Write(p); w.err != nil {
		return 0, w.err
	}
	if w.h != nil {
		w.h.Append(p)
	}
	return len(p), nil
}

// Flush hands on all that was written, so that the peer can inflate it. It costs
// about five bytes.
func (w *Writer) Flush() error {
	if w.err == nil {
		w.err = w.flate.Flush()
	}
	if w.err == nil && len(w.out.b) > 0 {
		w.err = w.out.handOn(len(w.out.b), false)
	}
	return w.err
}

// Close hands on the last piece and gives back what w holds. It returns the
// first error of emit. Further calls do nothing and return an error.
func (w *Writer) Close() error {
	if w.deflating == nil {
		return w.err
	}
	err := w.err
	if err == nil {
		err = w.flate.Flush()
	}
	if err == nil {
		// The tail is held back, whatever was handed on: see pieces.
		err = w.out.handOn(len(w.out.b)-len(tail), true)
	}
	w.out = pieces{b: w.out.b[:0]}
	writers[w.kind].Put(w.deflating)
	w.deflating, w.h, w.err = nil, nil, errWriterClosed
	return err
}

// pieces is the io.Writer that hands on what it is given in pieces, of which it
// always holds back as much as could be the tail of the message.
type pieces struct {
	emit func(piece []byte, fin bool) error
	b    []byte
}

func (s *pieces) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		n := min(len(rest), pieceSize+len(tail)-len(s.b))
		s.b = append(s.b, rest[:n]...)
		rest = rest[n:]
		if len(s.b) == pieceSize+len(tail) {
			if err := s.handOn(pieceSize, false); err != nil {
				return 0, err
			}
		}
	}
	return len(p), nil
}

// handOn hands on the first n bytes.
func (s *pieces) handOn(n int, fin bool) error {
	err := s.emit(s.b[:n], fin)
	s.b = s.b[:copy(s.b, s.b[n:])]
	return err
}
