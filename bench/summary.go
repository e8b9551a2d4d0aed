package bench

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// Enough is how many repetitions, interleaved with those of what they are compared with, make a Summary's medians worth
// something.
const Enough = 5

// Spread is a figure over repetitions.
type Spread struct {
	N      int     `json:"n"` // repetitions that know it
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Q1     float64 `json:"q1"` // quartiles, interpolated
	Q3     float64 `json:"q3"`
	Max    float64 `json:"max"`
}

// SpreadOf returns the spread of values, nil for none. The values are left as they are.
func SpreadOf(values []float64) *Spread {
	if len(values) == 0 {
		return nil
	}
	v := slices.Sorted(slices.Values(values))
	at := func(q float64) float64 {
		x := q * float64(len(v)-1)
		i := int(x)
		if i+1 == len(v) {
			return v[i]
		}
		return v[i] + (x-float64(i))*(v[i+1]-v[i])
	}
	return &Spread{N: len(v), Median: at(0.5), Min: v[0], Q1: at(0.25), Q3: at(0.75), Max: v[len(v)-1]}
}

// Summary is what the repetitions of a scenario to one target come to: the median of each figure, with its spread. A
// figure that no repetition knows is nil.
type Summary struct {
	Scenario    Scenario `json:"scenario"`
	Target      string   `json:"target"`
	Counted     string   `json:"counted"` // as Measurement has it
	Repetitions int      `json:"repetitions"`
	Errors      uint64   `json:"errors"` // of all
	Error       string   `json:"error,omitempty"`

	PerSecond *Spread `json:"messages_per_second"`
	MBPerSec  *Spread `json:"mb_per_second"`

	// Latencies are in nanoseconds.
	P50   *Spread    `json:"p50_ns"`
	P99   *Spread    `json:"p99_ns"`
	P999  *Spread    `json:"p999_ns"`
	Max   *Spread    `json:"max_ns"`
	Curve []Quantile `json:"curve,omitempty"` // medians of the points that all repetitions have

	ClientPerMillion  *Spread `json:"client_cpu_seconds_per_million"`
	ClientUtilisation *Spread `json:"client_utilisation"`
	ServerPerMillion  *Spread `json:"server_cpu_seconds_per_million,omitempty"`
	ServerUtilisation *Spread `json:"server_utilisation,omitempty"`
	// ClientBound is set when most repetitions were: PerSecond is then a lower bound of the server's.
	ClientBound bool `json:"client_bound"`

	RSS              *Spread `json:"rss_bytes,omitempty"`
	RSSPerConn       *Spread `json:"rss_bytes_per_conn,omitempty"`
	LivePerConn      *Spread `json:"live_bytes_per_conn,omitempty"`
	AllocsPerMessage *Spread `json:"allocs_per_message,omitempty"`
	WritesPerMessage *Spread `json:"writes_per_message,omitempty"` // by an engine's own count

	SyscallsPerMessage *Spread            `json:"syscalls_per_message,omitempty"`
	SyscallsByName     map[string]float64 `json:"syscalls_by_name,omitempty"` // medians, per message
	Tracer             string             `json:"tracer,omitempty"`

	// Kept is whether most repetitions of an open loop kept their rate; nil of a closed one.
	Kept  *bool   `json:"kept,omitempty"`
	Lag99 *Spread `json:"lag_p99_ns,omitempty"` // of Pace.Lag
}

// Summarise puts the repetitions of one scenario to one target together; the median of few is what there is, see Enough.
// nil among them are left out. It fails when none is left, or they are not of the same scenario and target.
func Summarise(repetitions []*Measurement) (*Summary, error) {
	list := slices.DeleteFunc(slices.Clone(repetitions), func(m *Measurement) bool { return m == nil })
	if len(list) == 0 {
		return nil, errors.New("bench: no repetition to summarise")
	}
	first := list[0]
	s := &Summary{Scenario: first.Scenario, Target: first.Target, Counted: first.Counted, Repetitions: len(list)}
	bound, kept := 0, 0
	for _, m := range list {
		if m.Scenario != first.Scenario || m.Target != first.Target {
			return nil, fmt.Errorf("bench: repetitions of %v to %s and of %v to %s in one summary",
				&first.Scenario, first.Target, &m.Scenario, m.Target)
		}
		s.Errors += m.Errors
		if s.Error == "" {
			s.Error = m.Error
		}
		if m.ClientBound {
			bound++
		}
		if m.Pace != nil && m.Pace.Kept {
			kept++
		}
		if m.Syscalls != nil {
			s.Tracer = m.Syscalls.Tracer
		}
	}
	s.ClientBound = 2*bound > len(list)
	if first.Scenario.OpenLoop() {
		most := 2*kept > len(list)
		s.Kept = &most
	}
	s.spread(list)
	return s, nil
}

// spread fills in the figures.
func (s *Summary) spread(list []*Measurement) {
	of := func(figure func(*Measurement) *float64) *Spread {
		var values []float64
		for _, m := range list {
			if v := figure(m); v != nil {
				values = append(values, *v)
			}
		}
		return SpreadOf(values)
	}
	always := func(figure func(*Measurement) float64) *Spread {
		return of(func(m *Measurement) *float64 { v := figure(m); return &v })
	}
	timed := func(figure func(Latency) time.Duration) *Spread { // of what has latencies at all
		return of(func(m *Measurement) *float64 {
			if len(m.Curve) == 0 {
				return nil
			}
			v := float64(figure(m.Latency))
			return &v
		})
	}
	s.PerSecond = always(func(m *Measurement) float64 { return m.PerSecond })
	s.MBPerSec = always(func(m *Measurement) float64 { return m.MBPerSec })
	s.P50 = timed(func(l Latency) time.Duration { return l.P50 })
	s.P99 = timed(func(l Latency) time.Duration { return l.P99 })
	s.P999 = timed(func(l Latency) time.Duration { return l.P999 })
	s.Max = timed(func(l Latency) time.Duration { return l.Max })
	s.Curve = medianCurve(list)
	s.ClientPerMillion = always(func(m *Measurement) float64 { return m.Client.PerMillion })
	s.ClientUtilisation = always(func(m *Measurement) float64 { return m.Client.Utilisation })
	s.ServerPerMillion = of(func(m *Measurement) *float64 { return field(m.Server, func(c *CPU) *float64 { return &c.PerMillion }) })
	s.ServerUtilisation = of(func(m *Measurement) *float64 { return field(m.Server, func(c *CPU) *float64 { return &c.Utilisation }) })
	s.RSS = of(func(m *Measurement) *float64 {
		return field(m.Memory, func(x *Memory) *float64 { v := float64(x.RSS); return &v })
	})
	s.RSSPerConn = of(func(m *Measurement) *float64 { return field(m.Memory, func(x *Memory) *float64 { return x.PerConn }) })
	s.LivePerConn = of(func(m *Measurement) *float64 { return field(m.Heap, func(x *Heap) *float64 { return x.LivePerConn }) })
	s.AllocsPerMessage = of(func(m *Measurement) *float64 {
		return field(m.Heap, func(x *Heap) *float64 { return x.AllocsPerMessage })
	})
	s.WritesPerMessage = of(func(m *Measurement) *float64 { return field(m.IO, func(x *IO) *float64 { return &x.WritesPerMessage }) })
	s.SyscallsPerMessage = of(func(m *Measurement) *float64 {
		return field(m.Syscalls, func(x *Syscalls) *float64 { return &x.PerMessage })
	})
	s.Lag99 = of(func(m *Measurement) *float64 {
		return field(m.Pace, func(x *Pace) *float64 { v := float64(x.Lag.P99); return &v })
	})
	names := map[string]bool{}
	for _, m := range list {
		if m.Syscalls != nil {
			for name := range m.Syscalls.ByName {
				names[name] = true
			}
		}
	}
	for name := range names {
		if s.SyscallsByName == nil {
			s.SyscallsByName = make(map[string]float64)
		}
		s.SyscallsByName[name] = of(func(m *Measurement) *float64 {
			return field(m.Syscalls, func(x *Syscalls) *float64 { v := x.ByName[name]; return &v })
		}).Median
	}
}

// field is a figure of a part that may not be there.
func field[T any](part *T, figure func(*T) *float64) *float64 {
	if part == nil {
		return nil
	}
	return figure(part)
}

// medianCurve takes the median of each point. Points are the same in all curves but for how far they reach, and the last.
func medianCurve(list []*Measurement) (points []Quantile) {
	shortest := list[0].Curve
	for _, m := range list {
		if len(m.Curve) < len(shortest) {
			shortest = m.Curve
		}
	}
	for i, point := range shortest {
		var values []float64
		for _, m := range list {
			at := m.Curve[i]
			if point.Q == 1 {
				at = m.Curve[len(m.Curve)-1]
			}
			values = append(values, float64(at.Value))
		}
		points = append(points, Quantile{point.Q, time.Duration(SpreadOf(values).Median)})
	}
	return points
}
