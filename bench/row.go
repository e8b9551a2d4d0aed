package bench

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// Row is one line of the benchmark: a load on a route of a server of its own.
type Row struct {
	Path     string `json:"path"`
	Conns    int    `json:"conns"`
	Payload  int    `json:"payload"`
	InFlight int    `json:"in_flight"`
}

// DefaultRows are a few that differ in what they cost: small messages one at a time, pipelined ones, messages that fill
// a read, messages that must be assembled, and echoes sent by other goroutines.
func DefaultRows() []Row {
	return []Row{
		{"/echo", 100, 32, 1},
		{"/echo", 1000, 32, 16},
		{"/echo", 100, 16 << 10, 1},
		{"/echo", 10, 1 << 20, 1},
		{"/send", 100, 32, 1},
	}
}

// ParseRow reads conns:payload:inflight[:path], "100:32:1" or "100:16KiB:1:/send".
func ParseRow(s string) (Row, error) {
	r := Row{Path: "/echo"}
	parts := strings.SplitN(s, ":", 4)
	if len(parts) < 3 {
		return r, fmt.Errorf("%q is not conns:payload:inflight[:path]", s)
	}
	for i, to := range []*int{&r.Conns, &r.Payload, &r.InFlight} {
		n, err := ParseSize(parts[i])
		if err != nil {
			return r, fmt.Errorf("%q: %w", s, err)
		}
		*to = int(min(n, 1<<31-1))
	}
	if len(parts) == 4 {
		if r.Path = parts[3]; !strings.HasPrefix(r.Path, "/") {
			return r, fmt.Errorf("%q: the path must begin with /", s)
		}
	}
	c := LoadConfig{URL: "ws://localhost" + r.Path, Conns: r.Conns, Payload: r.Payload, InFlight: r.InFlight}
	return r, c.check()
}

// String names the row: "100 x 32 B x1 /send".
func (r Row) String() string {
	s := fmt.Sprintf("%d x %s x%d", r.Conns, FormatSize(int64(r.Payload)), r.InFlight)
	if r.Path != "/echo" {
		s += " " + r.Path
	}
	return s
}

// RowResult is what a row found, from both sides.
type RowResult struct {
	Row
	Result
	Server ServerCost `json:"server"`
}

// ServerCost is what a row cost the server, by the server's own counts. The counts are taken while nothing is in
// flight, before and after the measured run, so that each of its messages is in them and no other.
type ServerCost struct {
	CPU
	RSS              uint64  `json:"rss_bytes"`          // after the run, connections open
	LiveHeapPerConn  float64 `json:"live_heap_per_conn"` // bytes, connections open and idle, over none
	Allocs           uint64  `json:"allocs"`             // objects; those of taking the counts are taken off
	AllocsPerMessage float64 `json:"allocs_per_message"`
	Writes           uint64  `json:"writes"` // system calls on connections
	WritesPerMessage float64 `json:"writes_per_message"`
	Reads            uint64  `json:"reads"`
	GCCycles         uint64  `json:"gc_cycles"`
	// ClientBound is set when the load had no processor time left and the server had: the figures are then the
	// load's limit, not the server's.
	ClientBound bool `json:"client_bound"`
}

// A load above the first utilisation of its core with a server below the second is the bottleneck.
const (
	clientBusy = 0.90
	serverBusy = 0.95
)

// ClientBound reports whether the load is the bottleneck: it has no time left of its core, and the server has. Both are
// utilisations of a core, 0 to 1.
func ClientBound(client, server float64) bool { return client > clientBusy && server < serverBusy }

// measure runs one row against a fresh server. progress is told of the load while it runs.
func (r Row) measure(ctx context.Context, s *Server, o Options, progress func(*Load)) (*RowResult, error) {
	if _, err := s.Snapshot(ctx, true); err != nil { // the first makes what later ones use again
		return nil, err
	}
	empty, err := s.Snapshot(ctx, true)
	if err != nil {
		return nil, err
	}
	load, err := Open(ctx, LoadConfig{
		URL: s.URL(r.Path), Conns: r.Conns, Payload: r.Payload, InFlight: r.InFlight, Kind: o.Kind, Compress: o.Compress,
	})
	if err != nil {
		return nil, err
	}
	defer load.Close()
	idle, err := s.Snapshot(ctx, true)
	if err != nil {
		return nil, err
	}
	progress(load)
	defer progress(nil)
	if err := warm(ctx, s, load, o.Warmup); err != nil {
		return nil, err
	}
	calm, before, err := snapshots(ctx, s)
	if err != nil {
		return nil, err
	}
	result, err := load.Run(ctx, o.Duration)
	if err != nil {
		return nil, err
	}
	after, err := s.Snapshot(ctx, false)
	if err != nil {
		return nil, err
	}
	// A loop's counts may be 20 ms old: then the echoes are ahead of them.
	for i := 0; i < 5 && after.Engine.MessagesIn-before.Engine.MessagesIn < result.Total; i++ {
		time.Sleep(20 * time.Millisecond)
		if after, err = s.Snapshot(ctx, false); err != nil {
			return nil, err
		}
	}
	out := &RowResult{Row: r, Result: *result}
	out.Server = serverCost(result, calm, before, after)
	out.Server.LiveHeapPerConn = (float64(idle.Process.LiveHeap) - float64(empty.Process.LiveHeap)) / float64(r.Conns)
	if seen := after.Engine.MessagesIn - before.Engine.MessagesIn; seen != result.Total && result.Errors == 0 {
		out.Errors++
		out.Error = fmt.Sprintf("the server counted %d messages where %d were echoed", seen, result.Total)
	}
	return out, nil
}

// A server is warm when it has filled its pools: a warm-up is repeated, so many times at most, while the server allocates
// more than this per message in it. One that goes on is measured as it is.
const (
	maxWarmups    = 5
	warmAllocs    = 0.005
	warmAllocsMin = 5 // objects that a runtime allocates now and then by itself
)

func warm(ctx context.Context, s *Server, load *Load, d time.Duration) error {
	for i := 0; i < maxWarmups && d > 0; i++ {
		calm, before, err := snapshots(ctx, s)
		if err != nil {
			return err
		}
		r, err := load.Run(ctx, d)
		if err != nil {
			return err
		}
		after, err := s.Snapshot(ctx, false)
		if err != nil {
			return err
		}
		if c := serverCost(r, calm, before, after); c.Allocs <= warmAllocsMin || c.AllocsPerMessage < warmAllocs {
			break
		}
	}
	return nil
}

// snapshots takes two in a row, so that their difference is what taking one costs.
func snapshots(ctx context.Context, s *Server) (calm, before *Snapshot, err error) {
	if calm, err = s.Snapshot(ctx, false); err != nil {
		return nil, nil, err
	}
	before, err = s.Snapshot(ctx, false)
	return calm, before, err
}

// serverCost is the difference of two snapshots around a run, less what taking a snapshot costs: calm was taken right
// before before.
func serverCost(r *Result, calm, before, after *Snapshot) ServerCost {
	less := func(a, b uint64) uint64 {
		if a < b {
			return 0
		}
		return a - b
	}
	own := less(before.Process.Allocs, calm.Process.Allocs)
	ownCPU := before.Process.CPUSeconds - calm.Process.CPUSeconds
	used := max(after.Process.CPUSeconds-before.Process.CPUSeconds-ownCPU, 0)
	c := ServerCost{
		CPU:      CPU{Seconds: used},
		RSS:      after.Process.RSS,
		Allocs:   less(after.Process.Allocs-before.Process.Allocs, own),
		Writes:   after.Engine.Writes - before.Engine.Writes,
		Reads:    after.Engine.Reads - before.Engine.Reads,
		GCCycles: after.Process.GCCycles - before.Process.GCCycles,
	}
	if n := float64(r.Total); n > 0 {
		c.PerMillion = used * 1e6 / n
		c.AllocsPerMessage = float64(c.Allocs) / n
		c.WritesPerMessage = float64(c.Writes) / n
	}
	if r.Messages > 0 {
		// What came in after the time was up is in used, and is taken off in proportion.
		c.Utilisation = used * float64(r.Messages) / float64(r.Total) / r.Elapsed.Seconds()
	}
	c.ClientBound = ClientBound(r.Client.Utilisation, c.Utilisation)
	return c
}
