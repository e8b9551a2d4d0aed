package engine_test

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// inAlone, in the environment, names the test that the process was started for.
const inAlone = "ZEROFRAME_TEST_ALONE"

// alone runs the test again in a process of its own, and reports whether this is that process: what it measures of the
// heap is its own doing there, whatever other tests have left to be collected, or to be kept, in this one.
func alone(t *testing.T) bool {
	t.Helper()
	if os.Getenv(inAlone) == t.Name() {
		return true
	}
	ctx := context.Background()
	if end, ok := t.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, end.Add(-time.Second))
		defer cancel()
	}
	cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), inAlone+"="+t.Name())
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("in a process of its own: %v\n%s", err, out)
	}
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, "_test.go:") {
			t.Log(strings.TrimSpace(line))
		}
	}
	return false
}
