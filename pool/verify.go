package pool

import (
	"bytes"
	"fmt"
	"sync/atomic"
	"weak"
)

// poison is what the memory of a returned buffer is filled with while verifying.
const poison = 0xDB

// verifying is read on every Get and Put: one load and a predicted branch.
var verifying atomic.Bool

// lent knows the buffers of all pools by weak pointers, which neither keep a
// buffer alive nor confuse it with a later one at its address.
var lent ledger[weak.Pointer[Buffer]]

// Verify switches the verifying mode of the byte buffers, Get, Put and every
// Buffers, on or off; it is off at first, and meant for tests. Switch it on
// before the first Get, in TestMain say: a buffer taken earlier counts as
// foreign. Each switch starts with empty books. Safe for concurrent use.
//
// In this mode Put panics, with an error that wraps ErrTwice or ErrForeign and
// names the places, when b is not out. It fills b's memory with 0xDB, for late
// readers to stumble over, and Get panics when a late writer has changed that
// since. Outstanding lists the buffers that are out. A Get or Put then costs
// microseconds, and time in proportion to the buffer's size.
func Verify(on bool) {
	lent.mu.Lock()
	defer lent.mu.Unlock()
	if verifying.Swap(on) != on {
		lent.out, lent.back = nil, nil
	}
}

// Outstanding returns the buffers that are out, one entry for each, sorted by the
// place where they were taken; nil when not verifying. Safe for concurrent use.
func Outstanding() []Loan {
	if !verifying.Load() {
		return nil
	}
	return lent.loans()
}

// lend notes that b goes out to whoever called the calling function.
func lend(b *Buffer) {
	place := caller()
	k := weak.Make(b)
	if given, ok := lent.forget(k); ok && !poisoned(b.B[:cap(b.B)]) {
		panic(fmt.Errorf("pool: buffer written to after Put at %s (found by Get at %s)", given, place))
	}
	if err := lent.lend(k, place, cap(b.B)); err != nil {
		panic(err)
	}
}

// giveBack notes that b comes back from whoever called the calling function.
func giveBack(b *Buffer) {
	if err := lent.giveBack(weak.Make(b), caller()); err != nil {
		panic(err)
	}
	fill(b.B[:cap(b.B)])
	lent.sweep(func(k weak.Pointer[Buffer]) bool { return k.Value() == nil })
}

func fill(p []byte) {
	if len(p) == 0 {
		return
	}
	p[0] = poison
	for n := 1; n < len(p); n *= 2 {
		copy(p[n:], p[:n])
	}
}

func poisoned(p []byte) bool {
	return len(p) == 0 || p[0] == poison && bytes.Equal(p[1:], p[:len(p)-1])
}
