package bench

import (
	"bytes"
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"zeroframe/engine"
)

func TestLatenciesAreThoseOfTheHistogram(t *testing.T) {
	h := hdrhistogram.New(1, slowest, 3)
	for i := 1; i <= 10_000; i++ {
		h.RecordValue(int64(i) * int64(time.Microsecond))
	}
	l := latency(h)
	for name, pair := range map[string][2]time.Duration{
		"p50":   {l.P50, 5000 * time.Microsecond},
		"p99":   {l.P99, 9900 * time.Microsecond},
		"p99.9": {l.P999, 9990 * time.Microsecond},
		"max":   {l.Max, 10_000 * time.Microsecond},
	} {
		if off := math.Abs(float64(pair[0]-pair[1])) / float64(pair[1]); off > 0.002 {
			t.Errorf("%s is %v, want %v", name, pair[0], pair[1])
		}
	}
	if latency(hdrhistogram.New(1, slowest, 3)) != (Latency{}) {
		t.Error("latencies without a message")
	}
}

func TestServerCostIsTheDifferenceLessWhatCountingCosts(t *testing.T) {
	shot := func(allocs uint64, cpu float64, messages, writes, cycles uint64) *Snapshot {
		return &Snapshot{
			Engine:  &engine.Stats{MessagesIn: messages, Writes: writes, Reads: 2 * writes},
			Process: Process{Allocs: allocs, CPUSeconds: cpu, GCCycles: cycles, RSS: 1 << 20},
		}
	}
	r := &Result{Elapsed: 2 * time.Second, Messages: 1_000_000, Total: 1_000_100}
	calm, before := shot(1000, 1.00, 50, 50, 3), shot(1100, 1.01, 50, 50, 3)
	after := shot(1200, 3.02, 1_000_150, 500_100, 4)
	if h := heapOf(r, calm, before, after); h.Allocs != 0 || *h.AllocsPerMessage != 0 || h.GCCycles != 1 {
		t.Errorf("%+v: allocations of the counting itself are not taken off", h)
	}
	if c := cpuOf(r, calm, before, after); math.Abs(c.Seconds-2.00) > 1e-9 || math.Abs(c.PerMillion-2.00) > 0.001 || math.Abs(c.Utilisation-1.00) > 0.001 {
		t.Errorf("CPU %v, want 2.00 s", c)
	}
	if x := ioOf(r, before, after); math.Abs(x.WritesPerMessage-0.5) > 0.001 || math.Abs(x.ReadsPerMessage-1) > 0.001 {
		t.Errorf("%+v", x)
	}
	if h := heapOf(r, calm, before, shot(1_001_300, 3.02, 1_000_150, 500_100, 4)); math.Abs(*h.AllocsPerMessage-1) > 0.001 {
		t.Errorf("%v allocations per message, want 1", *h.AllocsPerMessage)
	}
}

func TestARowIsClientBoundWhenOnlyTheLoadIsBusy(t *testing.T) {
	for _, test := range []struct {
		client, server float64
		want           bool
	}{{0.95, 0.60, true}, {0.95, 0.97, false}, {0.80, 0.60, false}, {0.89, 0.94, false}, {0.91, 0.94, true}} {
		if got := ClientBound(test.client, test.server); got != test.want {
			t.Errorf("client %v, server %v: %v", test.client, test.server, got)
		}
	}
}

func sample() *Report {
	heap, allocs := 240.4, 0.0
	row := func(s Scenario, rate float64) *Measurement {
		return &Measurement{
			Scenario: s, Elapsed: time.Second, Messages: uint64(rate), Total: uint64(rate), PerSecond: rate,
			Server: new(CPU), Heap: &Heap{LivePerConn: &heap, AllocsPerMessage: &allocs},
		}
	}
	rows := DefaultRows()
	return &Report{
		Command: []string{"zeroframe", "bench"}, Serve: []string{"zeroframe", "serve"}, ServeEnv: []string{"GOMAXPROCS=1"},
		Server: Runtime{"go1.26", 1, "100", 1}, Client: Runtime{"go1.26", 1, "off", 1},
		Machine: Machine{Kernel: "Linux 6", CPUs: 2, Commit: "abcdef"},
		Pinned:  true, Cores: []int{0, 1},
		Rows: []*Measurement{row(rows[0], 123_456), row(rows[1], 1_234_567), row(rows[3], 999)},
	}
}

func text(t *testing.T, r *Report) string {
	t.Helper()
	var b bytes.Buffer
	if err := r.Write(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestReportEndsWithTheMessagesPerSecond(t *testing.T) {
	out := text(t, sample())
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if got, want := lines[len(lines)-1], "1,234,567 messages per second (1000 x 32 B x16); 123,456 (100 x 32 B x1)"; got != want {
		t.Errorf("the last line is %q, want %q", got, want)
	}
	for _, want := range []string{
		"zeroframe bench", "GOMAXPROCS=1 zeroframe serve", "GOGC=100", "GOGC=off", "go1.26", "abcdef", "Linux 6",
		"pinned to core 0", "pinned to core 1", "240 B", "0.00",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing in:\n%s", want, out)
		}
	}
	if strings.Contains(out, "client-bound") {
		t.Error("a row is marked as client-bound")
	}
}

func TestReportMarksWhatIsNotTheServersLimit(t *testing.T) {
	r := sample()
	r.Pinned = false
	r.Rows[1].ClientBound = true
	out := text(t, r)
	if !strings.Contains(out, "* client-bound") || !strings.Contains(out, "not pinned") {
		t.Errorf("no mark in:\n%s", out)
	}
}

func TestReportWithTroubleIsNotOK(t *testing.T) {
	if !sample().OK() {
		t.Error("a good report is not OK")
	}
	for name, spoil := range map[string]func(*Report){
		"errors in a row":  func(r *Report) { r.Rows[1].Errors = 2; r.Rows[1].Error = "echo 7 differs" },
		"a row failed":     func(r *Report) { r.Failures = []string{"row: echo 7 differs"} },
		"an idle row":      func(r *Report) { r.Rows[0].Messages = 0 },
		"nothing was done": func(r *Report) { r.Rows = nil },
	} {
		r := sample()
		spoil(r)
		if r.OK() {
			t.Errorf("%s: OK", name)
		}
		if out := text(t, r); strings.Contains(name, "row") && !strings.Contains(out, "error: ") {
			t.Errorf("%s: not in the report:\n%s", name, out)
		}
	}
}

func TestReportIsReadBackFromJSON(t *testing.T) {
	b, err := json.Marshal(sample())
	if err != nil {
		t.Fatal(err)
	}
	var back Report
	if err := json.Unmarshal(b, &back); err != nil {
		t.Fatal(err)
	}
	if text(t, &back) != text(t, sample()) {
		t.Errorf("the report has changed on its way through %s", b)
	}
}
