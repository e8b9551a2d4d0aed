package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"

	"zeroframe/bench"
)

// contender is a server of the race, and how to start it.
type contender struct {
	server
	cannot func(s *bench.Scenario) error // why it takes no part in a scenario; nil: it does
	start  func(s *bench.Scenario) (*started, error)
}

// started is a server's process.
type started struct {
	target  bench.Target
	command []string
	stop    func() error // the error is that of a process that had ended by itself, or did not end well
}

// race is what is to be measured.
type race struct {
	contenders []contender
	scenarios  []bench.Scenario
	repeat     int
	settings   bench.Settings // Trace: of the first repetition alone
	measure    func(ctx context.Context, s bench.Scenario, t bench.Target, settings bench.Settings) (*bench.Measurement, error)
	progress   *progress
}

// patience is what a measurement may take beyond its own times, for connections to open and pools to fill.
const patience = 60 * time.Second

// run measures all and puts it into d, whose servers and scenarios it sets. What fails is in d; the error is ctx's.
func (r *race) run(ctx context.Context, d *data) error {
	d.Began = time.Now()
	defer func() { d.Ended = time.Now() }()
	for _, c := range r.contenders {
		d.Servers = append(d.Servers, c.server)
	}
	d.Scenarios = r.scenarios
	for i := range r.scenarios {
		for j := range r.contenders {
			c := cell{Scenario: r.scenarios[i].Name, Server: r.contenders[j].Name}
			if err := r.contenders[j].cannot(&r.scenarios[i]); err != nil {
				c.Missing = err.Error()
			}
			d.Cells = append(d.Cells, c)
		}
	}
	at := func(scenario, server int) *cell { return &d.Cells[scenario*len(r.contenders)+server] }
	jobs := order(r.repeat, len(r.scenarios), len(r.contenders), func(scenario, server int) bool { return at(scenario, server).Missing == "" })
	r.progress.begin(len(jobs))
	defer r.progress.stop()
	for _, j := range jobs {
		c := at(j.scenario, j.server)
		r.progress.next(fmt.Sprintf("%d/%d %s: %s", j.repetition+1, r.repeat, c.Scenario, c.Server))
		if c.Missing != "" { // found out by an earlier repetition
			continue
		}
		saw := watch(d.Cores)
		m, others, err := r.once(ctx, &r.scenarios[j.scenario], &r.contenders[j.server], j.repetition, &d.Servers[j.server], saw)
		if ctx.Err() != nil {
			d.Interrupted = true
			return ctx.Err()
		}
		if unsuitable, is := errors.AsType[*bench.UnsuitableError](err); is {
			c.Missing = unsuitable.Reason
			continue
		}
		done := run{Repetition: j.repetition, Place: j.place, Measurement: m, Others: others}
		if err != nil {
			done.Error = oneLine(err.Error())
		}
		c.Runs = append(c.Runs, done)
	}
	return nil
}

// once starts a server, measures, and stops it, and notes in by with what command. The measurement may be there with an
// error.
func (r *race) once(ctx context.Context, s *bench.Scenario, c *contender, repetition int, by *server, saw *witness) (m *bench.Measurement, others *float64, err error) {
	settings := r.settings
	if repetition > 0 {
		settings.Trace = 0
	}
	ctx, cancel := context.WithTimeout(ctx, patience+6*settings.Warmup+settings.Duration+settings.Trace)
	defer cancel()
	server, err := c.start(s)
	if err != nil {
		return nil, nil, fmt.Errorf("start: %w", err)
	}
	if by.Command == nil {
		by.Command = server.command
	}
	m, err = r.measure(ctx, *s, server.target, settings)
	others = saw.others(server.target.PID)
	stopped := server.stop()
	if stopped != nil { // a server that died says more than that its connections ended
		return m, others, fmt.Errorf("server: %w", stopped)
	}
	if err != nil {
		return m, others, err
	}
	if m.Errors > 0 {
		return m, others, fmt.Errorf("%d errors, the first: %s", m.Errors, m.Error)
	}
	if m.Messages == 0 && s.Form != bench.Idle {
		return m, others, errors.New("no answer came in time")
	}
	return m, others, nil
}

// oneLine keeps an error within a table: its lines side by side, no more than a few hundred bytes of them, and nothing in
// it that a terminal obeys, for it may quote what a server sent.
func oneLine(s string) string {
	const most = 400
	var lines []string
	for line := range strings.Lines(s) {
		if line = strings.Join(strings.Fields(line), " "); line != "" {
			lines = append(lines, line)
		}
	}
	s = printable(strings.ReplaceAll(strings.Join(lines, "; "), ":; ", ": "))
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + " ..."
	}
	return s
}

// printable replaces what does not print.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '\uFFFD'
		}
		return r
	}, s)
}
