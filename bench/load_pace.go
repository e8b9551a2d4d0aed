package bench

import (
	"math"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// At a fixed rate every message has a time at which it is due, which the rate and its number alone decide, and goes to the
// connections in turn. What is due is sent on the connection's loop, by whoever comes first: the pacer, which sleeps on a
// thread of its own until something is due and then wakes the loop, or the answer to another message. A connection with
// LoadConfig.InFlight messages unanswered is sent no more until one is answered, and what was due meanwhile right then. All
// latencies are counted from when a message was due, so it makes no difference to them why it left late.

// timetable says when messages are due.
type timetable struct {
	start    time.Duration // on the load's clock
	interval float64       // nanoseconds between messages
	conns    int           // that take turns
	count    int           // messages there are
}

// at returns when a message is due.
func (t *timetable) at(n int) time.Duration { return t.start + time.Duration(float64(n)*t.interval) }

// turn is the part of a connection in it.
type turn struct {
	*timetable
	slot int    // its place among the connections
	base uint32 // the sequence number of its first message
	owed uint32 // messages that have been due so far
}

// due returns when one of the connection's messages is.
func (t *turn) due(sequence uint32) time.Duration { return t.at(int(sequence-t.base)*t.conns + t.slot) }

// course is the part of a lane. It belongs to the loop where nothing else is said.
type course struct {
	*timetable
	lane  *lane
	peers []*peer // by their slots
	next  int     // the message to become due next, counting those of these peers
	lag   *hdrhistogram.Histogram

	soonest  atomic.Int64 // when that is; math.MaxInt64: never
	awaiting atomic.Bool  // tick has been posted
	over     atomic.Bool
	tick     func()

	post   int           // the peer through which it was posted; the pacer's, as is
	posted time.Duration // when that was
}

// upcoming returns the next message's connection, and its number.
func (c *course) upcoming() (p *peer, n int) {
	p = c.peers[c.next%len(c.peers)]
	return p, c.next/len(c.peers)*c.conns + p.turn.slot
}

// advance sends what is due.
func (c *course) advance(now time.Duration) {
	for !c.over.Load() {
		p, n := c.upcoming()
		due := c.at(n)
		if n >= c.count {
			due = math.MaxInt64
		}
		if due > now {
			c.soonest.Store(int64(due))
			return
		}
		c.next++
		p.turn.owed++
		p.catchUp(now)
	}
}

// catchUp sends what has been due on a connection, as far as its window is open.
func (p *peer) catchUp(now time.Duration) {
	window := uint32(p.lane.load.config.InFlight)
	for p.sent-p.turn.base < p.turn.owed && p.sent-p.received < window && !p.dead.Load() {
		p.lane.course.lagged(now - p.turn.due(p.sent))
		if !p.sendNext(now) {
			return
		}
	}
}

func (c *course) lagged(d time.Duration) { c.lag.RecordValue(min(max(int64(d), 0), slowest)) }

// settle finishes a connection that has nothing in flight.
func (p *peer) settle() {
	if p.sent == p.received {
		p.finish()
	}
}

// pacer wakes the loops when something is due.
type pacer struct {
	timetable
	load    *Load
	ready   []*peer
	courses []*course
	procs   int // GOMAXPROCS before
	quit    atomic.Bool
	ended   sync.WaitGroup
}

// schedule makes the timetable of a run.
func (l *Load) schedule(ready []*peer, d time.Duration) *pacer {
	r := &pacer{load: l, ready: ready}
	r.interval, r.conns = 1e9/l.config.Rate, len(ready)
	r.count = int(math.Ceil(float64(d) / r.interval))
	for _, lane := range l.lanes {
		lane.course = &course{timetable: &r.timetable, lane: lane, lag: hdrhistogram.New(1, slowest, 3)}
		lane.course.tick = func() {
			lane.course.awaiting.Store(false)
			lane.course.advance(clock())
		}
	}
	for i, p := range ready {
		p.turn = turn{timetable: &r.timetable, slot: i, base: p.sent}
		p.lane.course.peers = append(p.lane.course.peers, p)
	}
	for _, lane := range l.lanes {
		if len(lane.course.peers) != 0 {
			r.courses = append(r.courses, lane.course)
		}
	}
	return r
}

// begin starts the clock. Neither the pacer's thread nor a loop's must wait for the other's processor of the Go runtime,
// which takes up to 10 ms to move one from a thread that sleeps in the kernel. So there is one more while the pacer runs,
// whatever core they are pinned to.
func (r *pacer) begin() {
	r.procs = runtime.GOMAXPROCS(0)
	runtime.GOMAXPROCS(r.procs + 1)
	r.start = clock()
	for _, c := range r.courses {
		_, n := c.upcoming()
		c.soonest.Store(int64(c.at(n)))
	}
	r.ended.Go(r.run)
}

const (
	// shortestNap bounds what the pacer takes of its core, at more messages than it allows for by several of them at once.
	shortestNap = 50 * time.Microsecond
	longestNap  = 5 * time.Millisecond
)

// run sleeps and wakes, on a thread of its own meanwhile. The thread lives on: processes die with the one that started them
// (see ChildAttr), and this may have been it.
func (r *pacer) run() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer sharpen()()
	for !r.quit.Load() {
		now := clock()
		wake := now + longestNap
		for _, c := range r.courses {
			due := time.Duration(c.soonest.Load())
			if due <= now {
				c.wake(now)
				due = now // look again soon
			}
			wake = min(wake, due)
		}
		nap(max(wake-now, shortestNap))
	}
}

// lostPost is when a tick is posted again through another connection: one that ends takes with it what was posted to it.
const lostPost = 5 * time.Millisecond

// wake makes the loop send what is due, through a connection that is open; false: there is none.
func (c *course) wake(now time.Duration) bool {
	if c.awaiting.Swap(true) {
		if now-c.posted < lostPost {
			return true
		}
		c.post++
	}
	c.posted = now
	for range c.peers {
		if p := c.peers[c.post%len(c.peers)]; !p.dead.Load() && p.wire.post(c.tick) {
			return true
		}
		c.post++
	}
	c.soonest.Store(math.MaxInt64)
	return false
}

// end has the last messages sent that are due, and nothing after them.
func (r *pacer) end() {
	r.quit.Store(true)
	r.ended.Wait()
	runtime.GOMAXPROCS(r.procs)
	for _, c := range r.courses {
		done := make(chan struct{})
		last, once := c.tick, sync.Once{}
		c.tick = func() { last(); once.Do(func() { close(done) }) }
		c.awaiting.Store(false)
		c.finish(done)
		c.over.Store(true)
	}
}

// finish wakes the loop for the last time, until done is closed or no connection is left.
func (c *course) finish(done <-chan struct{}) {
	for begin := clock(); clock()-begin < lastTime && c.wake(clock()); {
		select {
		case <-done:
			return
		case <-time.After(lostPost):
		}
	}
}

// lastTime is far longer than a loop takes to do what is posted.
const lastTime = time.Second

// settle finishes the connections that have nothing in flight; the others do when their last echo comes.
func (r *pacer) settle() {
	for _, p := range r.ready {
		if !p.wire.post(p.settle) {
			p.finish()
		}
	}
}

// A rate counts as kept if at its end no more is missing than this part of what was due, or what was due in the last of
// this time, whichever is more.
const (
	keptMissing = 0.01
	keptTime    = 10 * time.Millisecond
)

// account adds the messages that were due and never sent to the latencies, with the time they had waited, and tells how
// the rate was kept. Nothing is in flight any more.
func (r *pacer) account(elapsed time.Duration) *Pace {
	stop := r.start + elapsed
	pace := &Pace{Wanted: r.load.config.Rate}
	lag := hdrhistogram.New(1, slowest, 3)
	answered := uint64(0)
	for _, c := range r.courses {
		for {
			p, n := c.upcoming()
			if n >= r.count || c.at(n) > stop {
				break
			}
			c.next++
			p.turn.owed++
		}
		for _, p := range c.peers {
			pace.Due += uint64(p.turn.owed)
			for sequence := p.sent; sequence-p.turn.base < p.turn.owed; sequence++ {
				pace.Unsent++
				late := stop - p.turn.due(sequence)
				c.lagged(late)
				c.lane.latency.RecordValue(min(max(int64(late), 0), slowest))
			}
		}
		answered += c.lane.window
		lag.Merge(c.lag)
	}
	pace.Kept = kept(pace, answered)
	pace.Lag = latency(lag)
	return pace
}

func kept(p *Pace, answered uint64) bool {
	missing := float64(p.Due) - float64(answered)
	return missing <= max(keptMissing*float64(p.Due), p.Wanted*keptTime.Seconds())
}
