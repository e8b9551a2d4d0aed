package nats

import (
	"encoding/binary"
	"slices"
	"sync"
)

// outbox is what waits to be given to the client: messages one behind the other in chunks of memory, so that publishing
// copies a message once and allocates nothing, and the other side takes many at a time.
type outbox struct {
	sync.Mutex
	limit  int
	size   int // bytes in it, or taken and not done
	chunks [][]byte
	spare  [][]byte
	closed bool
}

const (
	chunkSize = 64 << 10
	maxSpare  = 4
	// recordSize is what a message costs besides subject and data: their lengths.
	recordSize = 2 + 4
)

// put appends a message. first says that nothing waited, and that whoever takes must be woken.
func (o *outbox) put(subject []byte, k kind, from engineID, payload []byte) (first bool, err error) {
	n := recordSize + len(subject) + headerSize + len(payload)
	o.Lock()
	defer o.Unlock()
	if o.closed {
		return false, ErrClosed
	}
	if o.size > 0 && o.size+n > o.limit {
		return false, ErrFull
	}
	o.size += n
	first = len(o.chunks) == 0
	b := o.room(n)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(subject)))
	b = binary.LittleEndian.AppendUint32(b, uint32(headerSize+len(payload)))
	b = append(b, subject...)
	b = appendHeader(b, k, from)
	o.chunks[len(o.chunks)-1] = append(b, payload...)
	return first, nil
}

// room returns the last chunk, in which n bytes are free.
func (o *outbox) room(n int) []byte {
	if last := len(o.chunks) - 1; last >= 0 && cap(o.chunks[last])-len(o.chunks[last]) >= n {
		return o.chunks[last]
	}
	var chunk []byte
	if last := len(o.spare) - 1; last >= 0 && n <= chunkSize {
		chunk, o.spare = o.spare[last], o.spare[:last]
	} else {
		chunk = make([]byte, 0, max(n, chunkSize))
	}
	o.chunks = append(o.chunks, chunk)
	return chunk
}

// take returns the oldest chunk; nil if nothing waits. It counts until it is given back with done.
func (o *outbox) take() []byte {
	o.Lock()
	defer o.Unlock()
	if len(o.chunks) == 0 {
		return nil
	}
	chunk := o.chunks[0]
	o.chunks = slices.Delete(o.chunks, 0, 1)
	return chunk
}

func (o *outbox) done(chunk []byte) {
	o.Lock()
	defer o.Unlock()
	o.size -= len(chunk)
	if cap(chunk) == chunkSize && len(o.spare) < maxSpare {
		o.spare = append(o.spare, chunk[:0])
	}
}

// close lets nothing more in. What waits can still be taken.
func (o *outbox) close() {
	o.Lock()
	o.closed = true
	o.Unlock()
}

// next takes a message off the start of a chunk.
func next(chunk []byte) (subject, data, rest []byte) {
	s := int(binary.LittleEndian.Uint16(chunk))
	n := int(binary.LittleEndian.Uint32(chunk[2:]))
	chunk = chunk[recordSize:]
	return chunk[:s], chunk[s : s+n], chunk[s+n:]
}

// messages counts those in a chunk.
func messages(chunk []byte) (n int) {
	for ; len(chunk) > 0; n++ {
		_, _, chunk = next(chunk)
	}
	return n
}
