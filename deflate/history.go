package deflate

// DefaultHistory is a good history of outgoing messages, in bytes. On messages
// of a few KiB it yields nearly all that a full window does, for an eighth of the
// memory and at most half more time than without.
const DefaultHistory = 4 << 10

// History is what one connection keeps of its messages in one direction, for
// context takeover: the newest bytes of them, before compression. It is the only
// memory that a connection costs here: 40 bytes, and a buffer that doubles from
// 256 bytes to the limit as messages pass, without anything allocated from then
// on. The zero value keeps nothing and is as good as nil; Limit sets a bound.
//
// A History belongs to one stream of one connection and must not be used by two
// goroutines at once. Whatever compresses or inflates the stream adds to it.
// Messages sent raw must not be added, since the peer's window never has them.
// A message that was compressed elsewhere and without a history, such as one for
// many connections, may be sent in the stream; it must be added then.
type History struct {
	ring []byte // at its limit the oldest byte is at next
	next int
	size int
}

// NewHistory returns an empty history of at most size bytes, size being the
// window or less: see Params.ServerHistory. With 0 it returns nil, which stands
// for no context takeover.
func NewHistory(size int) *History {
	if size <= 0 {
		return nil
	}
	h := new(History)
	h.Limit(size)
	return h
}

// Limit empties h and bounds it to size bytes, at most 32 KiB.
func (h *History) Limit(size int) {
	*h = History{size: max(0, min(size, maxWindow))}
}

// clear empties h for another stream, which keeps the buffer.
func (h *History) clear(size int) { *h = History{ring: h.ring[:0], size: size} }

// Len returns the bytes that h holds.
func (h *History) Len() int { return len(h.ring) }

// Append adds the newest bytes of the stream, before compression, and forgets the
// oldest. It takes the time of copying at most as many bytes as the limit. b is
// not kept.
func (h *History) Append(b []byte) {
	if len(b) >= h.size {
		h.ring, h.next = h.ring[:0], 0
		b = b[len(b)-h.size:]
	}
	if room := h.size - len(h.ring); room > 0 {
		n := min(room, len(b))
		h.grow(n)
		h.ring = append(h.ring, b[:n]...)
		b = b[n:]
	}
	for len(b) > 0 {
		n := copy(h.ring[h.next:], b)
		h.next += n
		if h.next == len(h.ring) {
			h.next = 0
		}
		b = b[n:]
	}
}

// grow makes room for n more bytes, by doubling, so that the last buffer is
// exactly as large as the limit.
func (h *History) grow(n int) {
	need := len(h.ring) + n
	if need <= cap(h.ring) {
		return
	}
	size := max(256, cap(h.ring))
	for size < need {
		size *= 2
	}
	ring := make([]byte, len(h.ring), min(size, h.size))
	copy(ring, h.ring)
	h.ring = ring
}

// newest appends the newest n bytes, or all, in order.
func (h *History) newest(dst []byte, n int) []byte {
	n = min(n, len(h.ring))
	if n <= h.next {
		return append(dst, h.ring[h.next-n:h.next]...)
	}
	// The ring's end precedes its start.
	dst = append(dst, h.ring[len(h.ring)-(n-h.next):]...)
	return append(dst, h.ring[:h.next]...)
}
