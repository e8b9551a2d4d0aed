// Package wheel is a hierarchical timer wheel with intrusive nodes: arming and
// disarming take constant time in the mean, and nothing is allocated while the
// number of armed nodes stays about the same. It is laid out for a million nodes
// that lie anywhere in memory: time passes without touching any but those that
// fire.
//
// Time is counted in ticks, whose length and origin the owner chooses.
package wheel

import (
	"math"
	"math/bits"
)

const (
	slotBits = 8
	slots    = 1 << slotBits
	levels   = 5
	spanBits = levels * slotBits // the levels reach 2^40 ticks: 34 years of milliseconds

	// Two more lists follow the slots of the levels.
	far   = levels * slots // beyond the levels
	due   = far + 1        // armed for a tick that had passed: for the next Advance
	lists = far + 2

	firing = lists // not a list like these: what Advance has taken out

	words = lists/64 + 1 // of the occupancy map
)

// Wheel holds armed nodes by the tick they are due at. It takes 5 KiB and 13
// bytes for each armed node, but at least 248 for each slot in use. What a peak
// has taken goes back to the allocator when a quarter of it is in use, down to
// 124 KiB. A Wheel is not safe for concurrent use: one goroutine owns it. Use New
// to make one; a Wheel must not be copied.
//
// A node due later than now waits at the level of the highest group of eight
// bits in which its tick differs from now, in the slot that this group names. So
// a slot of level 0 is one tick, every occupied slot lies ahead of now, all of a
// level comes before all of the next, and the first node is found from one bit
// per slot. When now reaches the start of a slot above level 0, its nodes are
// spread over the levels below: at most once per level in a node's life.
//
// Each slot is a list of chunks of entries, and an entry points to its node. The
// node knows its entry too, for Disarm; but a spread moves entries and leaves
// the nodes alone. A node that finds itself moved looks its list through, once
// for all that are in it: see find.
type Wheel struct {
	now      int64
	armed    int
	first    uint32 // what is to fire: the first of its chunks, in firing order
	last     uint32 // the first of the list put there last
	cursor   uint32 // and the entry of the first that is next
	touched  uint32 // keeps the loads of touch alive
	summary  uint32 // one bit per word of occupied
	occupied [words]uint64
	list     [lists]uint32 // where the next entry goes: full or beyond for none
	store
}

// New returns an empty wheel whose time is now, in ticks. Any now will do, a
// negative one too.
func New(now int64) *Wheel {
	w := &Wheel{now: now}
	for i := range w.list {
		w.list[i] = empty
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
	i := due
	if when > w.now {
		i = w.slot(when)
	}
	n.setWhen(when)
	n.at = w.push(i, n, uint32(when))
}

// Disarm takes n out of the wheel; without effect when it is not armed. n must
// not be armed in another wheel. The wheel keeps nothing of n.
func (w *Wheel) Disarm(n *Node) {
	if n.Armed() {
		w.unlink(n)
		n.at = 0
		w.armed--
		if w.wasteful() {
			w.shrink()
		}
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
// Advance. When fire panics, what was left fires in the next Advance too. fire
// must not call Advance.
//
// The cost is that of the nodes fired and spread, whatever the length of the
// jump.
func (w *Wheel) Advance(now int64, fire func(*Node)) int {
	if now < w.now {
		return 0
	}
	w.collect(now)
	if w.first == 0 {
		return 0
	}
	fired := 0
	for w.first != 0 {
		id := w.first
		c := w.chunk(id)
		if w.armed > cached && w.cursor == 0 {
			w.touch(c)
		}
		for w.first == id { // fire may make shrink move what is left
			k := w.cursor
			n := c.nodes[k]
			c.nodes[k] = nil
			w.cursor = k + 1
			if k+1 == uint32(c.n) { // free before the last fires: this arms with a warm chunk
				w.first, w.cursor = c.next, 0
				w.give(id)
			}
			if n == nil {
				continue
			}
			n.at = 0
			w.armed--
			fired++
			fire(n)
		}
	}
	if w.wasteful() {
		w.shrink()
	}
	return fired
}

// touch loads a bit of every node of c and of the chunk behind it. With many
// nodes each load waits for memory; here they wait together, and not one by one
// in the fire calls.
func (w *Wheel) touch(c *chunk) {
	sum := uint32(0)
	if c.next != 0 {
		sum = uint32(w.chunk(c.next).n)
	}
	for _, n := range c.nodes[:c.n] {
		if n != nil {
			sum += n.at
		}
	}
	w.touched = sum
}

// Next returns the earliest tick at which Advance has work, or false when
// nothing is armed. It is never later than the earliest deadline (nor earlier
// than now, which is the answer when a node's time had passed as it was armed).
// It is that deadline when the node waits at level 0; else it is the start of
// its slot, when Advance will spread the slot and may find nothing to fire.
func (w *Wheel) Next() (when int64, ok bool) {
	if w.list[due] != empty || w.first != 0 && w.interrupted() {
		return w.now, true
	}
	_, when, ok = w.nearest()
	return when, ok
}

// interrupted reports whether a panic has left nodes that were to fire.
func (w *Wheel) interrupted() bool {
	for id := w.first; id != 0; id = w.chunk(id).next {
		for _, n := range w.chunk(id).nodes {
			if n != nil {
				return true
			}
		}
	}
	return false
}

// nearest returns the list that follows now most closely and the tick at which it
// must be taken up. There must be none due.
func (w *Wheel) nearest() (i int, start int64, ok bool) {
	if w.summary == 0 {
		return 0, 0, false
	}
	word := bits.TrailingZeros32(w.summary)
	i = word*64 + bits.TrailingZeros64(w.occupied[word])
	if i == far {
		return far, (w.now>>spanBits + 1) << spanBits, true
	}
	shift := uint(i) / slots * slotBits
	return i, (w.now>>shift&^(slots-1) | int64(i%slots)) << shift, true
}

// collect moves the time to now and what is due to the firing list. All of it
// is taken out before the first fire call, so that fire finds a wheel at rest.
func (w *Wheel) collect(now int64) {
	if w.list[due] != empty {
		for id := w.move(due); id != 0; id = w.chunk(id).next {
			w.chunk(id).list = firing
		}
	}
	for {
		i, start, ok := w.nearest()
		if !ok || start > now {
			break
		}
		if i == far {
			if start = w.farStart(); start > now { // skips the spans without a node
				break
			}
		}
		w.now = start
		if i >= slots {
			w.spread(i)
			continue
		}
		w.move(i)
		if start == now { // what follows is later
			break
		}
	}
	w.now = now
}

// farStart returns the start of the first span of the levels that the far list
// has a node in.
func (w *Wheel) farStart() int64 {
	earliest := int64(math.MaxInt64)
	for id := w.list[far] / indexLen; id != 0; id = w.chunk(id).next {
		for _, n := range w.chunk(id).nodes {
			if n != nil {
				earliest = min(earliest, n.When())
			}
		}
	}
	return earliest >> spanBits << spanBits
}

// move puts list i, which has chunks, behind what is to fire, and returns its
// first chunk.
func (w *Wheel) move(i int) (id uint32) {
	id = w.detach(i)
	if w.first == 0 {
		w.first, w.cursor = id, 0
	} else {
		last := w.chunk(w.last)
		for last.next != 0 {
			last = w.chunk(last.next)
		}
		last.next = id
	}
	w.last = id
	return id
}

// spread puts the nodes of list i where they belong now that its start is
// reached; those due at once are in the slot of this tick, for collect to find.
// Nodes of one tick often follow one another: they were armed together.
func (w *Wheel) spread(i int) {
	var (
		to   *chunk
		list int
		tick uint32
		at   = uint32(empty)
	)
	for id := w.detach(i); id != 0; {
		c := w.chunk(id)
		for k, n := range c.nodes[:c.n] {
			low := c.low[k]
			if low != tick || at%indexLen == chunkLen || i == far {
				// 2^32 ticks are a slot of the highest level: low tells them apart.
				when := w.now + int64(low-uint32(w.now))
				if i == far {
					when = n.When()
				}
				list, tick = w.slot(when), low
				at = w.room(list)
				to = w.chunk(at / indexLen)
			}
			to.nodes[at%indexLen] = n
			if list >= slots {
				to.low[at%indexLen] = low
			}
			at++
			w.list[list] = at
		}
		clear(c.nodes[:c.n])
		next := c.next
		w.give(id)
		id = next
	}
}

// slot returns the list for a node due at when, which is now or later.
func (w *Wheel) slot(when int64) int {
	level := uint(bits.Len64(uint64(when^w.now)|1)-1) / slotBits
	if level >= levels {
		return far
	}
	return int(level)*slots + int(when>>(level*slotBits)&(slots-1))
}

// push adds an entry to list i and returns where it is.
func (w *Wheel) push(i int, n *Node, low uint32) (at uint32) {
	at = w.room(i)
	w.list[i] = at + 1
	c, k := w.chunk(at/indexLen), at%indexLen
	c.nodes[k] = n
	if i >= slots { // others are spread no more
		c.low[k] = low
	}
	return at
}

// room returns where the next entry of list i goes.
func (w *Wheel) room(i int) (at uint32) {
	at = w.list[i]
	if at%indexLen == chunkLen {
		at = w.open(i)
	}
	return at
}

// open puts a chunk with room in front of list i and returns its first entry.
func (w *Wheel) open(i int) (at uint32) {
	id := w.take()
	c := w.chunk(id)
	c.next, c.n, c.list = w.list[i]/indexLen, chunkLen, uint16(i)
	if c.next == 0 {
		w.occupied[i/64] |= 1 << (i % 64)
		w.summary |= 1 << (i / 64)
	}
	return id * indexLen
}

// detach empties list i, which has chunks, and returns the first.
func (w *Wheel) detach(i int) (id uint32) {
	at := w.list[i]
	w.vacate(i)
	id = at / indexLen
	w.chunk(id).n = uint16(at % indexLen)
	return id
}

func (w *Wheel) vacate(i int) {
	w.list[i] = empty
	w.occupied[i/64] &^= 1 << (i % 64)
	if w.occupied[i/64] == 0 {
		w.summary &^= 1 << (i / 64)
	}
}

// unlink empties the entry of n. The last of the list takes its place.
func (w *Wheel) unlink(n *Node) {
	at := w.find(n)
	c, k := w.chunk(at/indexLen), at%indexLen
	i := c.list
	if i == firing || i != due && n.When() <= w.now {
		c.nodes[k] = nil // those behind it keep their order
		return
	}
	last := w.list[i] - 1
	open, j := w.chunk(last/indexLen), last%indexLen
	if last != at {
		m := open.nodes[j]
		c.nodes[k], c.low[k] = m, open.low[j]
		m.at = at
	}
	open.nodes[j] = nil
	switch {
	case j > 0:
		w.list[i] = last
		return
	case open.next != 0:
		w.list[i] = open.next*indexLen + chunkLen
	default:
		w.vacate(int(i))
	}
	w.give(last / indexLen)
}

// find returns where the entry of n is. When a spread has moved it, all nodes of
// its list are told where theirs are: that is less work for each than the spread
// had with it, and happens once at most for each node and spread.
func (w *Wheel) find(n *Node) (at uint32) {
	if id := n.at / indexLen; id/slabLen < uint32(len(w.slabs)) && w.chunk(id).nodes[n.at%indexLen] == n {
		return n.at
	}
	id := w.first
	if when := n.When(); when > w.now {
		id = w.list[w.slot(when)] / indexLen
	}
	for ; id != 0; id = w.chunk(id).next {
		for k, m := range w.chunk(id).nodes {
			if m != nil {
				m.at = id*indexLen + uint32(k)
			}
		}
	}
	return n.at
}
