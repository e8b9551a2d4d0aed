package loop

import "sync"

// table is where a loop has its connections: by descriptor, and those without one by a number of their own. It grows by
// pages, since one array would leave its former selves behind as garbage: with those, the memory of a server that fills
// up grows for every connection by half as much again.
type table struct {
	sync.Mutex // held by the loop to change the table, and by others to read it
	byFD       []*page
	streams    []*page // without gaps
	streamed   int     // how many those are
}

// page is 512 bytes: the allocator puts a word in front of larger objects that hold pointers, and would round up to its
// next size class.
type page [pageLen]*Conn

const pageLen = 64

// at returns the connection with that descriptor, or nil. Loop only.
func (t *table) at(fd int) *Conn {
	if i := uint(fd) / pageLen; i < uint(len(t.byFD)) {
		if p := t.byFD[i]; p != nil {
			return p[uint(fd)%pageLen]
		}
	}
	return nil
}

// enter puts c into the table.
func (t *table) enter(c *Conn) {
	t.Lock()
	defer t.Unlock()
	if c.fd < 0 {
		t.putStream(t.streamed, c)
		t.streamed++
		return
	}
	i := int(c.fd) / pageLen
	for i >= len(t.byFD) {
		t.byFD = append(t.byFD, nil)
	}
	if t.byFD[i] == nil {
		t.byFD[i] = new(page)
	}
	t.byFD[i][c.fd%pageLen] = c
}

// putStream gives c the number i.
func (t *table) putStream(i int, c *Conn) {
	if i/pageLen == len(t.streams) {
		t.streams = append(t.streams, new(page))
	}
	t.streams[i/pageLen][i%pageLen] = c
	c.mu.Lock()
	c.fd = firstStream - int32(i)
	c.mu.Unlock()
}

// leave takes c out of the table. The last of the streams takes the place of one that leaves.
func (t *table) leave(c *Conn) {
	t.Lock()
	defer t.Unlock()
	if c.fd >= 0 {
		t.byFD[c.fd/pageLen][c.fd%pageLen] = nil
		return
	}
	t.streamed--
	last := &t.streams[t.streamed/pageLen][t.streamed%pageLen]
	if *last != c {
		t.putStream(int(firstStream-c.fd), *last)
	}
	*last = nil
	if keep := t.streamed/pageLen + 2; keep < len(t.streams) { // one in reserve
		t.streams[keep] = nil
		t.streams = t.streams[:keep]
	}
}

// list appends the connections to to. Any goroutine may call it.
func (t *table) list(to []*Conn) []*Conn {
	t.Lock()
	defer t.Unlock()
	for _, pages := range [...][]*page{t.byFD, t.streams} {
		for _, p := range pages {
			if p == nil {
				continue
			}
			for _, c := range p {
				if c != nil {
					to = append(to, c)
				}
			}
		}
	}
	return to
}
