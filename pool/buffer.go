package pool

import (
	"math/bits"
	"sync"

	"github.com/valyala/bytebufferpool"
)

// Buffer is a byte buffer: a struct around the slice B, which its holder may
// append to, reslice and replace. Only a buffer whose B has kept its capacity is
// worth something to Put.
type Buffer = bytebufferpool.ByteBuffer

// MaxKept is the largest capacity in bytes that the pools keep: 1 MiB and room
// for what goes around a payload of that size.
const MaxKept = 1<<20 + 4096

// The capacities handed out are the powers of two from 64 bytes to 512 KiB, and
// MaxKept.
const (
	minShift = 6
	minSize  = 1 << minShift
	classes  = 15
	largest  = classes - 1
)

// classOf returns the smallest class that holds n bytes; n is at most MaxKept.
func classOf(n int) int {
	return min(bits.Len(uint(max(n, minSize)-1))-minShift, largest)
}

// sizeOf returns the capacity of a class's buffers.
func sizeOf(class int) int {
	if class == largest {
		return MaxKept
	}
	return minSize << class
}

// keeper returns the class that b is kept in, or false when its capacity is not
// exactly that of a class: a list of a class holds nothing larger or smaller.
func keeper(b *Buffer) (class int, ok bool) {
	c := cap(b.B)
	if c > MaxKept {
		return 0, false
	}
	class = classOf(c)
	return class, sizeOf(class) == c
}

// Get returns a buffer with an empty B of capacity at least n bytes: the next
// power of two from 64 bytes to 512 KiB, else MaxKept. Above MaxKept it is
// allocated with capacity n and not kept by Put. The bytes beyond the length are
// left over from earlier use.
//
// Get may be called from any goroutine. The buffer is the caller's until Put;
// one that is never put is left to the garbage collector.
func Get(n int) *Buffer {
	b := get(n)
	if verifying.Load() {
		lend(b)
	}
	return b
}

// Put takes b back, which may come from Get or from Buffers.Get. Neither b nor
// anything that shares memory with b.B may be touched afterwards. A buffer whose
// capacity is no longer one that Get hands out is left to the garbage collector.
//
// Put may be called from any goroutine. See Verify for what it can check.
func Put(b *Buffer) {
	if verifying.Load() {
		giveBack(b)
	}
	if class, ok := keeper(b); ok {
		shared.put(class, b)
	}
}

func get(n int) *Buffer {
	if n > MaxKept {
		return &Buffer{B: make([]byte, 0, n)}
	}
	return shared.get(classOf(n))
}

// shared is the pool behind Get and Put and behind every Buffers.
var shared = newSpill()

// spill keeps the buffers of each class in a bytebufferpool.Pool. Such a pool
// counts the lengths put and, every 42,000 of them, sets from the counts the
// capacity it allocates and the largest it keeps. With one pool per class, and
// each buffer put at full length, both become the class's own size. (One pool for
// all would hold on to whatever is largest until the first such calibration.)
type spill struct {
	// Pointers, because a Pool's counters must be aligned to eight bytes, which
	// the elements of an array of Pools are not on 32-bit machines.
	pools [classes]*bytebufferpool.Pool

	// The counts are kept for powers of two, and MaxKept counts as 2 MiB, which
	// is what its pool would come to allocate. So of this class seven in eight
	// are put with length 0: the pool then allocates 64 bytes, replaced in get,
	// while one in eight is enough to go on keeping up to 2 MiB. The lock keeps
	// the proportion exact; beside the use of a megabyte it costs nothing.
	mu      sync.Mutex
	largest uint // buffers put in the largest class
}

func newSpill() *spill {
	s := new(spill)
	for i := range s.pools {
		s.pools[i] = new(bytebufferpool.Pool)
	}
	return s
}

func (s *spill) get(class int) *Buffer {
	b := s.pools[class].Get()
	if size := sizeOf(class); cap(b.B) != size { // new, from before a calibration
		b.B = make([]byte, 0, size)
	}
	return b
}

// put keeps b, whose capacity is exactly the class's.
func (s *spill) put(class int, b *Buffer) {
	if class < largest {
		b.B = b.B[:cap(b.B)]
		s.pools[class].Put(b)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	b.B = b.B[:0]
	if s.largest++; s.largest%8 == 0 {
		b.B = b.B[:cap(b.B)]
	}
	s.pools[class].Put(b)
}
