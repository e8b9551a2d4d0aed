package main

import (
	"embed"
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"strings"

	"zeroframe/bench"
)

// The page and what draws its plots: Observable Plot on D3, as their authors publish them, beside their licences. Plot's
// marks are SVG, with text that can be selected and colours that may be CSS variables; it has logarithmic scales; and it
// needs nothing from a network. Its files are the unchanged ones of @observablehq/plot 0.6.17 and d3 7.9.2.
//
//go:embed page
var pageFiles embed.FS

var pageTemplate = template.Must(template.New("report.html").Funcs(template.FuncMap{
	"file": func(name string) (string, error) {
		b, err := pageFiles.ReadFile("page/" + name)
		return string(b), err
	},
	"style":  func(s string) template.CSS { return template.CSS(s) }, // files of ours
	"script": func(s string) template.JS { return template.JS(s) },
	"join":   func(s []string) string { return strings.Join(s, " ") },
}).ParseFS(pageFiles, "page/report.html"))

// page is what the template is filled with.
type page struct {
	*data
	Where, Ran string
	Quiet      string // how much others had of the cores
	Loud       bool   // so much that figures suffer
	Verdict    []string
	Chance     int // one row of so many has all repetitions agree without a reason
	Failures   int
	Tables     []table
	Columns    []legend
	Plots      template.JS // plots in JSON
	Notes      string
	Untraced   string
	Missing    []string
	Bound      []string // rows that are client-bound
}

// table is a scenario's in the page.
type table struct {
	Name, Title, What string
	Heads             []legend
	Rows              []tableRow
}

type legend struct{ Head, Unit, Means string }

type tableRow struct {
	Server string
	Role   role
	Cells  []tableCell
	Whole  string // in place of the cells
	Failed bool
	Note   string // beside the cells
}

type tableCell struct{ Text, Note string }

// plots is what the page's script draws. Figures are the median, the least and the most.
type plots struct {
	Reference string         `json:"reference"`
	Servers   []plotServer   `json:"servers"`
	Scenarios []plotScenario `json:"scenarios"`
	Cells     []plotCell     `json:"cells"`
}

type plotServer struct {
	Name string `json:"name"`
	Role role   `json:"role"`
}

type plotScenario struct {
	Name     string `json:"name"`
	Title    string `json:"title"`
	What     string `json:"what"`
	Unit     string `json:"unit"`
	CostUnit string `json:"costUnit"`
	Paced    bool   `json:"paced"`
}

type plotCell struct {
	Scenario    string       `json:"scenario"`
	Server      string       `json:"server"`
	Rate        []float64    `json:"rate,omitempty"` // per second
	Cost        []float64    `json:"cost,omitempty"` // µs
	Relative    []float64    `json:"relative,omitempty"`
	PerConn     []float64    `json:"perConn,omitempty"` // bytes
	Curve       [][2]float64 `json:"curve,omitempty"`   // percentile, µs
	ClientBound bool         `json:"clientBound,omitempty"`
}

// writePage writes the report as one HTML file that loads nothing.
func (d *data) writePage(w io.Writer) error {
	all, err := d.rows()
	if err != nil {
		return err
	}
	p := page{data: d, Where: d.where(), Ran: d.ran(), Verdict: verdict(all, d.Reference), Failures: d.failures(), Untraced: d.untraced(), Notes: notes}
	p.Chance = 1 << max(0, min(d.Repeat-1, 30))
	p.Quiet, p.Loud = d.quiet()
	show := plots{Reference: d.Reference}
	for i := range d.Servers {
		s := &d.Servers[i]
		as := s.Role
		if s.Name == d.Reference && as != own {
			as = "reference"
		}
		show.Servers = append(show.Servers, plotServer{s.Name, as})
	}
	for _, c := range columns {
		p.Columns = append(p.Columns, legend{c.head, c.unit, c.means})
	}
	for _, rows := range all {
		if len(rows) == 0 {
			continue
		}
		p.Tables = append(p.Tables, newTable(rows))
		s := rows[0].scenario
		one, many := counted(s)
		show.Scenarios = append(show.Scenarios, plotScenario{
			s.Name, s.Title, what(s), many + "/s", "CPU per " + one, s.OpenLoop(),
		})
		for i := range rows {
			r := &rows[i]
			if r.missing != "" && r.server.Role != bound {
				p.Missing = append(p.Missing, fmt.Sprintf("%s in %s: %s", r.server.Name, s.Name, r.missing))
			}
			if r.clientBound() {
				p.Bound = append(p.Bound, fmt.Sprintf("%s in %s", r.server.Name, s.Name))
			}
			show.Cells = append(show.Cells, newPlotCell(r))
		}
	}
	raw, err := json.Marshal(show) // which escapes what could end a script
	if err != nil {
		return err
	}
	p.Plots = template.JS(raw)
	return pageTemplate.Execute(w, p)
}

func newPlotCell(r *row) plotCell {
	c := plotCell{Scenario: r.scenario.Name, Server: r.server.Name, Cost: triple(r.cost()), Relative: triple(r.relative), ClientBound: r.clientBound()}
	if r.summary == nil {
		return c
	}
	if r.scenario.Form == bench.Idle { // elsewhere it is of connections at work, and of pools that grew
		c.PerConn = triple(r.summary.RSSPerConn)
		return c
	}
	c.Rate = triple(r.summary.PerSecond)
	for _, p := range r.summary.Curve {
		if p.Q > 0.49 && p.Q < 1 {
			c.Curve = append(c.Curve, [2]float64{100 * p.Q, float64(p.Value) / 1e3})
		}
	}
	return c
}

func newTable(rows []row) table {
	s := rows[0].scenario
	t := table{Name: s.Name, Title: s.Title, What: what(s)}
	list := used(rows)
	for _, c := range list {
		t.Heads = append(t.Heads, legend{c.head, c.unit, c.means})
	}
	for i := range rows {
		r := &rows[i]
		line := tableRow{Server: r.server.Name, Role: r.server.Role, Failed: r.failures > 0}
		if r.summary == nil || len(list) == 0 {
			line.Whole = r.trouble()
		} else {
			line.Note = r.trouble()
			for _, c := range list {
				text, note := c.of(r)
				if c.spreads {
					note = between(c.figure(r), c.format)
				}
				line.Cells = append(line.Cells, tableCell{text, note})
			}
		}
		t.Rows = append(t.Rows, line)
	}
	return t
}
