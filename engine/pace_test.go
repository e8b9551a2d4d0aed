package engine_test

import (
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"zeroframe/engine"
)

// longestUnit bounds the unit of time of atAnyPace: patience is some of them.
const longestUnit = 3 * time.Second

// atAnyPace runs f, a test in which the engine has deadlines of real time and a peer, or the test, must act before them. All
// its times are multiples of unit, and goroutines that come late by a twentieth of it may spoil what f wants to see. So
// the machine is watched meanwhile: when f fails and nothing was late, the test fails; when something was, that shows
// nothing, and f runs again with a unit that is long enough for such a machine. The fifth failure is the test's in any case.
func atAnyPace(t *testing.T, unit time.Duration, f func(t testing.TB, unit time.Duration)) {
	t.Helper()
	for n := 1; ; n++ {
		a := &attempt{TB: t}
		late := lateness()
		a.run(func() { f(a, unit) })
		worst := late()
		if !a.Failed() {
			return
		}
		if worst <= unit/20 || n == 5 {
			t.Fatalf("times of %v, on a machine up to %v late:\n%s", unit, worst, a.said())
		}
		t.Logf("once more: times of %v, on a machine up to %v late:\n%s", unit, worst, a.said())
		unit = min(max(2*unit, 20*worst), max(unit, longestUnit))
	}
}

// onEachTransportAtAnyPace is atAnyPace over each transport.
func onEachTransportAtAnyPace(t *testing.T, unit time.Duration, f func(t testing.TB, start func(...engine.Option) *server, unit time.Duration)) {
	onTransportsAtAnyPace(t, transports, unit, f)
}

// onGoroutinesTooAtAnyPace is atAnyPace over the transports of onGoroutinesToo.
func onGoroutinesTooAtAnyPace(t *testing.T, unit time.Duration, f func(t testing.TB, start func(...engine.Option) *server, unit time.Duration)) {
	onTransportsAtAnyPace(t, withGoroutines(), unit, f)
}

func onTransportsAtAnyPace(t *testing.T, list []transport, unit time.Duration, f func(t testing.TB, start func(...engine.Option) *server, unit time.Duration)) {
	onEachOf(t, list, func(t *testing.T, tr transport) {
		atAnyPace(t, unit, func(t testing.TB, unit time.Duration) { f(t, tr.starter(t), unit) })
	})
}

// lateness watches, until stop is called, by how much goroutines run later than they could.
func lateness() (stop func() time.Duration) {
	const tick = 2 * time.Millisecond
	quit, worst := make(chan struct{}), make(chan time.Duration)
	n := runtime.GOMAXPROCS(0)
	for range n {
		go func() {
			var most time.Duration
			for running := true; running; {
				begin := time.Now()
				select {
				case <-time.After(tick):
				case <-quit:
					running = false
				}
				most = max(most, time.Since(begin)-tick)
			}
			worst <- most
		}()
	}
	return func() (most time.Duration) {
		close(quit)
		for range n {
			most = max(most, <-worst)
		}
		return most
	}
}

// attempt is a test whose failure is somebody else's to judge.
type attempt struct {
	testing.TB
	mu       sync.Mutex
	failed   bool
	failures []string
	cleanups []func()
}

// run runs f and then what it has left to clean up.
func (a *attempt) run(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer a.cleanUp()
		f()
	}()
	<-done
}

// cleanUp calls the last first, and all of them though one ends the goroutine.
func (a *attempt) cleanUp() {
	a.mu.Lock()
	n := len(a.cleanups)
	if n == 0 {
		a.mu.Unlock()
		return
	}
	last := a.cleanups[n-1]
	a.cleanups = a.cleanups[:n-1]
	a.mu.Unlock()
	defer a.cleanUp()
	last()
}

func (a *attempt) Cleanup(f func()) {
	a.mu.Lock()
	a.cleanups = append(a.cleanups, f)
	a.mu.Unlock()
}

func (a *attempt) Error(args ...any) { a.fail(fmt.Sprintln(args...)) }

func (a *attempt) Errorf(format string, args ...any) { a.fail(fmt.Sprintf(format, args...)) }

func (a *attempt) Fatal(args ...any) {
	a.fail(fmt.Sprintln(args...))
	runtime.Goexit()
}

func (a *attempt) Fatalf(format string, args ...any) {
	a.fail(fmt.Sprintf(format, args...))
	runtime.Goexit()
}

func (a *attempt) Fail() { a.fail("failed") }

func (a *attempt) FailNow() {
	a.fail("failed")
	runtime.Goexit()
}

func (a *attempt) Failed() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.failed
}

func (a *attempt) said() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return strings.Join(a.failures, "\n")
}

// fail notes what failed, and where: the innermost three places in tests.
func (a *attempt) fail(what string) {
	var at []string
	pcs := make([]uintptr, 32)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(3, pcs)])
	for more := true; more && len(at) < 3; {
		var f runtime.Frame
		if f, more = frames.Next(); strings.HasSuffix(f.File, "_test.go") {
			at = append(at, fmt.Sprintf("%s:%d", filepath.Base(f.File), f.Line))
		}
	}
	a.mu.Lock()
	a.failed = true
	a.failures = append(a.failures, strings.Join(at, " < ")+": "+strings.TrimSuffix(what, "\n"))
	a.mu.Unlock()
}

// What fails is repeated only where the machine was late.
func TestAnAttemptTellsWhatFailedAndCleansUp(t *testing.T) {
	a := &attempt{TB: t}
	var order []int
	a.run(func() {
		a.Cleanup(func() { order = append(order, 1) })
		a.Cleanup(func() { order = append(order, 2); a.Fatal("in", "cleanup") })
		a.Errorf("%d went wrong", 1)
		a.Fatal("and this is", "the end")
	})
	if said := a.said(); !a.Failed() || fmt.Sprint(order) != "[2 1]" || strings.Count(said, "pace_test.go:") < 3 ||
		!strings.Contains(said, ": 1 went wrong\n") || !strings.Contains(said, ": and this is the end\n") || !strings.HasSuffix(said, ": in cleanup") {
		t.Errorf("cleaned up %v, said %q", order, said)
	}
	if a = (&attempt{TB: t}); a.Failed() {
		t.Error("failed before it ran")
	}
}
