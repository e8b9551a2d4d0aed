package wheel

// Node is one timer, meant to be a field of what it times. The zero value is
// disarmed. It takes 12 bytes, holds no pointer and asks for an alignment of 4,
// so that small fields beside it cost no padding; while armed, the wheel keeps
// another 13 for it.
//
// An armed Node must not be copied or moved, belongs to one Wheel, and is
// touched only by that wheel's goroutine. The wheel keeps it, and with it the
// value it is a field of, reachable.
type Node struct {
	when [2]uint32 // the tick, its low half first
	at   uint32    // where its entry is or, before a spread, was; 0: disarmed
}

// Armed reports whether n is waiting in a wheel. Inside its own fire call it is
// not, until armed again.
func (n *Node) Armed() bool { return n.at != 0 }

// When returns the tick given to the last Arm, whether n is still armed or not;
// 0 when it never was.
func (n *Node) When() int64 { return int64(uint64(n.when[1])<<32 | uint64(n.when[0])) }

func (n *Node) setWhen(when int64) {
	n.when = [2]uint32{uint32(when), uint32(uint64(when) >> 32)}
}
