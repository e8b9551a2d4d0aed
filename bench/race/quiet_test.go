package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"zeroframe/bench"
)

func TestWitnessDoesNotCountTheRaceItself(t *testing.T) {
	core := bench.Cores()[0]
	restore, err := bench.Pin(core)
	if err != nil {
		t.Skip("SKIPPED: ", err)
	}
	w := watch([]int{core})
	if w == nil {
		t.Skip("SKIPPED: no /proc/stat")
	}
	before, begun := w.busy, bench.OwnCPU()
	const used = 300 * time.Millisecond
	for bench.OwnCPU()-begun < used {
	}
	restore()
	after, _ := busyTime([]int{core})
	if after-before < used/2 {
		t.Errorf("the core was busy for %v, of which %v with this", after-before, used)
	}
	others := w.others(os.Getppid()) // whose processor time is taken off too: it is waiting
	if others == nil || *others < 0 || *others > 1 {
		t.Fatalf("%v", others)
	}
}

func TestWitnessSeesOthers(t *testing.T) {
	core := bench.Cores()[0]
	quiet := exec.Command("sleep", "60")
	if err := quiet.Start(); err != nil {
		t.Fatal(err)
	}
	loud := exec.Command("sh", "-c", "while :; do :; done")
	w := watch([]int{core})
	if w == nil {
		t.Skip("SKIPPED: no /proc/stat")
	}
	if err := bench.OnCore(core, loud.Start); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, c := range []*exec.Cmd{quiet, loud} {
			c.Process.Kill()
			c.Wait()
		}
	})
	for {
		used, err := bench.CPUOf(loud.Process.Pid)
		if err != nil {
			t.Fatal(err)
		}
		if used >= 300*time.Millisecond {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	took := time.Since(w.at)
	others := w.others(quiet.Process.Pid)
	if others == nil {
		t.Fatal("it is not known what others had")
	}
	if *others < 0.8*float64(300*time.Millisecond)/float64(took) {
		t.Errorf("of %v, another process had %v", took, *others)
	}
}

func TestReportSaysHowQuietTheMachineWas(t *testing.T) {
	d := fixture()
	if text, loud := d.quiet(); text != "" || loud {
		t.Errorf("nothing is known, but %q", text)
	}
	share := func(values ...float64) {
		for i := range values {
			d.Cells[0].Runs[i].Others = &values[i]
		}
	}
	share(0.01, 0.02, 0.5)
	if text, loud := d.quiet(); loud || !strings.HasPrefix(text, "Others (processes, hypervisor) had 2% of both cores in the median measurement, 50%") {
		t.Errorf("%v: %q", loud, text)
	}
	share(0.1, 0.2, 0.5)
	if _, loud := d.quiet(); !loud {
		t.Error("a fifth of the cores is quiet")
	}
	if page := writtenPage(t, d); !strings.Contains(page, "THE MACHINE WAS NOT QUIET") {
		t.Error("the page does not say so")
	}
	var b strings.Builder
	if err := d.writeText(&b); err != nil || !strings.Contains(b.String(), "THE MACHINE WAS NOT QUIET") {
		t.Error("the table does not say so")
	}
}
