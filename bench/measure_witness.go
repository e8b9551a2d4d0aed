package bench

import (
	"context"
	"time"
)

// witness asks a target for what only its side knows. What the target does not tell is nil.
type witness struct{ target *Target }

// shot is the server's Snapshot.
func (w witness) shot(ctx context.Context, collect bool) (*Snapshot, error) {
	if w.target.Snapshot == nil {
		return nil, nil
	}
	return w.target.Snapshot(ctx, collect)
}

// shots takes two in a row, so that their difference is what taking one costs.
func (w witness) shots(ctx context.Context) (calm, before *Snapshot, err error) {
	if calm, err = w.shot(ctx, false); err != nil {
		return nil, nil, err
	}
	before, err = w.shot(ctx, false)
	return calm, before, err
}

// shotAfter takes one that has so many messages more than another, if it is an engine that counts them: a loop's counts
// may be 20 ms old.
func (w witness) shotAfter(ctx context.Context, before *Snapshot, messages uint64) (after *Snapshot, err error) {
	for i := 0; ; i++ {
		after, err = w.shot(ctx, false)
		if err != nil || after == nil || after.Engine == nil || i == 5 || after.Engine.MessagesIn-before.Engine.MessagesIn >= messages {
			return after, err
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// resident is the physical memory of the server's process, by its own account where the system does not tell; 0: unknown.
func (w witness) resident(shot *Snapshot) (rss uint64) {
	if w.target.PID != 0 {
		rss = ResidentOf(w.target.PID)
	}
	if rss == 0 && shot != nil {
		rss = shot.Process.RSS
	}
	return rss
}

// A server is warm when it has filled its pools: a warm-up is repeated, so many times at most, while the server allocates
// more than this per message in it. One that goes on is measured as it is.
const (
	maxWarmups    = 5
	warmAllocs    = 0.005
	warmAllocsMin = 5 // objects that a runtime allocates now and then by itself
)

func (w witness) warm(ctx context.Context, load loader, settings *Settings) error {
	for i := 0; i < maxWarmups && settings.Warmup > 0; i++ {
		calm, before, err := w.shots(ctx)
		if err != nil {
			return err
		}
		settings.tell("warming up", since(load))
		r, err := load.Run(ctx, settings.Warmup)
		if err != nil {
			return err
		}
		after, err := w.shot(ctx, false)
		if err != nil {
			return err
		}
		if after == nil {
			break
		}
		if h := heapOf(r, calm, before, after); h.Allocs <= warmAllocsMin || *h.AllocsPerMessage < warmAllocs {
			break
		}
	}
	return nil
}

// heapOf is the difference of two snapshots around a run, less what taking one costs: calm was taken right before before.
// The counts are taken while nothing is in flight, so that each of the run's messages is in them and no other.
func heapOf(r *Result, calm, before, after *Snapshot) *Heap {
	own := less(before.Process.Allocs, calm.Process.Allocs)
	h := &Heap{
		Allocs:   less(less(after.Process.Allocs, before.Process.Allocs), own),
		GCCycles: less(after.Process.GCCycles, before.Process.GCCycles),
	}
	each := perMessage(h.Allocs, r.Total)
	h.AllocsPerMessage = &each
	return h
}

// cpuOf is the same for processor time, where the system does not tell that of another process.
func cpuOf(r *Result, calm, before, after *Snapshot) *CPU {
	own := before.Process.CPUSeconds - calm.Process.CPUSeconds
	used := max(after.Process.CPUSeconds-before.Process.CPUSeconds-own, 0)
	c := &CPU{Seconds: used}
	if r.Total > 0 {
		c.PerMillion = used * 1e6 / float64(r.Total)
		// What came in after the time was up is in used, and is taken off in proportion.
		c.Utilisation = used * float64(r.Messages) / float64(r.Total) / r.Elapsed.Seconds()
	}
	return c
}

// less is a - b, and 0 for counts that went back.
func less(a, b uint64) uint64 {
	if a < b {
		return 0
	}
	return a - b
}

// ioOf is the same for what an engine counts; nil of any other server.
func ioOf(r *Result, before, after *Snapshot) *IO {
	if before.Engine == nil || after.Engine == nil {
		return nil
	}
	x := &IO{Writes: after.Engine.Writes - before.Engine.Writes, Reads: after.Engine.Reads - before.Engine.Reads}
	x.WritesPerMessage, x.ReadsPerMessage = perMessage(x.Writes, r.Total), perMessage(x.Reads, r.Total)
	return x
}

func perMessage(n, messages uint64) float64 {
	if messages == 0 {
		return 0
	}
	return float64(n) / float64(messages)
}

// slope is what each of so many connections cost.
func slope(before, after uint64, conns int) *float64 {
	v := (float64(after) - float64(before)) / float64(conns)
	return &v
}
