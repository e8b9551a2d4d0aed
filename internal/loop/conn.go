package loop

import (
	"io"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"zeroframe/internal/wheel"
)

// Conn is the loop's half of a connection. The endpoint embeds it by value, so that a connection is one object, and
// calls Init before anything else. Its fields belong to the loop's goroutine unless a comment says otherwise.
type Conn struct {
	timer    wheel.Node // must stay first: a fired node is its connection
	interest interest
	flags    connFlags
	shut     bool  // under mu: no more output is taken
	lost     bool  // under mu: the connection ended with output in its queue
	loop     *Loop // set once, before the connection is known to anyone
	ep       Endpoint

	next *Conn         // link in the mailbox; owned by whoever set the first mail bit
	mail atomic.Uint32 // Mail bits not yet handled; 0: not in the mailbox
	fd   int32         // below 0: noFD, or what the table knows a stream by that stands on none; written by the loop under mu

	mu     sync.Mutex   // guards out and shut
	out    queue        // output not yet in the kernel
	queued atomic.Int64 // bytes in out; changed under mu, read anywhere
	stream Stream       // the bytes come from it, in place of fd or standing on it; nil: from fd
}

type connFlags uint8

const (
	flagOpen     connFlags = 1 << iota // in the loop's table
	flagPaused                         // PauseReading
	flagDirect                         // reads go to Endpoint.Target
	flagLast                           // LastOutput: Written follows each flush, and CloseWrite the last
	flagEOF                            // the peer has ended its direction
	flagHungry                         // bytes, or the end, may be waiting that no further event announces
	flagStops                          // reads may stop before that: a short one does not mean that nothing is left
	flagProgress                       // the running flush shortened the queue
)

// What Conn.fd may be in place of a descriptor.
const (
	noFD        = -1 // closed, or not in the table yet
	firstStream = -2 // and down from there
)

// Init ties c to its endpoint. It must be called before the connection is given to a loop.
func (c *Conn) Init(ep Endpoint) {
	c.ep = ep
	c.fd = noFD
}

// Endpoint returns what Init was given.
func (c *Conn) Endpoint() Endpoint { return c.ep }

// Loop returns the connection's loop.
func (c *Conn) Loop() *Loop { return c.loop }

// IsOpen reports whether the connection still has its descriptor or stream. Loop only.
func (c *Conn) IsOpen() bool { return c.flags&flagOpen != 0 }

// fire is the wheel's callback.
func fire(n *wheel.Node) {
	c := (*Conn)(unsafe.Pointer(n)) // timer is the first field of Conn
	c.serve(func() { c.ep.Timeout() })
}

// register makes the loop watch the connection and tells its endpoint. It runs on the connection's loop.
func (c *Conn) register() {
	l := c.loop
	var err error
	switch {
	case l.stopping: // the poller may be gone, and its number another's
		err = ErrClosed
	case c.fd >= 0:
		err = l.poll.add(int(c.fd))
	}
	if err != nil {
		l.group.forget(c)
		c.closeIO()
		c.ep.Closed(err)
		return
	}
	c.interest = wantRead
	c.flags |= flagOpen | flagHungry
	l.table.enter(c)
	c.serve(c.ep.Opened)
	if c.stream != nil {
		c.readable() // what came before the stream knew us
	}
}

// serve runs f with the connection corked: what f and what it calls send is written once, when f has returned.
func (c *Conn) serve(f func()) {
	mine := c.beginCork()
	f()
	c.endCork(mine)
}

// beginCork marks the connection as being served, so that Append does not put it into the mailbox. It reports whether
// the mail bits are ours to collect, which they are not while the connection is in the mailbox already.
func (c *Conn) beginCork() (mine bool) {
	c.loop.cork.open = true
	return c.mail.Or(uint32(mailCork)) == 0
}

// endCork writes what was sent and hands over mail that came in meanwhile.
func (c *Conn) endCork(mine bool) {
	c.loop.cork.open = false
	if !mine {
		c.mail.And(^uint32(mailCork))
		c.flush()
		return
	}
	bits := Mail(c.mail.Swap(0)) &^ (mailCork | mailFlush)
	c.flush()
	if bits != 0 {
		c.post(bits) // not handled here: a connection that keeps posting to itself would keep the loop
	}
}

// readable reads once and hands over what came. One read per event keeps a busy peer from starving the others.
func (c *Conn) readable() {
	l := c.loop
	if c.flags&(flagOpen|flagPaused|flagEOF) != flagOpen {
		return // flagHungry stays
	}
	buf := l.buf
	if c.flags&flagDirect != 0 {
		buf = c.ep.Target()
	}
	var n int
	var err error
	if c.stream == nil {
		n, err = c.ReadFD(buf)
	} else {
		n, err = c.readStream(buf)
	}
	l.stats.Reads++
	if n > 0 {
		mine := c.beginCork()
		c.ep.Data(buf[:n])
		c.endCork(mine)
		if l.group.cfg.Poison {
			poison(l.buf[:min(n, len(l.buf))])
		}
		if c.flags&(flagOpen|flagHungry|flagPaused) == flagOpen|flagHungry {
			c.post(mailReadable)
		}
		return
	}
	switch {
	case err == ErrAgain:
		if c.flags&flagPaused == 0 { // a stream that has enough for now pauses, and there may be more
			c.flags &^= flagHungry
		}
		if _, output := c.holds(); output { // an answer of the stream's own to what it read
			c.flush()
		}
	case err == io.EOF:
		c.flags |= flagEOF
		c.interest &^= wantRead
		c.serve(c.ep.EOF)
	default:
		c.Close(err)
	}
}

func (c *Conn) readStream(buf []byte) (int, error) {
	n, err := streamRead(c.stream, buf)
	if input, _ := c.holds(); input {
		c.flags |= flagHungry
	}
	return n, err
}

// ReadFD reads from the connection's descriptor, for a stream that stands on it. It returns ErrAgain when nothing is there
// yet and io.EOF at the end. Loop only.
func (c *Conn) ReadFD(p []byte) (int, error) {
	n, err := recv(int(c.fd), p)
	if n < len(p) && c.flags&flagStops == 0 && shortReadEmpties || n == 0 {
		c.flags &^= flagHungry // an event will announce what comes after this
	}
	return n, err
}

// PauseReading stops reads, so that the peer is pushed back by TCP, until ResumeReading. Loop only.
func (c *Conn) PauseReading() {
	if c.flags&(flagOpen|flagPaused) == flagOpen {
		c.flags |= flagPaused
	}
}

// ResumeReading ends PauseReading. Loop only.
func (c *Conn) ResumeReading() {
	if c.flags&flagPaused == 0 {
		return
	}
	c.flags &^= flagPaused
	if c.flags&(flagOpen|flagEOF) != flagOpen {
		return
	}
	if c.flags&flagHungry != 0 {
		c.post(mailReadable)
	}
}

// ReadDirect chooses whether reads go to the endpoint's Target instead of the loop's buffer. Loop only.
func (c *Conn) ReadDirect(on bool) {
	if on {
		c.flags |= flagDirect
	} else {
		c.flags &^= flagDirect
	}
}

// LastOutput says that CloseWrite follows what is queued: every flush calls Endpoint.Written, also one that left nothing,
// and what is written may wait for CloseWrite, for 200 ms at most, to leave with the FIN in one segment. Over loopback a
// segment more is a tenth of what a short connection costs. Loop only.
func (c *Conn) LastOutput(on bool) {
	if on {
		c.flags |= flagLast
	} else {
		c.flags &^= flagLast
	}
}

// sendFlags are those of the system call that writes to the descriptor.
func (c *Conn) sendFlags() int {
	if c.flags&flagLast != 0 {
		return sendMore
	}
	return 0
}

// SetTimer makes Endpoint.Timeout be called once at the given time of the loop's clock, in place of any time set
// before, never early and up to 8 ms late. Loop only.
func (c *Conn) SetTimer(at time.Duration) {
	if c.flags&flagOpen != 0 {
		c.loop.wheel.Arm(&c.timer, int64((at+1<<tickShift-1)>>tickShift))
	}
}

// Timer returns the time SetTimer was last given, rounded up to a tick, and whether it is still to come. Loop only.
func (c *Conn) Timer() (at time.Duration, armed bool) {
	return time.Duration(c.timer.When()) << tickShift, c.timer.Armed()
}

// CloseWrite ends the outgoing direction: the peer reads to the end of what was written. Loop only.
func (c *Conn) CloseWrite() error {
	switch {
	case !c.IsOpen():
		return ErrClosed
	case c.stream != nil:
		err := c.stream.CloseWrite()
		if _, output := c.holds(); output { // its last word did not fit
			c.interest |= wantWrite
		}
		return err
	}
	return shutdownWrite(int(c.fd))
}

// Close closes the descriptor at once, drops what is queued, and calls Endpoint.Closed with err. A second call does
// nothing. Loop only.
func (c *Conn) Close(err error) {
	if !c.IsOpen() {
		return
	}
	l := c.loop
	c.flags &^= flagOpen
	l.wheel.Disarm(&c.timer)
	l.table.leave(c)
	if l.cork.conn == c {
		l.cork.drop()
	}
	c.closeIO()
	l.group.forget(c)
	c.ep.Closed(err)
}

// closeIO drops the output queue and closes what the bytes came from.
func (c *Conn) closeIO() {
	if c.stream != nil {
		c.stream.Close() // it may have a last word for the descriptor
	}
	if fd := c.shutOutput(); fd >= 0 {
		closeFD(fd)
	}
}

// Detach takes the descriptor out of the loop and gives it to the caller, without closing it, when nothing is queued. A
// stream that stands on it is the caller's too. The endpoint hears nothing more. Loop only.
func (c *Conn) Detach() (fd int, err error) {
	c.WriteOut()
	_, output := c.holds()
	if output && c.IsOpen() {
		c.flush()
		_, output = c.holds()
	}
	if !c.IsOpen() || c.fd < 0 || c.queued.Load() != 0 || output {
		return -1, ErrClosed
	}
	fd = int(c.fd)
	if err := c.loop.poll.remove(fd); err != nil {
		return -1, err
	}
	c.flags &^= flagOpen
	c.loop.wheel.Disarm(&c.timer)
	c.loop.table.leave(c)
	c.shutOutput()
	c.loop.group.forget(c)
	return fd, nil
}

func poison(b []byte) {
	for i := range b {
		b[i] = 0xDB
	}
}
