package engine

import (
	"iter"
	"slices"
	"sync"
	"sync/atomic"

	"zeroframe/frame"
	"zeroframe/internal/loop"
)

// A topic is a set of connections under a name. Its members stand in one list per loop, so that a message goes to each
// loop once and is queued for all of that loop's members there: publish.go.
type topic struct {
	name  string
	holds int          // members, and those about to be; under topics.changes
	count atomic.Int64 // members; changed under topics.changes
	parts atomic.Pointer[[]*topicPart]
}

// topicPart is what of a topic lives on one loop. The loop goes over the members without the mutex, which others would
// wait for all the while: who takes one away meanwhile leaves it the list as it is.
type topicPart struct {
	topic *topic
	loop  *loop.Loop
	size  atomic.Int32 // of members, for publishers, who do not wait for the loop

	sync.Mutex
	members []member
	shared  bool        // the loop reads members: nothing of it may change, though more may be appended
	left    atomic.Bool // somebody has left meanwhile: whose membership says so
}

// member is what the loop needs of one.
type member struct {
	conn *Conn
	*membership
}

// membership is a connection's place in a topic. Leaving costs the same however many members there are, but for the first
// that leaves during a delivery.
type membership struct {
	part  *topicPart
	at    int  // in the part's members; under its mutex
	ended bool // under the output queue's lock; but for the loop, those who change it hold that of subscriptions too
}

// topics are the topics that have members.
type topics struct {
	// changes puts the backplane's calls in order. It is taken after subscriptions' mutex and before mu, and never by those
	// who publish: a backplane may deliver from inside of such a call.
	changes sync.Mutex
	mu      sync.RWMutex
	byName  map[string]*topic
}

// MaxTopicName is the longest name of a topic, in bytes.
const MaxTopicName = 1024

func isTopicName(name string) bool { return name != "" && len(name) <= MaxTopicName }

// Subscribe makes the connection a member of the topic called name, 1 to MaxTopicName bytes, compared exactly: there are no
// wildcards. Whatever is published after Subscribe has returned is sent to it, and perhaps what was published shortly
// before. A second subscription changes nothing. It ends with Unsubscribe or with the connection. It costs about 100 B.
// The errors are ErrTopicName, ErrClosed, and what the backplane says of its first local subscriber.
func (c *Conn) Subscribe(name string) error {
	if !isTopicName(name) {
		return ErrTopicName
	}
	own := c.subscriptions()
	own.Lock()
	if c.flags.Load()&flagUpgraded == 0 { // asked here: it is cleared before leaveTopics looks
		own.Unlock()
		return ErrClosed
	}
	if own.find(name) != nil {
		own.Unlock()
		return nil
	}
	m := new(membership)
	n, err := c.route.engine.join(c, m, name)
	if err == nil {
		own.add(m)
	}
	own.Unlock()
	if f := c.route.engine.config.onSubscribe; f != nil && err == nil {
		f(c, name, n)
	}
	return err
}

// Unsubscribe ends the membership: nothing more is queued for the connection when it has returned. It reports whether
// there was one.
func (c *Conn) Unsubscribe(name string) bool {
	r := c.rare.Load()
	if r == nil || r.subscriptions.Load() == nil {
		return false
	}
	own := r.subscriptions.Load()
	own.Lock()
	m := own.find(name)
	if m == nil {
		own.Unlock()
		return false
	}
	own.remove(m)
	n := c.route.engine.leave(c, m)
	own.Unlock()
	c.left(name, n)
	return true
}

// Topics returns the names of the topics that the connection is a member of, in no order.
func (c *Conn) Topics() []string {
	r := c.rare.Load()
	if r == nil || r.subscriptions.Load() == nil {
		return nil
	}
	own := r.subscriptions.Load()
	own.Lock()
	defer own.Unlock()
	names := make([]string, 0, own.len())
	for m := range own.all() {
		names = append(names, m.part.topic.name)
	}
	return names
}

// leaveTopics ends all memberships, when the connection ends: after flagUpgraded was cleared. Loop only.
func (c *Conn) leaveTopics() {
	r := c.rare.Load()
	if r == nil || r.subscriptions.Load() == nil {
		return
	}
	own := r.subscriptions.Load()
	own.Lock()
	list := slices.AppendSeq(make([]*membership, 0, own.len()), own.all())
	own.list, own.byName = nil, nil
	own.Unlock()
	for _, m := range list {
		n := c.route.engine.leave(c, m)
		c.callback(func() { c.left(m.part.topic.name, n) })
	}
}

// left tells the hook.
func (c *Conn) left(name string, n int) {
	if f := c.route.engine.config.onUnsubscribe; f != nil {
		f(c, name, n)
	}
}

// join adds c to the topic called name and returns how many members it has then. Who is counted is in the list already.
func (e *Engine) join(c *Conn, m *membership, name string) (int, error) {
	t := &e.topics
	t.changes.Lock()
	to := t.find(name)
	if to == nil {
		if err := e.askBackplane(func(b Backplane) error { return b.Subscribe(name) }); err != nil {
			t.changes.Unlock()
			return 0, err
		}
		to = &topic{name: name}
		to.parts.Store(new([]*topicPart))
		t.mu.Lock()
		t.byName[name] = to
		t.mu.Unlock()
	}
	to.holds++
	m.part = to.part(c.lc.Loop())
	t.changes.Unlock()

	m.part.add(c, m)

	t.changes.Lock()
	defer t.changes.Unlock()
	return e.counted(to, 1), nil
}

// leave takes c out of a topic and returns how many members are left. A topic without members is forgotten.
func (e *Engine) leave(c *Conn, m *membership) int {
	m.part.remove(c, m)
	t, from := &e.topics, m.part.topic
	t.changes.Lock()
	defer t.changes.Unlock()
	n := e.counted(from, -1)
	if from.holds--; from.holds == 0 {
		t.mu.Lock()
		delete(t.byName, from.name)
		t.mu.Unlock()
		e.askBackplane(func(b Backplane) error { b.Unsubscribe(from.name); return nil })
	}
	return n
}

// counted changes the number of members and tells the backplane. The caller holds topics.changes.
func (e *Engine) counted(t *topic, by int64) int {
	n := int(t.count.Add(by))
	e.askBackplane(func(b Backplane) error { b.Count(t.name, n); return nil })
	return n
}

// part returns the part on a loop, made on first use: most topics have members on few of many loops. The caller holds
// topics.changes.
func (t *topic) part(on *loop.Loop) *topicPart {
	list := *t.parts.Load()
	for _, p := range list {
		if p.loop == on {
			return p
		}
	}
	p := &topicPart{topic: t, loop: on}
	list = append(slices.Clip(list), p)
	t.parts.Store(&list)
	return p
}

func (p *topicPart) add(c *Conn, m *membership) {
	p.Lock()
	m.at = len(p.members)
	p.members = append(p.members, member{c, m})
	p.size.Store(int32(len(p.members)))
	p.Unlock()
}

func (p *topicPart) remove(c *Conn, m *membership) {
	p.Lock()
	p.left.Store(true)
	if p.shared {
		p.members, p.shared = slices.Clone(p.members), false
	}
	last := len(p.members) - 1
	p.members[m.at] = p.members[last]
	p.members[m.at].at = m.at
	p.members[last] = member{}
	p.members = p.members[:last]
	if cap(p.members) > 64 && last < cap(p.members)/4 {
		p.members = slices.Clone(p.members)
	}
	p.size.Store(int32(last))
	p.Unlock()
	c.lc.Lock() // the loop may be about to write to it
	m.ended = true
	c.lc.Unlock(false)
}

// share returns the members, for the loop to read until unshare.
func (p *topicPart) share() []member {
	p.Lock()
	defer p.Unlock()
	p.shared = true
	p.left.Store(false)
	return p.members
}

func (p *topicPart) unshare() {
	p.Lock()
	p.shared = false
	p.Unlock()
}

// hasLeft reports whether the member has left since share. The caller holds the output queue, or the lock of
// subscriptions.
func (m *member) hasLeft() bool { return m.part.left.Load() && m.ended }

func (t *topics) find(name string) *topic {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.byName[name]
}

// Subscribers returns how many connections of this engine are members of the topic called name.
func (e *Engine) Subscribers(name string) int {
	if t := e.topics.find(name); t != nil {
		return int(t.count.Load())
	}
	return 0
}

// Topics iterates over the topics that have members on this engine, as of the call, in no order, with their numbers of
// members.
func (e *Engine) Topics() iter.Seq2[string, int] {
	return func(yield func(string, int) bool) {
		e.topics.mu.RLock()
		list := make([]*topic, 0, len(e.topics.byName))
		for _, t := range e.topics.byName {
			list = append(list, t)
		}
		e.topics.mu.RUnlock()
		for _, t := range list {
			if n := int(t.count.Load()); n > 0 && !yield(t.name, n) {
				return
			}
		}
	}
}

// Subscribe is Conn.Subscribe.
func (s *Session) Subscribe(name string) error { return s.conn.Subscribe(name) }

// Unsubscribe is Conn.Unsubscribe.
func (s *Session) Unsubscribe(name string) bool { return s.conn.Unsubscribe(name) }

// Topics is Conn.Topics.
func (s *Session) Topics() []string { return s.conn.Topics() }

// Publish is Conn.Publish.
func (s *Session) Publish(name string, op frame.OpCode, payload []byte) error {
	return s.conn.Publish(name, op, payload)
}
