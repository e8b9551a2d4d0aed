package pool

import (
	"cmp"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
)

// Loan is something that is out: where it was taken and how large it is.
type Loan struct {
	Place string // "file:line" of the call that took it
	Size  int    // capacity in bytes of a buffer; 0 for objects
}

// A ledger knows what a verifying pool has handed out and taken back, by a key
// that stands for the instance. Safe for concurrent use; the zero value is
// empty. An instance is in one of the maps, or in neither when the pool knows
// nothing of it.
type ledger[K comparable] struct {
	mu      sync.Mutex
	out     map[K]Loan
	back    map[K]returned
	sweepAt int // size of back at which the next sweep is due
}

type returned struct {
	taken, given string // places
}

// lend notes that k goes out. It is an error that it is out already, or idle
// without having been forgotten.
func (l *ledger[K]) lend(k K, place string, size int) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if was, ok := l.out[k]; ok {
		return fmt.Errorf("pool: handed out at %s while still out since %s", place, was.Place)
	}
	if was, ok := l.back[k]; ok {
		return fmt.Errorf("pool: produced at %s while idle since %s", place, was.given)
	}
	if l.out == nil {
		l.out = map[K]Loan{}
	}
	l.out[k] = Loan{place, size}
	return nil
}

// giveBack notes that k comes back. It is an error that it is not out.
func (l *ledger[K]) giveBack(k K, place string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if was, ok := l.out[k]; ok {
		delete(l.out, k)
		if l.back == nil {
			l.back = map[K]returned{}
		}
		l.back[k] = returned{was.Place, place}
		return nil
	}
	if was, ok := l.back[k]; ok {
		return fmt.Errorf("pool: %w: first at %s, again at %s (taken at %s)", ErrTwice, was.given, place, was.taken)
	}
	return fmt.Errorf("pool: %w: at %s", ErrForeign, place)
}

// forget drops what is known of k's return, and returns where that was.
func (l *ledger[K]) forget(k K) (given string, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	was, ok := l.back[k]
	delete(l.back, k)
	return was.given, ok
}

// sweep drops what is known of returned instances that are dead, now and then:
// when their number has doubled since the last time.
func (l *ledger[K]) sweep(dead func(K) bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.back) < max(l.sweepAt, 256) {
		return
	}
	for k := range l.back {
		if dead(k) {
			delete(l.back, k)
		}
	}
	l.sweepAt = 2 * len(l.back)
}

// loans returns what is out, by place and size.
func (l *ledger[K]) loans() []Loan {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []Loan
	for _, loan := range l.out {
		all = append(all, loan)
	}
	slices.SortFunc(all, func(a, b Loan) int {
		return cmp.Or(strings.Compare(a.Place, b.Place), cmp.Compare(a.Size, b.Size))
	})
	return all
}

// caller returns the place where the caller of its caller was called from: the
// line outside this package, when an exported function calls the one that asks.
func caller() string {
	_, file, line, ok := runtime.Caller(3)
	if !ok {
		return "unknown"
	}
	return fmt.Sprintf("%s:%d", file, line)
}
