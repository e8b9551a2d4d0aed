package engine

import (
	"encoding/json"
	"errors"
	"log/slog"
	"runtime/debug"
	"time"

	"zeroframe/frame"
)

// Backplane carries what is published between engines, so that a topic has members on several machines. Package
// zeroframe/backplane/nats has one. An engine publishes to its own members itself; the backplane must not bring it back
// what it was given by the same engine.
//
// Its methods may be called from any goroutine, loops included, and must not block: what cannot be sent now is kept or
// dropped, as the implementation says. A panic in Publish, Subscribe, Unsubscribe or Count is logged, and counts as an
// error. Calls may still come while Close runs and after it.
type Backplane interface {
	// Attach is called once, by New. deliver hands a message of another engine to the local members of the topic; it
	// copies payload, does not block, and may be called from any goroutine, from inside the backplane's methods, and with
	// its locks held; what it is given after Close goes nowhere. What the backplane has to say goes to the engine's log.
	Attach(deliver func(topic string, op frame.OpCode, payload []byte), log *slog.Logger) error
	// Publish sends a message of this engine to the others. payload may not be kept. Messages of one goroutine keep their
	// order. An error means that this one was not taken; what is lost later is counted by Status alone.
	Publish(topic string, op frame.OpCode, payload []byte) error
	// Subscribe is called when a topic gets its first local member, and Unsubscribe when it loses the last: in between
	// its messages are wanted. The calls for one topic come in order. Subscribe does not wait for the other engines to
	// know: what they publish in the first moments may not come.
	Subscribe(topic string) error
	Unsubscribe(topic string)
	// Count tells the others how many local members a topic has, eventually, and Elsewhere returns what they have told:
	// the number of members on other engines. Count comes after Subscribe, and Count with 0 before Unsubscribe.
	Count(topic string, local int)
	Elsewhere(topic string) int
	// Status says how the backplane is.
	Status() BackplaneStatus
	// Close is called once, by Shutdown or Close.
	Close() error
}

// BackplaneStatus is a Backplane's state, in Stats.
type BackplaneStatus struct {
	Connected  bool      // what is published reaches the other engines
	Since      time.Time // of that state
	Reconnects uint64    // times it was connected again after the first
	Err        error     // why it is not connected; if it is, what the server complained of since, or nil
	Sent       uint64    // messages given to the network
	Received   uint64    // messages of other engines that came from it
	Dropped    uint64    // messages lost here: no room, too large for the network, come too fast or malformed
}

// MarshalJSON writes Err as its text, "" for none.
func (s BackplaneStatus) MarshalJSON() ([]byte, error) {
	text := ""
	if s.Err != nil {
		text = s.Err.Error()
	}
	return json.Marshal(backplaneJSON{plainStatus(s), text})
}

// UnmarshalJSON reads what MarshalJSON has written. An Err compares equal to no other.
func (s *BackplaneStatus) UnmarshalJSON(b []byte) error {
	var j backplaneJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return err
	}
	*s = BackplaneStatus(j.plainStatus)
	if s.Err = nil; j.Err != "" {
		s.Err = errors.New(j.Err)
	}
	return nil
}

type plainStatus BackplaneStatus

// backplaneJSON is a BackplaneStatus with a text for its error.
type backplaneJSON struct {
	plainStatus
	Err string
}

// SubscribersEverywhere returns how many connections are members of the topic called name, on this engine and, as far as
// the backplane knows by now, on all others.
func (e *Engine) SubscribersEverywhere(name string) int {
	n := e.Subscribers(name)
	if b := e.config.backplane; b != nil {
		n += b.Elsewhere(name)
	}
	return n
}

// askBackplane calls f with the backplane, if there is one. A panic is logged, and is the error: it must not get past the
// locks of those who ask, nor end a loop.
func (e *Engine) askBackplane(f func(Backplane) error) (err error) {
	b := e.config.backplane
	if b == nil {
		return nil
	}
	defer func() {
		if v := recover(); v != nil {
			stack := debug.Stack()
			e.config.logger.Error("panic in the backplane", slog.Any("panic", v), slog.String("stack", string(stack)))
			err = &PanicError{v, stack}
		}
	}()
	return f(b)
}

func (e *Engine) closeBackplane() {
	if b := e.config.backplane; b != nil {
		e.backplaneOnce.Do(func() {
			if err := b.Close(); err != nil {
				e.config.logger.Warn("closing the backplane failed", slog.Any("error", err))
			}
		})
	}
}

// deliverElsewhere hands a message that another engine published to the local members.
func (e *Engine) deliverElsewhere(name string, op frame.OpCode, payload []byte) {
	if !op.IsData() || e.closing.Load() {
		return
	}
	if t := e.topics.find(name); t != nil {
		if p, err := Prepare(op, payload); err == nil {
			t.publish(e, p, nil) // counted if not
		}
	}
}
