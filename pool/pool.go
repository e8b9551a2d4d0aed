// Package pool keeps objects and byte buffers for reuse, within exact bounds.
//
// Pool[T] is an object pool. Get and Put are a byte buffer pool shared by all
// goroutines, and Buffers is one in front of it for a single goroutine, such as
// an event loop. Each has a verifying mode for tests, which reports what was
// recycled twice, recycled without having been borrowed, or never recycled, with
// the place in the code.
package pool

import (
	"errors"
	"fmt"
	"reflect"
	"sync"
)

// Errors of Recycle in verifying mode, to be tested with errors.Is. The error
// itself names the places. The byte buffers panic with errors that wrap them.
var (
	ErrTwice   = errors.New("recycled twice")
	ErrForeign = errors.New("recycled without having been borrowed")
)

// Config says how a Pool makes, prepares and ends its instances. The functions
// are called without a lock held, on the goroutine that called the pool, and
// must be safe for concurrent use.
type Config[T any] struct {
	// Capacity is the largest number of idle instances kept; at least 1. Memory
	// is taken as instances come in, not ahead.
	Capacity int

	// Produce makes an instance for a Borrow that finds none idle. Required.
	Produce func() T

	// Clear, if set, prepares an idle instance to be borrowed again and returns
	// what Borrow is to return. New instances are not cleared.
	Clear func(T) T

	// Validate, if set, examines an instance given to Recycle. One it returns an
	// error for is neither kept nor disposed of.
	Validate func(T) error

	// Dispose, if set, ends an instance that is not kept: one recycled into a
	// full pool, or idle when Pool.Dispose is called.
	Dispose func(T)

	// Verify turns on the verifying mode. T must be a pointer or channel type,
	// so that instances have an identity, and each instance must differ: pointers
	// to zero-size variables may not. It costs about a microsecond per call.
	Verify bool
}

// Pool keeps up to a fixed number of idle instances of T, last in, first out.
// All methods are safe for concurrent use. Use New to make one.
type Pool[T any] struct {
	cfg   Config[T]
	books *ledger[any] // nil unless verifying

	mu   sync.Mutex
	idle []T
}

// New returns an empty pool. It returns an error for a Capacity below 1, a
// missing Produce, and Verify with a type whose values have no identity.
func New[T any](cfg Config[T]) (*Pool[T], error) {
	if cfg.Capacity < 1 {
		return nil, fmt.Errorf("pool: Capacity is %d, want at least 1", cfg.Capacity)
	}
	if cfg.Produce == nil {
		return nil, errors.New("pool: Produce is missing")
	}
	p := &Pool[T]{cfg: cfg}
	if cfg.Verify {
		switch t := reflect.TypeFor[T](); t.Kind() {
		case reflect.Pointer, reflect.UnsafePointer, reflect.Chan:
			p.books = new(ledger[any])
		default:
			return nil, fmt.Errorf("pool: Verify needs a pointer or channel type, not %v", t)
		}
	}
	return p, nil
}

// Capacity returns the largest number of idle instances kept.
func (p *Pool[T]) Capacity() int { return p.cfg.Capacity }

// Idle returns the number of instances waiting to be borrowed.
func (p *Pool[T]) Idle() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.idle)
}

// Borrow returns the instance recycled last, cleared, or a new one when none is
// idle. It is the caller's until given to Recycle. In verifying mode Borrow
// panics when Produce or Clear returns an instance that is borrowed or idle.
func (p *Pool[T]) Borrow() T { return p.borrow(p.here()) }

// here returns the place where the calling method was called from, if it is to
// be written down.
func (p *Pool[T]) here() string {
	if p.books == nil {
		return ""
	}
	return caller()
}

func (p *Pool[T]) borrow(place string) T {
	v, ok := p.pop()
	switch {
	case !ok:
		v = p.cfg.Produce()
	case p.cfg.Clear != nil:
		v = p.cfg.Clear(v)
	}
	if p.books != nil {
		if err := p.books.lend(v, place, 0); err != nil {
			panic(err)
		}
	}
	return v
}

func (p *Pool[T]) pop() (v T, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	last := len(p.idle) - 1
	if last < 0 {
		return v, false
	}
	var none T
	v, p.idle[last] = p.idle[last], none
	p.idle = p.idle[:last]
	if p.books != nil {
		p.books.forget(v)
	}
	return v, true
}

// Recycle gives v back; the caller must not use it afterwards. It returns the
// error of Validate, and then leaves v to the caller. When the pool is full v is
// disposed of.
//
// In verifying mode an instance that is not out is refused, with an error that
// wraps ErrTwice when it is idle and ErrForeign otherwise; nothing is done with
// it. (So is one that the pool has refused or disposed of: it is the pool's no
// longer.)
func (p *Pool[T]) Recycle(v T) error { return p.recycle(v, p.here()) }

func (p *Pool[T]) recycle(v T, place string) error {
	if p.books != nil {
		if err := p.books.giveBack(v, place); err != nil {
			return err
		}
	}
	if p.cfg.Validate != nil {
		if err := p.cfg.Validate(v); err != nil {
			if p.books != nil {
				p.books.forget(v)
			}
			return err
		}
	}
	if p.push(v) {
		return nil
	}
	if p.books != nil {
		p.books.forget(v)
	}
	if p.cfg.Dispose != nil {
		p.cfg.Dispose(v)
	}
	return nil
}

func (p *Pool[T]) push(v T) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.idle) >= p.cfg.Capacity {
		return false
	}
	p.idle = append(p.idle, v)
	return true
}

// Dispose empties the pool of its idle instances, disposing of each. Those that
// are out are not touched, and the pool stays usable.
func (p *Pool[T]) Dispose() {
	p.mu.Lock()
	idle := p.idle
	p.idle = nil
	if p.books != nil {
		for _, v := range idle {
			p.books.forget(v)
		}
	}
	p.mu.Unlock()
	if p.cfg.Dispose != nil {
		for _, v := range idle {
			p.cfg.Dispose(v)
		}
	}
}

// Use calls f with a borrowed instance and recycles it when f returns, panics or
// ends its goroutine. It returns the errors of f and of Recycle, joined when
// there are both. f must not keep the instance.
func (p *Pool[T]) Use(f func(T) error) (err error) {
	place := p.here()
	v := p.borrow(place)
	defer func() {
		switch e := p.recycle(v, place); {
		case err == nil:
			err = e
		case e != nil:
			err = errors.Join(err, e)
		}
	}()
	return f(v)
}

// Outstanding returns the places ("file:line") where the instances that are out
// were borrowed, sorted, one entry for each. Without Verify it returns nil.
func (p *Pool[T]) Outstanding() []string {
	if p.books == nil {
		return nil
	}
	var places []string
	for _, l := range p.books.loans() {
		places = append(places, l.Place)
	}
	return places
}
