package wheel

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// advance returns the ticks of the nodes that fired, in order.
func advance(w *Wheel, now int64) []int64 {
	var got []int64
	n := w.Advance(now, func(n *Node) { got = append(got, n.When()) })
	if n != len(got) {
		panic("Advance returned another number than it fired")
	}
	return got
}

func wantFired(t *testing.T, got []int64, want ...int64) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Fatalf("fired %v, want %v", got, want)
	}
}

func TestZeroNodeIsDisarmed(t *testing.T) {
	w := New(0)
	var n Node
	w.Disarm(&n)
	if n.Armed() || n.When() != 0 || w.Len() != 0 {
		t.Fatal("a zero Node is not at rest")
	}
	if _, ok := w.Next(); ok {
		t.Fatal("an empty wheel has a next tick")
	}
	wantFired(t, advance(w, math.MaxInt64))
}

func TestFiresAtItsTickAndNotBefore(t *testing.T) {
	deltas := []int64{1, 2, 62, 63, 64, 65, 4095, 4096, 4097}
	for shift := 13; shift < 63; shift++ {
		deltas = append(deltas, 1<<shift-1, 1<<shift, 1<<shift+1)
	}
	for _, start := range []int64{0, 1, 63, 64, 1<<42 - 1, 1<<42 + 12345, -1, -64, -1 << 42, -1<<42 - 7, math.MinInt64} {
		for _, d := range deltas {
			when := start + d
			if when < start {
				continue
			}
			w := New(start)
			var n Node
			w.Arm(&n, when)
			if got := advance(w, when-1); got != nil || !n.Armed() {
				t.Fatalf("start %d: fired before %d", start, when)
			}
			if next, ok := w.Next(); !ok || next != when {
				t.Fatalf("start %d: Next one tick ahead of %d is %d, %v", start, when, next, ok)
			}
			wantFired(t, advance(w, when), when)
			if n.Armed() || w.Len() != 0 {
				t.Fatalf("start %d: still armed after %d", start, when)
			}
		}
	}
}

func TestFiresInOrderOfTicks(t *testing.T) {
	const start = 1<<42 - 5000 // the far list joins in
	rnd := rand.New(rand.NewPCG(1, 2))
	w := New(start)
	nodes := make([]Node, 3000)
	var want []int64
	for i := range nodes {
		when := start + 1 + rnd.Int64N(1<<(1+rnd.IntN(44)))
		w.Arm(&nodes[i], when)
		want = append(want, when)
	}
	slices.Sort(want)
	wantFired(t, advance(w, start+1<<45), want...)
}

func TestPassedTickFiresAtNextAdvance(t *testing.T) {
	w := New(100)
	var a, b, c Node
	w.Arm(&a, 100)
	w.Arm(&b, math.MinInt64)
	w.Arm(&c, 101)
	if next, ok := w.Next(); !ok || next != 100 {
		t.Fatalf("Next is %d, %v, want the present", next, ok)
	}
	wantFired(t, advance(w, 100), 100, math.MinInt64)
	wantFired(t, advance(w, 101), 101)
}

func TestTimeNeverGoesBack(t *testing.T) {
	w := New(100)
	var a, b Node
	w.Arm(&a, 50)
	wantFired(t, advance(w, 99))
	w.Arm(&b, 120)
	wantFired(t, advance(w, 110), 50)
	wantFired(t, advance(w, 105))
	wantFired(t, advance(w, 120), 120)
}

func TestRearmReplaces(t *testing.T) {
	w := New(0)
	var n Node
	for _, when := range []int64{5, 1 << 50, -3, 70, 5000, 10} {
		w.Arm(&n, when)
		if w.Len() != 1 || n.When() != when {
			t.Fatalf("Len %d, When %d after Arm(%d)", w.Len(), n.When(), when)
		}
	}
	wantFired(t, advance(w, 9))
	wantFired(t, advance(w, 1<<51), 10)
}

func TestDisarmed(t *testing.T) {
	w := New(0)
	for _, when := range []int64{-1, 0, 1, 64, 5000, 1 << 41, 1 << 50, math.MaxInt64} {
		var n Node
		w.Arm(&n, when)
		w.Disarm(&n)
		w.Disarm(&n)
		if n.Armed() || w.Len() != 0 {
			t.Fatalf("armed after Disarm, tick %d", when)
		}
		if next, ok := w.Next(); ok {
			t.Fatalf("Next is %d after Disarm of tick %d", next, when)
		}
	}
	wantFired(t, advance(w, math.MaxInt64))
}

func TestRearmInsideFire(t *testing.T) {
	t.Run("itself later, within the jump", func(t *testing.T) {
		w := New(0)
		var n Node
		w.Arm(&n, 10)
		fire := func(n *Node) {
			if n.Armed() {
				t.Error("armed inside its own fire call")
			}
			w.Arm(n, 20) // passed already: Advance went to 100
		}
		if got := w.Advance(100, fire); got != 1 {
			t.Fatalf("fired %d times, want once", got)
		}
		wantFired(t, advance(w, 100), 20)
	})
	t.Run("itself for ever at once", func(t *testing.T) {
		w := New(0)
		var n Node
		w.Arm(&n, 1)
		for now := int64(1); now < 10; now++ {
			if got := w.Advance(now, func(n *Node) { w.Arm(n, now) }); got != 1 {
				t.Fatalf("fired %d times, want once per Advance", got)
			}
		}
	})
	t.Run("itself in the future", func(t *testing.T) {
		w := New(0)
		var n Node
		w.Arm(&n, 1)
		w.Advance(50, func(n *Node) { w.Arm(n, 51) })
		wantFired(t, advance(w, 50))
		wantFired(t, advance(w, 51), 51)
	})
	t.Run("neighbours of the same tick", func(t *testing.T) {
		w := New(0)
		nodes := make([]Node, 4)
		for i := range nodes {
			w.Arm(&nodes[i], 7)
		}
		got := w.Advance(7, func(n *Node) {
			for i := range nodes {
				if nodes[i].Armed() {
					w.Arm(&nodes[i], 8)
				}
			}
		})
		if got != 1 || w.Len() != 3 {
			t.Fatalf("fired %d, left %d, want 1 and 3", got, w.Len())
		}
		wantFired(t, advance(w, 8), 8, 8, 8)
	})
	t.Run("a later one of the same jump", func(t *testing.T) {
		w := New(0)
		var a, b Node
		w.Arm(&a, 7)
		w.Arm(&b, 700)
		w.Advance(1000, func(*Node) { w.Arm(&b, 2000) })
		wantFired(t, advance(w, 1999))
		wantFired(t, advance(w, 2000), 2000)
	})
}

func TestDisarmInsideFire(t *testing.T) {
	for _, when := range []int64{-5, 7, 8, 700, 1 << 43} { // passed, same slot, later in the jump
		w := New(0)
		var a, b, c Node
		w.Arm(&a, -9)
		w.Arm(&b, when)
		w.Arm(&c, when)
		got := w.Advance(1<<44, func(n *Node) {
			if n == &a {
				w.Disarm(n)
				w.Disarm(&b)
			}
		})
		if got != 2 || b.Armed() || c.Armed() || w.Len() != 0 {
			t.Fatalf("tick %d: fired %d, left %d", when, got, w.Len())
		}
		if _, ok := w.Next(); ok {
			t.Fatalf("tick %d: an empty wheel has a next tick", when)
		}
	}
}

func TestPanicInFireKeepsTheRest(t *testing.T) {
	w := New(0)
	nodes := make([]Node, 3)
	for i := range nodes {
		w.Arm(&nodes[i], int64(i+1))
	}
	func() {
		defer func() { _ = recover() }()
		w.Advance(10, func(*Node) { panic("no") })
	}()
	if next, ok := w.Next(); !ok || next != 10 || w.Len() != 2 {
		t.Fatalf("Next %d, %v, Len %d after a panic", next, ok, w.Len())
	}
	wantFired(t, advance(w, 10), 2, 3)
}

func TestNothingIsDueWhenAllAPanicLeftIsDisarmed(t *testing.T) {
	w := New(0)
	nodes := make([]Node, 50)
	for i := range nodes {
		w.Arm(&nodes[i], int64(i+1))
	}
	func() {
		defer func() { _ = recover() }()
		w.Advance(100, func(*Node) { panic("no") })
	}()
	for i := range nodes {
		w.Disarm(&nodes[i])
	}
	if next, ok := w.Next(); ok || w.Len() != 0 {
		t.Fatalf("Next %d, Len %d with nothing armed", next, w.Len())
	}
	w.Arm(&nodes[0], 101)
	wantFired(t, advance(w, 100))
	wantFired(t, advance(w, 101), 101)
	checkStore(t, w)
}

// Every step of a walk along Next does work, so a jump costs what is in it.
func TestBigJumpsAreCheap(t *testing.T) {
	w := New(0)
	nodes := make([]Node, 100)
	for i := range nodes {
		w.Arm(&nodes[i], int64(i+1)<<36+int64(i))
	}
	steps, fired := 0, 0
	for {
		next, ok := w.Next()
		if !ok {
			break
		}
		fired += w.Advance(next, func(*Node) {})
		steps++
	}
	if fired != len(nodes) || steps > len(nodes)*(levels+1) {
		t.Fatalf("fired %d of %d in %d steps", fired, len(nodes), steps)
	}
}

func TestJumpOverEmptySpansIsOneStep(t *testing.T) {
	w := New(math.MinInt64)
	var n Node
	w.Arm(&n, math.MaxInt64)
	// Span by span this would take four million steps.
	for now := int64(math.MinInt64); now < math.MaxInt64>>1; now += 1 << 59 {
		wantFired(t, advance(w, now))
	}
	wantFired(t, advance(w, math.MaxInt64-1))
	wantFired(t, advance(w, math.MaxInt64), math.MaxInt64)
}

// The wheel against a naive list, under random operations and a fake clock.
func TestAgreesWithNaiveList(t *testing.T) {
	moved := 0 // nodes disarmed or armed anew that a spread had moved
	for seed := range uint64(24) {
		rnd := rand.New(rand.NewPCG(seed, 7))
		now := rnd.Int64N(1<<44) - 1<<43
		if seed%4 == 0 {
			now = 1<<42 - 300
		}
		w := New(now)
		// Every third wheel is crowded: its lists have many chunks.
		nodes, reach, changes := make([]Node, 200), 46, 4
		if seed%3 == 0 {
			nodes, reach, changes = make([]Node, 2000), 12, 100
		}
		model := map[*Node]int64{}
		distance := func() int64 { return rnd.Int64N(1<<rnd.IntN(reach)+2) - 2 }

		mutate := func(now int64) {
			n := &nodes[rnd.IntN(len(nodes))]
			if n.Armed() && stale(w, n) {
				moved++
			}
			if rnd.IntN(4) == 0 {
				w.Disarm(n)
				delete(model, n)
				return
			}
			when := now + distance()
			w.Arm(n, when)
			model[n] = when
		}

		for range 600 {
			for range rnd.IntN(changes) {
				mutate(now)
			}
			switch next, ok := w.Next(); {
			case ok != (len(model) > 0):
				t.Fatalf("seed %d: Next says %v with %d armed", seed, ok, len(model))
			case ok:
				earliest := int64(math.MaxInt64)
				for _, when := range model {
					earliest = min(earliest, when)
				}
				if next > max(earliest, now) || next < now {
					t.Fatalf("seed %d: now %d, Next %d, earliest deadline %d", seed, now, next, earliest)
				}
				if earliest > now && earliest>>slotBits == now>>slotBits && next != earliest {
					t.Fatalf("seed %d: Next %d, level 0 has %d", seed, next, earliest)
				}
				if rnd.IntN(2) == 0 {
					now = next
				}
			}
			if rnd.IntN(3) == 0 {
				now += max(0, distance()/4)
			}

			late := map[*Node]bool{} // armed inside fire for a tick that has passed
			last := int64(math.MinInt64)
			passed := true
			before := w.now
			calls := 0
			fired := w.Advance(now, func(n *Node) {
				calls++
				when, armed := model[n]
				switch {
				case !armed || n.Armed() || n.When() != when:
					t.Fatalf("seed %d: fired a node that is not armed for %d", seed, n.When())
				case when > now || late[n]:
					t.Fatalf("seed %d: now %d, fired %d too early", seed, now, when)
				case when > before && when < last:
					t.Fatalf("seed %d: fired %d after %d", seed, when, last)
				case when <= before && !passed:
					t.Fatalf("seed %d: passed tick %d behind %d", seed, when, last)
				}
				if when > before {
					passed, last = false, when
				}
				delete(model, n)
				for range rnd.IntN(3) {
					m := &nodes[rnd.IntN(len(nodes))]
					if rnd.IntN(3) == 0 {
						m = n
					}
					delete(late, m)
					if rnd.IntN(3) == 0 {
						w.Disarm(m)
						delete(model, m)
						continue
					}
					when := now + distance()
					w.Arm(m, when)
					model[m], late[m] = when, when <= now
				}
			})
			if fired != calls {
				t.Fatalf("seed %d: Advance returned %d after %d calls", seed, fired, calls)
			}
			for n, when := range model {
				if when <= now && !late[n] {
					t.Fatalf("seed %d: now %d, missed %d", seed, now, when)
				}
			}
			if w.Len() != len(model) {
				t.Fatalf("seed %d: Len %d, want %d", seed, w.Len(), len(model))
			}
			checkStore(t, w)
			for i := range nodes {
				if _, armed := model[&nodes[i]]; armed != nodes[i].Armed() {
					t.Fatalf("seed %d: Armed is %v", seed, nodes[i].Armed())
				}
			}
		}
	}
	if moved < 100 {
		t.Errorf("only %d changes of nodes that a spread had moved", moved)
	}
}
