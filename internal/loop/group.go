package loop

import (
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Config says how a group of loops works. It has no defaults but that of Logger: what a field does not say is 0, off or
// nobody to ask.
type Config struct {
	Loops       int           // number of loops; at least 1
	ReadBuffer  int           // bytes of each loop's read buffer; above 0
	IdleBuffers int           // bytes of idle buffers that each loop keeps for itself
	MaxConns    int           // connections at once over all loops, above which none is accepted; 0: no limit
	NoDelay     bool          // TCP_NODELAY on accepted connections
	KeepAlive   time.Duration // between TCP keep-alive probes; 0: none
	UserTimeout time.Duration // TCP_USER_TIMEOUT; 0: the kernel's own
	Logger      *slog.Logger  // nil: nothing is logged

	// Poison overwrites a loop's read buffer after each callback, so that a slice kept too long shows. For tests.
	Poison bool

	// NewConn makes the endpoint of an accepted connection and returns the Conn inside it, on the loop that accepts.
	// release is what Admit returned, and may be nil.
	NewConn func(release func()) *Conn
	// Admit is asked for every accepted connection, on the goroutine of the loop that accepts; false refuses the peer
	// with Refusal. May be nil.
	Admit func(remote netip.AddrPort) (release func(), ok bool)
	// Refusal is written to a peer that is refused for want of room, before it is closed.
	Refusal []byte
	// Refused is told of each refusal, on the accepting loop. May be nil.
	Refused func(l *Loop, cause Refusal)
	// NewLocal makes what Loop.Local returns. May be nil.
	NewLocal func(l *Loop) any
	// Turn is called on each loop after each batch of events; idle says that the loop is about to sleep. May be nil.
	Turn func(l *Loop, idle bool)
}

// Refusal says why a connection was not accepted.
type Refusal uint8

const (
	RefusedMaxConns Refusal = iota // Config.MaxConns was reached
	RefusedNoFile                  // the process or the system is out of descriptors
	RefusedByHook                  // Config.Admit said no
)

// Group is a set of loops that share listeners.
type Group struct {
	cfg   Config
	loops []*Loop
	done  sync.WaitGroup
	conns atomic.Int64
	ended atomic.Bool

	outside atomic.Int64 // connections that have left the loops and count all the same

	spare spareFile

	mu     sync.Mutex // guards closed and spare, and that no connection is given to a loop once ended is set
	closed bool
}

// NewGroup opens cfg.Loops loops and starts a goroutine for each. Close ends them.
func NewGroup(cfg Config) (*Group, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	g := &Group{cfg: cfg}
	for range cfg.Loops {
		l, err := newLoop(g)
		if err != nil {
			for _, l := range g.loops {
				l.poll.close()
			}
			return nil, fmt.Errorf("open event loop: %w", err)
		}
		g.loops = append(g.loops, l)
	}
	g.spare.open()
	for _, l := range g.loops {
		g.done.Go(l.run)
	}
	return g, nil
}

// Loops returns the loops. The slice must not be changed.
func (g *Group) Loops() []*Loop { return g.loops }

// Len returns how many connections are open or being opened, those of CountOutside included.
func (g *Group) Len() int { return int(g.conns.Load() + g.outside.Load()) }

// Conns returns the connections that are open now. Any goroutine may call it; some may have ended before it returns.
func (g *Group) Conns() []*Conn {
	list := make([]*Conn, 0, g.Len()+16)
	for _, l := range g.loops {
		list = l.table.list(list)
	}
	return list
}

// quietest returns the loop with the fewest connections.
func (g *Group) quietest() *Loop {
	best := g.loops[0]
	for _, l := range g.loops[1:] {
		if l.load.Load() < best.load.Load() {
			best = l
		}
	}
	return best
}

// Close ends every connection with ErrClosed and every loop, and waits for the loops' goroutines. It must not be called
// on a loop. Later calls return at once.
func (g *Group) Close() {
	g.mu.Lock()
	if g.closed {
		g.mu.Unlock()
		return
	}
	g.closed = true
	g.mu.Unlock()
	for _, l := range g.loops {
		l.Do(func() { l.end(ErrClosed) })
	}
	g.done.Wait()
	g.mu.Lock()
	g.ended.Store(true)
	g.mu.Unlock()
	for _, l := range g.loops { // work that arrived while the loops were ending
		for l.drainMail(); l.opened != nil; {
			l.drainMail()
		}
		l.runTasks()
	}
	g.spare.close()
}
