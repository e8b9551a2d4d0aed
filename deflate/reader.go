package deflate

import (
	"errors"
	"io"
	"sync"
)

// Reader inflates one message while it arrives. It must not be used by two
// goroutines at once. NewReader makes one.
//
// It borrows a reader of 40 KB, and a history of 32 KiB if the stream has none,
// from the first to the last byte, or until Close. What has arrived is returned
// when 32 KiB of it are inflated, when the sender has flushed, or when the
// message is complete; a Read waits for that.
type Reader struct {
	*streaming
	h     *History
	limit int
	count int
	err   error
}

// streaming is what a Reader borrows.
type streaming struct {
	in  inflater
	own History // the window of a stream without history
}

var readers = sync.Pool{New: func() any { return new(streaming) }}

var errReaderClosed = errors.New("deflate: read from a closed Reader")

// NewReader returns a Reader of the message whose compressed bytes r yields: the
// payloads of its frames one after the other, then io.EOF. limit and h are as in
// Decompressor.Decompress; h belongs to the Reader until the end of the message.
func NewReader(r io.Reader, limit int, h *History) *Reader {
	s := readers.Get().(*streaming)
	limit = max(0, limit)
	s.in.startFrom(r, maxWire(limit), h)
	if h == nil {
		h = &s.own
		h.clear(maxWindow)
	}
	return &Reader{streaming: s, h: h, limit: limit}
}

// Read inflates into p. It blocks while r does. Its errors are io.EOF at the end
// of the message, ErrCorrupt, ErrTooBig, and those of r. After any of them
// nothing is held any more.
func (r *Reader) Read(p []byte) (int, error) {
	for r.err == nil {
		if len(p) == 0 {
			return 0, nil
		}
		n, err := r.in.read(p[:min(len(p), r.limit-r.count)])
		r.h.Append(p[:n])
		r.count += n
		switch {
		case err == errBlockFinal:
			if err := r.in.resume(r.in.dictionary(r.h)); err != nil {
				r.finish(err)
			}
		case err == errEnd:
			r.finish(io.EOF)
		case err != nil:
			r.finish(err)
		case n == 0:
			r.finish(ErrTooBig)
		}
		if n > 0 {
			return n, nil
		}
	}
	return 0, r.err
}

// Close gives back what r holds. It does not read the rest of the message: with
// context takeover that must be inflated before the next one, for instance with
// io.Copy(io.Discard, r). Further calls do nothing. The error is always nil.
func (r *Reader) Close() error {
	if r.err == nil {
		r.finish(errReaderClosed)
	}
	return nil
}

func (r *Reader) finish(err error) {
	r.err = err
	r.in.stop()
	readers.Put(r.streaming)
	r.streaming, r.h = nil, nil
}
