package deflate

import "errors"

var (
	// ErrCorrupt says that a message is not DEFLATE data, is cut off, goes on
	// behind its end, or refers to what is not in the window. The connection is
	// to be failed with 1007.
	ErrCorrupt = errors.New("deflate: corrupt compressed message")
	// ErrTooBig says that a message exceeds the limit. The connection is to be
	// failed with 1009.
	ErrTooBig = errors.New("deflate: inflated message exceeds the limit")
)

// Decompressor inflates messages that are complete. One belongs to one
// goroutine, such as an event loop, and serves all its connections. It holds a
// reader of 40 KB, and copies of at most 64 KiB of input and 32 KiB of history,
// from its first use on. The zero value is ready.
//
// klauspost's readers cannot go on after they ran out of input, so a message is
// inflated once it is complete. Where waiting for more is possible, a Reader
// inflates it as it arrives.
type Decompressor struct {
	in      inflater
	h       *History
	limit   int
	base    int // where the message begins in dst; -1 before the first Step
	entered int // dst up to here is in h
}

// Decompress inflates a message, without the bytes that RFC 7692, section 7.2.1,
// leaves out, and appends it to dst. h is the history of the stream, to which
// the message is added, or nil without context takeover. limit is the longest
// message in bytes, that length itself included: a longer one fails with
// ErrTooBig, having cost no more memory than limit. Compressed data that is much
// longer than limit fails so too, without being looked at.
//
// With room in dst nothing is allocated. compressed is only read and not kept;
// it must not overlap dst's free room. After an error the stream cannot be
// continued, and out has what was inflated before it.
func (d *Decompressor) Decompress(dst, compressed []byte, limit int, h *History) (out []byte, err error) {
	base := len(dst)
	if err := d.Start(compressed, limit, h); err != nil {
		return dst, err
	}
	for {
		var done bool
		if dst, done, err = d.Step(dst); done || err != nil {
			return dst, err
		}
		if len(dst) == cap(dst) {
			dst = enlarge(dst, len(dst)-base, len(compressed), limit)
		}
	}
}

// enlarge gives dst, which is full, more room: for four times the compressed
// bytes at first, then for twice what there is of the message, and never for
// more than limit.
func enlarge(dst []byte, have, compressed, limit int) []byte {
	room := min(max(512, have, 4*compressed-have), limit-have)
	larger := make([]byte, len(dst), len(dst)+room)
	copy(larger, dst)
	return larger
}

// Start begins a message for Step, which has the arguments of Decompress. What
// was started before is dropped. compressed must stay unchanged until the last
// Step.
func (d *Decompressor) Start(compressed []byte, limit int, h *History) error {
	limit = max(0, limit)
	d.base, d.h, d.limit = -1, h, limit
	if len(compressed) > maxWire(limit) {
		return ErrTooBig
	}
	d.in.start(compressed, h)
	return nil
}

// maxWire bounds the compressed bytes of a message of limit bytes: what no
// sensible sender exceeds, though the stored blocks of one that does not shrink
// take five bytes for each 64 KiB, and a flush as many.
func maxWire(limit int) int {
	wire := limit + limit/8 + 1024
	if wire < limit {
		return limit // overflow
	}
	return wire
}

// Step inflates the next piece of the message, of at most 32 KiB, into the free
// room of dst, and reports whether that was the last. dst must have the pieces
// before it, from where the first Step was given it; between two calls it may be
// moved to a larger buffer. If dst comes back full and done is false, it needs
// more room, at most up to the limit.
//
// It is for callers that check a message as it comes out, such as text for valid
// UTF-8, or that take larger buffers from a pool.
func (d *Decompressor) Step(dst []byte) (out []byte, done bool, err error) {
	if d.base < 0 {
		d.base, d.entered = len(dst), len(dst)
	}
	for {
		most := d.limit - (len(dst) - d.base)
		room := dst[len(dst):cap(dst)]
		room = room[:min(len(room), most)]
		n, err := d.in.read(room)
		dst = dst[:len(dst)+n]
		switch {
		case err == errBlockFinal:
			if err := d.in.resume(d.window(dst)); err != nil {
				d.stop()
				return dst, false, err
			}
		case err == errEnd:
			if d.h != nil {
				d.h.Append(dst[d.entered:])
			}
			d.stop()
			return dst, true, nil
		case err != nil:
			d.stop()
			return dst, false, err
		case n == 0 && most == 0: // there is more, and nowhere to put it
			d.stop()
			return dst, false, ErrTooBig
		case n < len(room) || n == 0:
			return dst, false, nil
		}
		// The room is full: perhaps that was all.
	}
}

func (d *Decompressor) stop() {
	d.in.stop()
	d.h = nil
}

// window returns the dictionary with which to go on inside a message.
func (d *Decompressor) window(out []byte) []byte {
	if d.h == nil {
		return out[max(d.base, len(out)-maxWindow):]
	}
	d.h.Append(out[d.entered:])
	d.entered = len(out)
	return d.in.dictionary(d.h)
}
