package bench

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"strconv"

	"zeroframe/engine"
)

// Snapshot is what a server under test tells of itself, as JSON: the engine's counts and the process's costs.
type Snapshot struct {
	Engine  *engine.Stats `json:"engine,omitempty"` // nil: no engine of ours
	Process Process       `json:"process"`
	Loops   int           `json:"loops"`
}

// Process are figures of a process since it began, or as of now.
type Process struct {
	PID         int     `json:"pid"`
	CPUSeconds  float64 `json:"cpu_seconds"`    // user and system
	RSS         uint64  `json:"rss_bytes"`      // physical memory; 0: unknown
	LiveHeap    uint64  `json:"heap_live"`      // bytes that the last collection found in use
	HeapObjects uint64  `json:"heap_objects"`   // bytes of objects on the heap, the dead included
	Allocs      uint64  `json:"heap_allocs"`    // objects allocated, tiny ones included
	AllocBytes  uint64  `json:"heap_allocated"` // bytes allocated
	GCCycles    uint64  `json:"gc_cycles"`
	Goroutines  uint64  `json:"goroutines"`
	GOMAXPROCS  int     `json:"gomaxprocs"`
	GOGC        uint64  `json:"gogc"` // percent; above 1<<31: off
	GoVersion   string  `json:"go_version"`

	GCPauses GCPauses `json:"gc_pauses"`
}

// TakeSnapshot reads the counts now, those of the process as TakeProcess does. loops is how many the engine was given.
func TakeSnapshot(e *engine.Engine, loops int, collect bool) Snapshot {
	shot := Snapshot{Loops: loops, Process: TakeProcess(collect)}
	stats := e.Stats()
	shot.Engine = &stats
	return shot
}

// TakeProcess reads this process's figures now. With collect it first runs the garbage collector, until what sync.Pools
// hold is gone too, so that LiveHeap is what is really in use, and gives free memory back to the system.
func TakeProcess(collect bool) Process {
	if collect {
		runtime.GC() // a sync.Pool gives up its objects in the second collection after their last use
		runtime.GC()
		debug.FreeOSMemory() // and a third
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m) // makes every P hand in its count of allocations: the metrics alone lag behind
	samples := []metrics.Sample{
		{Name: "/gc/heap/allocs:objects"},
		{Name: "/gc/heap/tiny/allocs:objects"},
		{Name: "/gc/heap/allocs:bytes"},
		{Name: "/gc/heap/live:bytes"},
		{Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/gc/cycles/total:gc-cycles"},
		{Name: "/sched/goroutines:goroutines"},
		{Name: "/gc/gogc:percent"},
	}
	metrics.Read(samples)
	value := func(i int) uint64 { return number(samples[i]) }
	return Process{
		PID:         os.Getpid(),
		CPUSeconds:  OwnCPU().Seconds(),
		RSS:         ResidentOf(os.Getpid()),
		Allocs:      value(0) + value(1),
		AllocBytes:  value(2),
		LiveHeap:    value(3),
		HeapObjects: value(4),
		GCCycles:    value(5),
		Goroutines:  value(6),
		GOGC:        value(7),
		GOMAXPROCS:  runtime.GOMAXPROCS(0),
		GoVersion:   runtime.Version(),
		GCPauses:    gcPauses(),
	}
}

// number returns a sample's value, 0 where the runtime does not know the metric.
func number(s metrics.Sample) uint64 {
	if s.Value.Kind() != metrics.KindUint64 {
		return 0
	}
	return s.Value.Uint64()
}

func ownGOGC() uint64 {
	s := []metrics.Sample{{Name: "/gc/gogc:percent"}}
	metrics.Read(s)
	return number(s[0])
}

// gogc writes the setting as the environment variable has it.
func gogc(percent uint64) string {
	if percent > 1<<31 {
		return "off"
	}
	return strconv.FormatUint(percent, 10)
}
