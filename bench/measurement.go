package bench

import (
	"math"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Measurement is what one repetition of a scenario found. Durations in JSON are nanoseconds, processor times seconds.
// What is not known is nil, and left out of the JSON: it is never 0 for that reason.
//
// A "message" is what the scenario's form counts, as Counted says: with FanOut a delivery, with Storm a connection, with
// Pings a ping and its pong.
type Measurement struct {
	Scenario Scenario      `json:"scenario"`
	Target   string        `json:"target"`
	Counted  string        `json:"counted"` // message, delivery, connection, ping
	Began    time.Time     `json:"began"`
	Elapsed  time.Duration `json:"elapsed_ns"`

	Messages uint64 `json:"messages"`       // answered and verified within Elapsed
	Total    uint64 `json:"messages_total"` // with those that were in flight at its end
	Bytes    uint64 `json:"bytes"`          // payload of Messages, counted once
	Errors   uint64 `json:"errors"`         // connections that failed, ended, or brought what was not sent
	Error    string `json:"error,omitempty"`

	PerSecond float64 `json:"messages_per_second"`
	MBPerSec  float64 `json:"mb_per_second"` // 10^6 bytes of payload
	// Latency is from the sending of a message, in an open loop from when it was due, until its answer was verified.
	Latency Latency `json:"latency"`
	// Curve is the distribution that Latency has four points of, from quantile 0 to 1.
	Curve []Quantile `json:"curve,omitempty"`

	Client CPU  `json:"client_cpu"`
	Server *CPU `json:"server_cpu,omitempty"` // with Target.PID
	// ClientBound is set when the load had no processor time left and the server had: the rate is then the load's limit, a
	// lower bound of the server's. CPU per message stands.
	ClientBound bool `json:"client_bound"`

	Memory   *Memory   `json:"memory,omitempty"`   // with Target.PID
	Heap     *Heap     `json:"heap,omitempty"`     // with Target.Snapshot
	IO       *IO       `json:"io,omitempty"`       // of a Zeroframe server, with Target.Snapshot
	Syscalls *Syscalls `json:"syscalls,omitempty"` // with Target.PID, Settings.Trace and a tracer
	Untraced string    `json:"untraced,omitempty"` // which tracers were tried when none worked, and what each said
	Pace     *Pace     `json:"pace,omitempty"`     // of an open loop

	TLS         *TLS         `json:"tls,omitempty"`         // of wss
	Compression *Compression `json:"compression,omitempty"` // with Scenario.Compress
}

// Quantile is one point of a distribution: so much of it is at or below Value.
type Quantile struct {
	Q     float64       `json:"q"` // 0 to 1
	Value time.Duration `json:"ns"`
}

// Memory is what the server's process holds of physical memory. PerConn is nil where connections are too few for what
// they cost to show above what a server costs at all.
type Memory struct {
	RSS     uint64   `json:"rss_bytes"`                    // connections open, after the run
	PerConn *float64 `json:"rss_bytes_per_conn,omitempty"` // over what it was before they opened; with Idle the slope from Scenario.From
	// Collected is set when the server collected its garbage and gave free memory back before it was looked at.
	Collected bool `json:"collected"`
}

// Heap is what a server tells of its heap. Idle has no run, and LivePerConn alone.
type Heap struct {
	LivePerConn      *float64 `json:"live_per_conn,omitempty"`      // bytes in use after a collection, connections open and idle; as Memory.PerConn
	AllocsPerMessage *float64 `json:"allocs_per_message,omitempty"` // objects in the run; those of telling are taken off
	Allocs           uint64   `json:"allocs,omitempty"`
	GCCycles         uint64   `json:"gc_cycles,omitempty"`
}

// IO is what an engine counts of system calls on its connections.
type IO struct {
	Writes           uint64  `json:"writes"`
	WritesPerMessage float64 `json:"writes_per_message"`
	Reads            uint64  `json:"reads"`
	ReadsPerMessage  float64 `json:"reads_per_message"`
}

// Syscalls are the system calls of the server's process, all of its threads, counted in a short run of its own so that
// tracing does not disturb the figures of the other.
type Syscalls struct {
	Tracer     string             `json:"tracer"` // perf or strace
	Messages   uint64             `json:"messages"`
	Calls      uint64             `json:"calls"`
	PerMessage float64            `json:"per_message"`
	ByName     map[string]float64 `json:"by_name,omitempty"` // per message, of the most usual
}

// Pace says how an open loop kept its rate. A message is due at a time that only the rate and its number decide, and its
// latency counts from then, whether it could be sent or not: a server that stalls is not sent less for it in the figures
// (no coordinated omission). A message that was never sent, because its connection had Scenario.InFlight unanswered until
// the end, counts with the time from its due until the end.
type Pace struct {
	Wanted float64 `json:"wanted_per_second"`
	Kept   bool    `json:"kept"`   // all messages due were answered within Elapsed, but for 1 % or those of 10 ms
	Due    uint64  `json:"due"`    // messages, within Elapsed
	Unsent uint64  `json:"unsent"` // of them, those never sent
	// Lag is how long after it was due a message was sent: how exact the load is, and how long messages waited for their
	// connection.
	Lag Latency `json:"lag"`
}

// The points of a curve are evenly spread over the logarithm of what lies beyond them: eight to each nine more.
const curveSteps = 8

// curve reads points off a histogram, as far as there is a message beyond each.
func curve(h *hdrhistogram.Histogram) (points []Quantile) {
	n := h.TotalCount()
	if n == 0 {
		return nil
	}
	for k := 0; ; k++ {
		q := 1 - math.Pow(10, -float64(k)/curveSteps)
		if (1-q)*float64(n) < 1 {
			break
		}
		points = append(points, Quantile{q, time.Duration(h.ValueAtQuantile(q * 100))})
	}
	return append(points, Quantile{1, time.Duration(h.Max())})
}
