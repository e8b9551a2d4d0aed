package main

import (
	"sync"

	"zeroframe/engine"
	"zeroframe/frame"
	"zeroframe/pool"
)

// What one connection may have waiting for a relay; above it its reading is paused, down to half of it.
const (
	relayMessages = 64
	relayBytes    = 256 << 10
	// relayTurn is how many messages of one connection are sent before the next connection's turn.
	relayTurn = 16
)

// relays are goroutines that echo with Send: what a program does whose handlers pass messages on to workers. A
// connection's messages are sent in order, for one goroutine at a time serves it; which one does not matter.
type relays struct {
	mu          sync.Mutex
	wake        sync.Cond
	first, last *relay // connections with messages to send, linked by next
	waiting     int    // goroutines in wake
	stopped     bool
	done        sync.WaitGroup
}

func newRelays(n int) *relays {
	r := new(relays)
	r.wake.L = &r.mu
	for range n {
		r.done.Go(r.run)
	}
	return r
}

func (r *relays) stop() {
	r.mu.Lock()
	r.stopped = true
	r.wake.Broadcast()
	r.mu.Unlock()
	r.done.Wait()
}

// add puts a connection at the end of the line. It allocates nothing.
func (r *relays) add(c *relay) {
	r.mu.Lock()
	if r.last == nil {
		r.first = c
	} else {
		r.last.next = c
	}
	r.last = c
	wake := r.waiting > 0
	r.mu.Unlock()
	if wake {
		r.wake.Signal()
	}
}

// take waits for a connection with messages to send; nil when it is over.
func (r *relays) take() *relay {
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.first == nil {
		if r.stopped {
			return nil
		}
		r.waiting++
		r.wake.Wait()
		r.waiting--
	}
	c := r.first
	r.first, c.next = c.next, nil
	if r.first == nil {
		r.last = nil
	}
	return c
}

func (r *relays) run() {
	for c := r.take(); c != nil; c = r.take() {
		if c.send() {
			r.add(c)
		}
	}
}

// relay is a connection's messages on their way to being sent.
type relay struct {
	conn *engine.Conn
	next *relay // relays.mu

	mu      sync.Mutex
	waiting []relayed // from head on; never more than relayMessages
	head    int
	bytes   int
	state   relayState
	paused  bool
	drained bool // OnDrain came since the last Send was tried
	closed  bool
}

type relayed struct {
	op  frame.OpCode
	buf *pool.Buffer
}

type relayState uint8

const (
	relayIdle   relayState = iota // nothing waits
	relayQueued                   // in line, or being served
	relayFull                     // the connection's output is full: OnDrain puts it back in line
)

// push takes a message, which is copied; the caller is the connection's loop. It reports whether the connection must be
// put in line.
func (c *relay) push(op frame.OpCode, payload []byte) bool {
	buf := pool.Get(len(payload))
	buf.B = append(buf.B, payload...)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.head > 0 && len(c.waiting) == cap(c.waiting) {
		n := copy(c.waiting, c.waiting[c.head:])
		clear(c.waiting[n:])
		c.waiting, c.head = c.waiting[:n], 0
	}
	c.waiting = append(c.waiting, relayed{op, buf})
	c.bytes += len(payload)
	if !c.paused && (c.len() == relayMessages || c.bytes >= relayBytes) {
		c.paused = true
		c.conn.Pause() // no message comes any more before Resume
	}
	if c.state != relayIdle {
		return false
	}
	c.state = relayQueued
	return true
}

func (c *relay) len() int { return len(c.waiting) - c.head }

// send sends what waits, for a turn, and reports whether the connection must get back in line.
func (c *relay) send() (again bool) {
	for range relayTurn {
		c.mu.Lock()
		if c.len() == 0 {
			c.state = relayIdle
			c.mu.Unlock()
			return false
		}
		m := c.waiting[c.head]
		c.drained = false
		c.mu.Unlock()

		err := c.conn.Send(m.op, m.buf.B)

		c.mu.Lock()
		switch {
		case err != engine.ErrBackpressure || c.closed:
			c.pop()
		case !c.drained:
			c.state = relayFull
			c.mu.Unlock()
			return false
		}
		c.mu.Unlock()
	}
	return true
}

// pop drops the oldest message and lets the peer go on when there is room again. The caller holds mu.
func (c *relay) pop() {
	m := &c.waiting[c.head]
	c.bytes -= len(m.buf.B)
	pool.Put(m.buf)
	*m = relayed{}
	if c.head++; c.head == len(c.waiting) {
		c.waiting, c.head = c.waiting[:0], 0
	}
	if c.paused && c.len() <= relayMessages/2 && c.bytes <= relayBytes/2 {
		c.paused = false
		c.conn.Resume()
	}
}

// drain is told that the connection's output has room again. It reports whether the connection must be put in line.
func (c *relay) drain() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.drained = true
	if c.state != relayFull {
		return false
	}
	c.state = relayQueued
	return true
}

// end drops what waits; a goroutine that is sending finds the rest out by itself.
func (c *relay) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	for c.state == relayFull && c.len() > 0 {
		c.pop()
	}
}

// relayHandler hands every message to the relays.
type relayHandler struct {
	engine.NopHandler
	relays *relays
}

// OnOpen makes the connection's relay.
func (h relayHandler) OnOpen(c *engine.Conn) { c.SetUserData(&relay{conn: c}) }

// OnMessage passes the message on.
func (h relayHandler) OnMessage(c *engine.Conn, op frame.OpCode, payload []byte) {
	c.Yield() // to the relay's goroutine
	if r := c.UserData().(*relay); r.push(op, payload) {
		h.relays.add(r)
	}
}

// OnDrain goes on where the output was full.
func (h relayHandler) OnDrain(c *engine.Conn) {
	if r := c.UserData().(*relay); r.drain() {
		h.relays.add(r)
	}
}

// OnClose drops what was not sent.
func (h relayHandler) OnClose(c *engine.Conn, _ engine.CloseReason) { c.UserData().(*relay).end() }
