package engine

import "zeroframe/frame"

// A connection is in one of these states. Everything that may happen to it is an event, and what follows is in the
// table below, nowhere else.
//
//	             ┌─ handOver ─► closed here, and open under net/http
//	             ├────────── refused ──────────┐
//	             │                             ▼
//	(accepted) head ─ upgraded ─► open ─ peerClose, fault ─► draining ─ flushed and EOF, deadline, cap ─► closed
//	                               │                             ▲
//	                               ├─ localClose ─► closing ─────┤ peerClose, fault
//	                               └─ closeSeen ─► answering ────┘ localClose, fault
//
// From every state Terminate leads to closed, and so does the end of the socket, except where the last words are still to
// be written: answering and draining.
type state uint8

const (
	stateNone      state = iota // in the table: the event is ignored
	stateHead                   // waiting for the upgrade request
	stateOpen                   // messages flow
	stateClosing                // our close frame is queued, the peer's is awaited; what it sends till then is ignored
	stateAnswering              // a raw handler got the peer's close frame and owes its own; what else comes is dropped
	stateDraining               // the last word is queued: it is written, then FIN, and input is dropped until EOF
	stateClosed                 // the descriptor is closed, or somebody else's
	numStates
)

type event uint8

const (
	evUpgraded   event = iota // the 101 is queued
	evRefused                 // another answer is queued
	evHandOver                // the loop has let go of the descriptor: net/http serves the connection from now on
	evLocalClose              // Conn.Close: our close frame is queued
	evPeerClose               // the peer's close frame came, and the echo is queued unless ours had gone first
	evCloseSeen               // the peer's close frame came on a raw route, where the handler answers it
	evFault                   // the peer broke a rule or a handler panicked; a close frame is queued unless one had gone
	evEOF                     // the peer's end of the stream
	evDone                    // everything is written and the peer has ended its direction
	evDeadline                // the close or a write took too long; a handshake that does is refused
	evTerminate               // Conn.Terminate, too much input while draining, or a slow handshake that cannot be answered
	numEvents
)

// transitions is the state table: the next state for a state and an event, stateNone where the event means nothing.
var transitions = [numStates][numEvents]state{
	stateHead: {
		evUpgraded:  stateOpen,
		evRefused:   stateDraining,
		evHandOver:  stateClosed,
		evEOF:       stateClosed,
		evTerminate: stateClosed,
	},
	stateOpen: {
		evLocalClose: stateClosing,
		evPeerClose:  stateDraining,
		evCloseSeen:  stateAnswering,
		evFault:      stateDraining,
		evEOF:        stateClosed,
		evDeadline:   stateClosed,
		evTerminate:  stateClosed,
	},
	stateClosing: {
		evPeerClose: stateDraining,
		evFault:     stateDraining,
		evEOF:       stateClosed,
		evDeadline:  stateClosed,
		evTerminate: stateClosed,
	},
	stateAnswering: {
		evLocalClose: stateDraining,
		evFault:      stateDraining,
		evDeadline:   stateClosed,
		evTerminate:  stateClosed,
	},
	stateDraining: {
		evDone:      stateClosed,
		evDeadline:  stateClosed,
		evTerminate: stateClosed,
	},
}

// step moves the connection by the table. Loop only.
func (c *Conn) step(ev event) {
	next := transitions[c.state][ev]
	if next == stateNone {
		return
	}
	was := c.state
	c.state = next
	switch next {
	case stateOpen:
		c.enterOpen()
	case stateClosing:
		c.enterClosing()
	case stateAnswering:
		c.enterAnswering()
	case stateDraining:
		c.enterDraining(was)
	case stateClosed:
		c.enterClosed(was)
	}
}

func (c *Conn) enterOpen() {
	s := c.shard()
	s.count.Handshakes++
	s.count.Open++
	c.flags.Or(flagUpgraded)
	c.startTimers()
	c.callback(func() { c.route.handler.OnOpen(c) })
}

// enterClosing waits for the peer's close frame. Whatever it sends before that is parsed and dropped, so reading goes on
// even if it was paused, after what had been read by then.
func (c *Conn) enterClosing() {
	c.startCloseTimer()
	if c.route.raw == nil { // a raw handler is still told of every frame
		c.dropAssembly()
		c.lc.ReadDirect(false)
	}
	c.lc.ResumeReading()
	c.parseStash()
}

// enterAnswering waits for the handler's close frame: it has as long as a peer would have.
func (c *Conn) enterAnswering() {
	c.dropInput()
	c.startCloseTimer()
}

// enterDraining waits until the last word is written, ends our direction, and drops input until the peer ends its own:
// close(2) with unread input would send a reset, and the reset would overtake the close frame.
func (c *Conn) enterDraining(was state) {
	c.dropInput()
	c.lc.LastOutput(true)
	if was != stateClosing { // there the clock is running already
		c.startCloseTimer()
	}
	if was != stateHead {
		c.announceEnd()
	}
}

func (c *Conn) enterClosed(was state) {
	if was != stateHead && was != stateDraining {
		c.announceEnd()
	}
	c.lc.Close(nil)
}

// dropInput gives back what was kept of the peer's stream and makes sure that the rest is read.
func (c *Conn) dropInput() {
	c.dropAssembly()
	c.dropStash()
	c.lc.ReadDirect(false)
	c.lc.ResumeReading()
}

// maxDrained is how many bytes a draining connection drops before it is closed for good.
const maxDrained = 4 << 20

// drain counts dropped input.
func (c *Conn) drain(n int) {
	if c.drained += uint32(n); c.drained > maxDrained {
		c.step(evTerminate)
	}
}

// drainWritten follows the output while the connection drains.
func (c *Conn) drainWritten(queued int) {
	if queued != 0 {
		return
	}
	if c.sawEOF {
		c.step(evDone)
		return
	}
	err := c.lc.CloseWrite()
	c.lc.LastOutput(false) // after TLS's last word
	if err != nil {
		c.step(evTerminate)
	}
}

// CloseReason says how a connection ended (RFC 6455, section 7.1.5).
type CloseReason struct {
	// Code is that of the close frame which decided the end: the peer's when it closed first, ours otherwise;
	// frame.CloseNoStatus when the peer's had none, frame.CloseAbnormal when the socket ended without one.
	Code frame.CloseCode
	// Text is the reason in that close frame, UTF-8 of at most 123 bytes.
	Text string
	// Remote is set when the peer's close frame came first.
	Remote bool
	// Err says more where there is more to say: a *frame.Error for a breach of the protocol, one of this package's errors
	// (ErrPingTimeout, ErrIdleTimeout, ErrLifetime, ErrMessageTooBig, ErrBackpressure, ErrOverflow, ErrWriteTimeout,
	// ErrCloseTimeout, ErrServerClosed), a *PanicError, what a session's handler returned, or the operating system's error
	// on the socket.
	Err error
}

// end is kept once a connection begins to end.
type end struct {
	reason    CloseReason
	announced bool
}

// setReason keeps the first reason given. The caller holds the output queue.
func (c *Conn) setReason(r CloseReason) {
	if c.end != nil {
		return
	}
	c.end = &end{reason: r}
	if s := c.session(); s != nil {
		s.decide(r)
	}
}

// announceEnd calls OnClose, once.
func (c *Conn) announceEnd() {
	c.lc.Lock()
	c.setReason(CloseReason{Code: frame.CloseAbnormal})
	c.flags.Or(flagSendClosed)
	e := c.end
	c.lc.Unlock(false)
	if e.announced {
		return
	}
	e.announced = true
	s := c.shard()
	s.count.Open--
	s.countClose(e.reason.Code)
	c.flags.And(^flagUpgraded)
	c.leaveTopics()
	c.callback(func() { c.route.handler.OnClose(c, e.reason) })
}
