package loop

import (
	"log/slog"
	"math"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"zeroframe/internal/wheel"
	"zeroframe/pool"
)

// interest is which events of its descriptor a connection acts on, readiness what the poller says of it. An edge is
// reported once: what is not acted on must be remembered. Both are hints: a stale event can reach a new connection that
// got the same descriptor, and EAGAIN is normal.
type (
	interest  uint8
	readiness uint8
)

const (
	wantRead  interest = 1
	wantWrite interest = 2

	isReadable readiness = 1
	isWritable readiness = 2
	isBroken   readiness = 4 // error or hang-up: a read or write will say which
	isEnding   readiness = 8 // the peer's end, or an error, may stand behind what is readable, and is not announced again
)

// tickShift makes a wheel tick of 1<<23 ns, about 8 ms: fine enough for timeouts, and coarse enough that the usual ping
// interval stays within two levels of the wheel, so that a timer is spread once at most.
const tickShift = 23

// Loop is one event loop. Its fields belong to its goroutine unless a comment says otherwise.
type Loop struct {
	group   *Group
	poll    *poller
	wheel   *wheel.Wheel
	now     time.Duration // since epoch, read once per batch
	buf     []byte        // every read that has no target of its own goes here
	cork    cork
	iov     vector
	scratch *Scratch // nil until a stream wants it
	buffers *pool.Buffers
	local   any
	stats   Stats
	yield   bool // a goroutine was woken: let it run before the next batch

	mail   atomic.Pointer[Conn] // connections with mail bits, newest first; pushed by any goroutine
	opened *Conn                // those taken from it and not served yet, oldest first
	tasks  struct {             // functions to run on the loop, from any goroutine
		sync.Mutex
		list  []func()
		spare []func() // the list before, empty
		some  atomic.Bool
	}

	listeners map[int]*listener
	delayed   []delayed
	stopping  bool

	load  atomic.Int64 // connections given to this loop; read by the acceptor
	table table
}

// Stats counts the system calls of one loop.
type Stats struct {
	Reads  uint64 // reads of connections, also those that found nothing
	Writes uint64 // writes to connections, a vector counting as one
	Waits  uint64 // times events were asked for; 0 where that is out of sight
}

// Stats returns the loop's counts. Loop only.
func (l *Loop) Stats() Stats { return l.stats }

// epoch is the zero of every loop's clock.
var epoch = time.Now()

// Now returns the loop's clock: the time since the process began, as of the last batch of events. Loop only.
func (l *Loop) Now() time.Duration { return l.now }

// Clock returns the same clock read afresh. Any goroutine may call it.
func Clock() time.Duration { return time.Since(epoch) }

// Buffers returns the loop's own pool of byte buffers. Loop only.
func (l *Loop) Buffers() *pool.Buffers { return l.buffers }

// Local returns what Config.NewLocal made for this loop.
func (l *Loop) Local() any { return l.local }

// Yield makes the loop let other goroutines run before it takes its next batch; whoever made one runnable from a
// callback calls it, or that goroutine can wait for up to 10 ms on a busy core. Loop only.
func (l *Loop) Yield() { l.yield = true }

func newLoop(g *Group) (*Loop, error) {
	p, err := openPoller()
	if err != nil {
		return nil, err
	}
	l := &Loop{
		group:     g,
		poll:      p,
		now:       Clock(),
		buf:       make([]byte, g.cfg.ReadBuffer),
		buffers:   pool.NewBuffers(g.cfg.IdleBuffers),
		listeners: make(map[int]*listener),
	}
	l.wheel = wheel.New(int64(l.now >> tickShift))
	l.cork.buffers = l.buffers
	if g.cfg.NewLocal != nil {
		l.local = g.cfg.NewLocal(l)
	}
	return l, nil
}

func (l *Loop) run() {
	if err := l.poll.run(l); err != nil {
		l.group.cfg.Logger.Error("event loop failed", slog.Any("error", err))
		l.end(err)
		l.load.Add(math.MaxInt32) // the others get what comes
	}
	l.poll.close()
	l.buffers.Release()
}

// end closes the listeners and connections of the loop, which takes no more of either.
func (l *Loop) end(err error) {
	l.stopping = true
	for _, ln := range l.listeners {
		ln.close(err)
	}
	for _, c := range l.table.list(nil) {
		c.Close(err)
	}
}

// woke reads the clock after a sleep: by the time read before it, what the next events arm would be due at once.
func (l *Loop) woke() { l.now = Clock() }

// event serves one descriptor.
func (l *Loop) event(fd int, r readiness) {
	c := l.table.at(fd)
	if c == nil {
		if ln := l.listeners[fd]; ln != nil {
			ln.accept()
		}
		return
	}
	if r&isWritable != 0 && c.interest&wantWrite != 0 {
		c.flush()
	}
	if r&isReadable != 0 && c.interest&wantRead != 0 {
		c.flags |= flagHungry
		if r&isEnding != 0 {
			c.flags |= flagStops
		}
		c.readable()
	} else if r&isBroken != 0 && c.interest&wantWrite != 0 && c.IsOpen() {
		c.flush()
	}
}

// turn runs between two batches of events: mail, functions, timers. idle says that the poller will sleep if it may; turn
// says for how long.
func (l *Loop) turn(idle bool) (sleep time.Duration, stop bool) {
	l.now = Clock()
	if l.mail.Load() != nil || l.opened != nil {
		l.drainMail()
	}
	if l.opened == nil && l.tasks.some.Load() { // what is published next is queued when what was before has been written
		l.runTasks()
	}
	if due, ok := l.wheel.Next(); ok && due <= int64(l.now>>tickShift) {
		l.wheel.Advance(int64(l.now>>tickShift), fire)
	}
	if l.delayed != nil {
		l.runDelayed()
	}
	if l.yield {
		l.yield = false
		runtime.Gosched()
	}
	if l.stopping {
		if l.group.cfg.Turn != nil {
			l.group.cfg.Turn(l, true) // its last
		}
		return 0, true
	}
	if l.mail.Load() != nil || l.opened != nil || l.tasks.some.Load() {
		return 0, false
	}
	if l.group.cfg.Turn != nil {
		l.group.cfg.Turn(l, idle)
	}
	return l.untilNext(), false
}

// untilNext returns how long nothing is due; negative: for ever.
func (l *Loop) untilNext() time.Duration {
	next := time.Duration(math.MaxInt64)
	if due, ok := l.wheel.Next(); ok {
		next = time.Duration(due) << tickShift
	}
	for _, d := range l.delayed {
		next = min(next, d.at)
	}
	if next == math.MaxInt64 {
		return -1
	}
	return max(next-l.now, 0)
}

// Do runs f on the loop, soon, in the order given. Any goroutine may call it. It reports false, and f never runs, when
// the loop has ended.
func (l *Loop) Do(f func()) bool {
	l.tasks.Lock()
	if l.group.ended.Load() {
		l.tasks.Unlock()
		return false
	}
	l.tasks.list = append(l.tasks.list, f)
	l.tasks.some.Store(true)
	l.tasks.Unlock()
	l.poll.wake()
	return true
}

func (l *Loop) runTasks() {
	l.tasks.Lock()
	list := l.tasks.list
	l.tasks.list, l.tasks.spare = l.tasks.spare, nil
	l.tasks.some.Store(false)
	l.tasks.Unlock()
	for _, f := range list {
		f()
	}
	if clear(list); cap(list) <= 1024 {
		l.tasks.Lock()
		l.tasks.spare = list[:0]
		l.tasks.Unlock()
	}
}

// delayed is a rare piece of work of the loop itself, such as an acceptor's backoff; connections have the wheel.
type delayed struct {
	at time.Duration
	do func()
}

func (l *Loop) after(d time.Duration, do func()) {
	l.delayed = append(l.delayed, delayed{at: l.now + d, do: do})
}

func (l *Loop) runDelayed() {
	list := l.delayed
	l.delayed = nil
	for _, d := range list {
		if d.at <= l.now {
			d.do()
		} else {
			l.delayed = append(l.delayed, d)
		}
	}
}
