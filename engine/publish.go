package engine

import (
	"sync"
	"sync/atomic"

	"zeroframe/frame"
)

// Publish sends a message, Text or Binary, to every member of the topic called name, and hands it to the backplane if
// there is one. It copies payload once, before it returns, however many members there are, and never blocks; the loops
// queue it. Messages of one goroutine reach each member in the order of the calls; what is sent to a member by other means
// right after, Send or Close, may overtake them. A member that reads too slowly is subject to its route's
// WithBackpressurePolicy, where PolicyRefuse drops the message for it; Stats count that. Any goroutine may call it, handlers
// included. The errors are ErrFragment for other opcodes, ErrTopicName, ErrServerClosed, ErrBackpressure when a loop that
// has members is more than 64 MiB of messages behind (128 B added for each), and nobody is sent this one, and the
// backplane's, after the local members were served.
func (e *Engine) Publish(name string, op frame.OpCode, payload []byte) error {
	return e.publish(name, op, payload, nil)
}

// Publish is Engine.Publish to everyone but the connection itself.
func (c *Conn) Publish(name string, op frame.OpCode, payload []byte) error {
	return c.route.engine.publish(name, op, payload, c)
}

// PublishPrepared is Publish of a message that was prepared, for one that is published again and again. It does not pass
// the backplane. Any goroutine may call it. The errors are ErrTopicName, ErrServerClosed, and ErrBackpressure as Publish has
// it.
func (e *Engine) PublishPrepared(name string, p *Prepared) error {
	if !isTopicName(name) {
		return ErrTopicName
	}
	if e.closing.Load() {
		return ErrServerClosed
	}
	if t := e.topics.find(name); t != nil {
		return t.publish(e, p, nil)
	}
	return nil
}

func (e *Engine) publish(name string, op frame.OpCode, payload []byte, from *Conn) error {
	if !op.IsData() {
		return ErrFragment
	}
	if !isTopicName(name) {
		return ErrTopicName
	}
	if e.closing.Load() {
		return ErrServerClosed
	}
	if t := e.topics.find(name); t != nil {
		p, err := Prepare(op, payload)
		if err != nil {
			return err
		}
		if err := t.publish(e, p, from); err != nil {
			return err
		}
	}
	return e.askBackplane(func(b Backplane) error { return b.Publish(name, op, payload) })
}

// publish hands a message to each loop that has members, or to none if one of them is too far behind.
func (t *topic) publish(e *Engine, p *Prepared, from *Conn) error {
	parts := *t.parts.Load()
	for _, part := range parts {
		if part.size.Load() > 0 && part.loop.Local().(*shard).publications.waiting.Load() > maxWaiting {
			e.publishesRefused.Add(1)
			return ErrBackpressure
		}
	}
	for _, part := range parts {
		if part.size.Load() > 0 {
			s := part.loop.Local().(*shard)
			if s.publications.add(publication{part, p, from}) {
				part.loop.Do(s.deliver)
			}
		}
	}
	return nil
}

// publication is a message on its way to the members of a topic on one loop.
type publication struct {
	to   *topicPart
	p    *Prepared
	from *Conn // is not sent it; nil: everyone is
}

// cost is about what it takes while it waits, in bytes.
func (p *publication) cost() int64 { return int64(len(p.p.bytes)) + keptCost }

// publications are those that a loop has not delivered yet. What is published between two of its turns is delivered
// together: each member gets all of it with one write.
type publications struct {
	waiting atomic.Int64 // the cost of all; above maxWaiting no more are taken

	sync.Mutex
	list  []publication
	told  bool          // the loop will look
	spare []publication // the list before, empty

	taken []publication // from list, and when it was long not delivered all at once; loop only
	at    int           // in taken
}

const (
	maxSpare = 4096
	// maxJoined bounds the bytes of messages that are put together for all members. Beyond that a copy costs more than an
	// element of a write vector per member.
	maxJoined = 16 << 10
	// maxWaiting bounds what publishers that are faster than a loop make it keep, in bytes.
	maxWaiting = 64 << 20
	// A turn in which this many messages were queued, or bytes for each member, ends: they are written before more come,
	// or the members' queues would overflow however fast they read, and others have their turn.
	maxTurnDeliveries = 16 << 10
	maxTurnBytes      = 128 << 10
)

// add reports whether the loop must be told.
func (q *publications) add(p publication) (first bool) {
	q.waiting.Add(p.cost())
	q.Lock()
	q.list = append(q.list, p)
	first = !q.told
	q.told = true
	q.Unlock()
	return first
}

// next returns those that wait, the oldest first. Loop only.
func (q *publications) next() []publication {
	if q.at < len(q.taken) {
		return q.taken[q.at:]
	}
	clear(q.taken)
	q.Lock()
	if cap(q.taken) <= maxSpare {
		q.spare = q.taken[:0]
	}
	q.taken, q.list, q.spare = q.list, q.spare, nil
	q.told = len(q.taken) > 0
	q.Unlock()
	q.at = 0
	return q.taken
}

// done drops the first n of those. Loop only.
func (q *publications) done(n int) {
	for i := range q.taken[q.at : q.at+n] {
		q.waiting.Add(-q.taken[q.at+i].cost())
	}
	q.at += n
}

// deliverPublished sends what was published to the members that live on this loop, or as much of it as is good for one
// turn. Loop only, outside of callbacks.
func (s *shard) deliverPublished() {
	deliveries, bytes := 0, 0
	for deliveries < maxTurnDeliveries && bytes < maxTurnBytes {
		list := s.publications.next()
		if len(list) == 0 {
			return
		}
		n := run(list)
		members := int(list[0].to.size.Load())
		alone := n == len(list) && deliveries == 0 && members <= maxTurnDeliveries // the loop writes to more in several turns
		deliveries += n * members
		for i := range list[:n] {
			bytes += len(list[i].p.bytes)
		}
		s.deliverRun(list[:n], alone)
		s.publications.done(n)
	}
	s.loop.Do(s.deliver)
}

// run returns how many messages at the start of list go to the same members and may be joined.
func run(list []publication) (n int) {
	size := 0
	for n < len(list) && list[n].to == list[0].to {
		if size += len(list[n].p.bytes); n > 0 && size > maxJoined {
			break
		}
		n++
	}
	return n
}

// deliverRun sends messages to the members of one topic. If they come alone they are written at once: nothing else is
// about to be queued that could go with them.
func (s *shard) deliverRun(list []publication, alone bool) {
	bytes := list[0].p.bytes
	if len(list) > 1 {
		size := 0
		for i := range list {
			size += len(list[i].p.bytes)
		}
		bytes = make([]byte, 0, size)
		for i := range list {
			bytes = append(bytes, list[i].p.bytes...)
		}
	}
	part, together := list[0].to, uint64(0)
	s.senders.set(list)
	for _, m := range part.share() {
		f := m.conn.flags.Load()
		if f&(flagMasking|flagExtended|flagDeflate|flagFragment) == 0 && !s.senders.has(m.conn) && m.send(bytes, len(list), alone) {
			together++
		} else {
			s.deliverEach(m, list)
		}
	}
	part.unshare()
	s.senders.forget()
	s.count.Delivered += together * uint64(len(list))
	s.sent.frames.Add(together * uint64(len(list)))
	s.sent.bytes.Add(together * uint64(len(bytes)))
}

// senders are the connections that are not sent all messages of a run, since some are their own.
type senders struct {
	one  *Conn
	more map[*Conn]struct{} // if there are several
}

func (x *senders) set(list []publication) {
	for i := range list {
		switch from := list[i].from; {
		case from == nil || from == x.one:
		case x.one == nil:
			x.one = from
		default:
			if x.more == nil {
				x.more = make(map[*Conn]struct{})
			}
			x.more[from] = struct{}{}
		}
	}
}

func (x *senders) has(c *Conn) bool {
	if c == x.one {
		return true
	}
	if len(x.more) == 0 {
		return false
	}
	_, ok := x.more[c]
	return ok
}

func (x *senders) forget() {
	x.one = nil
	clear(x.more)
}

// send sends n messages as one piece of memory, if all of them fit. atOnce: it is written now.
func (m *member) send(bytes []byte, n int, atOnce bool) bool {
	c := m.conn
	c.lc.Lock()
	queued := c.lc.Queued()
	if c.flags.Load()&(flagSendClosed|flagUpgraded|flagFragment) != flagUpgraded || m.hasLeft() ||
		(queued != 0 || n > 1) && queued+len(bytes) > c.route.maxBackpressure {
		c.lc.Unlock(false)
		return false
	}
	if !atOnce {
		ok := c.lc.AppendShared(bytes)
		c.lc.Unlock(ok)
		return ok
	}
	left, err := c.lc.WriteShared(bytes)
	c.lc.Unlock(left)
	if err != nil {
		c.lc.Close(err)
	}
	return err == nil
}

// deliverEach queues messages one by one, for a member that is special in some way, that some are of, or that has no room
// for all.
func (s *shard) deliverEach(m member, list []publication) {
	defer m.conn.recoverHandler() // extensions and CompressIf are a user's code
	own := m.conn.subscriptions()
	own.Lock()
	left := m.hasLeft()
	if m.conn.flags.Load()&flagExtended != 0 { // its code may unsubscribe it
		own.Unlock()
	} else {
		defer own.Unlock()
	}
	for i := range list {
		if !left && list[i].from != m.conn && m.conn.queuePublished(list[i].p) == nil {
			s.count.Delivered++
		}
	}
}

// queuePublished queues a message, now or behind the fragmented one that is being sent.
func (c *Conn) queuePublished(p *Prepared) error {
	for {
		if err := c.queuePrepared(p, published); err != ErrFragment {
			return err
		}
		if again, err := c.keepPublished(p); !again {
			return err
		}
	}
}

// keptCost is about what a message takes beside its bytes while it is kept.
const keptCost = 128

// keepPublished keeps a message until the fragmented one that the connection is sending has ended. again: it has.
func (c *Conn) keepPublished(p *Prepared) (again bool, err error) {
	c.lc.Lock()
	defer c.lc.Unlock(false)
	switch f := c.flags.Load(); {
	case f&flagSendClosed != 0:
		return false, ErrClosed
	case f&flagExtended != 0: // transformers would not see it
		c.shard().sent.refused.Add(1)
		return false, ErrFragment
	case f&flagFragment == 0:
		return true, nil
	}
	own := c.subscriptions()
	if own.keptSize+len(p.bytes) > c.route.maxBackpressure {
		c.shard().sent.refused.Add(1)
		return false, ErrBackpressure
	}
	own.kept = append(own.kept, p)
	own.keptSize += keptCost + len(p.bytes)
	return false, nil
}

// releasePublished queues what was kept. The caller holds the output queue.
func (c *Conn) releasePublished() {
	r := c.rare.Load()
	if r == nil || r.subscriptions.Load() == nil {
		return
	}
	own := r.subscriptions.Load()
	for _, p := range own.kept {
		c.appendLocked(frame.Header{Fin: true, OpCode: p.op}, p.bytes[p.header:], exempt)
	}
	own.kept, own.keptSize = nil, 0
}
