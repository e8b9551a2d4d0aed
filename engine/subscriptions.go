package engine

import (
	"iter"
	"maps"
	"slices"
	"sync"
)

// subscriptions are a connection's memberships.
type subscriptions struct {
	sync.Mutex
	list   []*membership          // up to maxListed
	byName map[string]*membership // all, when there were more; nil: list has them

	kept     []*Prepared // published while a fragmented message is being sent; under the output queue's lock
	keptSize int         // what they take, in bytes
}

// maxListed is how many memberships are looked through one by one. A map of fewer costs more than they do.
const maxListed = 16

func (s *subscriptions) find(name string) *membership {
	if s.byName != nil {
		return s.byName[name]
	}
	for _, m := range s.list {
		if m.part.topic.name == name {
			return m
		}
	}
	return nil
}

func (s *subscriptions) add(m *membership) {
	switch {
	case s.byName != nil:
		s.byName[m.part.topic.name] = m
	case len(s.list) < maxListed:
		s.list = append(s.list, m)
	default:
		s.byName = make(map[string]*membership, 2*maxListed)
		for _, m := range append(s.list, m) {
			s.byName[m.part.topic.name] = m
		}
		s.list = nil
	}
}

func (s *subscriptions) remove(m *membership) {
	if s.byName != nil {
		delete(s.byName, m.part.topic.name)
		return
	}
	i, last := slices.Index(s.list, m), len(s.list)-1
	s.list[i] = s.list[last]
	s.list[last] = nil
	s.list = s.list[:last]
}

func (s *subscriptions) len() int { return len(s.list) + len(s.byName) }

func (s *subscriptions) all() iter.Seq[*membership] {
	if s.byName != nil {
		return maps.Values(s.byName)
	}
	return slices.Values(s.list)
}

// subscriptions returns the connection's, made on first use.
func (c *Conn) subscriptions() *subscriptions {
	r := c.more()
	if s := r.subscriptions.Load(); s != nil {
		return s
	}
	r.subscriptions.CompareAndSwap(nil, new(subscriptions))
	return r.subscriptions.Load()
}
