package main

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"zeroframe/bench"
)

func everybody(int, int) bool { return true }

func TestEachRepetitionGoesThroughAllScenariosAndServers(t *testing.T) {
	const repetitions, scenarios, servers = 5, 3, 4
	jobs := order(repetitions, scenarios, servers, everybody)
	if len(jobs) != repetitions*scenarios*servers {
		t.Fatalf("%d jobs", len(jobs))
	}
	seen := make(map[[3]int]bool)
	for i, j := range jobs {
		if j.repetition != i/(scenarios*servers) || j.scenario != i/servers%scenarios || j.place != i%servers {
			t.Errorf("job %d is %+v", i, j)
		}
		seen[[3]int{j.repetition, j.scenario, j.server}] = true
	}
	if len(seen) != len(jobs) {
		t.Errorf("%d different ones of %d", len(seen), len(jobs))
	}
}

func TestNobodyIsAlwaysFirstOrAlwaysBehindTheSame(t *testing.T) {
	const repetitions, servers = 5, 11
	first, behind := make(map[int]int), make(map[[2]int]int)
	jobs := order(repetitions, 1, servers, everybody)
	for i, j := range jobs {
		if j.place == 0 {
			first[j.server]++
		} else {
			behind[[2]int{jobs[i-1].server, j.server}]++
		}
	}
	if len(first) != repetitions {
		t.Errorf("first were %v", first)
	}
	for pair, times := range behind {
		if times > 3 {
			t.Errorf("%d followed %d in %d of %d repetitions", pair[1], pair[0], times, repetitions)
		}
	}
}

func TestOrderLeavesOutWhoTakesNoPart(t *testing.T) {
	jobs := order(3, 2, 3, func(scenario, server int) bool { return scenario == 0 || server != 1 })
	if len(jobs) != 3*(3+2) {
		t.Fatalf("%d jobs", len(jobs))
	}
	for _, j := range jobs {
		if j.scenario == 1 && j.server == 1 {
			t.Errorf("%+v", j)
		}
	}
}

// fakeRace is one over two scenarios and the servers of the names, which measure with f.
func fakeRace(f func(s bench.Scenario, t bench.Target) (*bench.Measurement, error), names ...string) *race {
	r := &race{
		scenarios: bench.Scenarios()[:2], repeat: 3, settings: bench.Settings{Duration: time.Millisecond, Trace: time.Millisecond},
		measure: func(_ context.Context, s bench.Scenario, t bench.Target, _ bench.Settings) (*bench.Measurement, error) {
			return f(s, t)
		},
	}
	for _, name := range names {
		r.contenders = append(r.contenders, contender{
			server: server{Name: name, Role: peer},
			cannot: func(*bench.Scenario) error { return nil },
			start: func(*bench.Scenario) (*started, error) {
				return &started{bench.Target{Name: name}, []string{name}, func() error { return nil }}, nil
			},
		})
	}
	return r
}

func fine(s bench.Scenario, t bench.Target) (*bench.Measurement, error) {
	return fixedMeasurement(s, t.Name, 1, 300, 0), nil
}

func TestFailuresAreReportedAndDoNotEndTheRace(t *testing.T) {
	r := fakeRace(func(s bench.Scenario, t bench.Target) (*bench.Measurement, error) {
		m, _ := fine(s, t)
		switch t.Name {
		case "broken":
			return nil, errors.New("connect: refused")
		case "lossy":
			m.Errors, m.Error = 3, "an echo differs"
		case "silent":
			m.Messages = 0
		case "deaf":
			return nil, &bench.UnsuitableError{Reason: "it needs a WebSocket"}
		}
		return m, nil
	}, "good", "broken", "lossy", "silent", "deaf", "dead", "absent")
	r.contenders[5].start = func(*bench.Scenario) (*started, error) {
		return &started{bench.Target{Name: "dead"}, nil, func() error { return errors.New("exit status 2") }}, nil
	}
	r.contenders[6].start = func(*bench.Scenario) (*started, error) { return nil, errors.New("no such file") }
	d := &data{Format: dataFormat, Repeat: 3, Reference: "good"}
	if err := r.run(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	if err := d.writeText(&text); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"good": "", "broken": "FAILED: connect: refused", "lossy": "FAILED: 3 errors, the first: an echo differs",
		"silent": "FAILED: no answer came in time", "deaf": "— it needs a WebSocket", "dead": "FAILED: server: exit status 2",
		"absent": "FAILED: start: no such file",
	} {
		for _, s := range r.scenarios {
			c := d.cell(s.Name, name)
			if good := len(c.good()); (want == "") != (good == 3) || want != "" && good > 0 {
				t.Errorf("%s has %d good repetitions of %s", name, good, s.Name)
			}
		}
		if want != "" && strings.Count(text.String(), name+" "+want) != 2 {
			t.Errorf("the tables do not say twice %q:\n%s", name+" "+want, &text)
		}
	}
	if n := d.failures(); n != 5*2*3 {
		t.Errorf("%d failures", n)
	}
}

func TestOneFailedRepetitionLeavesTheOthers(t *testing.T) {
	times := 0
	r := fakeRace(func(s bench.Scenario, t bench.Target) (*bench.Measurement, error) {
		if times++; times == 1 {
			return nil, errors.New("reset")
		}
		return fine(s, t)
	}, "one")
	d := &data{Format: dataFormat, Repeat: 3, Reference: "one"}
	if err := r.run(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	rows, err := d.rows()
	if err != nil {
		t.Fatal(err)
	}
	if first := rows[0][0]; first.summary == nil || first.summary.Repetitions != 2 || first.trouble() != "FAILED 1 of 3 times: reset" {
		t.Errorf("%+v: %s", first.summary, first.trouble())
	}
}

func TestErrorsAreOneLineThatNoTerminalObeys(t *testing.T) {
	for text, want := range map[string]string{
		"plain":                              "plain",
		"no connection is left\nrefused":     "no connection is left; refused",
		"it printed:\n\n  a  b\n\tc\n":       "it printed: a b; c",
		"404: \x1b]0;title\x07\u202e bell\a": "404: \uFFFD]0;title\uFFFD\uFFFD bell\uFFFD",
	} {
		if got := oneLine(text); got != want {
			t.Errorf("%q: %q, not %q", text, got, want)
		}
	}
	if long := oneLine(strings.Repeat("é", 1000)); len(long) > 410 || !strings.HasSuffix(long, "é ...") {
		t.Errorf("%d bytes: %q", len(long), long)
	}
}

func TestInterruptedRaceKeepsWhatIsThere(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	times := 0
	r := fakeRace(func(s bench.Scenario, t bench.Target) (*bench.Measurement, error) {
		if times++; times == 3 {
			cancel()
			return nil, ctx.Err()
		}
		return fine(s, t)
	}, "one", "two")
	d := &data{Format: dataFormat, Repeat: 3, Reference: "one"}
	if err := r.run(ctx, d); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if !d.Interrupted || len(d.cell("small", "one").Runs) != 1 || len(d.cell("small", "two").Runs) != 1 || d.failures() != 0 {
		t.Errorf("%+v", d.Cells)
	}
	if page := writtenPage(t, d); !strings.Contains(page, "Interrupted before all was measured") || !strings.Contains(page, "not measured") {
		t.Error("the page does not say so")
	}
}

func TestSystemCallsAreCountedInTheFirstRepetitionAlone(t *testing.T) {
	var traced []bool
	r := fakeRace(nil, "one")
	r.measure = func(_ context.Context, s bench.Scenario, t bench.Target, settings bench.Settings) (*bench.Measurement, error) {
		traced = append(traced, settings.Trace > 0)
		return fine(s, t)
	}
	if err := r.run(t.Context(), &data{Format: dataFormat}); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(traced, []bool{true, true, false, false, false, false}) {
		t.Errorf("%v", traced)
	}
}

func TestCostsAreComparedWithinEachRepetition(t *testing.T) {
	s := bench.Scenarios()[0]
	at := func(rep int, cost float64) run {
		m := fixedMeasurement(s, "x", 1, 300, rep)
		m.Server.PerMillion = cost
		return run{Repetition: rep, Measurement: m}
	}
	// The machine grows three times slower; the ratio stays.
	ours := cell{Runs: []run{at(0, 1), at(1, 2), at(2, 3), {Repetition: 3, Error: "died"}}}
	theirs := cell{Runs: []run{at(2, 6), at(1, 4), at(0, 2), at(3, 1)}}
	if got := relativeTo(&ours, &theirs, (*run).cost); got.N != 3 || got.Min != 0.5 || got.Median != 0.5 || got.Max != 0.5 {
		t.Errorf("%+v", got)
	}
	if got := relativeTo(&ours, nil, (*run).cost); got != nil {
		t.Errorf("%+v", got)
	}
}
