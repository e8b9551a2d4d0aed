package engine

import (
	"math"
	"math/rand/v2"
	"time"

	"zeroframe/frame"
)

// A connection has one node in the wheel, armed for the nearest of its deadlines. What happens often only stamps a time
// (active, rare.stuckSince); when the node fires, timeout looks what is due and arms it again. So a message costs the
// timers nothing.

// armTimer arms the node for the nearest deadline. A node that fires sooner is left: it will be armed again then.
func (c *Conn) armTimer() {
	at := c.nextDeadline()
	if at == math.MaxInt64 {
		return
	}
	if set, armed := c.lc.Timer(); !armed || at < set {
		c.lc.SetTimer(at)
	}
}

func (c *Conn) nextDeadline() time.Duration {
	at := time.Duration(math.MaxInt64)
	if c.due != 0 {
		at = c.due
	}
	r := c.rare.Load()
	if r != nil && r.stuckSince != 0 && c.route.writeTimeout > 0 {
		at = min(at, r.stuckSince+c.route.writeTimeout)
	}
	if c.state == stateOpen {
		if c.route.idleTimeout > 0 {
			at = min(at, c.lastActive()+c.route.idleTimeout)
		}
		if r != nil && r.opened != 0 && c.route.lifetime > 0 {
			at = min(at, r.opened+c.route.lifetime)
		}
	}
	return at
}

// timeout acts on the deadlines that have passed and arms the node for the next.
func (c *Conn) timeout() {
	now := c.lc.Loop().Now()
	r := c.rare.Load()
	if r != nil && r.stuckSince != 0 && c.route.writeTimeout > 0 && now >= r.stuckSince+c.route.writeTimeout {
		c.dieOf(ErrWriteTimeout)
		return
	}
	switch c.state {
	case stateHead:
		if now >= c.due {
			c.shard().count.HandshakeTimeouts++
			if c.unready() {
				c.step(evTerminate)
				return
			}
			c.refuse(refuseTimeout)
		}
	case stateClosing, stateAnswering, stateDraining:
		if r != nil && r.stuckSince != 0 {
			// The peer still takes what was queued before the close frame: its time runs from the last byte it took.
			c.due = max(c.due, r.stuckSince+c.route.closeTimeout)
		}
		if now >= c.due {
			c.dieOf(ErrCloseTimeout)
		}
	case stateOpen:
		switch {
		case c.route.idleTimeout > 0 && now >= c.lastActive()+c.route.idleTimeout:
			if c.flags.Load()&notReading != 0 {
				c.active = coarse(now) // what the peer sends is not read, on our account
				break
			}
			c.shard().count.IdleTimeouts++
			c.closeWith(CloseReason{Code: frame.CloseGoingAway, Text: "idle timeout", Err: ErrIdleTimeout})
			c.step(evLocalClose)
		case r != nil && r.opened != 0 && c.route.lifetime > 0 && now >= r.opened+c.route.lifetime:
			c.closeWith(CloseReason{Code: frame.CloseGoingAway, Text: "maximum lifetime reached", Err: ErrLifetime})
			c.step(evLocalClose)
		case c.due != 0 && now >= c.due:
			c.pinger(now)
		}
	}
	if c.state != stateClosed {
		c.armTimer()
	}
}

// dieOf drops the connection for a timeout. What has a reason already keeps its code.
func (c *Conn) dieOf(err error) {
	c.lc.Lock()
	c.setReason(CloseReason{Code: frame.CloseAbnormal, Err: err})
	if c.end.reason.Err == nil {
		c.end.reason.Err = err
	}
	c.flags.Or(flagSendClosed) // with the reason: it wakes senders, who would find the queue full and wait on
	c.lc.Unlock(false)
	c.step(evDeadline)
}

// startTimers begins the deadlines of an open connection.
func (c *Conn) startTimers() {
	c.due = 0
	c.active = coarse(c.lc.Loop().Now())
	if c.route.lifetime > 0 {
		c.more().opened = c.lc.Loop().Now()
	}
	c.schedulePing(true)
	c.armTimer()
}

// startCloseTimer replaces all deadlines but that of writing.
func (c *Conn) startCloseTimer() {
	c.pingSent = 0
	c.due = c.lc.Loop().Now() + c.route.closeTimeout
	c.armTimer()
}

// followProgress keeps the time since which the peer has taken nothing.
func (c *Conn) followProgress(queued int) {
	if c.state == stateClosed {
		return
	}
	r := c.rare.Load()
	if queued == 0 {
		if r != nil && r.stuckSince != 0 {
			r.stuckSince = 0
			if c.state == stateClosing || c.state == stateAnswering || c.state == stateDraining {
				c.due = c.lc.Loop().Now() + c.route.closeTimeout // only now can the peer see the close frame
			}
		}
		return
	}
	if r == nil {
		r = c.more()
	}
	if now := c.lc.Loop().Now(); r.stuckSince == 0 || c.lc.Progressed() {
		r.stuckSince = now
	}
	c.armTimer()
}

// coarse is a time of the loop's clock in milliseconds. It wraps after 49 days; deadlines measured by it are of 10 days at
// most.
func coarse(t time.Duration) uint32 { return uint32(t / time.Millisecond) }

// lastActive returns when bytes last came, from the coarse stamp: up to 2 ms late, never early.
func (c *Conn) lastActive() time.Duration {
	now := c.lc.Loop().Now()
	return now - time.Duration(coarse(now)-c.active)*time.Millisecond + time.Millisecond
}

// firstPing returns a random part of the interval, uniformly in (1/2, 1]: connections that came at once do not ping at
// once.
func firstPing(interval time.Duration) time.Duration {
	return interval - time.Duration(rand.Int64N(int64(interval/2)+1))
}
