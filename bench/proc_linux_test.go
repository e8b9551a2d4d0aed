package bench

import (
	"os"
	"slices"
	"testing"
	"time"
)

func TestCPUTimeOfAnotherProcessIsItsOwnCount(t *testing.T) {
	for end := OwnCPU() + 50*time.Millisecond; OwnCPU() < end; {
	}
	before := OwnCPU()
	got, err := CPUOf(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	// The scheduler's count leaves out what interrupts took, which getrusage may have.
	if off := got - before; off < -20*time.Millisecond || off > OwnCPU()-before+20*time.Millisecond {
		t.Errorf("%v by its clock, %v by getrusage", got, before)
	}
	if got, err := CPUOf(1 << 22); err == nil { // above what Linux numbers processes with
		t.Errorf("%v of a process that is not there", got)
	}
}

func TestPinningIsTakenBack(t *testing.T) {
	before := Cores()
	if len(before) < 2 {
		t.Skip("one processor")
	}
	restore, err := Pin(before[1])
	if err != nil {
		t.Fatal(err)
	}
	if got := Cores(); !slices.Equal(got, before[1:2]) {
		t.Errorf("pinned to %v", got)
	}
	restore()
	if got := Cores(); !slices.Equal(got, before) {
		t.Errorf("after pinning %v, before %v", got, before)
	}
}
