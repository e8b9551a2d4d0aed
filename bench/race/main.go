// Command race measures WebSocket servers beside each other, in all scenarios of package bench: Zeroframe, the servers of
// package peers, and any other by its command. It prints tables, and writes race.json, race.md and race.html, a page of its
// own with plots. `make race` runs it; docs/race.md says how to read what it finds.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"zeroframe/bench"
	"zeroframe/bench/peers"
)

func main() {
	peers.ServeIfChild()
	var f flags
	kong.Parse(&f, kong.Name("race"), kong.Description("Measures WebSocket servers beside each other. docs/race.md says how to read what it finds."))
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := f.run(ctx, os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "race:", err)
		os.Exit(1)
	}
}

type flags struct {
	Servers   []string      `placeholder:"NAME,..." help:"Which of the known servers to measure; default: all but variants."`
	Scenarios []string      `placeholder:"NAME,..." help:"Which scenarios; default: all."`
	Scenario  []string      `sep:"none" placeholder:"SPEC" help:"Another scenario: [FORM:]CONNS:PAYLOAD:INFLIGHT[:PATH][,OPTION]..., such as 1000:1KiB:64,rate=20000."`
	Server    []string      `sep:"none" placeholder:"NAME=COMMAND" help:"Another server, by the command that starts it on {port} of 127.0.0.1, without TLS, to echo; again with a mark before the command for what else it can: topic:, tls: (with {pair}, a PEM file), deflate:, tcp:."`
	Reference string        `placeholder:"NAME" help:"What costs are relative to; default: uWebSockets if it takes part, otherwise zeroframe."`
	Repeat    int           `placeholder:"N" help:"How often each is measured; default 5, with --quick 3."`
	Duration  time.Duration `placeholder:"TIME" help:"How long each time; default 600ms, with --quick 300ms."`
	Warmup    time.Duration `placeholder:"TIME" help:"How long it is loaded before that; default 200ms, with --quick 100ms."`
	Trace     time.Duration `default:"100ms" help:"How long system calls are counted after the first repetition, where a tracer is there; 0: not at all."`
	Quick     bool          `help:"A race of about two minutes: fewer servers, scenarios and repetitions where none are named."`
	Out       string        `default:"bin/race" placeholder:"DIR" help:"Where to write race.json, race.md and race.html; default ${default}."`
	From      string        `placeholder:"FILE" help:"Measure nothing; report again what is in a race.json."`
	List      bool          `help:"List the servers and the scenarios, and end."`
}

// What a quick race has.
var (
	quickServers   = []string{peers.Zeroframe, "gws", "gorilla"}
	quickScenarios = []string{"small", "many-1k", "pipelined", "large-16k", "text-cjk", "rate-50k", "tls-small", "fanout-8", "idle"}
)

// usual is the name of the server that costs are relative to when it takes part.
const usual = "uWebSockets"

// What a race may be asked for.
const (
	mostRepeat = 1000
	longest    = time.Hour
)

// complete fills in the defaults, and says what is wrong.
func (f *flags) complete() error {
	repeat, duration, warmup := bench.Enough, 600*time.Millisecond, 200*time.Millisecond
	if f.Quick {
		repeat, duration, warmup = 3, 300*time.Millisecond, 100*time.Millisecond
		if len(f.Servers) == 0 {
			f.Servers = quickServers
		}
		if len(f.Scenarios)+len(f.Scenario) == 0 {
			f.Scenarios = quickScenarios
		}
	}
	f.Repeat, f.Duration, f.Warmup = cmp.Or(f.Repeat, repeat), cmp.Or(f.Duration, duration), cmp.Or(f.Warmup, warmup)
	if f.Repeat < 0 || f.Duration < 0 || f.Warmup < 0 || f.Trace < 0 {
		return errors.New("--repeat, --duration, --warmup and --trace must not be negative")
	}
	if f.Repeat > mostRepeat || max(f.Duration, f.Warmup, f.Trace) > longest {
		return fmt.Errorf("--repeat, --duration, --warmup and --trace: no more than %d repetitions, of %v each", mostRepeat, longest)
	}
	return nil
}

// run does what the flags say. The error may be that of a race that was measured and written, but in which something
// failed or that was interrupted.
func (f *flags) run(ctx context.Context, out, progressTo io.Writer) error {
	if f.List {
		return list(out)
	}
	if f.From != "" {
		d, err := readData(f.From)
		if err != nil {
			return err
		}
		if f.Reference != "" {
			if d.server(f.Reference) == nil {
				return fmt.Errorf("--reference: %s takes no part", f.Reference)
			}
			d.Reference = f.Reference
		}
		return f.report(d, out)
	}
	if err := f.complete(); err != nil {
		return err
	}
	if err := os.MkdirAll(f.Out, 0o777); err != nil { // before the time is spent
		return err
	}
	d, err := f.measure(ctx, progressTo)
	if err != nil {
		return err
	}
	if d.Interrupted && !d.measured() { // another race's report may be there
		return errors.New("interrupted before anything was measured: nothing is written")
	}
	if err := f.report(d, out); err != nil {
		return err
	}
	if d.Interrupted {
		return errors.New("interrupted: what had been measured is written")
	}
	if n := d.failures(); n > 0 {
		return fmt.Errorf("%d of the measurements failed", n)
	}
	return nil
}

// measure holds the race.
func (f *flags) measure(ctx context.Context, progressTo io.Writer) (*data, error) {
	var others peers.Others
	for _, s := range f.Server {
		if err := others.Add(s); err != nil {
			return nil, fmt.Errorf("--server: %w", err)
		}
	}
	servers, err := choose(f.Servers, others.Servers)
	if err != nil {
		return nil, err
	}
	scenarios, err := chooseScenarios(f.Scenarios, f.Scenario)
	if err != nil {
		return nil, err
	}
	d := &data{
		Format: dataFormat, Command: os.Args, Machine: bench.ThisMachine(),
		Repeat: f.Repeat, Duration: f.Duration, Warmup: f.Warmup,
	}
	if d.Reference, err = f.reference(servers); err != nil {
		return nil, err
	}
	var ground field
	dir, err := bench.TempDir("zeroframe-race")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	if slices.ContainsFunc(scenarios, func(s bench.Scenario) bool { return s.TLS }) {
		if ground.certificate, err = peers.NewCertificate(dir); err != nil {
			return nil, err
		}
	}
	if ground.core, err = peers.PinLoad(); err != nil {
		return nil, err
	}
	if ground.core >= 0 {
		d.Cores = []int{ground.core, bench.Cores()[0]}
	}
	d.Load = bench.ThisRuntime(1)
	r := race{
		scenarios: scenarios, repeat: f.Repeat, measure: bench.Measure,
		settings: bench.Settings{Duration: f.Duration, Warmup: f.Warmup, Trace: f.Trace},
	}
	for _, s := range servers {
		r.contenders = append(r.contenders, ground.contender(s))
	}
	if file, is := progressTo.(*os.File); is {
		r.progress = newProgress(file)
	}
	if err := r.run(ctx, d); err != nil && !d.Interrupted {
		return nil, err
	}
	return d, nil
}

// reference is the name of the server that costs are relative to.
func (f *flags) reference(servers []*peers.Server) (string, error) {
	takesPart := func(name string) bool {
		return slices.ContainsFunc(servers, func(s *peers.Server) bool { return s.Name == name })
	}
	switch {
	case f.Reference != "" && !takesPart(f.Reference):
		return "", fmt.Errorf("--reference: %s takes no part", f.Reference)
	case f.Reference != "":
		return f.Reference, nil
	case takesPart(usual):
		return usual, nil
	case takesPart(peers.Zeroframe):
		return peers.Zeroframe, nil
	}
	return servers[0].Name, nil
}

// report prints the tables and writes the files.
func (f *flags) report(d *data, out io.Writer) error {
	if err := os.MkdirAll(f.Out, 0o777); err != nil {
		return err
	}
	path := func(name string) string { return filepath.Join(f.Out, name) }
	if f.From == "" {
		if err := d.write(path("race.json")); err != nil {
			return err
		}
	}
	var md, html strings.Builder
	if err := errors.Join(d.writeMarkdown(&md), d.writePage(&html)); err != nil {
		return err
	}
	err := errors.Join(
		os.WriteFile(path("race.md"), []byte(md.String()), 0o666),
		os.WriteFile(path("race.html"), []byte(html.String()), 0o666),
		d.writeText(out))
	fmt.Fprintf(out, "\n%s has the plots; race.md and race.json are beside it\n", path("race.html"))
	return err
}

// list prints what there is to choose from.
func list(out io.Writer) error {
	var b strings.Builder
	table := [][]string{{"scenario", ""}}
	for _, s := range bench.Scenarios() {
		table = append(table, []string{s.Name, s.Title})
	}
	writeNames(&b, table)
	table = [][]string{{"server", ""}}
	for _, s := range peers.All() {
		table = append(table, []string{s.Name, how(s)})
	}
	writeNames(&b, table)
	_, err := io.WriteString(out, b.String())
	return err
}

func writeNames(b *strings.Builder, table [][]string) {
	for _, line := range table {
		fmt.Fprintf(b, "%-20s %s\n", line[0], line[1])
	}
	b.WriteString("\n")
}
