package wheel

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"unsafe"
)

const million = 1 << 20

// conn is about the size of what a node is a field of in practice, so that
// nodes do not share cache lines.
type conn struct {
	node Node
	_    [240 - unsafe.Sizeof(Node{})]byte
}

// armed returns a wheel with count nodes spread over one period of ticks.
func armed(count int, period int64) (*Wheel, []conn, []int64) {
	rnd := rand.New(rand.NewPCG(3, 4))
	w := New(0)
	conns := make([]conn, count)
	delays := make([]int64, count)
	for i := range conns {
		delays[i] = 1 + rnd.Int64N(period)
		w.Arm(&conns[i].node, delays[i])
	}
	return w, conns, delays
}

func BenchmarkArm(b *testing.B) {
	w, conns, delays := armed(million, 30_000)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		w.Arm(&conns[i%million].node, delays[(i*7)%million])
	}
}

func BenchmarkDisarmAndArm(b *testing.B) {
	w, conns, delays := armed(million, 30_000)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		n := &conns[i%million].node
		w.Disarm(n)
		w.Arm(n, delays[(i*7)%million])
	}
}

// One operation is one firing: each node fires and arms itself a period later,
// the time moving tick by tick. Spreading the slots is included. The periods are
// 30 s in ticks of 1, 8.4, 10 and 500 ms, and of 119 ticks 1 s in ticks of 8.4.
// With a million nodes nearly every touch is a miss of the caches and of the TLB;
// 4096 show the wheel's own cost.
func BenchmarkLazyRearm(b *testing.B) {
	for _, c := range []struct {
		count  int
		period int64
	}{
		{million, 30_000}, {million, 3576}, {million, 3_000}, {million, 119}, {million, 60},
		{4096, 30_000}, {4096, 3_000}, {4096, 60},
	} {
		b.Run(fmt.Sprintf("nodes=%d/period=%d", c.count, c.period), func(b *testing.B) {
			period := c.period
			w, _, _ := armed(c.count, period)
			now := int64(0)
			fire := func(n *Node) { w.Arm(n, n.When()+period) }
			for range period { // once round
				now++
				w.Advance(now, fire)
			}
			b.ReportAllocs()
			b.ResetTimer()
			for fired := 0; fired < b.N; {
				now++
				fired += w.Advance(now, fire)
			}
		})
	}
}

// An Advance that finds nothing, with a million armed.
func BenchmarkAdvanceIdle(b *testing.B) {
	w := New(0)
	conns := make([]conn, million)
	for i := range conns {
		w.Arm(&conns[i].node, 1<<40+int64(i))
	}
	fire := func(*Node) {}
	b.ReportAllocs()
	for now := int64(0); b.Loop(); now++ {
		w.Advance(now, fire)
	}
}

func BenchmarkNext(b *testing.B) {
	w := New(0)
	var n Node
	w.Arm(&n, 1<<40)
	b.ReportAllocs()
	for b.Loop() {
		w.Next()
	}
}
