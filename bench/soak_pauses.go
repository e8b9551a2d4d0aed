package bench

import (
	"math"
	"runtime/metrics"
	"time"
)

// GCPauses are the times for which garbage collection stopped a whole process.
type GCPauses struct {
	Count uint64        `json:"count"`
	P99   time.Duration `json:"p99_ns"` // both are the upper ends of the runtime's buckets
	Max   time.Duration `json:"max_ns"`
}

// gcPauses reads those of this process since it began.
func gcPauses() GCPauses {
	s := []metrics.Sample{{Name: "/sched/pauses/total/gc:seconds"}}
	metrics.Read(s)
	if s[0].Value.Kind() != metrics.KindFloat64Histogram {
		return GCPauses{}
	}
	h := s[0].Value.Float64Histogram()
	return pausesOf(h.Counts, h.Buckets)
}

// pausesOf sums up a histogram of the runtime's: counts[i] of what lies between buckets[i] and buckets[i+1], in seconds.
func pausesOf(counts []uint64, buckets []float64) (p GCPauses) {
	for _, n := range counts {
		p.Count += n
	}
	seen := uint64(0)
	for i, n := range counts {
		if n == 0 {
			continue
		}
		end := buckets[i+1]
		if math.IsInf(end, 1) {
			end = buckets[i]
		}
		d := time.Duration(end * float64(time.Second))
		if seen < (p.Count*99+99)/100 {
			p.P99 = d
		}
		seen += n
		p.Max = d
	}
	return p
}

// worst puts the pauses of several processes together: all of them, and the longest.
func (p *GCPauses) worst(q GCPauses) {
	p.Count += q.Count
	p.P99 = max(p.P99, q.P99)
	p.Max = max(p.Max, q.Max)
}
