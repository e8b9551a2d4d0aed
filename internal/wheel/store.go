package wheel

const (
	chunkLen = 20 // entries; more make the walk along them faster, and lists of a few nodes larger
	indexLen = 32 // the power of two above
	slabLen  = 32 // chunks; a slab fills the allocator's size class of 8 KiB

	// Chunks that stay when nothing is armed, 124 KiB. Lists of a few nodes
	// take a chunk each, so this many come and go within one round of level 0.
	spare = 512

	// Up to here the nodes are likely to be in the cache, and touching them
	// ahead is a waste.
	cached = 16 << 10

	empty = chunkLen // a list without chunks, as if chunk 0 were full
)

// chunk holds entries of one list, 12 bytes each: the node, and of its tick what
// placing it anew takes, so that a spread reads the entries and not the nodes,
// of which each would be a miss of the caches and of the TLB.
//
// All chunks of a list are full but the first, of which the list knows how far
// it is, and n only when the list is detached. Entries without a node are nil.
type chunk struct {
	next  uint32 // in the list; 0: none
	n     uint16
	list  uint16
	nodes [chunkLen]*Node
	low   [chunkLen]uint32 // the low half of the tick; unused in level 0
}

// store owns the chunks. They are known by number, from 1, and an entry by the
// number of its chunk times indexLen plus its index there.
type store struct {
	slabs []*[slabLen]chunk
	free  []uint32 // chunks; the next to be used is the last
}

func (s *store) chunk(id uint32) *chunk { return &s.slabs[id/slabLen][id%slabLen] }

// take returns a free chunk. It allocates when there is none.
func (s *store) take() uint32 {
	if len(s.free) == 0 {
		s.grow()
	}
	last := len(s.free) - 1
	id := s.free[last]
	s.free = s.free[:last]
	return id
}

// give frees a chunk, of which all entries must be nil.
func (s *store) give(id uint32) { s.free = append(s.free, id) }

func (s *store) grow() {
	first := uint32(len(s.slabs) * slabLen)
	s.slabs = append(s.slabs, new([slabLen]chunk))
	for id := first + slabLen - 1; id > first; id-- {
		s.free = append(s.free, id)
	}
	if first != 0 {
		s.free = append(s.free, first)
	}
}

// wasteful reports whether so few chunks are in use that the rest should go back
// to the allocator.
func (s *store) wasteful() bool { return len(s.free)-spare > len(s.slabs)*slabLen/4*3 }

// shrink moves what is in use out of the slabs to be dropped, and drops them. It
// leaves twice the room in use, so that its cost is spread over as many calls of
// give.
func (w *Wheel) shrink() {
	used := len(w.slabs)*slabLen - len(w.free)
	keep := (2*used + spare) / slabLen
	limit := uint32(keep * slabLen)
	free := make([]uint32, 0, limit)
	for _, id := range w.free {
		if id < limit {
			free = append(free, id)
		}
	}
	w.free = free
	for i, at := range w.list {
		id := at / indexLen
		w.relocate(&id, limit)
		w.list[i] = id*indexLen + at%indexLen
	}
	w.last = w.relocate(&w.first, limit)
	w.slabs = append([]*[slabLen]chunk(nil), w.slabs[:keep]...)
}

// relocate moves the chunks from limit on of the list that starts at *link to
// free ones, and returns the last of the list.
func (w *Wheel) relocate(link *uint32, limit uint32) (last uint32) {
	for *link != 0 {
		if old := *link; old >= limit {
			id := w.take()
			c := w.chunk(id)
			*c = *w.chunk(old)
			for k, n := range c.nodes {
				if n != nil {
					n.at = id*indexLen + uint32(k)
				}
			}
			*link = id
		}
		last = *link
		link = &w.chunk(last).next
	}
	return last
}
