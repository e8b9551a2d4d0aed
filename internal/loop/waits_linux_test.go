//go:build !netpoll

package loop_test

import (
	"testing"
	"time"

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

// Where messages come a few at a time the loop sleeps again without looking first.
func TestAWakeUpFromALongSleepCostsOneWait(t *testing.T) {
	idle := make(chan struct{}, 1)
	w := start(t, loop.Config{Turn: tellIdle(idle)})
	l := w.Loops()[0]
	const rounds = 100
	var before, after loop.Stats
	for i := range rounds + 1 {
		within(t, idle)
		<-time.After(time.Millisecond) // the length of the sleep is what is tested
		onLoop(t, l, func() { after = l.Stats() })
		if i == 0 {
			before = after
		}
	}
	if n := after.Waits - before.Waits; n > rounds+rounds/4 {
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
