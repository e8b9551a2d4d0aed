package bench

import (
	"fmt"
	"io"
	"time"
)

// WriteOpened prints the beginning of the result for people: what is known once all connections are open.
func (r *SoakResult) WriteOpened(w io.Writer) error {
	p := &printer{w: w}
	if r.Memory {
		p.printf("soak         %s connections in memory, clients and server in one process\n", grouped(uint64(r.Conns)))
	} else {
		p.printf("soak         %s connections over loopback sockets\n", grouped(uint64(r.Conns)))
	}
	p.printf("machine      %v\n", r.Machine)
	p.printf("pings        every %v, pongs within %v; a ping is missed when it is more than %v late\n", r.PingInterval, r.PingTimeout, r.Tolerance)
	if r.Mute > 0 {
		p.printf("mute         %s clients answer no ping\n", grouped(uint64(r.Mute)))
	}
	p.printf("opened       in %s, %s/s%s\n", seconds(r.Opening), grouped(uint64(float64(r.Conns)/r.Opening.Seconds())), r.retries())
	return p.err
}

// WriteText prints the rest of the result for people.
func (r *SoakResult) WriteText(w io.Writer) error {
	p := &printer{w: w}
	if r.Interrupted {
		p.printf("CUT SHORT    by an interrupt, after %s of %v: what follows is of that time\n", seconds(r.Elapsed), r.Duration)
	}
	p.printf("then         %s: %s pings in all, %s/s\n", seconds(r.Elapsed), grouped(r.Pings), grouped(uint64(r.PingsPerSecond)))
	p.printf("missed       %s pings, %s pongs; %s connections lost, %s open at the end\n",
		grouped(r.NotPinged), grouped(r.NoPong), grouped(r.Lost), grouped(uint64(max(r.Open, 0))))
	p.printf("lateness     p50 %s, p99 %s, p99.9 %s, worst %s\n", millis(r.Lateness.P50), millis(r.Lateness.P99), millis(r.Lateness.P999), millis(r.Lateness.Max))
	held := ""
	if r.EchoesHeld > 0 {
		held = fmt.Sprintf("; %s due and never sent, for all waited for an answer", grouped(r.EchoesHeld))
	}
	p.printf("echoes       %s: p50 %s, p99 %s, max %s; %s missing, %s wrong%s\n", grouped(r.EchoesSent),
		micros(r.Echo.P50), micros(r.Echo.P99), micros(r.Echo.Max), grouped(r.EchoesMissing), grouped(r.EchoesWrong), held)
	name := "server"
	if r.Memory {
		name = "process"
	}
	r.Server.write(p, name)
	if r.Client != nil {
		r.Client.write(p, "clients")
	}
	if r.Kernel > 0 {
		p.printf("kernel       %.0f B of slab per connection, both ends\n", r.Kernel)
	}
	for _, err := range r.trouble() {
		p.printf("FAILED       %v\n", err)
	}
	return p.err
}

func (r *SoakResult) retries() string {
	if r.Retried == 0 {
		return ""
	}
	return fmt.Sprintf("; %s attempts failed and were repeated", grouped(r.Retried))
}

func (s *SoakSide) write(p *printer, name string) {
	p.printf("%-12s %d process%s", name, s.Processes, es(s.Processes))
	if s.GOMAXPROCS > 0 {
		p.printf(", GOMAXPROCS=%d, GOGC=%s, %d loop%s each", s.GOMAXPROCS, s.GOGC, s.Loops, plural(s.Loops))
	}
	before := ""
	if s.RSSBefore != 0 {
		before = ", " + mebi(s.RSSBefore) + " before"
	}
	p.printf("\n  RSS        %s%s, at most %s: %.0f B per connection\n", mebi(s.RSS), before, mebi(s.RSSPeak), s.RSSPerConn)
	if s.HeapPerConn != 0 {
		p.printf("  live heap  %.0f B per connection\n", s.HeapPerConn)
	}
	p.printf("  CPU        %.1f s for opening, then %.1f s, %s of one core\n", s.OpeningCPU, s.CPU, percent(s.Utilisation))
	if s.OpeningGC != nil {
		p.printf("  GC pauses  while opening %v; in all %v\n", s.OpeningGC, s.GC)
	} else if s.GC != nil {
		p.printf("  GC pauses  %v\n", s.GC)
	}
}

// String writes them in one line.
func (p *GCPauses) String() string {
	if p.Count == 0 {
		return "none"
	}
	return fmt.Sprintf("%s, p99 %s, max %s", grouped(p.Count), micros(p.P99), micros(p.Max))
}

func mebi(n uint64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }

func millis(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d)/1e6) }

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }
