//go:build unix

package loop

import (
	"syscall"
	"testing"
	"time"
)

// counted is a listener that counts how often it is asked for its descriptor, and tells when that is looked at.
type counted struct {
	raws  int
	looks chan struct{}
}

func (c *counted) SyscallConn() (syscall.RawConn, error) {
	c.raws++
	return countedRaw{of: c}, nil
}

type countedRaw struct {
	syscall.RawConn
	of *counted
}

func (r countedRaw) Control(func(uintptr)) error {
	r.of.looks <- struct{}{}
	return nil
}

// TestLookingAfterAListenerMakesNoGarbage: a server that rests allocates nothing; each SyscallConn is an object.
func TestLookingAfterAListenerMakesNoGarbage(t *testing.T) {
	ln := &counted{looks: make(chan struct{})}
	e := &listener{ended: make(chan struct{})}
	done := make(chan struct{})
	go func() { defer close(done); e.watch(ln, nil) }()
	for range 3 {
		select {
		case <-ln.looks:
		case <-time.After(20 * time.Second):
			t.Fatal("nobody looks")
		}
	}
	close(e.ended)
	for {
		select {
		case <-ln.looks: // one that had begun
			continue
		case <-done:
		}
		break
	}
	if ln.raws != 1 {
		t.Errorf("asked for the descriptor %d times", ln.raws)
	}
}
