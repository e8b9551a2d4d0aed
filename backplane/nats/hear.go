package nats

import (
	"sync"
	"time"
)

// hearer knows what the other engines have told. The receiving goroutine hears; the link asks and answers for it.
type hearer struct {
	forget time.Duration
	again  time.Duration // before a question that got no answer is repeated

	mu      sync.RWMutex
	engines map[engineID]*otherEngine
	asking  map[engineID]bool // to be sent kindAsk
	asked   map[engineID]bool // to be sent a snapshot
	greeted bool              // somebody said hello: a sign of life is due
}

// otherEngine is what one of them has told. It is exact as long as no message is missing: a new engine has told nothing,
// at 0, and each change has the next number.
type otherEngine struct {
	seq    uint64
	counts map[string]int
	part   map[string]int // of a snapshot, until it is complete
	parts  uint64         // of it, so far; 0: none is coming
	heard  time.Time
	asked  time.Time
}

func newHearer(every, forget time.Duration) *hearer {
	return &hearer{forget: forget, again: max(every, forget/15),
		engines: make(map[engineID]*otherEngine), asking: make(map[engineID]bool), asked: make(map[engineID]bool)}
}

// elsewhere is Backplane.Elsewhere.
func (h *hearer) elsewhere(topic string) (n int) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	for _, o := range h.engines {
		n += o.counts[topic]
	}
	return n
}

// hear takes in a message about members. wake says that there is something for the link to send.
func (h *hearer) hear(k kind, from engineID, body []byte, now time.Time) (wake bool, err error) {
	seq, body, err := nextUvarint(body)
	if err != nil {
		return false, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if k == kindBye {
		delete(h.engines, from)
		delete(h.asking, from)
		delete(h.asked, from)
		return false, nil
	}
	o := h.engines[from]
	if o == nil {
		o = &otherEngine{counts: make(map[string]int)}
		h.engines[from] = o
	}
	o.heard = now
	switch k {
	case kindChange:
		if seq == o.seq+1 {
			if err := readCounts(o.counts, body); err != nil {
				return false, err
			}
			o.seq = seq
			return false, nil
		}
	case kindAlive:
	case kindHello:
		h.greeted = true
		wake = true
	case kindAsk:
		h.asked[from] = true
		wake = true
	case kindSnapshot:
		return false, o.takePart(seq, body)
	default:
		return false, errMalformed
	}
	if seq > o.seq && now.Sub(o.asked) >= h.again {
		o.asked = now
		h.asking[from] = true
		wake = true
	}
	return wake, nil
}

// takePart takes in a part of a snapshot. One that misses a part is thrown away: its number is still missing, and the
// next message leads to another.
func (o *otherEngine) takePart(seq uint64, body []byte) error {
	part, body, err := nextUvarint(body)
	if err != nil {
		return err
	}
	number, last := part>>1, part&lastPart != 0
	if seq < o.seq || number != 0 && number != o.parts {
		o.part, o.parts = nil, 0
		return nil
	}
	if number == 0 {
		o.part = make(map[string]int)
	}
	o.parts = number + 1
	if err := readCounts(o.part, body); err != nil {
		o.part, o.parts = nil, 0
		return err
	}
	if last {
		o.seq, o.counts = seq, o.part
		o.part, o.parts = nil, 0
	}
	return nil
}

// readCounts reads topics and numbers into m.
func readCounts(m map[string]int, b []byte) error {
	for len(b) > 0 {
		topic, n, rest, err := nextCount(b)
		if err != nil {
			return err
		}
		if b = rest; n == 0 {
			delete(m, string(topic))
		} else {
			m[string(topic)] = n
		}
	}
	return nil
}

// work returns what there is to send, and forgets that.
func (h *hearer) work() (asking, asked []engineID, greeted bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for id := range h.asking {
		asking = append(asking, id)
	}
	for id := range h.asked {
		asked = append(asked, id)
	}
	greeted, h.greeted = h.greeted, false
	clear(h.asking)
	clear(h.asked)
	return asking, asked, greeted
}

// forgetSilent drops the engines that gave no sign of life. It is not called while there is no connection.
func (h *hearer) forgetSilent(now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for id, o := range h.engines {
		if now.Sub(o.heard) > h.forget {
			delete(h.engines, id)
		}
	}
}

// renew gives every engine its span anew, after a time in which none could be heard.
func (h *hearer) renew(now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, o := range h.engines {
		o.heard = now
	}
}
