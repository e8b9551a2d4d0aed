package bench

import "sync"

// failures are what went wrong on the connections of a load. Any goroutine may add to them.
type failures struct {
	mu    sync.Mutex
	count uint64
	first error
}

func (f *failures) add(n uint64, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.count += n
	if f.first == nil {
		f.first = err
	}
}

// found returns how many there are, and the first.
func (f *failures) found() (count uint64, first error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.count, f.first
}

// text is found, for a result.
func (f *failures) text() (count uint64, first string) {
	count, err := f.found()
	if err != nil {
		first = err.Error()
	}
	return count, first
}
