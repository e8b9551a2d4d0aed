package bench

import (
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Result is what one run of a load found. Durations in JSON are nanoseconds, CPU times seconds.
type Result struct {
	Elapsed  time.Duration `json:"elapsed_ns"`      // how long messages were sent
	Messages uint64        `json:"messages"`        // echoes verified within Elapsed
	Total    uint64        `json:"messages_total"`  // with those that came in after it
	Bytes    uint64        `json:"bytes"`           // payload of Messages, counted once
	Errors   uint64        `json:"errors"`          // connections that failed or ended, since Open
	Error    string        `json:"error,omitempty"` // the first of them, in words

	PerSecond float64 `json:"messages_per_second"` // Messages over Elapsed
	MBPerSec  float64 `json:"mb_per_second"`       // 10^6 bytes of payload echoed; each crosses the wire twice
	Latency   Latency `json:"latency"`             // of Total

	Client CPU  `json:"client_cpu"`           // of this process
	Server *CPU `json:"server_cpu,omitempty"` // with LoadConfig.ServerPID

	Pace        *Pace        `json:"pace,omitempty"`        // with LoadConfig.Rate
	TLS         *TLS         `json:"tls,omitempty"`         // of wss
	Compression *Compression `json:"compression,omitempty"` // with LoadConfig.Compress
}

// Latency tells how long after its sending, queueing on our side included, a message's echo was seen; at a fixed rate how
// long after it was due.
type Latency struct {
	P50  time.Duration `json:"p50_ns"`
	P99  time.Duration `json:"p99_ns"`
	P999 time.Duration `json:"p999_ns"`
	Max  time.Duration `json:"max_ns"`
}

// CPU is processor time of one process, user and system together.
type CPU struct {
	Seconds     float64 `json:"seconds"`             // until the last echo
	PerMillion  float64 `json:"seconds_per_million"` // messages, the late ones included
	Utilisation float64 `json:"utilisation"`         // of one core, within Elapsed
}

func cpu(used, usedAtStop, elapsed time.Duration, messages uint64) CPU {
	c := CPU{Seconds: used.Seconds()}
	if messages > 0 {
		c.PerMillion = used.Seconds() * 1e6 / float64(messages)
	}
	if elapsed > 0 {
		c.Utilisation = float64(usedAtStop) / float64(elapsed)
	}
	return c
}

func latency(h *hdrhistogram.Histogram) Latency {
	if h.TotalCount() == 0 {
		return Latency{}
	}
	at := func(q float64) time.Duration { return time.Duration(h.ValueAtQuantile(q)) }
	return Latency{P50: at(50), P99: at(99), P999: at(99.9), Max: time.Duration(h.Max())}
}

// usage is the CPU time of both sides at one moment.
type usage struct {
	client, server time.Duration
	serverKnown    bool
}

// usageOf reads the CPU time of this process and of the server's; 0: of no server.
func usageOf(server int) usage {
	u := usage{client: OwnCPU()}
	if server != 0 {
		if t, err := CPUOf(server); err == nil {
			u.server, u.serverKnown = t, true
		}
	}
	return u
}

func (l *Load) result(elapsed time.Duration, before, atStop, after usage) *Result {
	r := &Result{Elapsed: elapsed, Latency: latency(l.latencies())}
	for _, lane := range l.lanes {
		r.Messages += lane.window
		r.Total += lane.echoes
	}
	r.TLS = l.tls.found(l.config.URL)
	r.Bytes = r.Messages * uint64(l.config.Payload)
	r.PerSecond = float64(r.Messages) / elapsed.Seconds()
	r.MBPerSec = float64(r.Bytes) / 1e6 / elapsed.Seconds()
	r.Errors, r.Error = l.failures.text()
	r.Client, r.Server = spent(before, atStop, after, elapsed, r.Total)
	return r
}

// spent returns what both sides used for so many messages; server is nil where that is not known.
func spent(before, atStop, after usage, elapsed time.Duration, messages uint64) (client CPU, server *CPU) {
	client = cpu(after.client-before.client, atStop.client-before.client, elapsed, messages)
	if before.serverKnown && after.serverKnown {
		s := cpu(after.server-before.server, atStop.server-before.server, elapsed, messages)
		server = &s
	}
	return client, server
}
