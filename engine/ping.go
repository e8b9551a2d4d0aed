package engine

import (
	"encoding/binary"
	"time"
	"unsafe"

	"zeroframe/frame"
)

// pinging returns the interval, 0 for none, and the timeout in force.
func (c *Conn) pinging() (interval, timeout time.Duration) {
	interval, timeout = c.route.pingInterval, c.route.pingTimeout
	if r := c.rare.Load(); r != nil {
		r.Lock()
		if o := r.own; o != nil && o.hasInterval {
			interval = o.interval
		}
		if o := r.own; o != nil && o.hasTimeout {
			timeout = o.timeout
		}
		r.Unlock()
	}
	return interval, timeout
}

// restartPinger puts a changed setting into force; the wait for the next ping begins anew when its interval changed.
func (c *Conn) restartPinger(anew bool) {
	interval, timeout := c.pinging()
	switch {
	case interval > 0 && c.pingSent != 0:
		c.due = c.pingSent + timeout
	case anew:
		c.pingSent = 0
		c.schedulePing(false)
	}
	c.armTimer()
}

// schedulePing sets when the next ping goes out.
func (c *Conn) schedulePing(first bool) {
	interval, _ := c.pinging()
	if interval <= 0 {
		c.due = 0
		return
	}
	if first {
		interval = firstPing(interval)
	}
	c.due = c.lc.Loop().Now() + interval
}

// pinger acts when c.due has passed on an open connection: it sends a ping, or gives up waiting for its pong.
func (c *Conn) pinger(now time.Duration) {
	_, timeout := c.pinging()
	if c.pingSent == 0 {
		c.sendPing(now)
		c.due = now + timeout
		return
	}
	switch f := c.flags.Load(); {
	case f&notReading != 0:
		// The pong may stand in the socket, unread on our account.
		c.flags.Or(flagSuspended)
		c.due = 0
	case c.route.pingPolicy == PingAnyTraffic && c.lastActive() >= c.pingSent:
		c.pingSent = 0
		c.schedulePing(false)
	default:
		c.shard().count.PingTimeouts++
		c.closeWith(CloseReason{Code: frame.CloseInternalError, Text: "Ping timeout", Err: ErrPingTimeout})
		c.step(evLocalClose)
	}
}

// resumeDeadlines starts the deadlines anew that the peer cannot meet while it is not read.
func (c *Conn) resumeDeadlines() {
	if c.flags.And(^flagSuspended)&flagSuspended == 0 {
		return
	}
	now := c.lc.Loop().Now()
	if c.route.idleTimeout > 0 {
		c.active = coarse(now)
	}
	if c.pingSent != 0 {
		_, timeout := c.pinging()
		c.due = now + timeout
	}
	c.armTimer()
}

func (c *Conn) sendPing(now time.Duration) {
	s := c.shard()
	c.pingSent = now
	if c.queue(frame.Header{Fin: true, OpCode: frame.Ping}, s.pingPayload(c), exempt) == nil {
		s.count.PingsOut++
	}
}

// pingPayload returns the payload of the ping that c awaits an answer to: the connection's identity and the time the
// ping left, encrypted with a key of the loop's. So it is unique, a peer cannot guess it, and it is not stored: it can
// be made again when the pong comes. Valid until the next call.
func (s *shard) pingPayload(c *Conn) []byte {
	var plain [16]byte
	binary.LittleEndian.PutUint64(plain[:8], uint64(uintptr(unsafe.Pointer(c))))
	binary.LittleEndian.PutUint64(plain[8:], uint64(c.pingSent))
	s.pingPlain = plain
	s.cipher.Encrypt(s.pingSecret[:], s.pingPlain[:])
	return s.pingSecret[:]
}

// receivePong looks whether a pong answers our ping. Others mean nothing and do not touch the timer (RFC 6455, section
// 5.5.3).
func (c *Conn) receivePong(s *shard, payload []byte) {
	if c.pingSent == 0 || string(payload) != string(s.pingPayload(c)) {
		return
	}
	rtt := max(clock()-c.pingSent, time.Microsecond)
	c.rtt.Store(uint32(min(rtt/time.Microsecond, 1<<32-1)))
	s.count.observeRTT(rtt)
	c.pingSent = 0
	c.schedulePing(false)
	c.armTimer()
}
