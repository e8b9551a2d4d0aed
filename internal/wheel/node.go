package wheel

// Node is one timer, meant to be a field of what it times. The zero value is
// disarmed. It takes 24 bytes on 64-bit machines.
//
// An armed Node must not be copied or moved, belongs to one Wheel, and is
// touched only by that wheel's goroutine. The wheel keeps it, and with it the
// value it is a field of, reachable.
type Node struct {
	next, prev *Node
	when       int64 // in a list's head: the list's index
}

// Armed reports whether n is waiting in a wheel. Inside its own fire call it is
// not, until armed again.
func (n *Node) Armed() bool { return n.next != nil }

// When returns the tick given to the last Arm, whether n is still armed or not;
// 0 when it never was.
func (n *Node) When() int64 { return n.when }

// The lists are circular, closed by a head that is a Node too: linking and
// unlinking have no special case for the ends.

// empty reports whether the list headed by h has no nodes.
func (h *Node) empty() bool { return h.next == h }

// push appends n, which is in no list, to the list headed by h.
func (h *Node) push(n *Node) {
	last := h.prev
	n.next, n.prev = h, last
	last.next, h.prev = n, n
}

// remove takes n out of its list.
func (n *Node) remove() {
	n.next.prev, n.prev.next = n.prev, n.next
	n.next, n.prev = nil, nil
}

// splice moves all nodes of the list headed by from to the end of h's.
func (h *Node) splice(from *Node) {
	if from.empty() {
		return
	}
	first, last := from.next, from.prev
	h.prev.next, first.prev = first, h.prev
	last.next, h.prev = h, last
	from.next, from.prev = from, from
}
