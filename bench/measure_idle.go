package bench

import (
	"context"
	"time"
)

// idle measures what connections cost that are open and have had one message echoed.
func (m *Measurement) idle(ctx context.Context, t *Target, settings *Settings) error {
	s := &m.Scenario
	w := witness{t}
	config := s.load(t.at(s))
	config.TLS, config.Loops, config.ServerPID, config.InFlight = t.TLS, settings.Loops, t.PID, 1
	config.Conns = max(s.From, 1)
	var before *Snapshot
	var rss uint64
	var err error
	if s.From == 0 {
		if before, rss, err = w.rest(ctx); err != nil {
			return err
		}
	}
	settings.tell("connecting", nil)
	begin := time.Now()
	load, err := Open(ctx, config)
	if err != nil {
		return err
	}
	defer load.Close()
	if s.From > 0 {
		if err := m.once(ctx, load); err != nil {
			return err
		}
		if before, rss, err = w.rest(ctx); err != nil {
			return err
		}
		settings.tell("connecting more", nil)
	}
	if err := load.grow(ctx, s.Conns-config.Conns); err != nil {
		return err
	}
	if err := m.once(ctx, load); err != nil {
		return err
	}
	m.Elapsed = time.Since(begin)
	settings.tell("letting it rest", nil)
	after, now, err := w.rest(ctx)
	if err != nil {
		return err
	}
	if rss != 0 && now != 0 {
		m.Memory = &Memory{RSS: now, PerConn: slope(rss, now, s.Conns-s.From), Collected: after != nil}
	}
	if after != nil {
		m.Heap = &Heap{LivePerConn: slope(before.Process.LiveHeap, after.Process.LiveHeap, s.Conns-s.From)}
	}
	return ctx.Err()
}

// once has one message of each connection echoed.
func (m *Measurement) once(ctx context.Context, load *Load) error {
	r, err := load.Run(ctx, 1)
	if err != nil {
		return err
	}
	m.Messages, m.Total, m.Errors, m.Error, m.TLS = m.Messages+r.Total, m.Total+r.Total, r.Errors, r.Error, r.TLS
	m.Bytes = m.Messages * uint64(m.Scenario.Payload)
	return nil
}

// Memory is at rest when it has not changed for four steps.
const (
	restSteps = 4
	restMost  = 3 * time.Second
)

// restStep is long enough for what a runtime gives back in the background to show. Changed by tests only.
var restStep = 50 * time.Millisecond

// rest has the server collect its garbage if it can, waits until its memory stands still, and returns its figures.
func (w witness) rest(ctx context.Context) (shot *Snapshot, rss uint64, err error) {
	if _, err := w.shot(ctx, true); err != nil {
		return nil, 0, err
	}
	last, still := w.resident(nil), 0
	for begin := time.Now(); last != 0 && still < restSteps && time.Since(begin) < restMost; still++ {
		select {
		case <-ctx.Done():
			return nil, 0, ctx.Err()
		case <-time.After(restStep):
		}
		if now := w.resident(nil); now != last {
			last, still = now, 0
		}
	}
	shot, err = w.shot(ctx, true)
	return shot, w.resident(shot), err
}
