package engine

import (
	"time"

	"zeroframe/frame"
)

// overrides are what the live setters have changed on one connection. rare's mutex guards all but rules, which the loop
// makes of them for itself.
type overrides struct {
	interval, timeout       time.Duration // of pings
	maxFrame                int64         // 0: the route's
	hasInterval, hasTimeout bool
	restart                 bool // the interval changed, and the loop has not acted on it
	rules                   frame.Rules
}

// SetPingInterval changes the interval between pings on this connection, at once: a running wait starts anew. 0 or less
// turns pings off, and an awaited pong is not awaited any more. Above 10 days it is 10 days.
func (c *Conn) SetPingInterval(d time.Duration) {
	c.override(func(o *overrides) {
		o.interval, o.hasInterval, o.restart = min(max(d, 0), maxDuration), true, true
	})
}

// SetPingTimeout changes how long a pong may take on this connection, at once, an awaited one's too. Beyond the option's
// bounds, 1 ms to 10 days, the nearest one is taken.
func (c *Conn) SetPingTimeout(d time.Duration) {
	c.override(func(o *overrides) { o.timeout, o.hasTimeout = min(max(d, time.Millisecond), maxDuration), true })
}

// SetMaxFrameSize changes WithMaxFrameSize on this connection, from the next frame header on that the loop looks at
// after it has heard of it. Beyond the option's bounds, 125 B to 1 TiB, the nearest one is taken.
func (c *Conn) SetMaxFrameSize(bytes int64) {
	c.override(func(o *overrides) { o.maxFrame = min(max(bytes, frame.MaxControlPayload), maxSize) })
}

// SetMasking chooses whether a server masks the frames it sends, each with a random key of its own; the caller's payload
// stays as it is. A client should not be sent such frames (RFC 6455, section 5.1): it is for tests and proxies. A client
// always masks, and SetMasking does nothing.
func (c *Conn) SetMasking(on bool) {
	switch {
	case c.route.rules.Role == frame.Client:
	case on:
		c.flags.Or(flagMasking)
	default:
		c.flags.And(^flagMasking)
	}
}

func (c *Conn) override(change func(*overrides)) {
	r := c.more()
	r.Lock()
	if r.own == nil {
		r.own = new(overrides)
	}
	change(r.own)
	r.Unlock()
	c.lc.Notify(mailSettings)
}

// applySettings puts what the live setters changed into force.
func (c *Conn) applySettings() {
	if c.state != stateOpen {
		return
	}
	r := c.more()
	r.Lock()
	o := r.own
	anew := o.restart
	o.restart = false
	if o.maxFrame != 0 {
		o.rules = *c.rulesInForce(c.flags.Load() &^ flagOwnRules)
		o.rules.MaxFrame = o.maxFrame
		c.flags.Or(flagOwnRules)
	}
	r.Unlock()
	c.restartPinger(anew)
}
