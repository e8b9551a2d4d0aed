package nats

import "sync"

// interest is which topics have members on this engine, by their subjects, and where that is not what the server knows.
type interest struct {
	mu      sync.RWMutex
	topics  map[string]string   // subject to name
	changed map[string]struct{} // since the link looked
}

// set notes that a topic is wanted, or no more. first says that nothing had changed before.
func (i *interest) set(subject, topic string, wanted bool) (first bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if wanted {
		i.topics[subject] = topic
	} else {
		delete(i.topics, subject)
	}
	i.changed[subject] = struct{}{}
	return len(i.changed) == 1
}

// find returns the name of the topic that is wanted under a subject; "" if none is.
func (i *interest) find(subject string) string {
	i.mu.RLock()
	defer i.mu.RUnlock()
	return i.topics[subject]
}

// changes returns the subjects that changed and whether they are wanted now. A topic that came and went, or went and came,
// is one change, or none for who compares.
func (i *interest) changes() map[string]bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	if len(i.changed) == 0 {
		return nil
	}
	wanted := make(map[string]bool, len(i.changed))
	for subject := range i.changed {
		_, wanted[subject] = i.topics[subject]
	}
	if len(i.changed) > maxFresh {
		i.changed = make(map[string]struct{})
	} else {
		clear(i.changed)
	}
	return wanted
}

// again makes everything that is wanted a change, for a server that knows nothing.
func (i *interest) again() {
	i.mu.Lock()
	defer i.mu.Unlock()
	for subject := range i.topics {
		i.changed[subject] = struct{}{}
	}
}
