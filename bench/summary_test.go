package bench

import (
	"math"
	"reflect"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

func TestASpreadHasMedianQuartilesAndEnds(t *testing.T) {
	values := []float64{5, 1, 4, 2, 3}
	if got, want := *SpreadOf(values), (Spread{N: 5, Median: 3, Min: 1, Q1: 2, Q3: 4, Max: 5}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if !reflect.DeepEqual(values, []float64{5, 1, 4, 2, 3}) {
		t.Error("the values were moved")
	}
	if got, want := *SpreadOf([]float64{1, 2}), (Spread{N: 2, Median: 1.5, Min: 1, Q1: 1.25, Q3: 1.75, Max: 2}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if got := SpreadOf(nil); got != nil {
		t.Errorf("%+v of nothing", got)
	}
}

func repetition(rate float64, bound bool, messages int) *Measurement {
	h := hdrhistogram.New(1, slowest, 3)
	for i := range messages {
		h.RecordValue(int64(time.Duration(i+1) * time.Microsecond * time.Duration(rate)))
	}
	return &Measurement{
		Scenario: Scenarios()[0], Target: "ours", Counted: "message", PerSecond: rate, ClientBound: bound,
		Latency: latency(h), Curve: curve(h), Server: &CPU{PerMillion: 2 * rate},
	}
}

func TestASummaryHasTheMediansOfWhatIsKnown(t *testing.T) {
	allocs := 0.5
	list := []*Measurement{repetition(3, true, 1000), nil, repetition(1, false, 100), repetition(2, true, 1000), repetition(9, true, 1000), repetition(4, false, 1000)}
	list[0].Heap, list[0].Errors, list[0].Error = &Heap{AllocsPerMessage: &allocs}, 2, "oh"
	list[2].Syscalls = &Syscalls{Tracer: "perf", PerMessage: 3, ByName: map[string]float64{"read": 1, "write": 2}}
	list[3].Syscalls = &Syscalls{Tracer: "perf", PerMessage: 5, ByName: map[string]float64{"read": 2}}
	s, err := Summarise(list)
	if err != nil {
		t.Fatal(err)
	}
	if s.Repetitions != 5 || *s.PerSecond != (Spread{N: 5, Median: 3, Min: 1, Q1: 2, Q3: 4, Max: 9}) || s.ServerPerMillion.Median != 6 {
		t.Errorf("%+v, %+v", s, s.PerSecond)
	}
	if !s.ClientBound || s.Errors != 2 || s.Error != "oh" || s.Kept != nil {
		t.Errorf("%+v", s)
	}
	if s.AllocsPerMessage == nil || s.AllocsPerMessage.N != 1 || s.SyscallsPerMessage.Median != 4 || s.SyscallsByName["read"] != 1.5 || s.SyscallsByName["write"] != 1 || s.Tracer != "perf" {
		t.Errorf("%+v, %+v", s, s.SyscallsByName)
	}
	if s.RSS != nil || s.LivePerConn != nil || s.Lag99 != nil || s.WritesPerMessage != nil {
		t.Errorf("figures of nobody: %+v", s)
	}
	if n := len(s.Curve); n != len(list[2].Curve) || s.Curve[n-1].Q != 1 {
		t.Errorf("%v", s.Curve)
	}
	for i, at := range s.Curve[:len(s.Curve)-1] {
		if at.Q != list[0].Curve[i].Q || i > 8 && math.Abs(float64(at.Value)/float64(list[0].Curve[i].Value)-1) > 0.1 {
			t.Errorf("%v where a repetition has %v", at, list[0].Curve[i])
		}
	}
	if _, err := Summarise([]*Measurement{nil}); err == nil {
		t.Error("a summary of nothing")
	}
	other := repetition(1, false, 10)
	other.Target = "theirs"
	if _, err := Summarise(append(list, other)); err == nil {
		t.Error("a summary of two targets")
	}
	list[0].ClientBound = false
	if s, err = Summarise(list); err != nil || s.ClientBound {
		t.Error("client-bound, though most were not")
	}
}

func TestACurveReachesAsFarAsThereAreMessages(t *testing.T) {
	for _, n := range []int{1, 10, 1000} {
		h := hdrhistogram.New(1, slowest, 3)
		for i := range n {
			h.RecordValue(int64(i+1) * 1000)
		}
		points := curve(h)
		last := points[len(points)-2].Q
		if (1-last)*float64(n) < 0.999 || points[len(points)-1].Q != 1 {
			t.Errorf("%d messages: the last points are %v", n, points[len(points)-2:])
		}
		for _, at := range points {
			if want := at.Q * float64(n) * 1000; math.Abs(float64(at.Value)-want) > 1000+want*0.002 {
				t.Errorf("%d messages: %v, want %.0f", n, at, want)
			}
		}
	}
	if points := curve(hdrhistogram.New(1, slowest, 3)); points != nil {
		t.Errorf("%v of no message", points)
	}
}
