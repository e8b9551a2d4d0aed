package deflate

import (
	"errors"

	"github.com/klauspost/compress/flate"
)

// Level is how hard to compress. From FastestLevel to BestLevel more time buys
// fewer bytes, as in zlib: 1 KiB of JSON becomes 7 % shorter with 6 than with 1,
// for up to half more time, and no shorter beyond. From 7 on each message pays
// for clearing 640 KiB of tables. Messages of less than 128 bytes are compressed
// alike at all levels but HuffmanOnly, in a way of our own.
type Level int

const (
	// DefaultLevel is FastestLevel: 1 KiB of varied JSON becomes 379 bytes in 5 us,
	// or 299 in 7 us with a history of 4 KiB.
	DefaultLevel Level = 0
	FastestLevel Level = 1
	BestLevel    Level = 9
	// Stateless keeps no writer, only small tables in a shared pool, where
	// other levels keep one of 0.3 to 1.4 MB in each Compressor. It takes the
	// time of FastestLevel, for slightly larger output on long messages. A
	// message with a history is compressed at FastestLevel after all.
	Stateless Level = -1
	// HuffmanOnly makes no use of repetition, nor of a history: three times the
	// speed and twice the size of FastestLevel on long messages.
	HuffmanOnly Level = -2
)

// Setting is how to compress the messages of one connection. The zero value is
// the default level in a full window.
type Setting struct {
	Level Level
	// WindowBits is the negotiated window of the stream, 8 to 15; 0 means 15.
	// klauspost's writers for smaller windows have one level, about that of 5:
	// it is used for messages that are longer than half the window.
	WindowBits int
}

// tail ends every flushed DEFLATE stream and is left out of messages (RFC 7692,
// section 7.2.1).
const tail = "\x00\x00\xff\xff"

// Compressor compresses messages. One belongs to one goroutine, such as an event
// loop, and serves all its connections. It holds a writer of 0.3 to 1.4 MB for
// every level and every small window that it has used. The zero value is ready.
type Compressor struct {
	writers [kinds]*flate.Writer
	out     sink
	short   short
	dict    []byte // the copy of a history that writers are given
}

// Compress appends payload as a compressed message to dst: one or more DEFLATE
// blocks without the last four bytes (RFC 7692, section 7.2.1). h is the history
// of the stream, to which payload is added, or nil without context takeover.
// payload is not kept and must not overlap dst's free room. With room in dst
// nothing is allocated. An invalid Setting is taken as the nearest valid one.
func (c *Compressor) Compress(dst, payload []byte, s Setting, h *History) []byte {
	dst, _ = c.compress(dst, payload, s, h, noLimit)
	return dst
}

// Shrink is Compress for messages that are worth it: it reports false, leaving
// dst as it was and payload out of the history, if the result would not be
// shorter than payload. Such a message is to be sent raw. It writes at most
// len(payload)+8 bytes behind dst.
//
// With a history a message of 16 to 255 bytes may grow by two: text that has
// nothing in common with what was sent before does. Were it sent raw, the ones
// like it that follow would find nothing either, for ever.
func (c *Compressor) Shrink(dst, payload []byte, s Setting, h *History) ([]byte, bool) {
	if len(payload) < 2 {
		return dst, false
	}
	return c.compress(dst, payload, s, h, len(payload)-1)
}

const noLimit = -1

// compress is Compress, which fails if the message were longer than limit.
func (c *Compressor) compress(dst, payload []byte, s Setting, h *History, limit int) ([]byte, bool) {
	if len(payload) == 0 {
		return append(dst, 0), true // section 7.2.3.6
	}
	base := len(dst)
	k, dict := c.choose(s, h, len(payload))
	c.out = sink{b: dst, max: noLimit}
	if limit != noLimit {
		if k == kindShort && len(payload) >= 16 && hasRoom(h) {
			limit = len(payload) + 2
		}
		c.out.max = base + limit + len(tail)
	}
	err := c.deflate(k, payload, dict)
	out := c.out.b
	c.out.b = nil
	if err != nil {
		return dst, false // the only error is the sink's
	}
	if k != kindShort {
		out = out[:len(out)-len(tail)]
	}
	if limit != noLimit && len(out)-base > limit {
		return dst, false
	}
	if h != nil {
		h.Append(payload)
	}
	return out, true
}

func (c *Compressor) deflate(k kind, payload, dict []byte) error {
	switch k {
	case kindStateless:
		return flate.StatelessDeflate(&c.out, payload, false, nil)
	case kindShort:
		return c.short.compress(&c.out, payload, dict)
	}
	w := c.writers[k]
	if w == nil {
		w = newWriter(k)
		c.writers[k] = w
	}
	// Never Reset, which silently keeps the dictionary of the message before,
	// and so would show one connection's plaintext to another.
	w.ResetDict(&c.out, dict)
	if _, err := w.Write(payload); err != nil {
		return err
	}
	return w.Flush()
}

// choose returns what compresses a message of n bytes, and its dictionary: a
// copy of the newest part of h, so that no writer refers to what a connection
// holds.
func (c *Compressor) choose(s Setting, h *History, n int) (kind, []byte) {
	k := kindOf(s.Level)
	if k == kindHuffman {
		return k, nil
	}
	takeover := hasRoom(h)
	c.dict = c.dict[:0]
	if takeover {
		c.dict = h.newest(c.dict, reach(h.size, n))
	}
	dict := c.dict
	if bits := windowBits(s.WindowBits); bits < MaxWindowBits {
		// No distance exceeds the window if all there is fits into it.
		window := 1 << bits
		if n > window/2 && n+len(dict) > window {
			return kindWindow + kind(bits-MinWindowBits), dict
		}
		dict = dict[max(0, len(dict)+n-window):]
	}
	switch {
	case n < flateLimit:
		return kindShort, dict
	case k > kindOf(FastestLevel) && k != kindStateless:
		return k, dict
	case takeover && n < shortLimit:
		return kindShort, dict
	case k == kindStateless && takeover: // it would allocate, and reaches back 8 KiB at most
		return kindOf(FastestLevel), dict
	}
	return k, dict
}

// hasRoom reports whether h is a history and not in place of none.
func hasRoom(h *History) bool { return h != nil && h.size > 0 }

// reach returns how much of a history of size bytes serves a message of n bytes.
// Indexing the dictionary is what context takeover costs: 1.1 us for each KiB,
// against 2.4 us for a message of 128 bytes without. What a short message
// repeats is nearly always in the last few messages, so it looks back over 1 KiB
// or an eighth: 128 bytes of JSON become 61 bytes with all of 4 KiB, and 63 so.
func reach(size, n int) int { return min(size, max(1<<10, size/8, 2*n)) }

// kind is one of the ways to compress: flate's levels by their number, and the
// windows from 8 to 14 bits.
type kind uint8

const (
	kindHuffman   kind = 0
	kindLevel     kind = 0 // and the level, 1 to 9
	kindWindow    kind = 10
	kinds              = 10 + MaxWindowBits - MinWindowBits
	kindStateless kind = kinds
	kindShort     kind = kinds + 1
)

func kindOf(l Level) kind {
	switch {
	case l <= HuffmanOnly:
		return kindHuffman
	case l == Stateless:
		return kindStateless
	case l == DefaultLevel:
		return kindLevel + kind(FastestLevel)
	}
	return kindLevel + kind(min(l, BestLevel))
}

// newWriter makes a flate.Writer of a kind that has one.
func newWriter(k kind) *flate.Writer {
	var w *flate.Writer
	var err error
	switch {
	case k == kindHuffman:
		w, err = flate.NewWriter(nil, flate.HuffmanOnly)
	case k < kindWindow:
		w, err = flate.NewWriter(nil, int(k-kindLevel))
	default:
		w, err = flate.NewWriterWindow(nil, 1<<(int(k-kindWindow)+MinWindowBits))
	}
	if err != nil {
		panic(err) // the arguments are constants within the documented bounds
	}
	return w
}

// errTooLong stops a writer whose output exceeds what a sink takes.
var errTooLong = errors.New("deflate: the message does not shrink")

// sink is the io.Writer that appends to b, up to max bytes unless that is
// noLimit.
type sink struct {
	b   []byte
	max int
}

func (s *sink) Write(p []byte) (int, error) {
	if s.max != noLimit && len(p) > s.max-len(s.b) {
		return 0, errTooLong
	}
	s.b = append(s.b, p...)
	return len(p), nil
}
