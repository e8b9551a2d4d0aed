package engine

import (
	"net"
	"sync"
	"sync/atomic"
	"time"

	"zeroframe/frame"
	"zeroframe/internal/loop"
	"zeroframe/internal/utf8x"
	"zeroframe/pool"
)

// Conn is a WebSocket connection. Its methods may be called from any goroutine unless they say otherwise; on a
// connection that has ended they return ErrClosed or do nothing.
//
// Fields belong to the loop unless a comment says otherwise. The order is chosen for size: with its node in the timer
// wheel and its slot in the table a connection takes less than 240 B of live heap.
type Conn struct {
	lc       loop.Conn
	route    *route
	parser   frame.Parser
	assembly *pool.Buffer // a message, or a request head, that is not complete yet; nil: none
	userData any
	rare     atomic.Pointer[rare] // what most connections never need
	end      *end                 // set once, under the output queue's lock
	due      time.Duration        // of the handshake, the next ping, the pong or the close, by state
	pingSent time.Duration        // when the ping left that a pong is awaited for; 0: none
	rtt      atomic.Uint32        // microseconds; 0: unknown
	active   uint32               // milliseconds of the loop's clock when bytes last came
	drained  uint32               // bytes dropped while draining
	flags    connFlags            // any goroutine
	utf8     utf8x.State          // of the text message in assembly
	state    state
	message  frame.OpCode // of the message in assembly
	protocol uint8        // 1 + index of the subprotocol in the route's list; 0: none, or rare.subprotocol
	sawEOF   bool
}

// rare is what a connection needs only in special cases.
type rare struct {
	sync.Mutex            // guards the fields up to the blank line
	posts      []func()   // Conn.Post
	own        *overrides // the live setters

	subscriptions atomic.Pointer[subscriptions] // made by Subscribe
	session       *Session                      // the layer on top; set before the connection is open
	extensions    *extensions                   // the layer below; set before the connection is open
	fragment      frame.OpCode                  // of the fragmented message being sent; under the output queue's lock
	stashAt       uint32                        // where in stash the bytes begin; loop only
	named         *named                        // what the handshake named in place of what goes without saying
	stash         *pool.Buffer                  // read but not parsed when reading was stopped; loop only
	control       *pool.Buffer                  // a control frame's payload that came in pieces; loop only
	stuckSince    time.Duration                 // when the peer last took a byte of the queue; 0: nothing queued; loop only
	opened        time.Duration                 // for WithLifetime; loop only
	release       func()                        // the accept hook's, called at the end; set before the loop knows the connection
}

// named is set before the connection is open.
type named struct {
	subprotocol string   // chosen by OnUpgrade and not in the route's list
	remote      net.Addr // the source in a PROXY header
}

// naming returns rare.named, made on first use.
func (c *Conn) naming() *named {
	r := c.more()
	if r.named == nil {
		r.named = new(named)
	}
	return r.named
}

// more returns c.rare, made on first use.
func (c *Conn) more() *rare {
	if r := c.rare.Load(); r != nil {
		return r
	}
	c.rare.CompareAndSwap(nil, new(rare))
	return c.rare.Load()
}

// The mail that other goroutines, and the handler itself, leave for the loop.
const (
	mailPost      loop.Mail = loop.MailUser << iota // rare.posts is not empty
	mailClose                                       // Close was called and its frame is queued
	mailTerminate                                   // Terminate was called
	mailReading                                     // Pause or Resume was called
	mailSettings                                    // a live setter was called
	mailPieces                                      // a session's reader waits for what has come of a message
	mailShutdown                                    // the engine goes down
)

// endpoint is Conn as its loop sees it; a type of its own so that the loop's calls are not methods of the public one.
type endpoint Conn

var _ loop.Endpoint = (*endpoint)(nil)

func newConn(r *route) *Conn {
	c := &Conn{route: r, state: stateHead}
	c.lc.Init((*endpoint)(c))
	return c
}

func (c *Conn) shard() *shard { return c.lc.Loop().Local().(*shard) }

// Opened starts the clock of the handshake, or, on a connection that was adopted after it, opens.
func (e *endpoint) Opened() {
	c := (*Conn)(e)
	defer c.recoverHandler()
	if c.flags.Load()&flagUpgraded != 0 {
		c.lc.Flush() // our answer, so that what OnOpen sends is judged against an empty queue
		c.step(evUpgraded)
		c.written(c.lc.Queued()) // whoever was quicker than the loop may have been refused before that flush
		c.parseStash()
	}
	if c.state == stateHead {
		c.due = c.lc.Loop().Now() + c.route.engine.config.handshakeTimeout
		c.armTimer()
	}
	if c.route.engine.closing.Load() { // Shutdown may have looked for connections before this one was known
		c.shutDown()
	}
}

// Data is called with every piece of the peer's stream.
func (e *endpoint) Data(b []byte) {
	c := (*Conn)(e)
	defer c.recoverHandler()
	c.active = coarse(c.lc.Loop().Now())
	switch c.state {
	case stateOpen, stateClosing:
		c.receive(b)
	case stateHead:
		c.readHead(b)
	case stateAnswering, stateDraining:
		c.drain(len(b))
	}
}

// Target returns the free end of the assembly buffer: the payload of a large frame is read straight into it.
func (e *endpoint) Target() []byte { return (*Conn)(e).assemblySpace() }

// EOF ends the connection, except while it drains: then the peer must still read our last words.
func (e *endpoint) EOF() {
	c := (*Conn)(e)
	c.sawEOF = true
	if c.state == stateHead && c.assembly != nil && c.toHTTP(c.assembly.B, nil, false) {
		return // net/http has an answer to half a head
	}
	if c.state == stateDraining && c.lc.Queued() == 0 {
		c.step(evDone)
		return
	}
	c.step(evEOF)
}

// Written follows the output queue.
func (e *endpoint) Written(queued int) { (*Conn)(e).written(queued) }

// Mail acts on what other goroutines asked for.
func (e *endpoint) Mail(bits loop.Mail) {
	c := (*Conn)(e)
	defer c.recoverHandler()
	if bits&mailTerminate != 0 {
		c.step(evTerminate)
	}
	if bits&mailPost != 0 {
		c.runPosts()
	}
	if bits&mailReading != 0 {
		c.updateReading()
	}
	if bits&mailSettings != 0 {
		c.applySettings()
	}
	if bits&mailPieces != 0 && c.delivering() {
		c.handOver(c.shard())
	}
	if bits&mailShutdown != 0 {
		c.shutDown()
	}
	if bits&mailClose != 0 {
		c.step(evLocalClose)
	}
}

// Timeout looks which deadline has passed.
func (e *endpoint) Timeout() {
	c := (*Conn)(e)
	defer c.recoverHandler()
	c.timeout()
}

// Closed cleans up: whatever the loop closed the connection for, this is the end of it.
func (e *endpoint) Closed(err error) {
	c := (*Conn)(e)
	was := c.state
	c.state = stateClosed
	c.dropAssembly()
	c.dropStash()
	c.dropControl()
	if was == stateOpen || was == stateClosing || was == stateAnswering {
		if err != nil {
			if err == loop.ErrClosed {
				err = ErrServerClosed
			}
			c.lc.Lock()
			c.setReason(CloseReason{Code: frame.CloseAbnormal, Err: err})
			c.flags.Or(flagSendClosed) // with the reason, which wakes senders
			c.lc.Unlock(false)
		}
		c.announceEnd()
	}
	if was == stateHead && c.flags.Load()&flagUpgraded != 0 { // the loop never opened it: whoever has it may wait already
		if err == nil || err == loop.ErrClosed {
			err = ErrServerClosed
		}
		c.lc.Lock()
		c.setReason(CloseReason{Code: frame.CloseAbnormal, Err: err})
		c.flags.Or(flagSendClosed)
		c.flags.And(^flagUpgraded)
		c.lc.Unlock(false)
		c.leaveTopics()
		if s := c.session(); s != nil {
			s.cancel(s.end)
		}
	}
	if x := c.extensions(); x != nil {
		c.callback(x.close)
	}
	if r := c.rare.Load(); r != nil && r.release != nil {
		c.callback(r.release)
	}
	c.route.engine.connEnded()
}

// Engine returns the connection's engine.
func (c *Conn) Engine() *Engine { return c.route.engine }

// UserData returns what SetUserData, or OnUpgrade, attached. The engine neither reads nor locks it: use it on the loop,
// or guard it yourself.
func (c *Conn) UserData() any { return c.userData }

// SetUserData attaches v; see UserData.
func (c *Conn) SetUserData(v any) { c.userData = v }

// RemoteAddr returns the peer's address, asked of the kernel at each call; nil when the connection has ended. Behind a
// balancer that WithProxyProtocol trusts, it is the source in the balancer's header.
func (c *Conn) RemoteAddr() net.Addr {
	if addr := c.proxiedFrom(); addr != nil {
		return addr
	}
	return c.lc.RemoteAddr()
}

// unready reports whether the peer cannot be told anything yet: its PROXY header has not come, or its TLS handshake is not
// over.
func (c *Conn) unready() bool {
	s, ok := c.lc.Stream().(interface{ Ready() bool })
	return ok && !s.Ready()
}

// LocalAddr returns our end's address, asked of the kernel at each call; nil when the connection has ended.
func (c *Conn) LocalAddr() net.Addr { return c.lc.LocalAddr() }

// Subprotocol returns the subprotocol that was agreed on, "" for none (RFC 6455, section 1.9).
func (c *Conn) Subprotocol() string {
	if c.protocol != 0 {
		return c.route.subprotocols[c.protocol-1]
	}
	if r := c.rare.Load(); r != nil && r.named != nil {
		return r.named.subprotocol
	}
	return ""
}

// Buffered returns how many bytes are queued and not yet in the kernel, frame headers included.
func (c *Conn) Buffered() int { return c.lc.Queued() }

// RTT returns the round-trip time of the last ping that was answered, in microsecond steps; 0 before the first.
func (c *Conn) RTT() time.Duration { return time.Duration(c.rtt.Load()) * time.Microsecond }

// Yield lets the goroutines that a handler has made runnable go before the loop takes its next batch of events; on a
// busy core they wait for up to 10 ms otherwise. Call it on the loop, from a handler that hands work to goroutines.
func (c *Conn) Yield() { c.lc.Loop().Yield() }

// Post runs f on the connection's loop, soon, after what was posted before: the way back from a goroutine of the user's
// own to data that belongs to the loop. It reports false, and f may not run, when the connection has ended.
func (c *Conn) Post(f func()) bool {
	if c.flags.Load()&flagUpgraded == 0 {
		return false
	}
	r := c.more()
	r.Lock()
	r.posts = append(r.posts, f)
	r.Unlock()
	c.lc.Notify(mailPost)
	return true
}

func (c *Conn) runPosts() {
	r := c.more()
	r.Lock()
	list := r.posts
	r.posts = nil
	r.Unlock()
	for _, f := range list {
		if c.flags.Load()&flagUpgraded == 0 { // OnClose was the last call
			return
		}
		c.callback(f)
	}
}

// Pause stops the delivery of messages, from the next one on, and the reading of the socket, so that TCP pushes back on
// the peer. Close timeouts and pings go on; the pong deadline waits.
func (c *Conn) Pause() {
	if c.flags.Or(flagPaused)&flagPaused == 0 {
		c.lc.Notify(mailReading)
	}
}

// Resume ends Pause: what had been read is delivered at once, then the socket is read again.
func (c *Conn) Resume() {
	if c.flags.And(^flagPaused)&flagPaused != 0 {
		c.lc.Notify(mailReading)
	}
}

// updateReading makes the loop read, or not, as Pause, the output queue and a session's queue demand.
func (c *Conn) updateReading() {
	if c.state != stateOpen {
		return
	}
	if c.flags.Load()&notReading != 0 {
		c.restReading()
		return
	}
	c.parseStash()
	switch f := c.flags.Load(); {
	case c.state != stateOpen || f&notReading != 0:
	case f&flagStashed != 0: // its turn has ended
		c.lc.Notify(mailReading)
	default:
		c.lc.ResumeReading()
		c.resumeDeadlines()
	}
}

// restReading stops reading the socket, and the deadlines that the peer cannot meet meanwhile.
func (c *Conn) restReading() {
	c.lc.PauseReading()
	c.flags.Or(flagSuspended)
}
