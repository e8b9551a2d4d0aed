package deflate

import (
	"bufio"
	"bytes"
	"errors"
	"io"

	"github.com/klauspost/compress/flate"
)

// closing follows the bytes of every message: the four that were left out of it
// complete an empty stored block, and a final empty block lets the reader end
// instead of running out of input, which it could not recover from.
const closing = tail + "\x01\x00\x00\xff\xff"

// wholeLimit is the longest compressed message that is copied to get closing
// behind it. The reader is 5 to 15 % slower on anything but one slice.
const wholeLimit = 64 << 10

// What read returns beside the errors that leave the package.
var (
	errEnd        = errors.New("deflate: end of message")
	errBlockFinal = errors.New("deflate: final block inside a message")
)

// flateReader is what flate.NewReader returns.
type flateReader interface {
	io.Reader
	flate.Resetter
}

// inflater drives a flate reader over one message after the other. The zero
// value is ready.
type inflater struct {
	flate  flateReader
	tables tables // of flate
	// A message comes from whole if inOne, otherwise from source by way of
	// buffered: two of the inputs for which flate has code of its own.
	inOne    bool
	whole    bytes.Reader
	buffered *bufio.Reader
	source   source
	message  bytes.Reader // a long message, for source
	copied   []byte       // what whole reads
	dict     []byte       // the copy of a history, in order
	last     uint32       // the last four bytes that came out
	finals   int          // blocks of the message behind which it went on
}

// start begins a message that is complete, with the history of its stream.
func (in *inflater) start(compressed []byte, h *History) {
	if len(compressed) > wholeLimit {
		in.message.Reset(compressed)
		in.startFrom(&in.message, len(compressed), h)
		return
	}
	in.inOne, in.last, in.finals = true, ^uint32(0), 0
	in.copied = append(append(in.copied[:0], compressed...), closing...)
	in.whole.Reset(in.copied)
	in.reset(in.dictionary(h))
}

// startFrom begins a message that r yields up to io.EOF, at most max bytes.
func (in *inflater) startFrom(r io.Reader, max int, h *History) {
	in.inOne, in.last, in.finals = false, ^uint32(0), 0
	in.source = source{r: r, max: max, closing: closing}
	if in.buffered == nil {
		in.buffered = bufio.NewReaderSize(&in.source, 4<<10)
	} else {
		in.buffered.Reset(&in.source)
	}
	in.reset(in.dictionary(h))
}

// reset points the reader at the input. Whatever it has from other connections
// is out of reach: in its window behind dict, which it copies, and of its tables
// nothing is left.
func (in *inflater) reset(dict []byte) {
	var r io.Reader = in.buffered
	if in.inOne {
		r = &in.whole
	}
	if in.flate == nil {
		in.flate = flate.NewReader(r).(flateReader)
		in.tables.find(in.flate)
	}
	in.tables.forget()
	in.flate.Reset(r, dict) // the error is always nil
}

// stop drops the references to a message.
func (in *inflater) stop() {
	in.message.Reset(nil)
	in.source = source{}
}

// dictionary copies the history that flate is to begin with. The copy holds
// until the next.
func (in *inflater) dictionary(h *History) []byte {
	if h == nil {
		return nil
	}
	in.dict = h.newest(in.dict[:0], maxWindow)
	return in.dict
}

// read inflates into p. It returns errEnd with or after the last byte, and
// errBlockFinal where resume must be called to go on. With an empty p it returns
// nil if there is more, and otherwise what it would return at the end.
func (in *inflater) read(p []byte) (int, error) {
	n, err := in.flate.Read(p)
	for _, c := range p[max(0, n-4):n] {
		in.last = in.last<<8 | uint32(c)
	}
	switch {
	case in.source.err != nil:
		return n, in.source.err
	case n > 0 && in.closed() && in.left() < len(closing)-len(tail):
		// Data comes out at the latest with the block that the tail completes.
		// If it does so behind that, the tail was taken for data, since the
		// message is cut off.
		return n, ErrCorrupt
	case err == nil:
		return n, nil
	case err != io.EOF:
		return n, ErrCorrupt
	}
	return n, in.end()
}

// end says what it means that a block with BFINAL set has ended.
func (in *inflater) end() error {
	if !in.inOne && !in.source.ended {
		// Wait for more, or for the end of the message.
		in.buffered.Peek(len(closing) + 1)
		if in.source.err != nil {
			return in.source.err
		}
	}
	left := len(closing) + 1
	if in.closed() {
		left = in.left()
	}
	switch {
	case left == 0: // it was the closing block
		return errEnd
	case left == len(closing):
		// It was the last of the message. Section 7.2.1 wants the header of an
		// empty block behind it, but there is no doubt about what was meant,
		// and other implementations take it too.
		return errEnd
	case left == len(closing)-len(tail):
		// The tail completed it. So it was an empty one, or one that was cut off
		// and took the tail for data: then the text ends like it, which that of
		// whole messages with such an end is not expected to.
		if in.last == 0x0000ffff {
			return ErrCorrupt
		}
		return errEnd
	case left < len(closing):
		return ErrCorrupt
	}
	return errBlockFinal
}

// resume goes on behind a block with BFINAL set, which does not end a message:
// the next block begins at the next byte (section 7.2.1, with an example in
// 7.2.3.4). The window, which is dict, goes on too.
//
// That takes up to 1 us, for a block of two bytes if it is empty. A message that
// is mostly such blocks would hold up a loop five times as long as the worst of
// other messages, so beyond the first 64 they must have 64 bytes on average.
func (in *inflater) resume(dict []byte) error {
	in.finals++
	if in.finals > 64+in.taken()/64 {
		return ErrCorrupt
	}
	in.reset(dict)
	return nil
}

// taken returns how much of the message and closing flate has taken, however
// much more of it has arrived.
func (in *inflater) taken() int {
	if in.inOne {
		return len(in.copied) - in.whole.Len()
	}
	return in.source.taken + len(closing) - len(in.source.closing) - in.buffered.Buffered()
}

// closed reports whether the whole message has been handed out as input.
func (in *inflater) closed() bool { return in.inOne || in.source.ended }

// left returns how much of the message and closing flate has not taken yet. It
// holds when closed.
func (in *inflater) left() int {
	if in.inOne {
		return in.whole.Len()
	}
	return in.buffered.Buffered() + len(in.source.closing)
}

// source yields a message and then closing.
type source struct {
	r       io.Reader
	max     int    // the bytes that r may yield
	taken   int    // those it has
	closing string // what is left of it
	ended   bool   // r is at its end
	err     error  // of r, or ErrTooBig
}

func (s *source) Read(p []byte) (int, error) {
	for !s.ended {
		n, err := s.r.Read(p)
		if s.taken += n; s.taken > s.max {
			s.err = ErrTooBig
			return 0, s.err
		}
		if err == io.EOF {
			s.ended = true
		} else if err != nil {
			s.err = err
		}
		if n > 0 || s.err != nil {
			return n, s.err
		}
	}
	if s.closing == "" {
		return 0, io.EOF
	}
	n := copy(p, s.closing)
	s.closing = s.closing[n:]
	return n, nil
}
