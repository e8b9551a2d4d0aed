package main

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"

	"zeroframe/bench"
	"zeroframe/bench/peers"
)

func TestMain(m *testing.M) {
	peers.ServeIfChild()
	os.Exit(m.Run())
}

func parse(t *testing.T, args ...string) *flags {
	t.Helper()
	f := new(flags)
	parser, err := kong.New(f, kong.Exit(func(int) { t.Fatal("it would exit") }))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parser.Parse(args); err != nil {
		t.Fatal(err)
	}
	return f
}

// TestSmallRace runs everything for real: processes, loads and the report.
func TestSmallRace(t *testing.T) {
	dir := t.TempDir()
	f := parse(t, "--servers", "zeroframe,gorilla", "--scenarios", "tls-small", "--scenario", "10:64:2", "--repeat", "2", "--duration", "100ms", "--warmup", "20ms", "--trace", "0", "--out", dir)
	var out strings.Builder
	if err := f.run(t.Context(), &out, io.Discard); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	d, err := readData(filepath.Join(dir, "race.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{"tls-small", "10:64:2"} {
		for _, name := range []string{"zeroframe", "gorilla"} {
			good := d.cell(s, name).good()
			if len(good) != 2 {
				t.Fatalf("%s of %s: %d good repetitions", s, name, len(good))
			}
			for _, m := range good {
				if m.Messages == 0 || m.Server == nil || m.Server.PerMillion <= 0 || m.Heap == nil {
					t.Errorf("%s of %s: %+v", s, name, m)
				}
			}
		}
	}
	if d.Reference != "zeroframe" || d.Machine != bench.ThisMachine() || d.Began.IsZero() || d.Ended.Before(d.Began) || d.server("gorilla").How == "" || len(d.server("gorilla").Command) == 0 {
		t.Errorf("%+v", d)
	}
	for _, name := range []string{"race.html", "race.md"} {
		if raw, err := os.ReadFile(filepath.Join(dir, name)); err != nil || !strings.Contains(string(raw), "gorilla") {
			t.Errorf("%s: %v", name, err)
		}
	}

	// The same report again, relative to another server.
	page, err := os.ReadFile(filepath.Join(dir, "race.html"))
	if err != nil {
		t.Fatal(err)
	}
	again := t.TempDir()
	if err := parse(t, "--from", filepath.Join(dir, "race.json"), "--out", again).run(t.Context(), io.Discard, io.Discard); err != nil {
		t.Fatal(err)
	}
	if second, err := os.ReadFile(filepath.Join(again, "race.html")); err != nil || string(second) != string(page) {
		t.Errorf("another page from the same data: %v", err)
	}
	if err := parse(t, "--from", filepath.Join(dir, "race.json"), "--out", again, "--reference", "gorilla").run(t.Context(), io.Discard, io.Discard); err != nil {
		t.Fatal(err)
	}
	if md, err := os.ReadFile(filepath.Join(again, "race.md")); err != nil || !strings.Contains(string(md), "CPU per message of zeroframe over gorilla's") {
		t.Errorf("%v:\n%s", err, md)
	}
}

// TestServerThatDiesFailsTheRaceButNotTheOthers has a command that ends at once among the servers.
func TestServerThatDiesFailsTheRaceButNotTheOthers(t *testing.T) {
	dir := t.TempDir()
	f := parse(t, "--servers", "zeroframe", "--server", "mortal=false {port}", "--scenario", "2:16:1", "--repeat", "1", "--duration", "50ms", "--warmup", "1ms", "--trace", "0", "--out", dir)
	var out strings.Builder
	err := f.run(t.Context(), &out, io.Discard)
	if err == nil || err.Error() != "1 of the measurements failed" {
		t.Errorf("%v", err)
	}
	if !strings.Contains(out.String(), "mortal FAILED: start: ") {
		t.Errorf("%s", &out)
	}
	if d, err := readData(filepath.Join(dir, "race.json")); err != nil || len(d.cell("2:16:1", "zeroframe").good()) != 1 {
		t.Errorf("zeroframe was not measured: %v", err)
	}
}

func TestRaceThatMeasuredNothingLeavesTheReportThatIsThere(t *testing.T) {
	dir := t.TempDir()
	earlier := filepath.Join(dir, "race.json")
	if err := os.WriteFile(earlier, []byte("25 minutes"), 0o666); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	f := parse(t, "--servers", "gws", "--scenario", "2:16:1", "--out", dir)
	if err := f.run(ctx, io.Discard, io.Discard); err == nil || !strings.Contains(err.Error(), "nothing is written") {
		t.Error(err)
	}
	if b, err := os.ReadFile(earlier); err != nil || string(b) != "25 minutes" {
		t.Errorf("%q, %v", b, err)
	}
}

func TestFlags(t *testing.T) {
	f := parse(t)
	if err := f.complete(); err != nil || f.Repeat != 5 || f.Duration != 600*time.Millisecond || f.Warmup != 200*time.Millisecond || f.Out != "bin/race" {
		t.Errorf("%v: %+v", err, f)
	}
	f = parse(t, "--quick", "--repeat", "7", "--server", "a=x {port}, y", "--server", "b=z {port}")
	if err := f.complete(); err != nil || f.Repeat != 7 || f.Duration != 300*time.Millisecond || len(f.Servers) != len(quickServers) || len(f.Server) != 2 {
		t.Errorf("%v: %+v", err, f)
	}
	if scenarios, err := chooseScenarios(quickScenarios, nil); err != nil || len(scenarios) != len(quickScenarios) {
		t.Error(err)
	}
	if servers, err := choose(quickServers, nil); err != nil || len(servers) != len(quickServers) {
		t.Error(err)
	}
	empty := filepath.Join(t.TempDir(), "empty.json")
	if err := os.WriteFile(empty, []byte(`{"format":1,"servers":[{"name":"a"}],"scenarios":[{"name":"b"}],"reference":"a"}`), 0o666); err != nil {
		t.Fatal(err)
	}
	for want, args := range map[string][]string{
		`--servers: no server "nobody"`:                       {"--servers", "nobody"},
		"--servers: gws is there twice":                       {"--servers", "gws,gws"},
		`--scenarios: no scenario "nothing"`:                  {"--scenarios", "nothing"},
		"--scenarios: small is there twice":                   {"--scenarios", "small,small"},
		"--scenario: ":                                        {"--scenario", "100:x:1"},
		"--reference: uWebSockets takes no part":              {"--reference", "uWebSockets"},
		"--server: ":                                          {"--server", "nameless"},
		"--repeat, --duration, --warmup and --trac":           {"--repeat=-1"},
		"--repeat, --duration, --warmup and --trace: no more": {"--repeat=9223372036854775807"},
		"--repeat, --duration, --warmup and --trace: no mor":  {"--warmup=2000000h"},
		"open ": {"--from", filepath.Join(t.TempDir(), "none.json")},
		empty + " has no cells: nothing was measured": {"--from", empty},
	} {
		err := parse(t, append(args, "--out", t.TempDir())...).run(t.Context(), io.Discard, io.Discard)
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v: %v, not %q", args, err, want)
		}
	}
}

func TestReferenceIsUWebSocketsWhereItTakesPart(t *testing.T) {
	var others peers.Others
	if err := others.Add("uWebSockets=uws {port}"); err != nil {
		t.Fatal(err)
	}
	servers, err := choose([]string{"gws", "zeroframe"}, others.Servers)
	if err != nil {
		t.Fatal(err)
	}
	for given, want := range map[string]string{"": "uWebSockets", "gws": "gws"} {
		if got, err := (&flags{Reference: given}).reference(servers); err != nil || got != want {
			t.Errorf("%q: %q, %v", given, got, err)
		}
	}
	if got, _ := new(flags).reference(servers[:2]); got != "zeroframe" {
		t.Error(got)
	}
	if got, _ := new(flags).reference(servers[:1]); got != "gws" {
		t.Error(got)
	}
}

func TestListNamesScenariosAndServers(t *testing.T) {
	var out strings.Builder
	if err := parse(t, "--list").run(t.Context(), &out, io.Discard); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"\nsmall ", "\nidle ", "\nzeroframe ", "\ngorilla "} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, &out)
		}
	}
}
