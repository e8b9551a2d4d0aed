package bench

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/url"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"zeroframe/engine"
	"zeroframe/frame"
)

// LoadConfig says what load to put on a server that echoes.
type LoadConfig struct {
	URL       string      // any that engine.Dial takes, such as ws://host[:port]/path; proxies are those of the environment
	TLS       *tls.Config // for wss, as engine.WithClientTLS takes it: sessions are resumed unless it says otherwise
	Conns     int         // connections; at least 1
	Payload   int         // bytes of each message
	InFlight  int         // messages in flight per connection; at least 1
	Text      bool        // text messages; otherwise binary
	Kind      Kind        // what the payload is cut from
	Compress  bool        // permessage-deflate is offered, with context takeover both ways, and used for every message
	Loops     int         // event loops; 0: one per processor
	ServerPID int         // process whose CPU time is taken too, on Linux; 0: none
}

// The bounds of a load, for one that is meant rather than mistyped.
const (
	maxConns    = 1 << 20
	maxPayload  = 256 << 20
	maxInFlight = 1 << 16
	maxTotal    = 8 << 30 // bytes in flight over all connections
)

// ConfigError is returned for a load that cannot be; Field is the name of the field of LoadConfig or FanoutConfig.
type ConfigError struct{ Field, Reason string }

// Error names the field and says what is wrong with it.
func (e *ConfigError) Error() string { return "bench: " + e.Field + ": " + e.Reason }

func between(field string, v, low, high int) error {
	if v < low || v > high {
		return &ConfigError{field, fmt.Sprintf("%d is not between %d and %d", v, low, high)}
	}
	return nil
}

func checkURL(s string) error {
	if u, err := url.Parse(s); err != nil || !mayDial(u) {
		return &ConfigError{"URL", fmt.Sprintf("%q is not ws://host[:port]/path, wss://, or ws+unix:///path/to/socket:/path", s)}
	}
	return nil
}

func (c *LoadConfig) check() error {
	err := errors.Join(
		checkURL(c.URL),
		between("Conns", c.Conns, 1, maxConns),
		between("Payload", c.Payload, 0, maxPayload),
		between("InFlight", c.InFlight, 1, maxInFlight),
		between("Loops", c.Loops, 0, 4096))
	if total := int64(c.Conns) * int64(c.InFlight) * int64(c.Payload); err == nil && total > maxTotal {
		err = &ConfigError{"InFlight", fmt.Sprintf("%d GiB would be in flight at once, at most %d GiB may", total>>30, maxTotal>>30)}
	}
	return err
}

// mayDial reports whether a URL is of a kind that engine.Dial takes.
func mayDial(u *url.URL) bool {
	switch u.Scheme {
	case "ws", "wss":
		return u.Host != ""
	case "ws+unix", "wss+unix":
		return u.Path != "" || u.Opaque != ""
	}
	return false
}

// Load is a set of open connections to load a server over. Its methods must not be called concurrently.
type Load struct {
	config   LoadConfig
	payloads *payloads
	op       frame.OpCode
	lanes    []*lane
	peers    []*peer
	tls      handshakes

	stopping atomic.Bool // the time is up: echoes are awaited, nothing more is sent
	closing  atomic.Bool // connections end because we want it
	pending  atomic.Int64
	idle     chan struct{} // gets a value when pending falls to 0

	failures failures
}

// Open connects. On error nothing stays open.
func Open(ctx context.Context, config LoadConfig) (*Load, error) {
	if err := config.check(); err != nil {
		return nil, err
	}
	if config.Loops == 0 {
		config.Loops = runtime.GOMAXPROCS(0)
	}
	l := &Load{
		config:   config,
		payloads: newPayloads(config.Kind, config.Payload),
		op:       frame.Binary,
		idle:     make(chan struct{}, 1),
	}
	if config.Text {
		l.op = frame.Text
	}
	trust := engine.WithClientTLS(l.tls.counting(config.TLS))
	for range min(config.Loops, config.Conns) {
		options := clientOptions(config.Payload, config.InFlight, trust)
		if config.Compress {
			options = append(options, engine.WithCompression(engine.Compression{TakeoverIn: true, TakeoverOut: true, Threshold: -1}))
		}
		e, err := engine.New(options...)
		if err != nil {
			l.Close()
			return nil, err
		}
		lane := newLane(l)
		lane.engine = e
		l.lanes = append(l.lanes, lane)
	}
	begin := time.Now()
	if err := l.connect(ctx); err != nil {
		l.Close()
		return nil, err
	}
	l.tls.Opening = time.Since(begin)
	return l, nil
}

// connect opens the connections.
func (l *Load) connect(ctx context.Context) error {
	l.peers = make([]*peer, l.config.Conns)
	return connect(ctx, l.config.URL, l.config.Conns, func(ctx context.Context, i int) error {
		p := &peer{
			lane:   l.lanes[i%len(l.lanes)],
			id:     uint32(i),
			times:  make([]time.Duration, l.config.InFlight),
			opened: make(chan struct{}),
		}
		l.peers[i] = p
		return dial(ctx, p.lane.engine, l.config.URL, p, p.opened)
	})
}

// clientOptions are those of an engine for messages of so many bytes, so many of them in flight on a connection.
func clientOptions(payload, inFlight int, trust engine.Option) []engine.Option {
	return []engine.Option{
		engine.WithLoops(1),
		engine.WithMaxConns(0),
		engine.WithPingInterval(0),
		engine.WithWriteTimeout(0),
		trust,
		engine.WithMaxFrameSize(max(int64(payload), 125)),
		engine.WithMaxMessageSize(max(int64(payload), 1)),
		engine.WithMaxBackpressure(inFlight*(payload+frame.MaxHeaderSize) + 1<<20),
	}
}

// Loops returns the number of event loops.
func (l *Load) Loops() int { return len(l.lanes) }

// Echoes returns how many messages have come back so far; it lags by 20 ms at most. Any goroutine may call it.
func (l *Load) Echoes() (n uint64) {
	for _, lane := range l.lanes {
		n += lane.engine.Stats().MessagesIn
	}
	return n
}

// drainTime is how long an echo may take before it is counted as lost. Changed by tests only.
var drainTime = 10 * time.Second

// Run keeps messages in flight on every connection for d, or until ctx ends, then waits for the echoes that are due. It
// may be called again: what one run leaves open the next one uses. What goes wrong on connections is counted in the
// result; the error is that of a load which cannot run at all.
func (l *Load) Run(ctx context.Context, d time.Duration) (*Result, error) {
	ready := make([]*peer, 0, len(l.peers))
	for _, p := range l.peers {
		if !p.dead.Load() {
			ready = append(ready, p)
		}
	}
	if len(ready) == 0 {
		_, first := l.failures.found()
		return nil, errors.Join(errors.New("no connection is left"), first)
	}
	for _, lane := range l.lanes {
		lane.latency.Reset()
		lane.echoes, lane.window, lane.sent = 0, 0, 0
	}
	l.stopping.Store(false)
	l.pending.Store(int64(len(ready)))
	before, squeezed := usageOf(l.config.ServerPID), l.squeezed()
	begin := time.Now()
	for _, p := range ready {
		p.running.Store(true)
		if !p.conn.Post(p.start) {
			p.finish()
		}
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	early := false
	select {
	case <-timer.C:
	case <-ctx.Done():
	case <-l.idle: // no connection is left
		early = true
	}
	l.stopping.Store(true)
	elapsed := time.Since(begin)
	atStop := usageOf(l.config.ServerPID)
	if !early {
		l.drain()
	}
	r := l.result(elapsed, before, atStop, usageOf(l.config.ServerPID))
	r.Compression = l.compression(squeezed)
	return r, nil
}

// drain waits until nothing is in flight.
func (l *Load) drain() {
	timer := time.NewTimer(drainTime)
	defer timer.Stop()
	select {
	case <-l.idle:
		return
	case <-timer.C:
	}
	lost := uint64(0)
	for _, p := range l.peers {
		if p.running.Load() && p.dead.CompareAndSwap(false, true) {
			lost++
			p.conn.Terminate()
		}
	}
	if lost > 0 {
		l.failures.add(lost, fmt.Errorf("%d connections with echoes missing after %v", lost, drainTime))
	}
	<-l.idle // terminated connections finish at once
}

// done is called once for each connection that Run started.
func (l *Load) done() {
	if l.pending.Add(-1) == 0 {
		l.idle <- struct{}{}
	}
}

// Close closes the connections, with a close frame where the server answers it.
func (l *Load) Close() {
	l.closing.Store(true)
	ctx, cancel := context.WithTimeout(context.Background(), closeTime)
	defer cancel()
	for _, lane := range l.lanes {
		if lane.engine.Shutdown(ctx) != nil {
			lane.engine.Close()
		}
	}
}

// closeTime is how long the server may take to answer close frames.
const closeTime = 2 * time.Second

// latencies returns the histogram over all lanes.
func (l *Load) latencies() *hdrhistogram.Histogram {
	h := hdrhistogram.New(1, slowest, 3)
	for _, lane := range l.lanes {
		h.Merge(lane.latency)
	}
	return h
}
