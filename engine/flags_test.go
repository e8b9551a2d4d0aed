package engine

import "fmt"

// Every test of the engine is one of the rules in flags.go: they are looked at on all its loops after each turn.
func init() {
	inspect = func(s *shard) {
		if !s.poison || s.count.Handshakes == 0 || s.engine.group.Len() > 32 {
			return // a server that is measured, or New is at work still
		}
		for _, lc := range s.engine.group.Conns() {
			if lc.Loop() != s.loop {
				continue
			}
			c := (*Conn)(lc.Endpoint().(*endpoint))
			if rule := c.brokenRule(); rule != "" {
				panic(fmt.Sprintf("engine: state %d, flags %b: %s", c.state, c.flags.Load(), rule))
			}
		}
		if s.serving.conn != nil || s.borrowed || s.stash != nil {
			panic("engine: what belongs to a callback outlives it")
		}
	}
}

// brokenRule returns the rule of flags.go that does not hold of c between two callbacks, or "".
func (c *Conn) brokenRule() string {
	var r rare
	if p := c.rare.Load(); p != nil {
		p.Lock()
		r.own = p.own
		p.Unlock()
		r.stash, r.session, r.extensions = p.stash, p.session, p.extensions
	}
	c.lc.Lock()
	defer c.lc.Unlock(false)
	f := c.flags.Load()
	speaking := c.state == stateOpen || c.state == stateClosing || c.state == stateAnswering
	rules := []struct {
		name  string
		holds bool
	}{
		{"upgraded while it speaks", f&flagUpgraded != 0 == speaking || c.state == stateHead},
		{"a close frame has a reason", f&flagSendClosed == 0 || c.end != nil},
		{"closing has sent its close frame", c.state != stateClosing || f&flagSendClosed != 0},
		{"a session's writer writes fragments", f&flagWriting == 0 || f&flagFragment != 0 && r.session != nil},
		{"only sessions hold", f&(flagHeld|flagPieces|flagMidway) == 0 || r.session != nil},
		{"stashed if there is a stash", f&flagStashed != 0 == (r.stash != nil)},
		{"a stash waits for somebody", r.stash == nil || c.state == stateOpen},
		{"own rules are there", f&flagOwnRules == 0 || r.own != nil},
		{"extensions are there", f&flagExtended == 0 || r.extensions != nil},
		{"compressed by agreement", f&flagCompressed == 0 || f&(flagDeflate|flagExtended) != 0},
		{"a read is over", f&flagSpent == 0},
		{"only who receives assembles", c.assembly == nil || c.state == stateHead || c.state == stateOpen || c.state == stateClosing},
	}
	for _, r := range rules {
		if !r.holds {
			return r.name
		}
	}
	return ""
}
