package nats

import (
	"encoding/binary"
	"sync"
	"time"
)

// teller tells the other engines how many members the topics of this one have. Count leaves changes with it; the link
// takes them, and owns everything else.
type teller struct {
	self  engineID
	all   string        // the subject that all engines hear
	every time.Duration // between changes, at least
	alive time.Duration // between signs of life, at most

	mu    sync.Mutex
	fresh map[string]int // topics and numbers, as Count has left them
	spare map[string]int // the map before, empty

	told    map[string]int // what the others have heard: the state after message seq
	pending map[string]int // where that is not so any more; 0: the topic has gone
	seq     uint64
	changed time.Time // changes were told
	spoke   time.Time // anything was said to all
	buf     []byte
	names   []string // in buf
}

// send hands a message to the network. It reports false when the message was not taken and can be sent again.
type send func(subject string, data []byte) (taken bool)

const (
	// partSize bounds a message about members. The smallest max_payload that makes sense is far above it.
	partSize = 16 << 10
	// maxFresh bounds the map that is kept for the next changes.
	maxFresh = 4096
)

func newTeller(self engineID, all string, every, forget time.Duration) *teller {
	return &teller{self: self, all: all, every: every, alive: forget / 3,
		fresh: make(map[string]int), told: make(map[string]int), pending: make(map[string]int)}
}

// count is Backplane.Count.
func (t *teller) count(topic string, n int) {
	t.mu.Lock()
	t.fresh[topic] = n
	t.mu.Unlock()
}

// fold puts what Count has left to what is pending. A topic that came and went in between leaves nothing.
func (t *teller) fold() {
	t.mu.Lock()
	fresh := t.fresh
	if len(fresh) == 0 {
		t.mu.Unlock()
		return
	}
	t.fresh, t.spare = t.spare, nil
	if t.fresh == nil {
		t.fresh = make(map[string]int)
	}
	t.mu.Unlock()
	for topic, n := range fresh {
		if t.told[topic] == n {
			delete(t.pending, topic)
		} else {
			t.pending[topic] = n
		}
	}
	if len(fresh) <= maxFresh {
		clear(fresh)
		t.mu.Lock()
		t.spare = fresh
		t.mu.Unlock()
	}
}

// begin starts a message.
func (t *teller) begin(k kind, seq uint64) {
	t.buf = binary.AppendUvarint(appendHeader(t.buf[:0], k, t.self), seq)
	t.names = t.names[:0]
}

// say sends a message that names no topics.
func (t *teller) say(k kind, to string, now time.Time, send send) {
	t.begin(k, t.seq)
	if send(to, t.buf) && to == t.all {
		t.spoke = now
	}
}

// changes tells what is pending, if it is time for that. It reports false when something could not be sent; that stays
// pending, and its number unused.
func (t *teller) changes(now time.Time, send send) bool {
	if len(t.pending) == 0 || now.Sub(t.changed) < t.every {
		return true
	}
	t.changed = now
	for len(t.pending) > 0 {
		t.begin(kindChange, t.seq+1)
		for topic, n := range t.pending {
			if len(t.buf)+countSize(topic) > partSize {
				break
			}
			t.buf = appendCount(t.buf, topic, n)
			t.names = append(t.names, topic)
		}
		if !send(t.all, t.buf) {
			return false
		}
		t.spoke = now
		t.seq++
		for _, topic := range t.names {
			if n := t.pending[topic]; n == 0 {
				delete(t.told, topic)
			} else {
				t.told[topic] = n
			}
			delete(t.pending, topic)
		}
	}
	return true
}

// quiet reports whether a sign of life is due.
func (t *teller) quiet(now time.Time) bool { return now.Sub(t.spoke) >= t.alive }

// snapshot sends everything that was told, to one engine, in parts. When one cannot be sent that engine asks again.
func (t *teller) snapshot(to string, send send) {
	topics := make([]string, 0, len(t.told))
	for topic := range t.told {
		topics = append(topics, topic)
	}
	for part := uint64(0); ; part++ {
		n, size := 0, headerSize+2*binary.MaxVarintLen64
		for n < len(topics) && size+countSize(topics[n]) <= partSize {
			size += countSize(topics[n])
			n++
		}
		t.begin(kindSnapshot, t.seq)
		if n == len(topics) {
			t.buf = binary.AppendUvarint(t.buf, part<<1|lastPart)
		} else {
			t.buf = binary.AppendUvarint(t.buf, part<<1)
		}
		for _, topic := range topics[:n] {
			t.buf = appendCount(t.buf, topic, t.told[topic])
		}
		if !send(to, t.buf) || n == len(topics) {
			return
		}
		topics = topics[n:]
	}
}
