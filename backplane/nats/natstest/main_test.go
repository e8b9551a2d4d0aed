package natstest

import (
	"fmt"
	"os"
	"runtime"
	"testing"
	"time"

	"zeroframe/pool"
)

// roleVariable makes the test binary something else than tests: a process that a test starts.
const roleVariable = "NATSTEST_ROLE"

func TestMain(m *testing.M) {
	switch os.Getenv(roleVariable) {
	case "engine":
		engineProcess()
		return
	case "server":
		serverProcess()
		return
	}
	pool.Verify(true)
	before := runtime.NumGoroutine()
	code := m.Run()
	if code == 0 {
		code = leftGoroutines(before)
	}
	os.Exit(code)
}

// leftGoroutines fails the run when goroutines of a test outlive it.
func leftGoroutines(before int) int {
	for end := time.Now().Add(patience); runtime.NumGoroutine() > before; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			buf := make([]byte, 1<<20)
			fmt.Fprintf(os.Stderr, "%d goroutines before the tests, %d after:\n%s\n",
				before, runtime.NumGoroutine(), buf[:runtime.Stack(buf, true)])
			return 1
		}
	}
	return 0
}

// patience is how long a test waits for what must happen; it is never waited for in full unless the test fails.
const patience = time.Minute

// until waits for what nobody announces.
func until(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !f(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}
