// Package wheel is a hierarchical timer wheel with intrusive nodes: arming and
// disarming take constant time and nothing is allocated after New.
//
// Time is counted in ticks, whose length and origin the owner chooses.
package wheel

import "math/bits"

const (
	slotBits = 6
	slots    = 1 << slotBits // one bit of a uint64 each
	levels   = 7
	spanBits = levels * slotBits // the levels reach 2^42 ticks: 139 years of milliseconds

	// Three more lists follow the slots of the levels, in the row of the
	// occupancy map that follows the rows of the levels.
	far    = levels * slots // beyond the levels
	due    = far + 1        // armed for a tick that had passed: for the next Advance
	firing = far + 2        // taken out by the running Advance, in firing order
	lists  = far + 3
)

// Wheel holds armed nodes by the tick they are due at. It takes about 11 KiB,
// whatever it holds. It is not safe for concurrent use: one goroutine owns it.
// Use New to make one; a Wheel must not be copied.
//
// A node due later than now waits at the level of the highest group of six bits
// in which its tick differs from now, in the slot that this group names. So a
// slot of level 0 is one tick, every occupied slot lies ahead of now, all of a
// level comes before all of the next, and the first node is found from one bit
// per slot. When now reaches the start of a slot above level 0, its nodes are
// spread over the levels below: at most once per level in a node's life.
type Wheel struct {
	now      int64
	armed    int
	occupied [levels + 1]uint64
	list     [lists]Node
}

// New returns an empty wheel whose time is now, in ticks. Any now will do, a
// negative one too.
func New(now int64) *Wheel {
	w := &Wheel{now: now}
	for i := range w.list {
		h := &w.list[i]
		h.next, h.prev, h.when = h, h, int64(i)
	}
	return w
}

// Len returns the number of armed nodes.
func (w *Wheel) Len() int { return w.armed }

// Arm sets n to fire when Advance reaches the tick when, in place of an earlier
// setting. A tick that has passed fires at the next Advance, never within the
// running one. n must not be armed in another wheel.
func (w *Wheel) Arm(n *Node, when int64) {
	if n.Armed() {
		w.unlink(n)
	} else {
		w.armed++
	}
	n.when = when
	i := due
	if when > w.now {
		i = w.slot(when)
	}
	w.link(i, n)
}

// Disarm takes n out of the wheel; without effect when it is not armed. n must
// not be armed in another wheel.
func (w *Wheel) Disarm(n *Node) {
	if n.Armed() {
		w.unlink(n)
		w.armed--
	}
}

// Advance moves the time to now and calls fire for every node due then or
// earlier, in order of their ticks, those first that had passed when armed.
// Nodes of one tick fire in no particular order. It returns the number fired.
// The same now again fires what was armed late; a smaller now does nothing.
//
// A node is disarmed when fire is called with it. fire may arm and disarm any
// node, also one that was still to fire in this call: it then fires at its new
// time, or not at all. What fire arms for now or earlier fires in the next
// Advance. When fire panics, what was left fires in the next Advance too.
//
// The cost is that of the nodes fired and spread, whatever the length of the
// jump.
func (w *Wheel) Advance(now int64, fire func(*Node)) int {
	if now < w.now {
		return 0
	}
	w.collect(now)
	fired := 0
	for h := &w.list[firing]; !h.empty(); fired++ {
		n := h.next
		w.unlink(n)
		w.armed--
		fire(n)
	}
	return fired
}

// Next returns the earliest tick at which Advance has work, or false when
// nothing is armed. It is never later than the earliest deadline (nor earlier
// than now, which is the answer when a node's time had passed as it was armed).
// It is that deadline when the node waits at level 0; else it is the start of
// its slot, when Advance will spread the slot and may find nothing to fire.
func (w *Wheel) Next() (when int64, ok bool) {
	if w.occupied[levels]&(1<<(due-far)|1<<(firing-far)) != 0 {
		return w.now, true
	}
	_, when, ok = w.first()
	return when, ok
}

// first returns the list that follows now most closely and the tick at which it
// must be taken up.
func (w *Wheel) first() (i int, start int64, ok bool) {
	for level := range levels {
		if set := w.occupied[level]; set != 0 {
			s := bits.TrailingZeros64(set)
			shift := level * slotBits
			above := w.now >> (shift + slotBits) << (shift + slotBits)
			return level*slots + s, above | int64(s)<<shift, true
		}
	}
	if w.list[far].empty() {
		return 0, 0, false
	}
	return far, (w.now>>spanBits + 1) << spanBits, true
}

// collect moves the time to now and what is due to the firing list. All of it
// is taken out before the first fire call, so that fire finds a wheel at rest.
func (w *Wheel) collect(now int64) {
	w.move(due)
	for {
		i, start, ok := w.first()
		if ok && i == far && start <= now {
			start = w.farStart() // skips the spans without a node
		}
		if !ok || start > now {
			break
		}
		w.now = start
		if i < slots {
			w.move(i)
		} else {
			w.spread(i)
		}
	}
	w.now = now
}

// farStart returns the start of the first span of the levels that the far list
// has a node in.
func (w *Wheel) farStart() int64 {
	h := &w.list[far]
	earliest := h.next.when
	for n := h.next; n != h; n = n.next {
		earliest = min(earliest, n.when)
	}
	return earliest >> spanBits << spanBits
}

// move appends list i to the firing list.
func (w *Wheel) move(i int) {
	if h := &w.list[i]; !h.empty() {
		w.list[firing].splice(h)
		w.clear(i)
		w.set(firing)
	}
}

// spread puts the nodes of list i where they belong now that its start is
// reached. It walks from both ends at once: with many nodes each step waits for
// memory, and this way for two nodes together.
func (w *Wheel) spread(i int) {
	h := &w.list[i]
	a, b := h.next, h.prev
	h.next, h.prev = h, h
	w.clear(i)
	for {
		next, prev := a.next, b.prev
		w.place(a)
		if a == b {
			return
		}
		w.place(b)
		if next == b {
			return
		}
		a, b = next, prev
	}
}

// place links n, which is in no list, as seen by the running Advance.
func (w *Wheel) place(n *Node) {
	i := firing
	if n.when > w.now {
		i = w.slot(n.when)
	}
	w.link(i, n)
}

// slot returns the list for a node due at when, which is later than now.
func (w *Wheel) slot(when int64) int {
	level := uint(bits.Len64(uint64(when^w.now))-1) / slotBits
	if level >= levels {
		return far
	}
	return int(level)*slots + int(when>>(level*slotBits)&(slots-1))
}

func (w *Wheel) link(i int, n *Node) {
	w.list[i].push(n)
	w.set(i)
}

func (w *Wheel) unlink(n *Node) {
	// Only the head can be both neighbours, and it knows its list.
	if h := n.next; h == n.prev {
		w.clear(int(h.when))
	}
	n.remove()
}

func (w *Wheel) set(i int)   { w.occupied[uint(i)/slots] |= 1 << (uint(i) % slots) }
func (w *Wheel) clear(i int) { w.occupied[uint(i)/slots] &^= 1 << (uint(i) % slots) }
