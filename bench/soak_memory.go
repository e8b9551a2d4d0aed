package bench

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"runtime"
	"runtime/debug"
	"time"

	"zeroframe/engine"
	"zeroframe/frame"
	"zeroframe/internal/bridge"
	"zeroframe/internal/memconn"
)

// openAtOnce bounds the handshakes under way in a soak in memory.
const openAtOnce = 4096

// SoakMemory soaks an engine in this process over connections in memory, each with a client that is no goroutine and has
// no buffer: everything else, the bytes of handshakes and frames, their masks, the loops and their wheels, and time, is
// real. GOGC and GOMAXPROCS, one more than there are loops, are set back at the end.
func SoakMemory(ctx context.Context, c SoakConfig) (*SoakResult, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	if c.GOGC > 0 {
		defer debug.SetGCPercent(debug.SetGCPercent(c.GOGC))
	}
	if c.Loops == 0 {
		c.Loops = runtime.GOMAXPROCS(0)
	}
	// A loop that sleeps in the poller keeps its P for a while. One more lets the sender of echoes go when it is time.
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(c.Loops + 1))
	e, err := engine.New(
		engine.WithLoops(c.Loops),
		engine.WithMaxConns(0),
		engine.WithPingInterval(c.pingEvery()),
		engine.WithPingTimeout(c.PingTimeout))
	if err != nil {
		return nil, err
	}
	defer e.Close()
	echo := engine.HandlerFunc(func(c *engine.Conn, op frame.OpCode, payload []byte) { c.Reply(op, payload) })
	if err := e.Handle("/echo", echo); err != nil {
		return nil, err
	}
	before := TakeSnapshot(e, c.Loops, true)
	r := c.result(true)
	begin, cpuBefore := clock(), OwnCPU()
	m := &memorySoak{
		watch:  newSoakWatch(c.Conns, c.PingInterval, c.Tolerance),
		mute:   c.Mute,
		tokens: make(chan struct{}, openAtOnce),
	}
	m.swarm = memconn.NewSwarm(c.Conns, &url.URL{Scheme: "ws", Host: "memory", Path: "/echo"}, m)
	if err := m.open(ctx, e, &c); err != nil {
		return nil, err
	}
	r.Opening = clock() - begin
	cpuOpened, openedGC := OwnCPU(), gcPauses()
	if c.Soaking != nil {
		c.Soaking(r, m.watch.pings.Load)
	}
	began := clock()
	m.watch.begin()
	soaking, stop := context.WithTimeout(ctx, c.Duration)
	defer stop()
	echoed := make(chan struct{})
	go func() {
		defer close(echoed)
		m.watch.echoes.run(soaking, c.Echoes, c.Conns, m.watch.isOpen, m.swarm.Send)
	}()
	<-soaking.Done()
	r.Elapsed, r.Interrupted = clock()-began, ctx.Err() != nil
	m.watch.measured()
	at := TakeSnapshot(e, c.Loops, false)
	cpu := OwnCPU()
	<-echoed

	m.watch.sweep(clock)
	r.NoPong = e.Stats().PingTimeouts
	found, err := m.watch.books()
	if err != nil {
		return nil, err
	}
	if err := r.add([]books{found}); err != nil {
		return nil, err
	}
	after := TakeSnapshot(e, c.Loops, true)
	pauses := at.Process.GCPauses
	r.Server = SoakSide{
		Processes: 1, GOMAXPROCS: at.Process.GOMAXPROCS, GOGC: gogc(at.Process.GOGC), Loops: c.Loops,
		RSSBefore: before.Process.RSS, RSS: at.Process.RSS, RSSPeak: peakOf(os.Getpid()),
		OpeningCPU: (cpuOpened - cpuBefore).Seconds(), CPU: (cpu - cpuOpened).Seconds(),
		GC: &pauses, OpeningGC: &openedGC,
	}
	r.Server.perConn(c.Conns, before.Process.LiveHeap, after.Process.LiveHeap, r.Elapsed)
	return r, nil
}

// perConn works out what follows from the rest.
func (s *SoakSide) perConn(conns int, heapBefore, heap uint64, elapsed time.Duration) {
	s.RSSPerConn = float64(int64(s.RSS-s.RSSBefore)) / float64(conns)
	s.HeapPerConn = float64(int64(heap-heapBefore)) / float64(conns)
	s.Utilisation = s.CPU / elapsed.Seconds()
}

// memorySoak is the clients' side, as the swarm tells it what it sees.
type memorySoak struct {
	watch  *soakWatch
	swarm  *memconn.Swarm
	mute   int
	tokens chan struct{} // one for each handshake under way
}

// open opens all connections.
func (m *memorySoak) open(ctx context.Context, e *engine.Engine, c *SoakConfig) error {
	take := func(i int) error {
		if c.Opening != nil && i%(openAtOnce/4) == 0 {
			c.Opening(uint64(m.watch.open.Load()))
		}
		select {
		case m.tokens <- struct{}{}:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	for i := range c.Conns {
		if err := take(i); err != nil {
			return err
		}
		if err := bridge.ServeStream(e, m.swarm.Stream(i)); err != nil {
			return fmt.Errorf("connection %d of %d: %w", i+1, c.Conns, err)
		}
	}
	for i := range openAtOnce { // the last of them
		if err := take(i); err != nil {
			return err
		}
	}
	return nil
}

// Opened and the others are called on the loops.
func (m *memorySoak) Opened(i int) {
	m.watch.opened(i, clock())
	<-m.tokens
}

// Pinged lets the swarm answer.
func (m *memorySoak) Pinged(i int) bool {
	m.watch.pinged(i, clock())
	return i >= m.mute
}

// Message is the echo of one of ours.
func (m *memorySoak) Message(i int, _ frame.OpCode, payload []byte) {
	m.watch.echoes.came(uint32(i), payload, clock())
}

// Ended is told why.
func (m *memorySoak) Ended(i int, err error) {
	if !m.watch.isOpen(i) && !m.watch.ending.Load() {
		<-m.tokens // it never opened
	}
	m.watch.ended(i, err)
}
