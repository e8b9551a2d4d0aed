package main

import (
	"fmt"

	"zeroframe/bench"
)

// row is what a cell comes to.
type row struct {
	scenario *bench.Scenario
	server   *server
	missing  string // why there is nothing
	failed   string // the first error, of so many of the repetitions
	failures int
	runs     int

	summary *bench.Summary // of the repetitions that went well; nil: of none
	// Cost and p99 over the reference's, of the same repetition each.
	relative, relative99 spread
}

// rows are those of every scenario, its servers in their order. Bounds that cannot take part are left out.
func (d *data) rows() ([][]row, error) {
	all := make([][]row, len(d.Scenarios))
	for i := range d.Scenarios {
		s := &d.Scenarios[i]
		reference := d.cell(s.Name, d.Reference)
		for j := range d.Servers {
			by := &d.Servers[j]
			c := d.cell(s.Name, by.Name)
			if c == nil || c.Missing != "" && by.Role == bound {
				continue
			}
			r := row{scenario: s, server: by, missing: c.Missing, runs: len(c.Runs), relative: relativeTo(c, reference, (*run).cost), relative99: relativeTo(c, reference, (*run).p99)}
			r.failed, r.failures = c.failed()
			if good := c.good(); len(good) > 0 {
				var err error
				if r.summary, err = bench.Summarise(good); err != nil {
					return nil, fmt.Errorf("%s, %s: %w", s.Name, by.Name, err)
				}
			}
			all[i] = append(all[i], r)
		}
	}
	return all, nil
}

// good are the measurements that count.
func (c *cell) good() (list []*bench.Measurement) {
	for i := range c.Runs {
		if r := &c.Runs[i]; r.good() {
			list = append(list, r.Measurement)
		}
	}
	return list
}

// cost is the processor time of the server per message, in seconds per million; nil where there is none to speak of.
func (r *row) cost() spread {
	if r.summary == nil || r.scenario.Form == bench.Idle {
		return nil
	}
	return r.summary.ServerPerMillion
}

// clientBound reports whether the load was the bottleneck in most of the repetitions.
func (r *row) clientBound() bool { return r.summary != nil && r.summary.ClientBound }

// behind reports whether a fixed rate was not kept in most of them.
func (r *row) behind() bool { return r.summary != nil && r.summary.Kept != nil && !*r.summary.Kept }

// relativeTo is the spread of a figure over that of the reference, each of the same repetition: what slows the machine
// down for some minutes slows both.
func relativeTo(c, reference *cell, figure func(r *run) (f float64, known bool)) spread {
	if reference == nil {
		return nil
	}
	figures := make(map[int]float64) // of the reference, by repetition
	for i := range reference.Runs {
		if f, known := figure(&reference.Runs[i]); known {
			figures[reference.Runs[i].Repetition] = f
		}
	}
	var ratios []float64
	for i := range c.Runs {
		ours, known := figure(&c.Runs[i])
		theirs, knownToo := figures[c.Runs[i].Repetition]
		if known && knownToo {
			ratios = append(ratios, ours/theirs)
		}
	}
	return bench.SpreadOf(ratios)
}

// cost is that of one repetition. A server that used less than the system's clock can tell has no known one.
func (r *run) cost() (perMillion float64, known bool) {
	if !r.good() || r.Measurement.Scenario.Form == bench.Idle || r.Measurement.Server == nil || r.Measurement.Server.PerMillion <= 0 {
		return 0, false
	}
	return r.Measurement.Server.PerMillion, true
}

// p99 is the latency of one repetition, in nanoseconds.
func (r *run) p99() (ns float64, known bool) {
	if !r.good() || r.Measurement.Scenario.Form == bench.Idle || r.Measurement.Latency.P99 <= 0 {
		return 0, false
	}
	return float64(r.Measurement.Latency.P99), true
}

// trouble says why a row has no figures, or not of all repetitions; empty if there is nothing to say.
func (r *row) trouble() string {
	switch {
	case r.missing != "":
		return "— " + r.missing
	case r.failures > 0 && r.failures == r.runs:
		return "FAILED: " + r.failed
	case r.failures > 0:
		return fmt.Sprintf("FAILED %d of %d times: %s", r.failures, r.runs, r.failed)
	case r.runs == 0:
		return "— not measured"
	}
	return ""
}

// what says what a scenario does, beyond its title.
func what(s *bench.Scenario) string {
	if s.OpenLoop() {
		return "fixed rate; latency from when a message was due"
	}
	switch s.Form {
	case bench.FanOut:
		return "closed loop; deliveries are counted"
	case bench.Storm:
		return "closed loop; TCP, the upgrade, and the end"
	case bench.Idle:
		return "after one echo each; garbage collected where it can be asked for"
	case bench.Pings:
		return "closed loop; each answered by a pong"
	}
	return "closed loop"
}

// counted is what a scenario counts; many of it with the ending of a plural.
func counted(s *bench.Scenario) (one, many string) {
	switch s.Form {
	case bench.FanOut:
		return "delivery", "deliveries"
	case bench.Storm:
		return "connection", "connections"
	case bench.Pings:
		return "ping", "pings"
	}
	return "message", "messages"
}
