package engine

import (
	"context"
	"iter"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"zeroframe/deflate"
	"zeroframe/frame"
	"zeroframe/internal/handshake"
	"zeroframe/internal/loop"
	"zeroframe/internal/secure"
	"zeroframe/pool"
)

// Engine is a set of event loops and the routes they serve. Its methods may be called from any goroutine, except as
// they say.
type Engine struct {
	config  config
	group   *loop.Group
	router  *router
	waiting route       // of connections whose request has not arrived
	http    *httpServer // nil without WithHTTPHandler
	topics  topics

	// Compression for goroutines that are not loops, and for what leaves a loop.
	compressors   *pool.Pool[*deflate.Compressor]
	streams       atomic.Int64 // messages that are compressed as they are written
	decompressors *pool.Pool[*deflate.Decompressor]

	refused struct { // by goroutines that are not loops
		byStatus [len(refusalStatus)]atomic.Uint64
		maxConns atomic.Uint64
	}

	publishesRefused atomic.Uint64

	turns secure.Turns // of TLS handshakes

	closing       atomic.Bool
	up            context.Context // ends when closing begins
	down          context.CancelFunc
	live          atomic.Int64 // connections made and not yet ended
	empty         chan struct{}
	emptied       sync.Once
	backplaneOnce sync.Once
}

// New makes an engine and starts its loops. Shutdown or Close ends them. The error is an *OptionError that names the
// option, ErrUnsupported, or the system's.
func New(opts ...Option) (*Engine, error) {
	e := &Engine{config: defaults(), router: newRouter(), empty: make(chan struct{})}
	e.up, e.down = context.WithCancel(context.Background())
	for _, o := range opts {
		if err := o.applyEngine(&e.config); err != nil {
			return nil, err
		}
	}
	if !e.config.maxConnsSet {
		e.config.maxConns = defaultMaxConns()
	}
	if err := e.config.checkExtensions(); err != nil {
		return nil, err
	}
	if e.config.httpConfigure != nil && e.config.httpHandler == nil {
		return nil, &OptionError{"WithHTTPServer", "there is no WithHTTPHandler"}
	}
	e.compressors = newPool[deflate.Compressor](e.config.loops)
	e.turns = newTurns()
	e.topics.byName = make(map[string]*topic)
	e.decompressors = newPool[deflate.Decompressor](e.config.loops)
	e.waiting = route{engine: e, handler: NopHandler{}, settings: e.config.settings}
	busy := handshake.AppendRefusal(nil, handshake.ErrUnavailable, time.Time{}) // it may be sent years later
	group, err := loop.NewGroup(loop.Config{
		Loops:       e.config.loops,
		ReadBuffer:  e.config.readBuffer,
		IdleBuffers: e.config.idleBuffers,
		MaxConns:    e.config.maxConns,
		NoDelay:     e.config.noDelay,
		KeepAlive:   e.config.keepAlive,
		UserTimeout: e.config.userTimeout,
		Logger:      e.config.logger,
		Poison:      e.config.poison,
		NewConn: func(release func()) *loop.Conn {
			c := e.newConn(&e.waiting)
			if release != nil {
				c.more().release = release
			}
			return &c.lc
		},
		Admit:   e.config.acceptHook,
		Refusal: busy,
		Refused: func(l *loop.Loop, cause loop.Refusal) {
			l.Local().(*shard).count.refusedConns[cause]++
		},
		NewLocal: func(l *loop.Loop) any { return newShard(e, l) },
		Turn:     func(l *loop.Loop, idle bool) { l.Local().(*shard).turn(idle) },
	})
	if err != nil {
		return nil, err
	}
	e.group = group
	if b := e.config.backplane; b != nil {
		if err := b.Attach(e.deliverElsewhere, e.config.logger); err != nil {
			group.Close()
			return nil, err
		}
	}
	if e.config.httpHandler != nil {
		e.http = newHTTPServer(e)
		go e.http.serve()
	}
	return e, nil
}

// newPool returns a pool that keeps as many as can be at work at once.
func newPool[T any](loops int) *pool.Pool[*T] {
	p, err := pool.New(pool.Config[*T]{Capacity: loops + runtime.GOMAXPROCS(0), Produce: func() *T { return new(T) }})
	if err != nil {
		panic(err) // the capacity is not below 1
	}
	return p
}

// Handle serves the requests that match pattern with h. Patterns are those of net/http's ServeMux, wildcards, hosts and
// methods included: "/echo", "/room/{id}", "/{$}" for the root alone, "/" for everything. Routes may be added while the
// engine serves. The error is an *OptionError, or says what is wrong with the pattern.
func (e *Engine) Handle(pattern string, h Handler, opts ...RouteOption) error {
	return e.handle(pattern, h, nil, opts)
}

// handle registers a route, which layer changes first if it is not nil.
func (e *Engine) handle(pattern string, h Handler, layer func(*route), opts []RouteOption) error {
	r, err := e.newRoute(h, frame.Server, layer, opts)
	if err != nil {
		return err
	}
	r.pattern = pattern
	return e.router.add(pattern, r)
}

// Conns iterates over the connections that are open, as of the call, in no order. Some may end meanwhile.
func (e *Engine) Conns() iter.Seq[*Conn] {
	return func(yield func(*Conn) bool) {
		for _, lc := range e.group.Conns() {
			c := (*Conn)(lc.Endpoint().(*endpoint))
			if c.flags.Load()&flagUpgraded != 0 && !yield(c) {
				return
			}
		}
	}
}

func (e *Engine) newConn(r *route) *Conn {
	e.live.Add(1)
	return newConn(r)
}

func (e *Engine) connEnded() {
	if e.live.Add(-1) == 0 && e.closing.Load() {
		e.emptied.Do(func() { close(e.empty) })
	}
}

// Shutdown stops listening, refuses further requests, closes every connection with 1001 "Server is going down", and
// waits until all have ended; of those that WithHTTPHandler's handler serves it closes the idle ones and waits for the
// others' answers. When ctx ends first, the rest is terminated and ctx's error returned. Serve and its kin, and Dial
// wherever it is, return ErrServerClosed at once. It must not be called on a loop.
func (e *Engine) Shutdown(ctx context.Context) error {
	e.beginClosing()
	for _, lc := range e.group.Conns() {
		lc.Notify(mailShutdown)
	}
	if e.live.Load() == 0 {
		e.emptied.Do(func() { close(e.empty) })
	}
	stopHTTP := e.shutdownHTTP(ctx)
	var err error
	select {
	case <-e.empty:
	case <-ctx.Done():
		err = ctx.Err()
	}
	stopHTTP()
	e.group.Close()
	e.closeBackplane()
	return err
}

// Close ends the engine and every connection at once, without close frames; their reason is 1006 with ErrServerClosed.
// Dial, wherever it is, returns that at once. It must not be called on a loop.
func (e *Engine) Close() error {
	e.beginClosing()
	if e.http != nil {
		e.http.close()
	}
	e.group.Close()
	e.closeBackplane()
	return nil
}

func (e *Engine) beginClosing() {
	e.closing.Store(true)
	e.down()
}

// lastHandshake is how long a TLS handshake may go on when the engine goes down.
const lastHandshake = time.Second

// shutDown is Shutdown for one connection, on its loop.
func (c *Conn) shutDown() {
	s := c.shard()
	for len(s.publications.next()) > 0 { // before the close frames, whatever came first
		s.deliverPublished()
	}
	switch c.state {
	case stateHead:
		if c.unready() { // it is told when it can be, if that is soon
			c.due = min(c.due, c.lc.Loop().Now()+lastHandshake)
			c.armTimer()
			return
		}
		c.refuse(handshake.ErrUnavailable)
	case stateOpen, stateAnswering:
		c.closeWith(CloseReason{Code: frame.CloseGoingAway, Text: "Server is going down"})
		c.step(evLocalClose)
	}
}
