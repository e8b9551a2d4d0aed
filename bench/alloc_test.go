//go:build !race

package bench

import (
	"runtime"
	"testing"
	"time"
)

// TestLoadAllocatesNothingPerMessage covers both sides, which share this process: what a run costs at all must not grow
// with its messages.
func TestLoadAllocatesNothingPerMessage(t *testing.T) {
	for name, config := range map[string]LoadConfig{
		"small":     {Conns: 20, Payload: 32, InFlight: 1, Loops: 1},
		"pipelined": {Conns: 20, Payload: 32, InFlight: 16, Loops: 1, Text: true},
		"large":     {Conns: 4, Payload: 100_000, InFlight: 1, Loops: 1},
	} {
		t.Run(name, func(t *testing.T) {
			config.URL = serve(t, echo)
			l, err := Open(t.Context(), config)
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			run := func(d time.Duration) (allocs, messages uint64) {
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				r, err := l.Run(t.Context(), d)
				runtime.ReadMemStats(&after)
				if err != nil || r.Errors != 0 {
					t.Fatal(err, r)
				}
				return after.Mallocs - before.Mallocs, r.Total
			}
			run(200 * time.Millisecond)
			fixed := uint64(200 + 10*config.Conns) // of one run
			var allocs, messages, runs uint64
			for end := time.Now().Add(20 * time.Second); messages < 4*runs*fixed || runs == 0; runs++ {
				if time.Now().After(end) {
					t.Fatalf("only %d messages in %d runs", messages, runs)
				}
				a, m := run(200 * time.Millisecond << runs)
				allocs, messages = allocs+a, messages+m
			}
			if allocs > runs*fixed+messages/1000 {
				t.Errorf("%d allocations in %d runs of %d messages together", allocs, runs, messages)
			}
		})
	}
}

// A publish may allocate a few times on each side, a delivery never.
func TestFanoutAllocatesNothingPerDelivery(t *testing.T) {
	const members = 200
	f, err := OpenFanout(t.Context(), FanoutConfig{
		URL: serveTopic(t, new(topicServer)), Subscribers: members, Publishers: 1, Payload: 32, InFlight: 1, Loops: 1,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	run := func() (allocs, publishes, deliveries uint64) {
		var before, after runtime.MemStats
		sent := f.Publishes()
		runtime.ReadMemStats(&before)
		r, err := f.Run(t.Context(), 300*time.Millisecond)
		runtime.ReadMemStats(&after)
		if err != nil || r.Errors != 0 {
			t.Fatal(err, r)
		}
		return after.Mallocs - before.Mallocs, f.Publishes() - sent, r.Total
	}
	run()
	allocs, publishes, deliveries := run()
	if deliveries != publishes*members || allocs > 500+20*publishes {
		t.Errorf("%d allocations for %d messages to %d members", allocs, publishes, members)
	}
}
