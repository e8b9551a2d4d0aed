package engine

import "sync"

// bell wakes the goroutines that wait for something to change, in the order in which they came. What guards the thing
// guards the bell too.
type bell struct{ first, last *waiter }

// waiter is a goroutine that waits.
type waiter struct {
	woken chan struct{} // holds one
	next  *waiter
	rung  bool
}

var waiters = sync.Pool{New: func() any { return &waiter{woken: make(chan struct{}, 1)} }}

// join makes the caller one of those who wait. It must leave, woken or not.
func (b *bell) join() *waiter {
	w := waiters.Get().(*waiter)
	if b.last == nil {
		b.first = w
	} else {
		b.last.next = w
	}
	b.last = w
	return w
}

// ring wakes all who wait.
func (b *bell) ring() {
	for b.first != nil {
		b.ringOne()
	}
}

// ringOne wakes who has waited longest.
func (b *bell) ringOne() {
	w := b.first
	if w == nil {
		return
	}
	if b.first = w.next; b.first == nil {
		b.last = nil
	}
	w.next, w.rung = nil, true
	w.woken <- struct{}{}
}

// leave ends a wait and reports whether the bell had rung for it.
func (b *bell) leave(w *waiter) (rung bool) {
	if rung = w.rung; rung {
		select {
		case <-w.woken: // it had given up before
		default:
		}
	} else {
		b.remove(w)
	}
	*w = waiter{woken: w.woken}
	waiters.Put(w)
	return rung
}

func (b *bell) remove(w *waiter) {
	var before *waiter
	for at := b.first; at != w; at = at.next {
		before = at
	}
	if before == nil {
		b.first = w.next
	} else {
		before.next = w.next
	}
	if b.last == w {
		b.last = before
	}
}
