package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Settings say how a scenario is measured.
type Settings struct {
	Duration time.Duration // of the run that counts; Idle has none
	// Warmup is how long a run before it is that does not count; 0: none. With Target.Snapshot it is repeated, up to five
	// times, while the server still allocates to fill its pools.
	Warmup time.Duration
	// Trace is how long a run after it is in which system calls are counted; 0: none. Idle has none.
	// It is repeated where one way to count fails and there is another.
	Trace time.Duration
	Loops int // of the load; 0: one, for a load that has one core
	// Progress is told what is being done, and how to ask how many messages have been answered in it so far; may be nil. count is
	// nil when there is nothing to count. Any goroutine may call count, which never goes back, until Progress is called again.
	Progress func(doing string, count func() uint64)
}

func (s *Settings) tell(doing string, count func() uint64) {
	if s.Progress != nil {
		s.Progress(doing, count)
	}
}

// Measure does a scenario to a target once: it opens the connections, warms up, measures, and closes them. What goes wrong
// on connections is counted in the measurement. The error is *ConfigError for a scenario or settings that cannot be,
// *UnsuitableError for a target that cannot do it, or says why there is no measurement.
//
// Whoever wants both sides on cores of their own pins the server when starting it and this process (Pin, OnCore), and
// sets GOMAXPROCS. Measurements of one process must not run at the same time: its processor time is the client's.
func Measure(ctx context.Context, s Scenario, t Target, settings Settings) (*Measurement, error) {
	if err := s.Check(); err != nil {
		return nil, err
	}
	if err := t.Suits(&s); err != nil {
		return nil, err
	}
	if settings.Duration <= 0 && s.Form != Idle {
		return nil, &ConfigError{"Duration", fmt.Sprintf("%v is not above 0", settings.Duration)}
	}
	if t.PID == os.Getpid() {
		t.PID = 0 // what both sides use cannot be told apart
	}
	settings.Loops = cmp.Or(settings.Loops, 1)
	m := &Measurement{Scenario: s, Target: t.Name, Counted: s.Form.counts(), Began: time.Now()}
	measure := m.load
	if s.Form == Idle {
		measure = m.idle
	}
	if err := measure(ctx, &t, &settings); err != nil {
		return nil, err
	}
	return m, nil
}

// A load above the first utilisation of its core with a server below the second is the bottleneck.
const (
	clientBusy = 0.90
	serverBusy = 0.95
)

// ClientBound reports whether the load is the bottleneck: it has no time left of its core, and the server has. Both are
// utilisations of a core, 0 to 1.
func ClientBound(client, server float64) bool { return client > clientBusy && server < serverBusy }

// loader is a load with its connections open.
type loader interface {
	// Run loads for d. It may be called again.
	Run(ctx context.Context, d time.Duration) (*Result, error)
	Close()
	answered() uint64 // messages so far; any goroutine may call it
	latencies() *hdrhistogram.Histogram
}

// open connects to the target as the scenario says.
func (s *Scenario) open(ctx context.Context, t *Target, settings *Settings) (loader, error) {
	url := t.at(s)
	switch s.Form {
	case FanOut:
		c := s.fanout(url)
		c.TLS, c.Loops, c.ServerPID = t.TLS, settings.Loops, t.PID
		f, err := OpenFanout(ctx, c)
		if err != nil {
			return nil, err
		}
		return fanoutLoader{f}, nil
	case Echo, Pings:
		c := s.load(url)
		c.TLS, c.Loops, c.ServerPID = t.TLS, settings.Loops, t.PID
		l, err := Open(ctx, c)
		if err != nil {
			return nil, err
		}
		return l, nil
	case Storm:
		return openStorm(s, url, t.TLS, settings, t.PID)
	}
	return nil, &ConfigError{"Form", fmt.Sprintf("%v has no load", s.Form)}
}

// load measures what is a run over connections that are open.
func (m *Measurement) load(ctx context.Context, t *Target, settings *Settings) error {
	s := &m.Scenario
	w := witness{t}
	if _, err := w.shot(ctx, true); err != nil { // the first makes what later ones use again
		return err
	}
	empty, err := w.shot(ctx, true)
	if err != nil {
		return err
	}
	emptyRSS := w.resident(empty)
	settings.tell("connecting", nil)
	load, err := s.open(ctx, t, settings)
	if err != nil {
		return err
	}
	defer load.Close()
	idle, err := w.shot(ctx, true)
	if err != nil {
		return err
	}
	if err := w.warm(ctx, load, settings); err != nil {
		return err
	}
	calm, before, err := w.shots(ctx)
	if err != nil {
		return err
	}
	settings.tell("measuring", since(load))
	result, err := load.Run(ctx, settings.Duration)
	if err != nil {
		return err
	}
	after, err := w.shotAfter(ctx, before, result.Total)
	if err != nil {
		return err
	}
	m.take(result, load.latencies())
	if m.Server == nil && after != nil {
		m.Server = cpuOf(result, calm, before, after)
	}
	m.ClientBound = m.Server != nil && ClientBound(m.Client.Utilisation, m.Server.Utilisation)
	if rss := w.resident(after); emptyRSS != 0 && rss != 0 {
		m.Memory = &Memory{RSS: rss}
		if s.manyConns() {
			m.Memory.PerConn = slope(emptyRSS, rss, s.Conns)
		}
	}
	if after != nil {
		m.Heap = heapOf(result, calm, before, after)
		if s.manyConns() {
			m.Heap.LivePerConn = slope(empty.Process.LiveHeap, idle.Process.LiveHeap, s.Conns)
		}
		m.IO = ioOf(result, before, after)
		m.checkCount(before, after)
	}
	if settings.Trace > 0 && t.PID != 0 {
		settings.tell("counting system calls", since(load))
		m.Syscalls, m.Untraced, err = countSyscalls(ctx, t.PID, func() (uint64, error) {
			r, err := load.Run(ctx, settings.Trace)
			if err != nil {
				return 0, err
			}
			m.Errors, m.Error = max(m.Errors, r.Errors), cmp.Or(m.Error, r.Error) // both are since it was opened
			return r.Total, nil
		})
	}
	return errors.Join(err, ctx.Err())
}

// manyConns reports whether connections are so many that what they cost does not drown in what a server costs at all.
func (s *Scenario) manyConns() bool { return s.Conns >= enoughConns && s.Form != Storm }

const enoughConns = 500

// since counts what a load answers from now on.
func since(l loader) func() uint64 {
	base := l.answered()
	return func() uint64 { return l.answered() - base }
}

// take copies what a run found.
func (m *Measurement) take(r *Result, h *hdrhistogram.Histogram) {
	m.Elapsed, m.Messages, m.Total, m.Bytes, m.Errors, m.Error = r.Elapsed, r.Messages, r.Total, r.Bytes, r.Errors, r.Error
	m.PerSecond, m.MBPerSec, m.Latency, m.Curve, m.Pace = r.PerSecond, r.MBPerSec, r.Latency, curve(h), r.Pace
	m.Client, m.Server, m.TLS, m.Compression = r.Client, r.Server, r.TLS, r.Compression
}

// checkCount compares what an engine counted with what came back from it.
func (m *Measurement) checkCount(before, after *Snapshot) {
	if before.Engine == nil || after.Engine == nil || m.Scenario.Form != Echo || m.Errors != 0 {
		return
	}
	if seen := after.Engine.MessagesIn - before.Engine.MessagesIn; seen != m.Total {
		m.Errors++
		m.Error = fmt.Sprintf("the server counted %d messages where %d were echoed", seen, m.Total)
	}
}

// fanoutLoader is a Fanout whose messages are deliveries.
type fanoutLoader struct{ *Fanout }

func (f fanoutLoader) answered() uint64 { return f.Deliveries() }

// Run is Fanout.Run.
func (f fanoutLoader) Run(ctx context.Context, d time.Duration) (*Result, error) {
	r, err := f.Fanout.Run(ctx, d)
	if err != nil {
		return nil, err
	}
	return &Result{
		Elapsed: r.Elapsed, Messages: r.Deliveries, Total: r.Total, Bytes: r.Bytes, Errors: r.Errors, Error: r.Error,
		PerSecond: r.PerSecond, MBPerSec: r.MBPerSec, Latency: r.Latency, Client: r.Client, Server: r.Server, TLS: r.TLS,
	}, nil
}

func (l *Load) answered() uint64 { return l.Echoes() }
