package main

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"zeroframe/bench"
)

// column is a figure that tables have of each server.
type column struct {
	head, unit string
	means      string // what it is, for the report
	figure     func(r *row) spread
	format     func(float64) string
	// spreads says that tables without room to name the least and the most still say how far they lie apart.
	spreads bool
}

// loaded is a figure of a summary that only scenarios with a load have: not those of idle connections.
func loaded(figure func(s *bench.Summary) spread) func(r *row) spread {
	return func(r *row) spread {
		if r.summary == nil || r.scenario.Form == bench.Idle {
			return nil
		}
		return figure(r.summary)
	}
}

// always is a figure that any scenario has.
func always(figure func(s *bench.Summary) spread) func(r *row) spread {
	return func(r *row) spread {
		if r.summary == nil {
			return nil
		}
		return figure(r.summary)
	}
}

var columns = []column{
	{"rate", "/s", "What the scenario counts, per second: messages answered and verified, deliveries, connections or pings. ≥: client-bound. At a fixed rate it is that rate, where the server keeps it (↓: it did not).",
		loaded(func(s *bench.Summary) spread { return s.PerSecond }), count, true},
	{"p50", "", "Half of the answers came within this time of the sending, at a fixed rate of when the message was due.",
		loaded(func(s *bench.Summary) spread { return s.P50 }), duration, false},
	{"p99", "", "All but one in 100.", loaded(func(s *bench.Summary) spread { return s.P99 }), duration, true},
	{"p99.9", "", "All but one in 1,000.", loaded(func(s *bench.Summary) spread { return s.P999 }), duration, false},
	{"max", "", "The slowest answer: the median of the repetitions' slowest.", loaded(func(s *bench.Summary) spread { return s.Max }), duration, false},
	{"server", "µs", "Processor time of the server per message, in user space and in the kernel: what there is to compare, whoever is the bottleneck.",
		(*row).cost, perMicro, true},
	{"relative", "×", "The server's processor time over the reference's in the same repetition, and of that the median.",
		func(r *row) spread { return r.relative }, ratio, true},
	{"load", "µs", "Processor time of the load per message.", loaded(func(s *bench.Summary) spread { return s.ClientPerMillion }), perMicro, false},
	{"server", "CPU", "Of one core.", loaded(func(s *bench.Summary) spread { return s.ServerUtilisation }), percent, false},
	{"load", "CPU", "Of one core.", loaded(func(s *bench.Summary) spread { return s.ClientUtilisation }), percent, false},
	{"allocs", "", "Objects that a Go server allocates per message.", loaded(func(s *bench.Summary) spread { return s.AllocsPerMessage }), small, false},
	{"syscalls", "", "System calls of the server per message, counted in a run of its own.", loaded(func(s *bench.Summary) spread { return s.SyscallsPerMessage }), small, false},
	{"RSS", "MiB", "Physical memory of the server, connections open, after the run.", always(func(s *bench.Summary) spread { return s.RSS }), mebi, false},
	{"per conn", "B", "RSS per connection, over what the server held before them; of idle connections the slope between the two numbers of them, garbage collected where the server can be asked to.",
		always(func(s *bench.Summary) spread { return s.RSSPerConn }), whole, false},
	{"live", "B", "Live heap per connection, of a Go server after a collection.", always(func(s *bench.Summary) spread { return s.LivePerConn }), whole, false},
}

// of writes a column's figure of a row, and beside it what is to be said of it.
func (c *column) of(r *row) (text, note string) {
	s := c.figure(r)
	text = show(s, c.format)
	if c.head == "rate" && s != nil {
		if r.clientBound() && !r.scenario.OpenLoop() {
			text = "≥ " + text
		}
		if r.behind() {
			text = "↓ " + text
		}
	}
	if c.spreads {
		note = within(s)
	}
	return text, note
}

// used are the columns that any of the rows has a figure for.
func used(rows []row) (list []*column) {
	for i := range columns {
		for j := range rows {
			if columns[i].figure(&rows[j]) != nil {
				list = append(list, &columns[i])
				break
			}
		}
	}
	return list
}

// writeText prints the tables for a terminal.
func (d *data) writeText(w io.Writer) error {
	var b strings.Builder
	d.writeHead(&b, "")
	all, err := d.rows()
	if err != nil {
		return err
	}
	for _, rows := range all {
		if len(rows) == 0 {
			continue
		}
		s := rows[0].scenario
		fmt.Fprintf(&b, "\n%s: %s (%s)\n", s.Name, s.Title, what(s))
		writeColumns(&b, d.cells(rows))
		for i := range rows {
			if t := rows[i].trouble(); t != "" {
				fmt.Fprintf(&b, "  %s %s\n", rows[i].server.Name, t)
			}
		}
	}
	b.WriteString("\n")
	for _, line := range verdict(all, d.Reference) {
		fmt.Fprintf(&b, "%s\n", line)
	}
	fmt.Fprintf(&b, "%s\n", notes)
	_, err = io.WriteString(w, b.String())
	return err
}

const notes = "Medians of the repetitions; ± is half of what lies between the least and the most of them. ≥: the load had no processor time left and the server had: " +
	"the rate is the load's limit, CPU per message stands. ↓: the fixed rate was not kept. -: not known."

// cells is a scenario's table: a head, and a line for each server that has figures; nothing if none has.
func (d *data) cells(rows []row) [][]string {
	list := used(rows)
	if len(list) == 0 {
		return nil
	}
	head := []string{"server"}
	for _, c := range list {
		head = append(head, strings.TrimSpace(c.head+" "+c.unit))
	}
	table := [][]string{head}
	for i := range rows {
		r := &rows[i]
		if r.summary == nil {
			continue
		}
		line := []string{r.server.Name}
		for _, c := range list {
			text, note := c.of(r)
			line = append(line, strings.TrimSpace(text+" "+note))
		}
		table = append(table, line)
	}
	return table
}

// writeColumns prints rows in columns, the first to the left and the others to the right.
func writeColumns(b *strings.Builder, rows [][]string) {
	if len(rows) == 0 {
		return
	}
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, text := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(text))
		}
	}
	for _, row := range rows {
		fmt.Fprintf(b, "  %-*s", widths[0], row[0])
		for i, text := range row[1:] {
			fmt.Fprintf(b, "  %*s", widths[i+1], text)
		}
		b.WriteString("\n")
	}
}

// writeMarkdown prints the same for documents.
func (d *data) writeMarkdown(w io.Writer) error {
	var b strings.Builder
	d.writeHead(&b, "    ")
	all, err := d.rows()
	if err != nil {
		return err
	}
	b.WriteString("\n")
	for _, line := range verdict(all, d.Reference) {
		fmt.Fprintf(&b, "- %s\n", line)
	}
	d.writeGlances(&b, all)
	for _, rows := range all {
		if len(rows) == 0 {
			continue
		}
		s := rows[0].scenario
		fmt.Fprintf(&b, "\n### %s: %s\n\n%s.\n\n", s.Name, s.Title, what(s))
		for i, line := range d.cells(rows) {
			line[0] = escape(line[0])
			fmt.Fprintf(&b, "| %s |\n", strings.Join(line, " | "))
			if i == 0 {
				fmt.Fprintf(&b, "|---%s|\n", strings.Repeat("|---:", len(line)-1))
			}
		}
		for i := range rows {
			if t := rows[i].trouble(); t != "" {
				fmt.Fprintf(&b, "\n%s %s\n", rows[i].server.Name, t)
			}
		}
	}
	fmt.Fprintf(&b, "\n%s\n", notes)
	_, err = io.WriteString(w, b.String())
	return err
}

// escape makes a server's name one cell of a table in Markdown.
func escape(name string) string { return strings.ReplaceAll(name, "|", `\|`) }

// writeHead says what was measured on what, each line behind a prefix.
func (d *data) writeHead(b *strings.Builder, prefix string) {
	fmt.Fprintf(b, "%scommand  %s\n", prefix, strings.Join(d.Command, " "))
	fmt.Fprintf(b, "%smachine  %v\n", prefix, d.Machine)
	fmt.Fprintf(b, "%s         %s\n", prefix, d.where())
	fmt.Fprintf(b, "%srun      %s\n", prefix, d.ran())
	if text, _ := d.quiet(); text != "" {
		fmt.Fprintf(b, "%s         %s\n", prefix, text)
	}
	if text := d.untraced(); text != "" {
		fmt.Fprintf(b, "%s         %s\n", prefix, text)
	}
}

// where says which side ran on what.
func (d *data) where() string {
	settings := fmt.Sprintf("%s, GOMAXPROCS=%d, GOGC=%s", d.Load.GoVersion, d.Load.GOMAXPROCS, d.Load.GOGC)
	if len(d.Cores) < 2 {
		return "both sides share the processors; load: " + settings
	}
	return fmt.Sprintf("servers on core %d, load on core %d: %s", d.Cores[0], d.Cores[1], settings)
}

// ran says when, and how much.
func (d *data) ran() string {
	s := fmt.Sprintf("%s, %v; %d repetitions of %v each after %v of warm-up, interleaved",
		d.Began.UTC().Format("2006-01-02 15:04 MST"), d.Ended.Sub(d.Began).Round(1e9), d.Repeat, d.Duration, d.Warmup)
	if d.Interrupted {
		s += "; INTERRUPTED before all was measured"
	}
	return s
}
