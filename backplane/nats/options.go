package nats

import (
	"fmt"
	"strings"
	"time"

	natsgo "github.com/nats-io/nats.go"

	"zeroframe/engine"
)

// Option changes a Backplane; it is given to New.
type Option func(*config) error

type config struct {
	prefix         string
	client         natsgo.Options
	buffer         int
	retryLow       time.Duration
	retryHigh      time.Duration
	presenceEvery  time.Duration // 0: no presence
	presenceForget time.Duration
}

// What holds where no option says otherwise.
const (
	DefaultPrefix         = "zeroframe"
	DefaultBuffer         = 8 << 20
	DefaultReconnectMin   = 100 * time.Millisecond
	DefaultReconnectMax   = 10 * time.Second
	DefaultPresenceEvery  = time.Second
	DefaultPresenceForget = 15 * time.Second
)

func defaults() config {
	client := natsgo.GetDefaultOptions()
	client.Name = "zeroframe"
	client.PingInterval = 10 * time.Second
	client.FlusherTimeout = 10 * time.Second
	return config{
		prefix:         DefaultPrefix,
		client:         client,
		buffer:         DefaultBuffer,
		retryLow:       DefaultReconnectMin,
		retryHigh:      DefaultReconnectMax,
		presenceEvery:  DefaultPresenceEvery,
		presenceForget: DefaultPresenceForget,
	}
}

const maxPrefix = 128

// WithPrefix sets what all subjects begin with. Engines with different prefixes do not hear each other. It is made of
// letters, digits, "-" and "_", in tokens with dots between, 1 to 128 bytes. Default "zeroframe".
func WithPrefix(prefix string) Option {
	return func(c *config) error {
		if len(prefix) > maxPrefix {
			return &engine.OptionError{Option: "nats.WithPrefix", Reason: "longer than 128 bytes"}
		}
		for token := range strings.SplitSeq(prefix, ".") {
			if token == "" || strings.ContainsFunc(token, notInPrefix) {
				return &engine.OptionError{Option: "nats.WithPrefix",
					Reason: fmt.Sprintf("%q has other signs than letters, digits, - and _, or an empty token", prefix)}
			}
		}
		c.prefix = prefix
		return nil
	}
}

func notInPrefix(r rune) bool {
	return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_')
}

// WithClient passes options to the NATS client: credentials, TLS, a name, ping intervals. They are those of
// github.com/nats-io/nats.go. The client never gives up, keeps no buffer of its own while it reconnects, and does not
// hear itself, whatever they say; callbacks among them are not called. Default: name "zeroframe", a ping every 10 s, of
// which the third without an answer ends the connection, and 10 s for a write.
func WithClient(opts ...natsgo.Option) Option {
	return func(c *config) error {
		for _, o := range opts {
			if o == nil {
				continue
			}
			if err := o(&c.client); err != nil {
				return &engine.OptionError{Option: "nats.WithClient", Reason: err.Error()}
			}
		}
		return nil
	}
}

// WithBuffer bounds the bytes of messages that wait until they can be sent: those published while there is no connection,
// or faster than it takes them. When they are full Publish fails with ErrFull; an empty buffer takes any message. The
// bytes are in use only while messages wait. Default 8 MiB; 64 KiB to 1 GiB.
func WithBuffer(bytes int) Option {
	return func(c *config) error { return between("nats.WithBuffer", bytes, 64<<10, 1<<30, &c.buffer) }
}

// WithReconnect sets how long to wait before all servers are tried again: at first least, then twice as long each time,
// up to most; of that a random part between a half and the whole, so that engines do not come back all at once. Defaults
// 100 ms and 10 s; 1 ms to 1 h.
func WithReconnect(least, most time.Duration) Option {
	return func(c *config) error {
		if err := between("nats.WithReconnect", least, time.Millisecond, time.Hour, &c.retryLow); err != nil {
			return err
		}
		return between("nats.WithReconnect", most, least, time.Hour, &c.retryHigh)
	}
}

// WithPresence sets how often changes of this engine's numbers of members are told, at most, and how long after the last
// sign of life another engine is forgotten. A sign of life is given three times in that span, as this engine has it: let
// all engines have the same. Defaults 1 s and 15 s; every 1 ms to 1 h, forget four times that at least, and 4 h at most.
// Without presence, WithPresence(0, 0), this engine tells nothing and Elsewhere is 0.
func WithPresence(every, forget time.Duration) Option {
	return func(c *config) error {
		if every == 0 && forget == 0 {
			c.presenceEvery, c.presenceForget = 0, 0
			return nil
		}
		if err := between("nats.WithPresence", every, time.Millisecond, time.Hour, &c.presenceEvery); err != nil {
			return err
		}
		return between("nats.WithPresence", forget, 4*every, 4*time.Hour, &c.presenceForget)
	}
}

// between stores v when it lies within the bounds.
func between[T int | time.Duration](option string, v, low, high T, to *T) error {
	if v < low || v > high {
		return &engine.OptionError{Option: option, Reason: fmt.Sprintf("%v is not between %v and %v", v, low, high)}
	}
	*to = v
	return nil
}
