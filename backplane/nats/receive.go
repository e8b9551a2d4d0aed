package nats

import (
	"sync"
	"sync/atomic"
	"time"

	natsgo "github.com/nats-io/nats.go"

	"zeroframe/frame"
)

// receive hands over what comes. One goroutine does for all topics, in the order of each publisher.
func (b *Backplane) receive(quit chan struct{}) {
	for {
		select {
		case m := <-b.in:
			if err := b.accept(m); err != nil {
				b.dropped.Add(1)
			}
		case <-quit:
			return
		}
	}
}

func (b *Backplane) accept(m *natsgo.Msg) error {
	kind, from, body, err := parseHeader(m.Data)
	if err != nil || from == b.id { // NATS does not bring back our own, except perhaps one from before a reconnect
		return err
	}
	if b.presence != nil && (m.Subject == b.subjects.presence || m.Subject == b.subjects.own) {
		wake, err := b.presence.hear(kind, from, body, time.Now())
		if wake {
			b.rouse()
		}
		return err
	}
	if kind != kindText && kind != kindBinary {
		return errMalformed
	}
	topic := b.interest.find(m.Subject)
	if topic == "" {
		return nil // the last member has just gone
	}
	b.received.Add(1)
	b.deliver(topic, frame.OpCode(kind), body)
	return nil
}

// slow are the subscriptions that lost messages because too many waited, and how many each.
type slow struct {
	mu   sync.Mutex
	lost map[*natsgo.Subscription]int
}

// add is called when a subscription begins to lose.
func (s *slow) add(sub *natsgo.Subscription) {
	s.mu.Lock()
	s.lost[sub] += 0
	s.mu.Unlock()
}

// count adds what was lost since it was called last.
func (s *slow) count(dropped *atomic.Uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for sub := range s.lost {
		s.countOne(sub, dropped)
	}
}

// drop is count for a subscription that ends.
func (s *slow) drop(sub *natsgo.Subscription, dropped *atomic.Uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, lost := s.lost[sub]; lost {
		s.countOne(sub, dropped)
		delete(s.lost, sub)
	}
}

func (s *slow) countOne(sub *natsgo.Subscription, dropped *atomic.Uint64) {
	n, err := sub.Dropped()
	if err != nil { // closed
		delete(s.lost, sub)
		return
	}
	dropped.Add(uint64(n - s.lost[sub]))
	s.lost[sub] = n
}
