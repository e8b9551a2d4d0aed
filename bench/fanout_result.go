package bench

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"
)

// FanoutResult is what one run of a Fanout found. Durations in JSON are nanoseconds, CPU times seconds.
type FanoutResult struct {
	Elapsed    time.Duration `json:"elapsed_ns"`       // how long messages were sent
	Deliveries uint64        `json:"deliveries"`       // messages verified at a member within Elapsed
	Total      uint64        `json:"deliveries_total"` // with those that came in after it
	Publishes  uint64        `json:"publishes"`        // messages that all members had within Elapsed
	Bytes      uint64        `json:"bytes"`            // payload of Deliveries
	Errors     uint64        `json:"errors"`           // connections on which something went wrong, since OpenFanout
	Error      string        `json:"error,omitempty"`  // the first of them, in words

	PerSecond          float64 `json:"deliveries_per_second"` // Deliveries over Elapsed
	PublishesPerSecond float64 `json:"publishes_per_second"`  // Publishes over Elapsed
	MBPerSec           float64 `json:"mb_per_second"`         // 10^6 bytes of payload delivered
	Latency            Latency `json:"latency"`               // from the sending of a message to each of its deliveries

	Client CPU  `json:"client_cpu"`           // per million deliveries
	Server *CPU `json:"server_cpu,omitempty"` // with FanoutConfig.ServerPID

	TLS *TLS `json:"tls,omitempty"` // of wss
}

func (f *Fanout) result(elapsed time.Duration, before, atStop, after usage) *FanoutResult {
	r := &FanoutResult{Elapsed: elapsed, Latency: latency(f.latencies()), TLS: f.tls.found(f.config.URL)}
	for _, l := range f.lanes {
		r.Deliveries += l.window
		r.Total += l.deliveries
	}
	for _, p := range f.publishers {
		r.Publishes += p.window
	}
	r.Bytes = r.Deliveries * uint64(f.config.Payload)
	r.PerSecond = float64(r.Deliveries) / elapsed.Seconds()
	r.PublishesPerSecond = float64(r.Publishes) / elapsed.Seconds()
	r.MBPerSec = float64(r.Bytes) / 1e6 / elapsed.Seconds()
	r.Errors, r.Error = f.failures.text()
	r.Client, r.Server = spent(before, atStop, after, elapsed, r.Total)
	return r
}

// ClientBound reports whether the load was the bottleneck, as the function of that name says.
func (r *FanoutResult) ClientBound() bool {
	return r.Server != nil && ClientBound(r.Client.Utilisation, r.Server.Utilisation)
}

// WriteText prints the result.
func (r *FanoutResult) WriteText(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "deliveries\t%s in %v, %s after it\n", grouped(r.Deliveries), r.Elapsed.Round(time.Millisecond), grouped(r.Total-r.Deliveries))
	fmt.Fprintf(t, "rate\t%s deliveries per second, %.1f MB/s of payload; %s publishes per second\n",
		grouped(uint64(r.PerSecond)), r.MBPerSec, grouped(uint64(r.PublishesPerSecond)))
	fmt.Fprintf(t, "latency\tp50 %s, p99 %s, p99.9 %s, max %s, from sending to each delivery\n",
		micros(r.Latency.P50), micros(r.Latency.P99), micros(r.Latency.P999), micros(r.Latency.Max))
	mark := ""
	if r.ClientBound() {
		mark = "; the load's limit, not the server's"
	}
	fmt.Fprintf(t, "client CPU\t%s%s\n", r.Client, mark)
	if r.Server != nil {
		fmt.Fprintf(t, "server CPU\t%s\n", *r.Server)
	}
	if r.TLS != nil {
		fmt.Fprintf(t, "TLS\t%s\n", r.TLS)
	}
	fmt.Fprintf(t, "errors\t%d\n", r.Errors)
	if r.Error != "" {
		fmt.Fprintf(t, "first error\t%s\n", r.Error)
	}
	return t.Flush()
}
