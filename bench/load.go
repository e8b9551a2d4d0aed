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
	URL       string      // any that engine.Dial takes, such as ws://host[:port]/path, with the environment's proxies, or tcp://host:port
	TLS       *tls.Config // for wss, as engine.WithClientTLS takes it: sessions are resumed unless it says otherwise
	Conns     int         // connections; at least 1
	Payload   int         // bytes of each message
	InFlight  int         // messages in flight per connection, with a Rate at most so many; at least 1
	Rate      float64     // messages per second over all connections, in turn, at most MaxRate; 0: the next is sent when an echo comes back
	Pings     bool        // pings instead of messages, of at most 125 bytes, which pongs are the echoes of
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

// plain returns the address of a tcp:// URL.
func plain(s string) (address string, ok bool) {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "tcp" || u.Port() == "" {
		return "", false
	}
	return u.Host, true
}

func (c *LoadConfig) check() error {
	low, high := 0, maxPayload
	if c.Pings {
		high = frame.MaxControlPayload
	}
	err := c.checkURL()
	if _, ok := plain(c.URL); ok {
		low = 1
	}
	err = errors.Join(err,
		between("Conns", c.Conns, 1, maxConns),
		between("Payload", c.Payload, low, high),
		between("InFlight", c.InFlight, 1, maxInFlight),
		checkRate(c.Rate),
		between("Loops", c.Loops, 0, 4096))
	if total := int64(c.Conns) * int64(c.InFlight) * int64(c.Payload); err == nil && total > maxTotal {
		err = &ConfigError{"InFlight", fmt.Sprintf("%d GiB would be in flight at once, at most %d GiB may", total>>30, maxTotal>>30)}
	}
	return err
}

func (c *LoadConfig) checkURL() error {
	_, ok := plain(c.URL)
	switch {
	case !ok:
		return checkURL(c.URL)
	case c.Text || c.Pings || c.Compress:
		return &ConfigError{"URL", "plain TCP has no text, no pings, no compression"}
	}
	return nil
}

func checkRate(v float64) error {
	if !(v >= 0 && v <= MaxRate) {
		return &ConfigError{"Rate", fmt.Sprintf("%v is not between 0 and %v", v, MaxRate)}
	}
	return nil
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
	switch {
	case config.Text:
		l.op = frame.Text
	case config.Pings:
		l.op = frame.Ping
	}
	for range min(config.Loops, config.Conns) {
		lane, err := newLane(l)
		if err != nil {
			l.Close()
			return nil, err
		}
		l.lanes = append(l.lanes, lane)
	}
	begin := time.Now()
	if err := l.grow(ctx, config.Conns); err != nil {
		l.Close()
		return nil, err
	}
	l.tls.Opening = time.Since(begin)
	return l, nil
}

// grow opens n more connections. Nothing may be in flight.
func (l *Load) grow(ctx context.Context, n int) error {
	first := len(l.peers)
	l.peers = append(l.peers, make([]*peer, n)...)
	return connect(ctx, l.config.URL, n, func(ctx context.Context, i int) error {
		i += first
		p := &peer{lane: l.lanes[i%len(l.lanes)], id: uint32(i), opened: make(chan struct{})}
		if l.config.Rate == 0 {
			p.times = make([]time.Duration, l.config.InFlight)
		}
		l.peers[i] = p
		return p.lane.client.dial(ctx, p)
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

// Echoes returns how many messages have come back so far. Any goroutine may call it.
func (l *Load) Echoes() (n uint64) {
	for _, lane := range l.lanes {
		n += lane.answered.Load()
	}
	return n
}

// drainTime is how long an echo may take before it is counted as lost. Changed by tests only.
var drainTime = 10 * time.Second

// Run keeps messages in flight on every connection for d, or with a Rate sends them when they are due, until ctx ends,
// then waits for the echoes that are to come; Pace says what becomes of messages that could not be sent in time. It may
// be called again: what one run leaves open the next one uses. What goes wrong on connections is counted in the
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
	var pacer *pacer
	if l.config.Rate > 0 {
		pacer = l.schedule(ready, d)
	}
	l.stopping.Store(false)
	l.pending.Store(int64(len(ready)))
	before, squeezed := usageOf(l.config.ServerPID), l.squeezed()
	begin := time.Now()
	for _, p := range ready {
		p.running.Store(true)
	}
	if pacer != nil {
		pacer.begin()
	} else {
		for _, p := range ready {
			if !p.wire.post(p.start) {
				p.finish()
			}
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
	if pacer != nil {
		pacer.end()
	}
	l.stopping.Store(true)
	elapsed := time.Since(begin)
	atStop := usageOf(l.config.ServerPID)
	if pacer != nil {
		pacer.settle()
	}
	if !early {
		l.drain()
	}
	after := usageOf(l.config.ServerPID)
	var pace *Pace
	if pacer != nil {
		pace = pacer.account(elapsed)
	}
	r := l.result(elapsed, before, atStop, after)
	r.Pace = pace
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
			p.wire.terminate()
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
		lane.client.close(ctx)
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
