package main

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"zeroframe/bench"
)

// witness sees how much of the race's cores others had: processes that are none of the race, and a hypervisor. What
// disturbs is in the figures of whoever is measured then, so the report tells.
type witness struct {
	cores []int
	own   time.Duration // processor time that this process had used
	busy  time.Duration // that the cores had been used for
	at    time.Time
}

// watch begins; nil: it cannot be seen here.
func watch(cores []int) *witness {
	busy, known := busyTime(cores)
	if !known {
		return nil
	}
	return &witness{cores, bench.OwnCPU(), busy, time.Now()}
}

// others returns what others had of the cores since then, 0 to 1; nil: not known. server is a process that started since.
func (w *witness) others(server int) *float64 {
	if w == nil {
		return nil
	}
	busy, known := busyTime(w.cores)
	theirs, err := bench.CPUOf(server)
	if !known || err != nil {
		return nil
	}
	share := float64(busy-w.busy-(bench.OwnCPU()-w.own)-theirs) / (float64(time.Since(w.at)) * float64(len(w.cores)))
	share = min(max(share, 0), 1)
	return &share
}

// tick is the unit of /proc/stat on every Linux that Go runs on.
const tick = 10 * time.Millisecond

// busyTime is what the cores were used for since the system started, or was taken from them by a hypervisor. Interrupts
// are left out: they are the race's own, and of no process.
func busyTime(cores []int) (busy time.Duration, known bool) {
	raw, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, false
	}
	found := 0
	for line := range strings.Lines(string(raw)) {
		fields := strings.Fields(line)
		if len(fields) < 9 || !strings.HasPrefix(fields[0], "cpu") {
			continue
		}
		core, err := strconv.Atoi(fields[0][len("cpu"):])
		if err != nil || !slices.Contains(cores, core) {
			continue
		}
		found++
		for _, i := range []int{1, 2, 3, 8} { // user, nice, system, stolen
			n, _ := strconv.ParseInt(fields[i], 10, 64)
			busy += time.Duration(n) * tick
		}
	}
	return busy, found == len(cores) && found > 0
}

// noisy is the share of the cores from which on the report warns.
const noisy = 0.05

// quiet says how much others had of the cores; empty if that is not known. loud reports whether figures suffer.
func (d *data) quiet() (text string, loud bool) {
	var shares []float64
	for i := range d.Cells {
		for j := range d.Cells[i].Runs {
			if others := d.Cells[i].Runs[j].Others; others != nil {
				shares = append(shares, *others)
			}
		}
	}
	s := bench.SpreadOf(shares)
	if s == nil {
		return "", false
	}
	text = fmt.Sprintf("Others (processes, hypervisor) had %s of both cores in the median measurement, %s in the worst.", percent(s.Median), percent(s.Max))
	if loud = s.Median >= noisy; loud {
		text = "THE MACHINE WAS NOT QUIET. " + text + " Rates and latencies suffer from that, CPU per message less."
	}
	return text, loud
}
