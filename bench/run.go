package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"time"
)

// Options say what Run does.
type Options struct {
	Serve    []string      // command that starts a server as StartServer wants it
	Rows     []Scenario    // nil: DefaultRows
	Duration time.Duration // of each row's measured run
	Warmup   time.Duration // of the run before it that does not count, repeated while the server's pools fill; 0: none
	Kind     Kind          // what payloads are cut from, where a row does not say
	Compress bool          // all rows offer permessage-deflate; see LoadConfig
	Profiles string        // directory for a CPU profile of each row's server, row-1.pprof and so on, from before the first connection; "": none
	// Progress is told of each row as it begins, and of how to ask for its messages, as Settings.Progress is; may be nil.
	Progress func(row int, count func() uint64)
}

// DefaultRows are a few that differ in what they cost: small messages one at a time, pipelined ones, messages that fill
// a read, messages that must be assembled, and echoes sent by other goroutines.
func DefaultRows() (list []Scenario) {
	for _, r := range []Row{
		{"", 100, 32, 1},
		{"", 1000, 32, 16},
		{"", 100, 16 << 10, 1},
		{"", 10, 1 << 20, 1},
		{"/send", 100, 32, 1},
	} {
		s := Scenario{Row: r}
		s.Name, s.Title = s.Spec(), s.Describe()
		list = append(list, s)
	}
	return list
}

// Report is all of a benchmark.
type Report struct {
	Command  []string      `json:"command"`
	Serve    []string      `json:"serve_command"`
	ServeEnv []string      `json:"serve_env"`
	Began    time.Time     `json:"began"`
	Duration time.Duration `json:"duration_ns"` // of each row
	Warmup   time.Duration `json:"warmup_ns"`
	Kind     Kind          `json:"payload_kind"`
	Compress bool          `json:"compress"`

	Machine  Machine        `json:"machine"`
	Client   Runtime        `json:"client"`
	Server   Runtime        `json:"server"`
	Pinned   bool           `json:"pinned"` // the server to Cores[0] and the load to Cores[1]
	Cores    []int          `json:"cores,omitempty"`
	Rows     []*Measurement `json:"rows"`
	Failures []string       `json:"failures,omitempty"` // rows that could not run, servers that ended badly
}

// Machine is what a report was made on.
type Machine struct {
	Kernel    string `json:"kernel"`
	Processor string `json:"processor,omitempty"`
	CPUs      int    `json:"cpus"`
	Commit    string `json:"commit,omitempty"` // of this program's source
}

// ThisMachine describes the machine, and what this program was built from.
func ThisMachine() Machine {
	return Machine{Kernel: kernel(), Processor: processor(), CPUs: runtime.NumCPU(), Commit: commit()}
}

// String writes it in a line.
func (m Machine) String() string {
	return fmt.Sprintf("%d x %s, %s; commit %s", m.CPUs, cmp.Or(m.Processor, "unknown processor"), m.Kernel, cmp.Or(m.Commit, "unknown"))
}

// Runtime is how the Go runtime of one side was set.
type Runtime struct {
	GoVersion  string `json:"go_version"`
	GOMAXPROCS int    `json:"gomaxprocs"`
	GOGC       string `json:"gogc"`
	Loops      int    `json:"loops"`
}

// ThisRuntime describes that of this process as it is set now, with so many event loops of a load.
func ThisRuntime(loops int) Runtime {
	return Runtime{GoVersion: runtime.Version(), GOMAXPROCS: runtime.GOMAXPROCS(0), GOGC: gogc(ownGOGC()), Loops: loops}
}

// Run measures each row against a server of its own. The server runs on one loop with GOMAXPROCS=1, on the first
// processor, and the load, in this process and with GOMAXPROCS=1 too, on the second; where there is one processor, or
// the system cannot pin, they share what there is, which the report says. The error is of a benchmark that ctx ended;
// what fails in a row is in the report.
func Run(ctx context.Context, o Options) (*Report, error) {
	if o.Rows == nil {
		o.Rows = DefaultRows()
	}
	if o.Progress == nil {
		o.Progress = func(int, func() uint64) {}
	}
	r := &Report{
		Command:  os.Args,
		Serve:    o.Serve,
		ServeEnv: []string{"GOMAXPROCS=1"},
		Began:    time.Now(),
		Duration: o.Duration,
		Warmup:   o.Warmup,
		Kind:     o.Kind,
		Compress: o.Compress,
		Machine:  ThisMachine(),
	}
	core := -1
	if list := Cores(); len(list) >= 2 {
		if restore, err := Pin(list[1]); err == nil {
			defer restore()
			core = list[0]
			r.Pinned, r.Cores = true, list[:2]
		}
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	r.Client = ThisRuntime(1)
	for i, row := range o.Rows {
		if o.Kind != Random {
			row.Kind = o.Kind
		}
		row.Compress = row.Compress || o.Compress
		m, err := r.row(ctx, o, i, row, core)
		if ctx.Err() != nil {
			return r, ctx.Err()
		}
		if err != nil {
			r.Failures = append(r.Failures, fmt.Sprintf("%s: %v", row.Title, err))
		}
		if m != nil {
			r.Rows = append(r.Rows, m)
		}
	}
	return r, nil
}

// row starts a server, measures, and stops it; m may be there with an error.
func (r *Report) row(ctx context.Context, o Options, i int, row Scenario, core int) (m *Measurement, err error) {
	o.Progress(i, nil)
	s, err := StartServer(ctx, o.Serve, r.ServeEnv, core)
	if err != nil {
		return nil, err
	}
	defer func() {
		if stopErr := s.Stop(); err == nil {
			err = stopErr
		}
	}()
	if r.Server.GoVersion == "" {
		shot, err := s.Snapshot(ctx, false)
		if err != nil {
			return nil, err
		}
		r.Server = Runtime{
			GoVersion:  shot.Process.GoVersion,
			GOMAXPROCS: shot.Process.GOMAXPROCS,
			GOGC:       gogc(shot.Process.GOGC),
			Loops:      shot.Loops,
		}
	}
	if o.Profiles != "" {
		profiled := make(chan error, 1)
		go func() {
			profiled <- s.Profile(ctx, o.Warmup+o.Duration, filepath.Join(o.Profiles, fmt.Sprintf("row-%d.pprof", i+1)))
		}()
		defer func() { err = errors.Join(err, <-profiled) }()
	}
	path := "/echo"
	if row.Form == FanOut {
		path = "/topic/bench"
	}
	return Measure(ctx, row, s.Target("zeroframe", path), Settings{
		Duration: o.Duration, Warmup: o.Warmup, Progress: func(_ string, count func() uint64) { o.Progress(i, count) },
	})
}

// OK reports whether every row ran and none had an error.
func (r *Report) OK() bool {
	for _, row := range r.Rows {
		if row.Errors > 0 || row.Messages == 0 {
			return false
		}
	}
	return len(r.Failures) == 0 && len(r.Rows) > 0
}

// revision is set by the linker where the build is told.
var revision string

// commit returns the revision this program was built from, "" when the build does not know.
func commit() string {
	if revision != "" {
		return revision
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	built, modified := "", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			built = s.Value[:min(len(s.Value), 12)]
		case s.Key == "vcs.modified" && s.Value == "true":
			modified = "-dirty"
		}
	}
	if built == "" {
		return ""
	}
	return built + modified
}
