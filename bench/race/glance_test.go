package main

import (
	"strings"
	"testing"
)

// TestTheTablesAtAGlanceHaveEveryScenarioThatHasFigures compares them with the rows that the long tables are made of.
func TestTheTablesAtAGlanceHaveEveryScenarioThatHasFigures(t *testing.T) {
	d := fixture()
	all, err := d.rows()
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	d.writeGlances(&b, all)
	sections := strings.Split(b.String(), "\n### ")[1:]
	if len(sections) != len(d.glances()) {
		t.Fatalf("%d tables, not %d:\n%s", len(sections), len(d.glances()), b.String())
	}
	for i, g := range d.glances() {
		lines := strings.Split(strings.TrimSpace(sections[i]), "\n")
		if lines[0] != g.title || strings.Count(lines[2], "|") != len(d.Servers)+2 {
			t.Errorf("table %q, %q", lines[0], lines[2])
		}
		found := make(map[string][]string) // the cells of each scenario
		for _, line := range lines[4:] {
			cells := strings.Split(strings.Trim(line, "|"), "|")
			found[strings.TrimSpace(cells[0])] = cells[1:]
		}
		for _, rows := range all {
			for j := range rows {
				r := &rows[j]
				if r.summary == nil {
					continue
				}
				want := g.figure(r)
				got := ""
				if cells := found[r.scenario.Name]; cells != nil {
					for k := range d.Servers {
						if &d.Servers[k] == r.server {
							got = strings.TrimSpace(cells[k])
						}
					}
				}
				if got != want {
					t.Errorf("%s: %s of %s is %q, not %q", g.title, r.server.Name, r.scenario.Name, got, want)
				}
			}
		}
	}
	if first := sections[0]; !strings.Contains(first, "| 1 (") {
		t.Errorf("the reference's cost is not there:\n%s", first)
	}
}
