package bench

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"zeroframe/engine"
	"zeroframe/frame"
)

// storm opens connections and closes them, on as many goroutines as there may be at once.
type storm struct {
	url      string
	rate     float64
	pid      int
	slots    []*slotOf
	tls      handshakes
	opened   atomic.Uint64
	failures failures

	engine   *engine.Engine // of WebSockets
	address  string         // of plain TCP
	payloads *payloads
}

// slotOf is one goroutine of a storm, to whom its fields belong while it runs.
type slotOf struct {
	storm   *storm
	id      int
	count   uint32 // connections so far
	window  uint64 // of them, those opened before the time was up
	total   uint64
	latency *hdrhistogram.Histogram
	lag     *hdrhistogram.Histogram
	message []byte
	echo    []byte
}

func openStorm(s *Scenario, url string, trust *tls.Config, settings *Settings, pid int) (*storm, error) {
	x := &storm{url: url, rate: s.Rate, pid: pid, payloads: newPayloads(s.Kind, s.Payload)}
	for i := range s.Conns {
		x.slots = append(x.slots, &slotOf{
			storm: x, id: i,
			latency: hdrhistogram.New(1, slowest, 3), lag: hdrhistogram.New(1, slowest, 3),
			message: make([]byte, s.Payload), echo: make([]byte, s.Payload),
		})
	}
	var ok bool
	if x.address, ok = plain(url); ok {
		return x, nil
	}
	var err error
	x.engine, err = engine.New(append(clientOptions(s.Payload, 1, engine.WithClientTLS(x.tls.counting(trust))), engine.WithLoops(settings.Loops))...)
	return x, err
}

func (s *storm) answered() uint64 { return s.opened.Load() }

func (s *storm) latencies() *hdrhistogram.Histogram {
	h := hdrhistogram.New(1, slowest, 3)
	for _, x := range s.slots {
		h.Merge(x.latency)
	}
	return h
}

// Close ends what Run has left.
func (s *storm) Close() {
	if s.engine != nil {
		s.engine.Close()
	}
}

// Run opens and closes connections for d, or until ctx ends, and then closes those that are open.
func (s *storm) Run(ctx context.Context, d time.Duration) (*Result, error) {
	for _, x := range s.slots {
		x.window, x.total = 0, 0
		x.latency.Reset()
		x.lag.Reset()
	}
	s.tls.reset()
	before := usageOf(s.pid)
	begin := time.Now()
	inTime, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	var next atomic.Int64 // connection at a fixed rate
	var all sync.WaitGroup
	for _, x := range s.slots {
		all.Go(func() { x.run(inTime, begin, &next) })
	}
	<-inTime.Done()
	elapsed, atStop := time.Since(begin), usageOf(s.pid)
	all.Wait()
	after := usageOf(s.pid)
	r := &Result{Elapsed: elapsed, TLS: s.tls.found(s.url)}
	for _, x := range s.slots {
		r.Messages += x.window
		r.Total += x.total
	}
	r.PerSecond = float64(r.Messages) / elapsed.Seconds()
	if s.engine == nil {
		r.Bytes = r.Messages * uint64(s.payloads.size)
		r.MBPerSec = float64(r.Bytes) / 1e6 / elapsed.Seconds()
	}
	r.Errors, r.Error = s.failures.text()
	r.Client, r.Server = spent(before, atStop, after, elapsed, r.Total)
	if s.rate > 0 {
		r.Pace = s.account(elapsed, r.Messages, uint64(next.Load()))
	}
	r.Latency = latency(s.latencies())
	return r, nil
}

// run opens one connection after the other, at a fixed rate the one that is due next. Timers of the Go runtime's do for
// that: at the rates at which connections are opened a millisecond is exact.
func (x *slotOf) run(ctx context.Context, start time.Time, next *atomic.Int64) {
	for ctx.Err() == nil {
		at := time.Now()
		if rate := x.storm.rate; rate > 0 {
			at = start.Add(due(next.Add(1)-1, rate))
			if wait := time.NewTimer(time.Until(at)); !await(ctx, wait) {
				next.Add(-1)
				return
			}
			x.lag.RecordValue(min(max(int64(time.Since(at)), 0), slowest))
		}
		err := x.open(func() {
			x.latency.RecordValue(min(int64(time.Since(at)), slowest))
			x.total++
			x.storm.opened.Add(1)
			if ctx.Err() == nil {
				x.window++
			}
		})
		if err != nil {
			x.storm.failures.add(1, err)
			if !await(ctx, time.NewTimer(failedPause)) {
				return
			}
		}
	}
}

// due is how long after the start a connection is, at a rate.
func due(n int64, rate float64) time.Duration { return time.Duration(float64(n) * 1e9 / rate) }

// failedPause keeps a server that refuses from being asked at full speed.
const failedPause = 10 * time.Millisecond

func await(ctx context.Context, timer *time.Timer) bool {
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// account is pacer.account for connections: those that were due and not begun at the end are unsent.
func (s *storm) account(elapsed time.Duration, answered, begun uint64) *Pace {
	pace := &Pace{Wanted: s.rate}
	lag := hdrhistogram.New(1, slowest, 3)
	for _, x := range s.slots {
		lag.Merge(x.lag)
	}
	for ; due(int64(begun+pace.Unsent), s.rate) < elapsed; pace.Unsent++ {
		late := min(int64(elapsed-due(int64(begun+pace.Unsent), s.rate)), slowest)
		lag.RecordValue(late)
		s.slots[0].latency.RecordValue(late)
	}
	pace.Due = begun + pace.Unsent
	pace.Kept = kept(pace, answered)
	pace.Lag = latency(lag)
	return pace
}

// open opens a connection, calls opened, and closes it, as the protocol wants it. What is open is closed, whatever the time.
func (x *slotOf) open(opened func()) error {
	ctx, cancel := context.WithTimeout(context.Background(), openTime)
	defer cancel()
	by := x.openSocket
	if x.storm.engine == nil {
		by = x.openPlain
	}
	if err := by(ctx, opened); err != nil {
		return explainDial(err, x.storm.url)
	}
	return nil
}

// passer is a WebSocket of a storm.
type passer struct {
	engine.NopHandler
	closed chan engine.CloseReason
}

// OnClose tells who waits.
func (p *passer) OnClose(_ *engine.Conn, reason engine.CloseReason) { p.closed <- reason }

func (x *slotOf) openSocket(ctx context.Context, opened func()) error {
	p := &passer{closed: make(chan engine.CloseReason, 1)}
	c, err := x.storm.engine.Dial(ctx, x.storm.url, nil, p)
	if err != nil {
		return err
	}
	opened()
	c.Close(frame.CloseNormal, "")
	select {
	case reason := <-p.closed:
		if reason.Code != frame.CloseNormal && reason.Code != frame.CloseNoStatus {
			return ended(reason)
		}
		return nil
	case <-ctx.Done():
		c.Terminate()
		return fmt.Errorf("the server does not answer a close frame within %v", openTime)
	}
}

func (x *slotOf) openPlain(ctx context.Context, opened func()) error {
	c, err := new(net.Dialer).DialContext(ctx, "tcp", x.storm.address)
	if err != nil {
		return err
	}
	defer c.Close()
	end, _ := ctx.Deadline()
	c.SetDeadline(end)
	x.count++
	x.storm.payloads.fill(x.message, uint32(x.id), x.count)
	if _, err := c.Write(x.message); err != nil {
		return err
	}
	if _, err := io.ReadFull(c, x.echo); err != nil {
		return err
	}
	if !x.storm.payloads.matches(x.echo, uint32(x.id), x.count) {
		return fmt.Errorf("an echo of %d bytes differs from what was sent, beginning %.32q", len(x.echo), x.echo)
	}
	opened()
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		return err
	}
	if n, err := c.Read(x.echo); n != 0 || err != io.EOF {
		return fmt.Errorf("%d bytes behind the echo, %v", n, err)
	}
	return nil
}
