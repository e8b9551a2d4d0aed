//go:build !netpoll

package loop_test

import (
	"testing"

	"zeroframe/internal/loop"
)

// A wake-up is one event: that it was noticed is not another.
func TestAWakeUpCostsTwoWaits(t *testing.T) {
	idle := make(chan struct{}, 1)
	w := start(t, loop.Config{Turn: tellIdle(idle)})
	l := w.Loops()[0]
	const rounds = 200
	var before, after loop.Stats
	within(t, idle)
	onLoop(t, l, func() { before = l.Stats() })
	for range rounds {
		within(t, idle)
		onLoop(t, l, func() { after = l.Stats() })
	}
	if n := after.Waits - before.Waits; n > 2*rounds+rounds/4 {
		t.Errorf("%d waits for %d wake-ups", n, rounds)
	}
}

// tellIdle tells idle when the loop is about to sleep.
func tellIdle(idle chan<- struct{}) func(*loop.Loop, bool) {
	return func(_ *loop.Loop, sleeps bool) {
		if sleeps {
			select {
			case idle <- struct{}{}:
			default:
			}
		}
	}
}
