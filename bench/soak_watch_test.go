package bench

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"
)

// find puts what one watch found into a result.
func find(t *testing.T, w *soakWatch) *SoakResult {
	t.Helper()
	b, err := w.books()
	if err != nil {
		t.Fatal(err)
	}
	r := &SoakResult{Conns: len(w.last), Elapsed: time.Second}
	if err := r.add([]books{b}); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestLatenessIsWhatIsBetweenTwoPingsBeyondTheInterval(t *testing.T) {
	const interval = 30 * time.Second
	w := newSoakWatch(2, interval, time.Second)
	w.opened(0, 0)
	w.opened(1, 0)
	w.pinged(0, 17*time.Second) // at a moment of the server's choice
	for n := range 100 {
		w.pinged(0, 17*time.Second+time.Duration(n+1)*(interval+4*time.Millisecond))
	}
	w.pinged(1, 29*time.Second)
	w.pinged(1, 29*time.Second+interval+700*time.Millisecond)
	r := find(t, w)
	if r.Pings != 103 || r.NotPinged != 0 {
		t.Errorf("%d pings, %d missed", r.Pings, r.NotPinged)
	}
	near := func(got, want time.Duration) bool {
		return got > want-want/20-stampStep && got < want+want/20+stampStep
	}
	if !near(r.Lateness.P50, 4*time.Millisecond) || !near(r.Lateness.Max, 700*time.Millisecond) {
		t.Errorf("p50 %v, worst %v", r.Lateness.P50, r.Lateness.Max)
	}
}

func TestAPingThatComesTooLateOrNeverIsMissed(t *testing.T) {
	const interval, tolerance = 30 * time.Second, time.Second
	for name, test := range map[string]struct {
		pings []time.Duration
		end   time.Duration
		want  uint64
	}{
		"all in time":         {[]time.Duration{interval, 2 * interval, 3*interval + 900*time.Millisecond}, 4 * interval, 0},
		"none yet":            {nil, interval, 0},
		"the first too late":  {[]time.Duration{interval + tolerance + time.Millisecond}, interval + 2*tolerance, 1},
		"the second too late": {[]time.Duration{interval, 2*interval + tolerance + time.Millisecond}, 3 * interval, 1},
		"never":               {nil, interval + tolerance + time.Millisecond, 1},
		"not again":           {[]time.Duration{interval}, 2*interval + tolerance + time.Millisecond, 1},
		"late and not again":  {[]time.Duration{2 * interval}, 4 * interval, 2},
	} {
		for _, opened := range []time.Duration{0, time.Hour, 59*time.Hour + 39*time.Minute} { // the last: stamps wrap meanwhile
			w := newSoakWatch(1, interval, tolerance)
			w.opened(0, opened)
			for _, at := range test.pings {
				w.pinged(0, opened+at)
			}
			w.sweep(func() time.Duration { return opened + test.end })
			if r := find(t, w); r.NotPinged != test.want || r.OK() != (test.want == 0) {
				t.Errorf("%s, opened at %v: %d missed, want %d: %v", name, opened, r.NotPinged, test.want, r.Err())
			}
		}
	}
}

// Pings do not stop for the count of those that are missing.
func TestAPingThatComesWhileThoseMissingAreCountedIsNotMissed(t *testing.T) {
	w := newSoakWatch(100, time.Second, time.Second)
	now := time.Minute
	for i := range w.last {
		w.opened(i, now)
	}
	w.sweep(func() time.Duration {
		now += time.Millisecond
		for i := range w.last {
			w.pinged(i, now)
		}
		return now
	})
	if r := find(t, w); r.NotPinged != 0 {
		t.Errorf("%d missed", r.NotPinged)
	}
}

func TestAConnectionThatEndsIsLostUntilTheSoakIsOver(t *testing.T) {
	w := newSoakWatch(3, time.Second, time.Second)
	for i := range 3 {
		w.opened(i, 0)
	}
	w.ended(1, errors.New("the first reason"))
	w.sweep(func() time.Duration { return time.Second })
	w.ended(2, io.EOF)
	r := find(t, w)
	if r.Lost != 1 || r.OK() || !strings.Contains(r.Err().Error(), "connection 1: the first reason") {
		t.Errorf("%d lost: %v", r.Lost, r.Err())
	}
	if one := find(t, newSoakWatch(1, time.Second, time.Second)); one.OK() {
		t.Error("a connection that never opened is not missed")
	}
}

func TestEchoesAreComparedAndCounted(t *testing.T) {
	w := newSoakWatch(4, time.Hour, time.Second)
	e := &w.echoes
	for i := range uint32(4) {
		w.opened(int(i), 0)
	}
	first, _ := e.sending(0, 0)
	if _, ok := e.sending(0, 0); ok {
		t.Error("two at once on one connection")
	}
	e.came(0, first, 5*time.Millisecond)
	e.came(0, first, 6*time.Millisecond) // nobody sent it twice
	other, _ := e.sending(1, 0)
	e.came(1, first, time.Millisecond) // not its own
	e.came(1, append(other, 0), time.Millisecond)
	e.sending(2, 0)
	e.unsent(2)
	r := find(t, w)
	if r.EchoesSent != 2 || r.EchoesMissing != 1 || r.EchoesWrong != 3 {
		t.Errorf("%d sent, %d missing, %d wrong", r.EchoesSent, r.EchoesMissing, r.EchoesWrong)
	}
	if d := r.Echo.Max; d < 4900*time.Microsecond || d > 5100*time.Microsecond {
		t.Errorf("latency %v", d)
	}
	if r.OK() {
		t.Error("nothing is wrong with that")
	}
}

// A server that stalls must not be spared the messages that were due meanwhile.
func TestEchoesThatWereDueWhileNoneCameBackCountFromThen(t *testing.T) {
	const rounds = 30 // of trying to send the second message, a millisecond each at least
	w := newSoakWatch(1, time.Hour, time.Second)
	w.opened(0, 0)
	e := &w.echoes
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var first []byte
	asked := 0
	open := func(int) bool {
		if asked++; asked == 10*rounds {
			e.came(0, first, clock())
		}
		return true
	}
	e.run(ctx, 1000, 1, open, func(i int, payload []byte) bool {
		if first == nil {
			first = payload
			return true
		}
		if e.came(0, payload, clock()); e.number == rounds {
			cancel()
		}
		return true
	})
	r := find(t, w)
	if r.EchoesSent < rounds || r.EchoesMissing != 0 || r.EchoesWrong != 0 {
		t.Errorf("%d sent, %d missing, %d wrong", r.EchoesSent, r.EchoesMissing, r.EchoesWrong)
	}
	if r.Echo.P50 < rounds/4*time.Millisecond {
		t.Errorf("half of them were due in %d ms in which none came back, but p50 is %v", rounds, r.Echo.P50)
	}
}

func TestEchoesThatCouldNeverLeaveAreCounted(t *testing.T) {
	w := newSoakWatch(1, time.Hour, time.Second)
	w.opened(0, 0)
	e := &w.echoes
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var first []byte
	asked := 0
	open := func(int) bool {
		if asked++; asked == 300 {
			cancel()
		}
		return true
	}
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		for <-ctx.Done(); ; time.Sleep(time.Millisecond) { // before that, its answer would let another leave
			e.mu.Lock()
			held := e.held
			e.mu.Unlock()
			if held > 0 {
				e.came(0, first, clock())
				return
			}
		}
	}()
	e.run(ctx, 1000, 1, open, func(i int, payload []byte) bool { first = payload; return true })
	<-answered
	r := find(t, w)
	if r.EchoesSent != 1 || r.EchoesHeld < 20 || r.Echo.P50 < 5*time.Millisecond {
		t.Errorf("%d sent, %d held back, p50 %v", r.EchoesSent, r.EchoesHeld, r.Echo.P50)
	}
	var text strings.Builder
	if r.WriteText(&text); !strings.Contains(text.String(), "due and never sent") {
		t.Error(text.String())
	}
}

func TestPausesAreReadFromTheRuntimesBuckets(t *testing.T) {
	counts, buckets := make([]uint64, 3), []float64{0, 1e-6, 1e-3, 1}
	if got := pausesOf(counts, buckets); got != (GCPauses{}) {
		t.Errorf("of none: %+v", got)
	}
	counts[0], counts[1], counts[2] = 90, 9, 1
	if got, want := pausesOf(counts, buckets), (GCPauses{100, time.Millisecond, time.Second}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	counts[1], counts[2] = 0, 2
	if got, want := pausesOf(counts, buckets), (GCPauses{92, time.Second, time.Second}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if before := gcPauses(); before.Max > 0 && before.P99 > before.Max {
		t.Errorf("own: %+v", before)
	}
}
