package main

import (
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func TestTablesHaveEveryServerOfEachScenario(t *testing.T) {
	d := fixture()
	var text, markdown strings.Builder
	if err := d.writeText(&text); err != nil {
		t.Fatal(err)
	}
	if err := d.writeMarkdown(&markdown); err != nil {
		t.Fatal(err)
	}
	for i := range d.Scenarios {
		s := &d.Scenarios[i]
		for format, whole := range map[string]string{"\n": text.String(), "\n### ": markdown.String()} {
			_, section, found := strings.Cut(whole, format+s.Name+": "+s.Title)
			if !found {
				t.Fatalf("no %s", s.Name)
			}
			if i+1 < len(d.Scenarios) {
				section, _, _ = strings.Cut(section, format+d.Scenarios[i+1].Name+": ")
			}
			for _, by := range d.Servers {
				if wanted := by.Role != bound || d.cell(s.Name, by.Name).Missing == ""; strings.Contains(section, by.Name+" ") != wanted {
					t.Errorf("%s in %s is there: %v\n%s", by.Name, s.Name, !wanted, section)
				}
			}
		}
	}
}

func TestVerdictSaysWhereRepetitionsDisagreeAndWhoIsCheaper(t *testing.T) {
	d := fixture()
	set := func(scenario string, ratios ...float64) {
		for rep, x := range ratios {
			d.cell(scenario, "zeroframe").Runs[rep].Measurement.Server.PerMillion = 3 * x
			d.cell(scenario, "uWebSockets").Runs[rep].Measurement.Server.PerMillion = 3
		}
	}
	set("small", 0.8, 0.9, 0.99, 0.7, 0.9)
	set("many", 1.2, 1.1, 1.01, 1.3, 1.2)
	set("many-1k", 0.8, 0.9, 1.01, 0.7, 0.9)
	all, err := d.rows()
	if err != nil {
		t.Fatal(err)
	}
	lines := verdict(all, d.Reference)
	if len(lines) != 3 {
		t.Fatalf("%q", lines)
	}
	for part, want := range []string{"small 0.90", "many 1.20", "many-1k 0.90"} {
		parts := strings.SplitAfter(lines[0], ": ")[1:]
		if len(parts) != 3 {
			t.Fatalf("%q", lines[0])
		}
		for i := range parts {
			if has := strings.Contains(" "+parts[i], " "+want); has != (i == part) {
				t.Errorf("%q has %q: %v", parts[i], want, has)
			}
		}
	}
	if !strings.HasPrefix(lines[1], "p99 of zeroframe over uWebSockets's") {
		t.Errorf("%q", lines[1])
	}
	if !strings.Contains(lines[2], " many (uWebSockets ") || strings.Contains(lines[2], "small (") {
		t.Errorf("%q", lines[2])
	}
}

func TestVerdictDoesNotCompareAtRatesThatWereNotKept(t *testing.T) {
	d := fixture()
	for _, r := range d.cell("rate-50k", "uWebSockets").Runs {
		r.Measurement.Pace.Kept = false
	}
	all, err := d.rows()
	if err != nil {
		t.Fatal(err)
	}
	lines := verdict(all, d.Reference)
	if len(lines) != 4 || lines[2] != "Not compared, for the fixed rate was not kept: rate-50k." {
		t.Fatalf("%q", lines)
	}
	for _, i := range []int{0, 1, 3} {
		if strings.Contains(lines[i]+" ", "rate-50k ") {
			t.Errorf("%q", lines[i])
		}
	}
}

func TestDataIsReadAsItWasWritten(t *testing.T) {
	d := fixture()
	path := filepath.Join(t.TempDir(), "race.json")
	if err := d.write(path); err != nil {
		t.Fatal(err)
	}
	again, err := readData(path)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(d, again) {
		t.Error("it differs")
	}
	d.Format++
	if err := d.write(path); err != nil {
		t.Fatal(err)
	}
	if _, err := readData(path); err == nil || !strings.Contains(err.Error(), "format") {
		t.Errorf("another format: %v", err)
	}
}

func TestFiguresAreWrittenWithThreeDigits(t *testing.T) {
	for f, want := range map[float64]string{
		0: "0", 0.031: "0.0310", 0.0999: "0.10", 3.456: "3.46", 9.996: "10.0", 12.34: "12.3", 99.96: "100", 123.4: "123", 1234: "1,234", 1234567: "1,234,567", -1234: "-1,234",
	} {
		if got := count(f); got != want {
			t.Errorf("%v: %s, not %s", f, got, want)
		}
	}
	for ns, want := range map[float64]string{1500: "1.50 µs", 999_000: "999 µs", 1.2e6: "1.20 ms", 2.5e9: "2.50 s"} {
		if got := duration(ns); got != want {
			t.Errorf("%v: %s, not %s", ns, got, want)
		}
	}
}

func TestAServersNameStaysInItsCell(t *testing.T) {
	d := fixture()
	const plain, odd = "gws", "g|ws"
	d.server(plain).Name = odd
	for i := range d.Cells {
		if d.Cells[i].Server == plain {
			d.Cells[i].Server = odd
		}
	}
	var b strings.Builder
	if err := d.writeMarkdown(&b); err != nil {
		t.Fatal(err)
	}
	tables := 0
	for line := range strings.Lines(b.String()) {
		if strings.HasPrefix(line, "|") && strings.Contains(line, "ws ") {
			tables++
			if strings.Contains(line, odd) {
				t.Errorf("%q", line)
			}
		}
	}
	if tables == 0 {
		t.Error("it is in no table")
	}
}
