//go:build unix

package loop_test

import (
	"errors"
	"math/rand/v2"
	"net"
	"testing"

	"zeroframe/internal/loop"
)

// What WriteShared does not get rid of stands in its place in the queue, before and behind what others queue.
func TestWriteSharedKeepsItsOrderWithTheQueue(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		p := newProbe(t)
		c := w.connect(p)
		within(t, p.opened)
		random := rand.New(rand.NewPCG(1, 2))
		all := numbered(4 << 20)
		written := make(chan struct{})
		go func() {
			defer close(written)
			for rest := all; len(rest) > 0; {
				shared := rest[:min(1+random.IntN(200_000), len(rest))]
				rest = rest[len(shared):]
				own := rest[:min(random.IntN(100), len(rest))]
				rest = rest[len(own):]
				p.onLoop(func() {
					p.Lock()
					left, err := p.WriteShared(shared)
					p.Unlock(left)
					if err != nil || left != (p.Queued() > 0) {
						t.Errorf("left %v, %d queued, %v", left, p.Queued(), err)
					}
				})
				p.send(own)
			}
		}()
		expect(t, c, all)
		within(t, written)
	})
}

func TestWriteSharedTakesOneSystemCallAndQueuesNothing(t *testing.T) {
	w := start(t, loop.Config{})
	p := newProbe(t)
	c := w.connect(p)
	within(t, p.opened)
	p.onLoop(func() {
		before := p.Loop().Stats().Writes
		p.Lock()
		left, err := p.WriteShared(numbered(1000))
		p.Unlock(left)
		if n := p.Loop().Stats().Writes - before; left || err != nil || n != 1 || p.Queued() != 0 {
			t.Errorf("left %v, %v, %d writes, %d queued", left, err, n, p.Queued())
		}
	})
	expect(t, c, numbered(1000))
}

func TestWriteSharedTellsOfAConnectionThatHasEnded(t *testing.T) {
	w := start(t, loop.Config{})
	p := newProbe(t)
	c := w.connect(p)
	within(t, p.opened)
	p.onLoop(p.PauseReading) // or the reset would be read
	c.(*net.TCPConn).SetLinger(0)
	c.Close()
	var err error
	for err == nil {
		p.onLoop(func() {
			p.Lock()
			var left bool
			left, err = p.WriteShared(numbered(1000))
			p.Unlock(left)
		})
	}
	p.onLoop(func() {
		p.Close(err)
		p.Lock()
		left, again := p.WriteShared(numbered(10))
		p.Unlock(left)
		if left || !errors.Is(again, loop.ErrClosed) {
			t.Errorf("after the end: left %v, %v", left, again)
		}
	})
	if got := within(t, p.closed); got != err {
		t.Errorf("closed with %v, want %v", got, err)
	}
}
