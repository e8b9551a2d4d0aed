package engine

import (
	"iter"
	"slices"
	"sync"
	"sync/atomic"

	"zeroframe/frame"
)

// A topic is a set of connections under a name. Its members stand in one list per loop, so that a message goes to each
// loop once and is queued for all of that loop's members there: publish.go.
type topic struct {
	name  string
	count atomic.Int64 // members; changed under topics.mu
	parts []topicPart  // by the loop's index
}

// topicPart is what of a topic lives on one loop. The loop holds the mutex while it delivers.
type topicPart struct {
	sync.Mutex
	members []*membership
}

// membership is a connection's place in a topic. Leaving costs the same however many members there are.
type membership struct {
	conn  *Conn
	topic *topic
	at    int // in the part's members; under its mutex
}

// topics are the topics that have members.
type topics struct {
	mu     sync.RWMutex // before a part's mutex, and after subscriptions'
	byName map[string]*topic
}

// subscriptions are a connection's memberships.
type subscriptions struct {
	sync.Mutex
	list []*membership

	kept []*Prepared // published while a fragmented message is being sent; under the output queue's lock
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
	if slices.ContainsFunc(own.list, func(m *membership) bool { return m.topic.name == name }) {
		own.Unlock()
		return nil
	}
	m := &membership{conn: c}
	n, err := c.route.engine.topics.join(m, name, c.route.engine)
	if err == nil {
		own.list = append(own.list, m)
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
	i := slices.IndexFunc(own.list, func(m *membership) bool { return m.topic.name == name })
	if i < 0 {
		own.Unlock()
		return false
	}
	m := own.list[i]
	own.list[i] = own.list[len(own.list)-1]
	own.list[len(own.list)-1] = nil
	own.list = own.list[:len(own.list)-1]
	n := c.route.engine.topics.leave(m, c.route.engine)
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
	names := make([]string, len(own.list))
	for i, m := range own.list {
		names[i] = m.topic.name
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
	list := own.list
	own.list = nil
	own.Unlock()
	for _, m := range list {
		n := c.route.engine.topics.leave(m, c.route.engine)
		c.callback(func() { c.left(m.topic.name, n) })
	}
}

// left tells the hook.
func (c *Conn) left(name string, n int) {
	if f := c.route.engine.config.onUnsubscribe; f != nil {
		f(c, name, n)
	}
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

// join adds m to the topic called name and returns how many members it has then.
func (t *topics) join(m *membership, name string, e *Engine) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	to := t.byName[name]
	if to == nil {
		if b := e.config.backplane; b != nil {
			if err := b.Subscribe(name); err != nil {
				return 0, err
			}
		}
		to = &topic{name: name, parts: make([]topicPart, len(e.group.Loops()))}
		t.byName[name] = to
	}
	m.topic = to
	p := to.part(m.conn)
	p.Lock()
	m.at = len(p.members)
	p.members = append(p.members, m)
	p.Unlock()
	n := int(to.count.Add(1))
	if b := e.config.backplane; b != nil {
		b.Count(name, n)
	}
	return n, nil
}

// leave takes m out of its topic and returns how many members are left. A topic without members is forgotten.
func (t *topics) leave(m *membership, e *Engine) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := m.topic.part(m.conn)
	p.Lock()
	last := len(p.members) - 1
	p.members[m.at] = p.members[last]
	p.members[m.at].at = m.at
	p.members[last] = nil
	p.members = p.members[:last]
	if cap(p.members) > 64 && last < cap(p.members)/4 {
		p.members = slices.Clone(p.members)
	}
	p.Unlock()
	n := int(m.topic.count.Add(-1))
	b := e.config.backplane
	if b != nil {
		b.Count(m.topic.name, n)
	}
	if n == 0 {
		delete(t.byName, m.topic.name)
		if b != nil {
			b.Unsubscribe(m.topic.name)
		}
	}
	return n
}

func (t *topics) find(name string) *topic {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.byName[name]
}

func (t *topic) part(c *Conn) *topicPart { return &t.parts[c.shard().index] }

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
			if !yield(t.name, int(t.count.Load())) {
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
