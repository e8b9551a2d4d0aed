package bench

import (
	"os"
	"slices"
	"testing"
	"time"
)

func TestCPUTimeIsReadPastACommandWithBrackets(t *testing.T) {
	got, err := parseStat([]byte("77 (a) b (c)) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20 0 1 0 12345 1 1\n"))
	if err != nil || got != 2*time.Second {
		t.Errorf("%v, %v; want 2s", got, err)
	}
	for _, bad := range []string{"", "77 (a) S 1 2", "77 (a) S 1 2 3 4 5 6 7 8 9 10 x 50 0"} {
		if got, err := parseStat([]byte(bad)); err == nil {
			t.Errorf("%q: %v", bad, got)
		}
	}
}

func TestOwnCPUTimeAgreesWithProc(t *testing.T) {
	for end := OwnCPU() + 50*time.Millisecond; OwnCPU() < end; {
	}
	got, err := CPUOf(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if off := OwnCPU() - got; off < -20*time.Millisecond || off > 100*time.Millisecond {
		t.Errorf("%v by /proc, %v by getrusage", got, OwnCPU())
	}
	if _, err := CPUOf(1 << 30); err == nil {
		t.Error("CPU time of a process that is not there")
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
