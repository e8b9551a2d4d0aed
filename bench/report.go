package bench

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
)

// Write prints the report for people. The last line says how many messages per second there were.
func (r *Report) Write(w io.Writer) error {
	p := &printer{w: w}
	r.writeHead(p)
	r.writeSpeed(p)
	r.writeCost(p)
	r.writeCompression(p)
	r.writeTrouble(p)
	r.writeLast(p)
	return p.err
}

// printer keeps the first error.
type printer struct {
	w   io.Writer
	err error
}

func (p *printer) printf(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format, args...)
	}
}

// table prints rows in columns, the first to the left and the others to the right.
func (p *printer) table(rows [][]string) {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], len([]rune(cell)))
		}
	}
	for _, row := range rows {
		line := fmt.Sprintf("%-*s", widths[0], row[0])
		for i, cell := range row[1:] {
			line += fmt.Sprintf("  %*s", widths[i+1], cell)
		}
		p.printf("%s\n", strings.TrimRight(line, " "))
	}
}

func (r *Report) writeHead(p *printer) {
	p.printf("command  %s\n", strings.Join(r.Command, " "))
	p.printf("server   %s %s, one per row\n", strings.Join(r.ServeEnv, " "), strings.Join(r.Serve, " "))
	p.printf("         %s, GOMAXPROCS=%d, GOGC=%s, %d loop%s%s\n",
		r.Server.GoVersion, r.Server.GOMAXPROCS, r.Server.GOGC, r.Server.Loops, plural(r.Server.Loops), r.where(0))
	p.printf("load     in the command's process: %s, GOMAXPROCS=%d, GOGC=%s, %d loop%s%s\n",
		r.Client.GoVersion, r.Client.GOMAXPROCS, r.Client.GOGC, r.Client.Loops, plural(r.Client.Loops), r.where(1))
	p.printf("         closed loop, masked binary messages of %v, unless a row says otherwise; every echo compared with what was sent\n", r.Kind)
	p.printf("rows     connections x payload x messages in flight; %v each after %v of warm-up, up to %d times until pools are full\n", r.Duration, r.Warmup, maxWarmups)
	p.printf("machine  %v\n\n", r.Machine)
}

// where says which processor one side was kept on.
func (r *Report) where(side int) string {
	if !r.Pinned {
		return ", not pinned: both sides share the processors"
	}
	return fmt.Sprintf(", pinned to core %d", r.Cores[side])
}

func plural(n int) string {
	if n == 1 {
		return ""
	}
	return "s"
}

func (r *Report) writeSpeed(p *printer) {
	if len(r.Rows) == 0 {
		return
	}
	rows := [][]string{{"row", "messages/s", "MB/s", "p50", "p99", "p99.9", "max", "server CPU", "client CPU"}}
	bound := false
	for _, x := range r.Rows {
		mark := " "
		if x.ClientBound {
			mark, bound = "*", true
		}
		rows = append(rows, []string{
			x.Scenario.Title, grouped(uint64(x.PerSecond)), fmt.Sprintf("%.1f", x.MBPerSec),
			micros(x.Latency.P50), micros(x.Latency.P99), micros(x.Latency.P999), micros(x.Latency.Max),
			utilisation(x.Server) + mark, percent(x.Client.Utilisation) + mark,
		})
	}
	p.table(rows)
	p.printf("MB/s: 10^6 bytes of payload echoed. CPU: of one core.\n")
	if bound {
		p.printf("* client-bound: the load was above %.0f %% of its core and the server below %.0f %%, so the rate is the load's limit.\n",
			clientBusy*100, serverBusy*100)
	}
	p.printf("\n")
}

func (r *Report) writeCost(p *printer) {
	if len(r.Rows) == 0 {
		return
	}
	rows := [][]string{{"row", "server s/M", "client s/M", "RSS", "heap/conn", "allocs/msg", "writes/msg", "GC", "errors"}}
	for _, x := range r.Rows {
		rows = append(rows, append([]string{x.Scenario.Title}, x.costs()...))
	}
	p.table(rows)
	p.printf("s/M: CPU seconds per million messages. RSS, allocations, write calls, GC cycles: the server's.\n")
	p.printf("heap/conn: live heap after a collection, connections open and idle, over none (rows of %d connections and more).\n\n", enoughConns)
}

// costs are the cells of the table of costs; what is not known is a dash.
func (m *Measurement) costs() []string {
	server, rss, heap, allocs, writes, cycles := "-", "-", "-", "-", "-", "-"
	if m.Server != nil {
		server = fmt.Sprintf("%.2f", m.Server.PerMillion)
	}
	if m.Memory != nil {
		rss = fmt.Sprintf("%.1f MiB", float64(m.Memory.RSS)/(1<<20))
	}
	if h := m.Heap; h != nil {
		if h.AllocsPerMessage != nil {
			allocs, cycles = fmt.Sprintf("%.2f", *h.AllocsPerMessage), fmt.Sprint(h.GCCycles)
		}
		if h.LivePerConn != nil {
			heap = fmt.Sprintf("%.0f B", *h.LivePerConn)
		}
	}
	if m.IO != nil {
		writes = fmt.Sprintf("%.2f", m.IO.WritesPerMessage)
	}
	return []string{server, fmt.Sprintf("%.2f", m.Client.PerMillion), rss, heap, allocs, writes, cycles, fmt.Sprint(m.Errors)}
}

func utilisation(c *CPU) string {
	if c == nil {
		return "-"
	}
	return percent(c.Utilisation)
}

// writeCompression is there when the load offered compression.
func (r *Report) writeCompression(p *printer) {
	if !r.Compress || len(r.Rows) == 0 {
		return
	}
	rows := [][]string{{"row", "agreed", "ratio out", "ratio back", "MB/s wire out", "MB/s wire back"}}
	for _, x := range r.Rows {
		c := x.Compression
		if c == nil {
			continue
		}
		perSecond := func(bytes uint64) string {
			if x.Total == 0 {
				return "-"
			}
			return fmt.Sprintf("%.1f", float64(bytes)/float64(x.Total)*x.PerSecond/1e6)
		}
		rows = append(rows, []string{
			x.Scenario.Title, fmt.Sprint(c.Agreed), fmt.Sprintf("%.2f", c.SentRatio), fmt.Sprintf("%.2f", c.EchoedRatio),
			perSecond(c.SentWire), perSecond(c.EchoedWire),
		})
	}
	p.table(rows)
	p.printf("agreed: connections with permessage-deflate. Ratios: payload over what of it was on the wire, out from the load, back from the server.\n\n")
}

func (r *Report) writeTrouble(p *printer) {
	for _, x := range r.Rows {
		if x.Error != "" {
			p.printf("error: %s: %s\n", x.Scenario.Title, x.Error)
		} else if x.Messages == 0 {
			p.printf("error: %s: no message came back\n", x.Scenario.Title)
		}
	}
	for _, f := range r.Failures {
		p.printf("error: %s\n", f)
	}
}

// writeLast names the fastest row and, beside it, the first.
func (r *Report) writeLast(p *printer) {
	if len(r.Rows) == 0 {
		p.printf("no row ran: 0 messages per second\n")
		return
	}
	best := r.Rows[0]
	for _, x := range r.Rows {
		if x.PerSecond > best.PerSecond {
			best = x
		}
	}
	also := ""
	if first := r.Rows[0]; first != best {
		also = fmt.Sprintf("; %s (%s)", grouped(uint64(first.PerSecond)), first.Scenario.Title)
	}
	p.printf("%s messages per second (%s)%s\n", grouped(uint64(best.PerSecond)), best.Scenario.Title, also)
}

// WriteText prints the result of one run of a load.
func (r *Result) WriteText(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "messages\t%s in %v, %s after it\n", grouped(r.Messages), r.Elapsed.Round(time.Millisecond), grouped(r.Total-r.Messages))
	fmt.Fprintf(t, "rate\t%s messages per second, %.1f MB/s of payload echoed\n", grouped(uint64(r.PerSecond)), r.MBPerSec)
	fmt.Fprintf(t, "latency\tp50 %s, p99 %s, p99.9 %s, max %s\n",
		micros(r.Latency.P50), micros(r.Latency.P99), micros(r.Latency.P999), micros(r.Latency.Max))
	fmt.Fprintf(t, "client CPU\t%s\n", r.Client)
	if r.Server != nil {
		fmt.Fprintf(t, "server CPU\t%s\n", *r.Server)
	}
	if r.TLS != nil {
		fmt.Fprintf(t, "TLS\t%s\n", r.TLS)
	}
	if r.Compression != nil {
		fmt.Fprintf(t, "compression\t%s\n", r.Compression)
	}
	fmt.Fprintf(t, "errors\t%d\n", r.Errors)
	if r.Error != "" {
		fmt.Fprintf(t, "first error\t%s\n", r.Error)
	}
	return t.Flush()
}

// String writes all three figures.
func (c CPU) String() string {
	return fmt.Sprintf("%.2f s, %.2f s per million messages, %s of one core", c.Seconds, c.PerMillion, percent(c.Utilisation))
}

func percent(f float64) string { return fmt.Sprintf("%.0f %%", f*100) }

// micros writes a latency in microseconds, or in milliseconds when it is long.
func micros(d time.Duration) string {
	if d >= 10*time.Millisecond {
		return fmt.Sprintf("%.1f ms", float64(d)/1e6)
	}
	return fmt.Sprintf("%.0f us", float64(d)/1e3)
}

// grouped writes a number with a comma between thousands.
func grouped(n uint64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
