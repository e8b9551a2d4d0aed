package wheel

import (
	"math/rand/v2"
	"runtime"
	"testing"
	"unsafe"
)

// stale reports whether a spread has moved the entry of n since n last knew it.
func stale(w *Wheel, n *Node) bool {
	id := n.at / indexLen
	return int(id/slabLen) >= len(w.slabs) || w.chunk(id).nodes[n.at%indexLen] != n
}

// checkStore verifies what the lists, their chunks and the nodes say of one
// another, and that a free entry keeps no node reachable.
func checkStore(t *testing.T, w *Wheel) {
	t.Helper()
	const free = -1
	owner := make([]int, len(w.slabs)*slabLen) // list+1 by chunk
	claim := func(id uint32, list int) *chunk {
		if id == 0 || owner[id] != 0 {
			t.Fatalf("chunk %d is in list %d and in %d", id, list, owner[id]-1)
		}
		owner[id] = list + 1
		return w.chunk(id)
	}
	armed := 0
	for i, at := range w.list {
		occupied := w.occupied[i/64]>>(i%64)&1 == 1
		if occupied != (at != empty) {
			t.Fatalf("list %d: occupied is %v, next entry %d", i, occupied, at)
		}
		fill := int(at % indexLen)
		if at != empty && (fill == 0 || fill > chunkLen) {
			t.Fatalf("list %d: its first chunk holds %d entries", i, fill)
		}
		for id := at / indexLen; id != 0; fill = chunkLen {
			c := claim(id, i)
			for k, n := range c.nodes {
				if (n != nil) != (k < fill) {
					t.Fatalf("list %d: entry %d of %d is %p", i, k, fill, n)
				}
				if n == nil {
					continue
				}
				armed++
				want := due
				if n.When() > w.now {
					want = w.slot(n.When())
				}
				if i != want || int(c.list) != i || i >= slots && c.low[k] != uint32(n.When()) || !n.Armed() {
					t.Fatalf("list %d, of chunk %d: node of tick %d belongs to %d, low half %d", i, c.list, n.When(), want, c.low[k])
				}
			}
			id = c.next
		}
	}
	for id := w.first; id != 0; {
		c := claim(id, firing)
		for k, n := range c.nodes {
			if n == nil {
				continue
			}
			armed++
			if n.When() > w.now || k >= int(c.n) || id == w.first && k < int(w.cursor) {
				t.Fatalf("firing: entry %d of %d, tick %d", k, c.n, n.When())
			}
		}
		id = c.next
	}
	if armed != w.armed {
		t.Fatalf("%d nodes in lists, %d armed", armed, w.armed)
	}
	for word, set := range w.occupied {
		if (set != 0) != (w.summary>>word&1 == 1) {
			t.Fatalf("word %d of the map is %x, the summary %x", word, set, w.summary)
		}
	}
	for _, id := range w.free {
		c := claim(id, free-1)
		if c.nodes != [chunkLen]*Node{} {
			t.Fatalf("free chunk %d keeps nodes reachable", id)
		}
	}
	for id, o := range owner {
		if id != 0 && o == 0 {
			t.Fatalf("chunk %d of %d is lost", id, len(owner))
		}
	}
}

// fullOf returns a wheel whose nodes are due in the ticks given, in rounds of
// level 0 that begin behind the first.
func fullOf(count int, ticks int64) (*Wheel, []Node) {
	rnd := rand.New(rand.NewPCG(5, 6))
	w := New(0)
	nodes := make([]Node, count)
	for i := range nodes {
		w.Arm(&nodes[i], slots+rnd.Int64N(ticks))
	}
	return w, nodes
}

func TestSizes(t *testing.T) {
	if got := unsafe.Sizeof(Node{}); got != 12 {
		t.Errorf("a Node takes %d bytes, want 12", got)
	}
	if got := unsafe.Sizeof(Wheel{}); got > 16<<10 {
		t.Errorf("a Wheel takes %d bytes, want at most 16 KiB", got)
	}
	if unsafe.Sizeof(uintptr(0)) == 8 {
		// The allocator adds 8 bytes to what holds pointers.
		if got := unsafe.Sizeof([slabLen]chunk{}); got+8 > 8<<10 {
			t.Errorf("a slab takes %d bytes, out of the size class of 8 KiB", got)
		}
	}
}

func TestArmedTimerCosts13BytesBesidesItsNode(t *testing.T) {
	if unsafe.Sizeof(uintptr(0)) != 8 {
		t.Skip("the figure is of 64-bit machines")
	}
	const count = 500_000
	nodes := make([]Node, count)
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	w := New(0)
	for i := range nodes {
		w.Arm(&nodes[i], 1+int64(i)%3576)
	}
	if got := float64(heap()-before) / count; got > 13.5 {
		t.Errorf("%.1f bytes of live heap per armed timer, want 13", got)
	}
	runtime.KeepAlive(nodes)
	runtime.KeepAlive(w)
}

func TestMemoryShrinksAfterAPeak(t *testing.T) {
	const count, left = 200_000, 1000
	shrink := map[string]func(w *Wheel, nodes []Node){
		"disarmed": func(w *Wheel, nodes []Node) {
			for i := range nodes[left:] {
				w.Disarm(&nodes[left+i])
			}
		},
		"fired": func(w *Wheel, nodes []Node) {
			for i := range nodes[:left] {
				w.Arm(&nodes[i], 1<<20+int64(i))
			}
			w.Advance(1<<19, func(*Node) {})
		},
		"disarmed while firing": func(w *Wheel, nodes []Node) {
			first, last := true, int64(0)
			fired := w.Advance(1<<20, func(n *Node) {
				if first {
					first = false
					w.Arm(&nodes[0], 1<<21)
					for i := range nodes[left:] {
						w.Disarm(&nodes[left+i])
					}
					checkStore(t, w)
				}
				if n.When() < last {
					t.Errorf("fired %d after %d", n.When(), last)
				}
				last = n.When()
				if n != &nodes[0] {
					w.Arm(n, 1<<21)
				}
			})
			if fired < left-1 || fired > left+1 {
				t.Errorf("fired %d", fired)
			}
		},
	}
	for name, shrink := range shrink {
		t.Run(name, func(t *testing.T) {
			w, nodes := fullOf(count, 3000)
			peak := len(w.slabs)
			shrink(w, nodes)
			checkStore(t, w)
			most := (spare+4*(left/chunkLen+slots))/slabLen + 1
			if len(w.slabs) > most || len(w.slabs) > peak/4 {
				t.Errorf("%d slabs stay of %d, want at most %d", len(w.slabs), peak, most)
			}
			got := w.Len()
			if fired := w.Advance(1<<22, func(*Node) {}); fired != got || got < left-1 || got > left+1 {
				t.Errorf("fired %d of %d left", fired, got)
			}
		})
	}
}

// Disarming is constant in the mean: the first stale node of a list pays for
// all of it.
func TestOneDisarmFindsAllOfASpreadList(t *testing.T) {
	w, nodes := fullOf(5000, 3)
	w.Advance(slots-1, func(*Node) { t.Error("fired early") })
	if got := w.Advance(slots, func(*Node) {}); got == 0 {
		t.Fatal("nothing fired at the start of the round")
	}
	moved := 0
	for i := range nodes {
		if n := &nodes[i]; n.Armed() && stale(w, n) {
			moved++
		}
	}
	if moved < 1000 {
		t.Fatalf("%d nodes moved, the test has lost its object", moved)
	}
	of := map[int64]bool{}
	for i := range nodes {
		n := &nodes[i]
		if !n.Armed() {
			continue
		}
		if of[n.When()] && stale(w, n) {
			t.Fatalf("a node of tick %d is still lost", n.When())
		}
		of[n.When()] = true
		w.Disarm(n)
	}
	checkStore(t, w)
}

func TestNothingIsAllocatedOnceWarm(t *testing.T) {
	for _, c := range []struct {
		count  int
		period int64
	}{{100, 3576}, {1000, 3576}, {20_000, 3576}, {20_000, 119}} {
		w, nodes := fullOf(c.count, c.period)
		now := int64(0)
		fire := func(n *Node) { w.Arm(n, now+c.period) }
		round := func() {
			for range c.period {
				now++
				w.Advance(now, fire)
			}
			for i := range nodes {
				if i%3 == 0 {
					n := &nodes[i]
					when := n.When()
					w.Disarm(n)
					w.Arm(n, max(when, now+1))
				}
			}
		}
		for range 3 {
			round()
		}
		if allocs := testing.AllocsPerRun(5, round); allocs != 0 {
			t.Errorf("%d nodes, period %d: %v allocations per round, want none", c.count, c.period, allocs)
		}
	}
}
