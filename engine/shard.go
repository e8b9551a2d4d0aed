package engine

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"sync"
	"time"

	"zeroframe/deflate"
	"zeroframe/frame"
	"zeroframe/internal/handshake"
	"zeroframe/internal/loop"
	"zeroframe/pool"
)

// clock is the loops' clock, read now rather than once per batch.
func clock() time.Duration { return loop.Clock() }

// shard is what the engine keeps per loop: scratch space, so that no connection needs its own, and counters. It belongs
// to the loop's goroutine.
type shard struct {
	engine   *Engine
	chunk    frame.Chunk
	serving  serving
	stash    *pool.Buffer              // what keepForResume kept, while it is parsed
	head     [frame.MaxHeaderSize]byte // of a borrowed reply
	borrowed bool                      // the cork holds memory of the user's
	poison   bool
	reserved int // bytes of assembly buffers
	budget   int

	decompressor deflate.Decompressor
	inflated     int // bytes, in the read being served

	request handshake.Head
	cipher  cipher.Block // of ping payloads

	pingPlain, pingSecret [aes.BlockSize]byte

	loop         *loop.Loop
	publications publications
	deliver      func()  // deliverPublished, for the loop to call
	senders      senders // of what is being delivered

	answer []byte // the HTTP answer being written

	count     counters
	sent      sentElsewhere
	published struct {
		sync.Mutex
		counters
		at time.Duration
	}
}

// inspect, set by the package's tests alone, looks at the loop's connections after each turn.
var inspect func(*shard)

// turn runs after each batch of events; idle says that the loop is about to sleep.
func (s *shard) turn(idle bool) {
	s.publish(s.loop, idle)
	if inspect != nil {
		inspect(s)
	}
}

func newShard(e *Engine, l *loop.Loop) *shard {
	var key [16]byte
	rand.Read(key[:])
	block, err := aes.NewCipher(key[:])
	if err != nil {
		panic(err) // 16 bytes are a key
	}
	s := &shard{engine: e, loop: l, poison: e.config.poison, budget: e.config.assemblyBudget, cipher: block}
	s.deliver = s.deliverPublished
	s.request.MaxBytes = e.config.maxHead
	return s
}
