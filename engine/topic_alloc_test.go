//go:build !race

package engine_test

import (
	"runtime"
	"sync/atomic"
	"testing"

	"zeroframe/engine"
	"zeroframe/frame"
)

// audience is a server with members of "room" on one loop, and their peers, who read and count the bytes they get.
type audience struct {
	*engine.Engine
	got, want atomic.Int64
	done      chan struct{}
}

func fanOut(t testing.TB, members int) *audience {
	addr, e := socketServer(t, subscribing{})
	a := &audience{Engine: e, done: make(chan struct{}, 1)}
	for range members {
		c := dialRaw(t, addr)
		go func() {
			buf := make([]byte, 64<<10)
			for {
				n, err := c.Read(buf)
				if err != nil {
					return
				}
				if a.got.Add(int64(n)) == a.want.Load() {
					a.done <- struct{}{}
				}
			}
		}()
	}
	for e.Subscribers("room") != members {
		runtime.Gosched()
	}
	return a
}

// publish sends a message to all members and waits until they have it.
func (a *audience) publish(t testing.TB, payload []byte, members int) {
	a.want.Add(int64(members * (frame.Header{Length: int64(len(payload))}.Size() + len(payload))))
	if err := a.Publish("room", frame.Binary, payload); err != nil {
		t.Fatal(err)
	}
	<-a.done
}

type subscribing struct{ engine.NopHandler }

func (subscribing) OnOpen(c *engine.Conn) { c.Subscribe("room") }

// A message allocates what it takes to be encoded, however many members there are, and its payload is copied once.
func TestPublishingAllocatesPerMessageNotPerMember(t *testing.T) {
	for _, size := range []int{32, 64 << 10} {
		var counts [2]float64
		for i, members := range []int{1, 200} {
			a := fanOut(t, members)
			payload := pattern(size)
			publish := func() { a.publish(t, payload, members) }
			for range 50 {
				publish() // the pools fill
			}
			runtime.GC()
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			const runs = 50
			for range runs {
				publish()
			}
			runtime.ReadMemStats(&after)
			counts[i] = float64(after.Mallocs-before.Mallocs) / runs
			bytes := int(after.TotalAlloc-before.TotalAlloc) / runs
			t.Logf("%d B to %d members: %.1f allocations, %d B", size, members, counts[i], bytes)
			if most := 2*size + 8<<10; bytes > most {
				t.Errorf("%d B are allocated for a message of %d B to %d members, at most %d are meant", bytes, size, members, most)
			}
		}
		if counts[1] > counts[0]+20 { // one per member is 199; a collection that empties the pools is some
			t.Errorf("%.1f allocations with 200 members, %.1f with one", counts[1], counts[0])
		}
	}
}

func BenchmarkPublish(b *testing.B) {
	const members = 100
	a := fanOut(b, members)
	payload := pattern(32)
	b.ReportAllocs()
	for b.Loop() {
		a.publish(b, payload, members)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/members, "ns/delivery")
}
