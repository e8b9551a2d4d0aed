package bench

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"zeroframe/engine"
	"zeroframe/frame"
)

// FanoutConfig says what load to put on a server that sends each message to every connection of a URL, the one it came
// from included.
type FanoutConfig struct {
	URL         string      // as LoadConfig has it
	TLS         *tls.Config // as LoadConfig has it
	Subscribers int         // connections; at least 1
	Publishers  int         // of them, those that send too; at least 1
	NotReading  int         // of the others, those that read nothing once all are members
	Payload     int         // bytes of each message; at least MinFanoutPayload
	InFlight    int         // messages of each publisher that not all others have yet; at least 1
	Text        bool        // text messages; otherwise binary
	Kind        Kind        // what the payload is cut from
	Loops       int         // event loops; 0: one per processor
	ServerPID   int         // process whose CPU time is taken too, on Linux; 0: none
}

const (
	// MinFanoutPayload is what it takes to tell who sent a message, and which.
	MinFanoutPayload = stampSize

	maxExpected = 1 << 26 // subscribers times publishers: each of the former counts the messages of each of the latter
)

func (c *FanoutConfig) check() error {
	err := errors.Join(
		checkURL(c.URL),
		between("Subscribers", c.Subscribers, 1, maxConns),
		between("Payload", c.Payload, MinFanoutPayload, maxPayload),
		between("InFlight", c.InFlight, 1, maxInFlight),
		between("Loops", c.Loops, 0, 4096))
	if err == nil {
		err = between("Publishers", c.Publishers, 1, min(c.Subscribers, maxExpected/c.Subscribers))
	}
	if err == nil {
		err = between("NotReading", c.NotReading, 0, c.Subscribers-c.Publishers)
	}
	if total := int64(c.Publishers) * int64(c.InFlight) * int64(c.Payload); err == nil && total > maxTotal/int64(c.Subscribers) {
		err = &ConfigError{"InFlight", fmt.Sprintf("more than %d GiB would be in flight at once", maxTotal>>30)}
	}
	return err
}

// Fanout is a set of members of one topic, to load its server over. Its methods must not be called concurrently, but for
// Deliveries and Publishes.
type Fanout struct {
	config     FanoutConfig
	payloads   *payloads
	op         frame.OpCode
	lanes      []*fanoutLane
	members    []*member
	publishers []*publisher
	deaf       []*member // members that have stopped reading
	reading    int       // lanes with members that read
	tls        handshakes

	unprobed atomic.Int64 // members that have not got a probe yet
	probed   chan struct{}

	stopping atomic.Bool // the time is up: deliveries are awaited, nothing more is sent
	closing  atomic.Bool // connections end because we want it
	pending  atomic.Int64
	idle     chan struct{} // gets a value when pending falls to 0

	failures failures
	failed   chan struct{} // closed with the first failure
	failOnce sync.Once
}

// OpenFanout connects, and returns when the server has brought a message to all. On error nothing stays open.
func OpenFanout(ctx context.Context, config FanoutConfig) (*Fanout, error) {
	if err := config.check(); err != nil {
		return nil, err
	}
	if config.Loops == 0 {
		config.Loops = runtime.GOMAXPROCS(0)
	}
	f := &Fanout{
		config:   config,
		payloads: newPayloads(config.Kind, config.Payload),
		op:       frame.Binary,
		members:  make([]*member, config.Subscribers),
		probed:   make(chan struct{}),
		idle:     make(chan struct{}, 1),
		failed:   make(chan struct{}),
	}
	if config.Text {
		f.op = frame.Text
	}
	if err := f.open(ctx); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func (f *Fanout) open(ctx context.Context) error {
	trust := engine.WithClientTLS(f.tls.counting(f.config.TLS))
	for range min(f.config.Loops, f.config.Subscribers) {
		e, err := engine.New(clientOptions(f.config.Payload, f.config.InFlight, trust)...)
		if err != nil {
			return err
		}
		f.lanes = append(f.lanes, newFanoutLane(f, e))
	}
	for i := range f.config.Publishers {
		f.publishers = append(f.publishers, newPublisher(f, i))
	}
	listening := f.config.Subscribers - f.config.NotReading
	due := make([]uint32, f.config.Subscribers*f.config.Publishers)
	for i := range f.members {
		lane := f.lanes[i%len(f.lanes)]
		m := &member{lane: lane, id: i, deaf: i >= listening, opened: make(chan struct{})}
		m.due, due = due[:f.config.Publishers:f.config.Publishers], due[f.config.Publishers:]
		f.members[i] = m
		if !m.deaf {
			if lane.members++; lane.members == 1 {
				f.reading++
			}
		}
	}
	f.unprobed.Store(int64(f.config.Subscribers))
	begin := time.Now()
	err := connect(ctx, f.config.URL, f.config.Subscribers, func(ctx context.Context, i int) error {
		m := f.members[i]
		return dial(ctx, m.lane.engine, f.config.URL, m, m.opened)
	})
	if err != nil {
		return err
	}
	f.tls.Opening = time.Since(begin)
	if err := f.probe(ctx); err != nil {
		return err
	}
	r, err := f.Run(ctx, 1) // a message of each in flight, behind the last of the probes
	if err == nil && r.Errors > 0 {
		_, err = f.failures.found()
	}
	return err
}

const (
	probeEvery = 200 * time.Millisecond
	probeTime  = 20 * time.Second
)

// probe sends messages until each member has got one: an answered handshake does not tell when a server counts the
// connection in. Then those that are not to read stop. Later probes may still be on their way.
func (f *Fanout) probe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	ticker := time.NewTicker(probeEvery)
	defer ticker.Stop()
	message := make([]byte, f.config.Payload)
	for i := uint32(0); ; i++ {
		f.payloads.fill(message, uint32(len(f.publishers)), i)
		if err := f.members[0].conn.Send(f.op, message); err != nil {
			return err
		}
		select {
		case <-f.probed:
			f.deaf = f.members[f.config.Subscribers-f.config.NotReading:]
			for _, m := range f.deaf {
				m.conn.Pause()
			}
			return nil
		case <-f.failed:
			_, first := f.failures.found()
			return first
		case <-ctx.Done():
			return fmt.Errorf("%d of %d connections got no message within %v: the server must send each message to all connections",
				f.unprobed.Load(), f.config.Subscribers, probeTime)
		case <-ticker.C:
		}
	}
}

// Loops returns the number of event loops.
func (f *Fanout) Loops() int { return len(f.lanes) }

// Deliveries returns how many messages have come so far; it lags by 20 ms at most. Any goroutine may call it.
func (f *Fanout) Deliveries() (n uint64) {
	for _, l := range f.lanes {
		n += l.engine.Stats().MessagesIn
	}
	return n
}

// Publishes returns how many messages have been sent so far. Any goroutine may call it.
func (f *Fanout) Publishes() (n uint64) {
	for _, p := range f.publishers {
		n += uint64(p.sent.Load())
	}
	return n
}

// Run keeps messages in flight from every publisher for d, or until ctx ends, then waits for the deliveries that are due.
// It may be called again, unless something went wrong: the first failure of a connection ends the run, for the others are
// not what was to be measured any more, and closes all connections. The error is that of a load which cannot run at all.
func (f *Fanout) Run(ctx context.Context, d time.Duration) (*FanoutResult, error) {
	if _, err := f.failures.found(); err != nil {
		return nil, fmt.Errorf("the load has ended: %w", err)
	}
	for _, l := range f.lanes {
		l.reset()
	}
	for _, p := range f.publishers {
		p.total, p.window = 0, 0
	}
	f.stopping.Store(false)
	f.pending.Store(int64(len(f.publishers)))
	before := usageOf(f.config.ServerPID)
	begin := time.Now()
	for _, p := range f.publishers {
		p.conn.Post(p.start)
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	case <-f.failed:
	}
	f.stopping.Store(true)
	elapsed := time.Since(begin)
	atStop := usageOf(f.config.ServerPID)
	ok := f.drain()
	after := usageOf(f.config.ServerPID)
	if !ok {
		f.Close() // what the loops count stands still from here on
		f.countMissing()
	}
	return f.result(elapsed, before, atStop, after), nil
}

// drain waits until nothing is in flight, for as long as messages come, and reports whether that is so.
func (f *Fanout) drain() bool {
	ticker := time.NewTicker(drainTime)
	defer ticker.Stop()
	for seen := f.Deliveries(); ; {
		select {
		case <-f.idle:
			return true
		case <-f.failed:
			return false
		case <-ticker.C:
		}
		now := f.Deliveries()
		if now == seen {
			return false
		}
		seen = now
	}
}

// countMissing counts the connections that lack messages when nothing else has gone wrong.
func (f *Fanout) countMissing() {
	if _, err := f.failures.found(); err != nil {
		return
	}
	members, messages := uint64(0), uint64(0)
	for _, m := range f.members {
		if lacks := m.lacks(); lacks > 0 && !m.deaf {
			members++
			messages += lacks
		}
	}
	f.failures.add(members, fmt.Errorf("%d messages are missing on %d connections, and none came for %v", messages, members, drainTime))
}

// done is called once by each publisher.
func (f *Fanout) done() {
	if f.pending.Add(-1) == 0 {
		f.idle <- struct{}{}
	}
}

// fail counts a connection on which something went wrong, and ends the run.
func (f *Fanout) fail(err error) {
	if f.closing.Load() {
		return
	}
	f.failures.add(1, err)
	f.failOnce.Do(func() { close(f.failed) })
}

// Close closes the connections, with a close frame where the server answers it. Those that do not read are dropped: they
// would not see the answer.
func (f *Fanout) Close() {
	f.closing.Store(true)
	for _, m := range f.deaf {
		m.conn.Terminate()
	}
	ctx, cancel := context.WithTimeout(context.Background(), closeTime)
	defer cancel()
	for _, l := range f.lanes {
		if l.engine.Shutdown(ctx) != nil {
			l.engine.Close()
		}
	}
}

// latencies returns the histogram over all lanes.
func (f *Fanout) latencies() *hdrhistogram.Histogram {
	h := hdrhistogram.New(1, slowest, 3)
	for _, l := range f.lanes {
		h.Merge(l.latency)
	}
	return h
}
