package bench

import (
	"cmp"
	"errors"
	"fmt"
	"time"
)

// SoakConfig says how to soak: many connections that the server pings, for a while, and a few echoes.
type SoakConfig struct {
	Conns        int           // 1 to 1<<24
	PingInterval time.Duration // of the server's pings, 1 ms to 1 h
	PingTimeout  time.Duration // how long a pong may take
	Tolerance    time.Duration // how late a ping may come before it counts as missed
	Duration     time.Duration // from when all connections are open; at most 48 h
	Echoes       float64       // messages per second over all connections, 32 B each; 0: none
	Mute         int           // so many clients answer no ping: a soak that does not report them is worth nothing
	Loops        int           // event loops of each server process; 0: one per processor, shared by the processes
	GOGC         int           // of the servers, percent; 0: as the environment has it

	// Without Memory: what runs `zeroframe serve`, to which flags are added, and what runs ServeSoakClients.
	Serve, Clients []string

	// Opening is told now and then how many connections are open, and Soaking once all are, with what is known by then and
	// a function that returns the number of pings so far. Both may be nil.
	Opening func(open uint64)
	Soaking func(r *SoakResult, pings func() uint64)

	serverInterval time.Duration // what the server is told in place of PingInterval; 0: that. Set by tests only
}

// Check returns a *ConfigError for a soak that cannot be.
func (c *SoakConfig) Check() error {
	err := errors.Join(
		between("Conns", c.Conns, 1, 1<<24),
		between("Mute", c.Mute, 0, c.Conns),
		between("Loops", c.Loops, 0, 4096),
		between("GOGC", c.GOGC, 0, 1e6))
	for _, d := range []struct {
		field        string
		v, low, high time.Duration
	}{
		{"PingInterval", c.PingInterval, time.Millisecond, time.Hour},
		{"PingTimeout", c.PingTimeout, time.Millisecond, time.Hour},
		{"Tolerance", c.Tolerance, time.Millisecond, time.Hour},
		{"Duration", c.Duration, time.Millisecond, maxSoak},
	} {
		if d.v < d.low || d.v > d.high {
			err = errors.Join(err, &ConfigError{d.field, fmt.Sprintf("%v is not between %v and %v", d.v, d.low, d.high)})
		}
	}
	if !(c.Echoes >= 0 && c.Echoes <= 1e5) {
		err = errors.Join(err, &ConfigError{"Echoes", fmt.Sprintf("%v is not between 0 and 100000", c.Echoes)})
	}
	return err
}

// SoakResult is what a soak found. Durations in JSON are nanoseconds.
type SoakResult struct {
	Memory       bool          `json:"memory"` // in one process, over connections in memory
	Conns        int           `json:"conns"`
	PingInterval time.Duration `json:"ping_interval_ns"`
	PingTimeout  time.Duration `json:"ping_timeout_ns"`
	Tolerance    time.Duration `json:"tolerance_ns"`
	Mute         int           `json:"mute,omitempty"`
	Duration     time.Duration `json:"duration_ns"`           // that was asked for
	Interrupted  bool          `json:"interrupted,omitempty"` // the context ended before that
	Machine      Machine       `json:"machine"`

	Opening time.Duration `json:"opening_ns"` // until all connections were open
	Retried uint64        `json:"retried"`    // attempts to open one that failed, and were made again
	Elapsed time.Duration `json:"elapsed_ns"` // from then on

	Open           int64   `json:"open"`             // connections at the end
	Lost           uint64  `json:"lost"`             // connections that ended
	Error          string  `json:"error,omitempty"`  // why the first of them did
	Pings          uint64  `json:"pings"`            // received by clients, while the connections were opened too
	PingsPerSecond float64 `json:"pings_per_second"` // within Elapsed
	NotPinged      uint64  `json:"not_pinged"`       // pings later than the interval and the tolerance, or never sent
	NoPong         uint64  `json:"no_pong"`          // connections that the server closed for want of a pong
	Lateness       Latency `json:"ping_lateness"`    // of every ping but a connection's first

	EchoesSent    uint64  `json:"echoes_sent"`
	EchoesMissing uint64  `json:"echoes_missing"`
	EchoesWrong   uint64  `json:"echoes_wrong"`
	EchoesHeld    uint64  `json:"echoes_held"` // due and never sent, as all connections tried waited for one; in the latency until the end
	Echo          Latency `json:"echo_latency"`

	Server SoakSide  `json:"server"`           // with Memory both sides
	Client *SoakSide `json:"client,omitempty"` // without
	Kernel float64   `json:"kernel_bytes_per_conn,omitempty"`
}

// SoakSide is what the processes of one side took.
type SoakSide struct {
	Processes   int       `json:"processes"`
	GOMAXPROCS  int       `json:"gomaxprocs,omitempty"` // of each
	GOGC        string    `json:"gogc,omitempty"`
	Loops       int       `json:"loops,omitempty"`                    // of each
	RSSBefore   uint64    `json:"rss_before_bytes,omitempty"`         // all together, without connections; of clients not known
	RSS         uint64    `json:"rss_bytes"`                          // at the end
	RSSPeak     uint64    `json:"rss_peak_bytes"`                     // the sum of each one's highest
	RSSPerConn  float64   `json:"rss_bytes_per_conn"`                 // by which it grew
	HeapPerConn float64   `json:"live_heap_bytes_per_conn,omitempty"` // by which it grew, after collections; of clients not known
	OpeningCPU  float64   `json:"opening_cpu_seconds"`                // until all connections were open
	CPU         float64   `json:"cpu_seconds"`                        // from then on
	Utilisation float64   `json:"cpu_utilisation"`                    // of one core
	GC          *GCPauses `json:"gc_pauses,omitempty"`                // since the processes began
	OpeningGC   *GCPauses `json:"opening_gc_pauses,omitempty"`        // of them, those until all connections were open
}

// OK reports whether every connection was pinged in time, answered, and is still there, and every echo came back.
func (r *SoakResult) OK() bool { return len(r.trouble()) == 0 }

// Err says what went wrong, nil when nothing did.
func (r *SoakResult) Err() error { return errors.Join(r.trouble()...) }

func (r *SoakResult) trouble() (list []error) {
	add := func(n uint64, what string) {
		if n > 0 {
			list = append(list, fmt.Errorf("%s %s", grouped(n), what))
		}
	}
	add(r.NotPinged, "pings missed: none came in time")
	add(r.NoPong, "connections closed for a pong that did not come in time")
	if add(r.Lost, "connections lost"); r.Lost > 0 {
		list[len(list)-1] = fmt.Errorf("%w; the first: %s", list[len(list)-1], r.Error)
	}
	if gone := int64(r.Conns) - r.Open; r.Lost == 0 && gone > 0 {
		add(uint64(gone), "connections were never open")
	}
	add(r.EchoesMissing, "echoes missing")
	add(r.EchoesWrong, "echoes that are not what was sent")
	return list
}

// add puts what the clients saw into the result.
func (r *SoakResult) add(all []books) error {
	total, lateness, echoes, err := sum(all)
	if err != nil {
		return err
	}
	r.Open, r.Lost, r.Error = total.Open, total.Lost, total.Error
	r.Pings, r.NotPinged = total.Pings, total.Missed
	r.PingsPerSecond = float64(total.Window) / r.Elapsed.Seconds()
	r.Lateness, r.Echo = latency(lateness), latency(echoes)
	r.EchoesSent, r.EchoesMissing, r.EchoesWrong = total.Echoes.Sent, total.Echoes.Missing, total.Echoes.Wrong
	r.EchoesHeld = total.Echoes.Held
	return nil
}

// pingEvery is the interval that the server is told.
func (c *SoakConfig) pingEvery() time.Duration { return cmp.Or(c.serverInterval, c.PingInterval) }

func (c *SoakConfig) result(memory bool) *SoakResult {
	return &SoakResult{
		Memory: memory, Conns: c.Conns, PingInterval: c.PingInterval, PingTimeout: c.PingTimeout, Tolerance: c.Tolerance,
		Mute: c.Mute, Duration: c.Duration, Machine: ThisMachine(),
	}
}
