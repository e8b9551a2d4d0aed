package main

import (
	"fmt"
	"strings"
)

// glance is one figure of all scenarios and servers, in one table: scenarios down, servers across.
type glance struct {
	title  string
	figure func(r *row) string // empty: none
}

// The figures that documents show of a race.
func (d *data) glances() []glance {
	cost := "CPU of the server per message, relative to " + d.Reference + ", whose µs are in brackets"
	return []glance{
		{cost, func(r *row) string {
			switch {
			case r.relative == nil:
				return ""
			case r.server.Name == d.Reference:
				return fmt.Sprintf("1 (%s)", show(r.cost(), perMicro))
			}
			return show(r.relative, ratio)
		}},
		{"Rate per second; ≥: client-bound, ↓: not kept", func(r *row) string { return figureOf(r, "rate") }},
		{"p99", func(r *row) string { return figureOf(r, "p99") }},
		{"RSS per connection, in bytes; where the server tells, live heap after the stroke", func(r *row) string {
			text := figureOf(r, "per conn")
			if live := figureOf(r, "live"); text != "" && live != "" {
				text += " / " + live
			}
			return text
		}},
	}
}

// figureOf is the text of a column, without its note; empty where nothing is known.
func figureOf(r *row, head string) string {
	for i := range columns {
		if c := &columns[i]; c.head == head {
			if c.figure(r) == nil {
				return ""
			}
			text, _ := c.of(r)
			return text
		}
	}
	panic("race: no column " + head)
}

// writeGlances prints them in Markdown, without the scenarios that nobody has a figure for.
func (d *data) writeGlances(b *strings.Builder, all [][]row) {
	for _, g := range d.glances() {
		var lines []string
		for _, rows := range all {
			if line := d.line(rows, g.figure); strings.Trim(line, " |") != "" {
				lines = append(lines, fmt.Sprintf("| %s |%s\n", rows[0].scenario.Name, line))
			}
		}
		if lines == nil {
			continue
		}
		fmt.Fprintf(b, "\n### %s\n\n| |", g.title)
		for i := range d.Servers {
			fmt.Fprintf(b, " %s |", escape(d.Servers[i].Name))
		}
		fmt.Fprintf(b, "\n|---%s|\n%s", strings.Repeat("|---:", len(d.Servers)), strings.Join(lines, ""))
	}
}

// line is a scenario's: a cell for each server of the race, empty for those without a figure.
func (d *data) line(rows []row, figure func(r *row) string) (line string) {
	for i := range d.Servers {
		text := ""
		for j := range rows {
			if r := &rows[j]; r.server == &d.Servers[i] && r.summary != nil {
				text = figure(r)
			}
		}
		line += " " + text + " |"
	}
	return line
}
