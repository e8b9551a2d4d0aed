package engine

import "sync"

// bell wakes the goroutines that wait for something to change. What guards the thing guards the bell too.
type bell struct{ waiting *waiter }

// waiter is a goroutine that waits.
type waiter struct {
	woken chan struct{} // holds one
	next  *waiter
}

var waiters = sync.Pool{New: func() any { return &waiter{woken: make(chan struct{}, 1)} }}

// join makes the caller one of those whom the next ring wakes. It must leave, woken or not.
func (b *bell) join() *waiter {
	w := waiters.Get().(*waiter)
	w.next, b.waiting = b.waiting, w
	return w
}

// ring wakes all who wait.
func (b *bell) ring() {
	for b.waiting != nil {
		w := b.waiting
		b.waiting, w.next = w.next, nil
		w.woken <- struct{}{}
	}
}

// leave ends a wait.
func (b *bell) leave(w *waiter) {
	for at := &b.waiting; *at != nil; at = &(*at).next {
		if *at == w {
			*at, w.next = w.next, nil
			break
		}
	}
	select {
	case <-w.woken: // rung when it had given up
	default:
	}
	waiters.Put(w)
}
