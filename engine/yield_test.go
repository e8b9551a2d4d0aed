package engine_test

import (
	"runtime"
	"sync/atomic"
	"testing"

	"zeroframe/engine"
)

// On one processor, beside a loop that never rests, a goroutine that a handler starts runs after the handler's batch.
func TestYieldLetsGoroutinesRunAfterTheBatch(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithLoops(1))
		h := newOpener()
		s.handle("/", h)
		s.open("/")
		conn := within(t, h.opened)
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
		const enough = 1000 // turns: far fewer than the loop makes in the 10 ms before it is preempted
		var turns, ran atomic.Int64
		done := make(chan struct{})
		var turn func()
		turn = func() {
			switch turns.Add(1) {
			case 10:
				go func() { ran.Store(turns.Load()) }()
				conn.Yield()
			case 11, 12: // in one of 61 turns Go's scheduler takes who yielded first
				conn.Yield()
			case enough:
				close(done)
				return
			}
			conn.Post(turn)
		}
		conn.Post(turn)
		within(t, done)
		if n := ran.Load(); n < 10 || n > 100 {
			t.Errorf("the goroutine started in turn 10 ran in turn %d", n)
		}
	})
}
