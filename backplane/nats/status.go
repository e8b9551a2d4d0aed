package nats

import (
	"sync"
	"time"

	"zeroframe/engine"
)

// status is how the connection is, as the client's callbacks say, and as the link has found out.
type status struct {
	mu         sync.Mutex
	line       int  // which connection of the client's is meant; older ones are not listened to
	up         bool // the client is connected
	epoch      int  // how often it was
	gone       bool // it has given up
	connected  bool // and the server knows all subscriptions
	ever       bool
	since      time.Time
	reconnects uint64
	err        error
}

func (s *status) get() engine.BackplaneStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	return engine.BackplaneStatus{Connected: s.connected, Since: s.since, Reconnects: s.reconnects, Err: s.err}
}

// begin is called for a new connection of the client's, and returns its number.
func (s *status) begin() (line int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.line++
	s.up, s.gone = false, false
	return s.line
}

// cameUp is called when the client has connected, again perhaps.
func (s *status) cameUp(line int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if line == s.line {
		s.up = true
		s.epoch++
	}
}

// wentDown is called when the client is not connected any more, and when it has tried again in vain: because of err. gone
// says that it will not try again. lost reports whether there was a connection until now.
func (s *status) wentDown(line int, err error, gone bool) (lost bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if line != s.line {
		return false
	}
	lost = s.connected
	s.up, s.gone = false, s.gone || gone
	if s.connected {
		s.connected, s.since, s.err = false, time.Now(), errLost
	}
	if err != nil {
		s.err = err
	}
	return lost
}

// confirm makes it known that the connection of that epoch is of use, if it is still the one.
func (s *status) confirm(epoch int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.up || s.epoch != epoch {
		return false
	}
	if s.ever {
		s.reconnects++
	}
	s.ever, s.connected, s.since, s.err = true, true, time.Now(), nil
	return true
}

// end is called when there is no client any more, and never will be. What it may still say is not listened to.
func (s *status) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.line++
	s.up = false
	if s.connected {
		s.connected, s.since = false, time.Now()
	}
	s.err = ErrClosed
}

// complain keeps what went wrong, whatever the connection is.
func (s *status) complain(err error) {
	s.mu.Lock()
	s.err = err
	s.mu.Unlock()
}

// client returns how the client is.
func (s *status) client() (up bool, epoch int, gone bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.up, s.epoch, s.gone
}
