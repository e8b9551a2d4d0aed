package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"zeroframe/engine"
	"zeroframe/frame"
)

// soakOrder is what a client process reads: the first is the whole order, the others only say what to do next. It ends
// with its input.
type soakOrder struct {
	Do string `json:"do"` // soakOpen, soakBegin or soakEnd

	URL          string        `json:"url,omitempty"`
	Conns        int           `json:"conns,omitempty"`
	Sources      []string      `json:"sources,omitempty"`
	Mute         int           `json:"mute,omitempty"`
	PingInterval time.Duration `json:"ping_interval,omitempty"`
	Tolerance    time.Duration `json:"tolerance,omitempty"`
	Echoes       float64       `json:"echoes,omitempty"`
	Dialers      int           `json:"dialers,omitempty"`
	Loops        int           `json:"loops,omitempty"`
}

const (
	soakOpen  = "open"  // connect, and tell how far it is until all are open
	soakBegin = "begin" // measure, and tell of pings now and then
	soakEnd   = "end"   // tell what was found
)

// soakNews is what it prints.
type soakNews struct {
	Opened  int    `json:"opened"` // so far
	Retried uint64 `json:"retried"`
	Pings   uint64 `json:"pings"`
	Did     string `json:"did,omitempty"` // the order that was carried out
	Error   string `json:"error,omitempty"`
	Books   *books `json:"books,omitempty"`
}

// newsEvery is how often a client process tells how far it is.
const newsEvery = 250 * time.Millisecond

// ServeSoakClients is a client process of a soak over sockets: it takes orders from in, tells on out what comes of them,
// and returns when in ends.
func ServeSoakClients(in io.Reader, out io.Writer) error {
	orders, news := json.NewDecoder(in), json.NewEncoder(out)
	var order soakOrder
	if err := orders.Decode(&order); err != nil {
		return fmt.Errorf("the first order: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	s, err := newSoakClients(&order)
	if err != nil {
		return err
	}
	defer s.engine.Close()
	defer s.watch.ending.Store(true)
	next := make(chan string)
	go func() {
		defer close(next)
		for {
			var o soakOrder
			if orders.Decode(&o) != nil {
				cancel()
				return
			}
			next <- o.Do
		}
	}()
	opened := make(chan error, 1)
	go func() { opened <- s.open(ctx) }()
	ticker := time.NewTicker(newsEvery)
	defer ticker.Stop()
	measuring, measured := context.WithCancel(ctx)
	defer measured()
	var echoed sync.WaitGroup
	for {
		n := soakNews{}
		select {
		case <-ticker.C:
		case err := <-opened:
			if n.Did = soakOpen; err != nil {
				n.Error = err.Error()
			}
		case do, more := <-next:
			switch {
			case !more:
				return nil
			case do == soakBegin:
				s.watch.begin()
				echoed.Go(func() {
					s.watch.echoes.run(measuring, order.Echoes, order.Conns, s.hears, s.send)
				})
			case do == soakEnd:
				s.watch.measured()
				measured()
				echoed.Wait()
				s.watch.sweep(clock)
				found, err := s.watch.books()
				if err != nil {
					n.Error = err.Error()
				}
				n.Books = &found
			}
			n.Did = do
		}
		n.Opened, n.Retried, n.Pings = int(s.watch.open.Load()), s.retried.Load(), s.watch.pings.Load()
		if err := news.Encode(n); err != nil {
			return err
		}
	}
}

// soakClients are the connections of a client process.
type soakClients struct {
	order   *soakOrder
	engine  *engine.Engine
	watch   *soakWatch
	dialers []engine.RouteOption // one for each source address
	conns   []atomic.Pointer[engine.Conn]
	retried atomic.Uint64
}

func newSoakClients(o *soakOrder) (*soakClients, error) {
	e, err := engine.New(
		engine.WithLoops(max(o.Loops, 1)),
		engine.WithMaxConns(0),
		engine.WithPingInterval(0),
		engine.WithMaxFrameSize(4<<10),
		engine.WithMaxMessageSize(4<<10))
	if err != nil {
		return nil, err
	}
	s := &soakClients{
		order: o, engine: e,
		watch: newSoakWatch(o.Conns, o.PingInterval, o.Tolerance),
		conns: make([]atomic.Pointer[engine.Conn], o.Conns),
	}
	for _, source := range o.Sources {
		d := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(source)}, Control: bindLate, KeepAlive: -1}
		d.SetMultipathTCP(false)
		s.dialers = append(s.dialers, engine.WithDialContext(d.DialContext))
	}
	return s, nil
}

// soakTries is how often one connection is tried, with longer and longer rests: the kernel may hand it to a server
// process that is full.
const soakTries = 12

func (s *soakClients) open(ctx context.Context) error {
	return connectBy(ctx, s.order.URL, s.order.Conns, s.order.Dialers, func(ctx context.Context, i int) error {
		rest := 5 * time.Millisecond
		for try := 1; ; try++ {
			p := &soakPeer{clients: s, index: i, opened: make(chan struct{})}
			err := dial(ctx, s.engine, s.order.URL, p, p.opened, s.dialers[(i+try)%len(s.dialers)])
			if err == nil || ctx.Err() != nil || try == soakTries {
				return err
			}
			if p.known.Load() { // it was open, and is lost; that is in the books
				return err
			}
			s.retried.Add(1)
			timer := time.NewTimer(rest)
			select {
			case <-timer.C:
			case <-ctx.Done():
				timer.Stop()
				return ctx.Err()
			}
			rest = min(2*rest, time.Second)
		}
	})
}

// hears reports whether connection i can have an echo.
func (s *soakClients) hears(i int) bool { return i >= s.order.Mute && s.watch.isOpen(i) }

// send sends an echo's message on connection i.
func (s *soakClients) send(i int, payload []byte) bool {
	c := s.conns[i].Load()
	return c != nil && c.Send(frame.Binary, payload) == nil
}

// soakPeer is one connection.
type soakPeer struct {
	clients *soakClients
	index   int
	opened  chan struct{}
	known   atomic.Bool
}

// OnOpen lets the dialling goroutine go on, and stops its ears if it is to be one of the mute.
func (p *soakPeer) OnOpen(c *engine.Conn) {
	p.known.Store(true)
	p.clients.conns[p.index].Store(c)
	p.clients.watch.opened(p.index, clock())
	if p.index < p.clients.order.Mute {
		c.Pause()
	}
	close(p.opened)
}

// OnPing is told of a ping that the engine has answered.
func (p *soakPeer) OnPing(*engine.Conn, []byte) { p.clients.watch.pinged(p.index, clock()) }

// OnMessage is told of an echo.
func (p *soakPeer) OnMessage(_ *engine.Conn, _ frame.OpCode, payload []byte) {
	p.clients.watch.echoes.came(uint32(p.index), payload, clock())
}

// OnClose is told of the end.
func (p *soakPeer) OnClose(_ *engine.Conn, reason engine.CloseReason) {
	p.clients.conns[p.index].Store(nil)
	p.clients.watch.ended(p.index, ended(reason))
}
