package bench

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

func TestTemporaryDirectoriesOfDeadProcessesAreSwept(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	dead := exec.Command(os.Args[0], "-test.run=^$")
	if err := dead.Run(); err != nil {
		t.Fatal(err)
	}
	mine, err := TempDir("sweep")
	if err != nil {
		t.Fatal(err)
	}
	keep := []string{mine}
	for _, name := range []string{"other-%d-1", "sweep-x%d-1", "sweep-%d"} { // not ours, as far as one can see
		keep = append(keep, filepath.Join(os.TempDir(), fmt.Sprintf(name, dead.Process.Pid)))
	}
	stale := filepath.Join(os.TempDir(), fmt.Sprintf("sweep-%d-123", dead.Process.Pid))
	for _, dir := range append(keep[1:], stale) {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(stale, "pair.pem"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	second, err := TempDir("sweep")
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range append(keep, second) {
		if _, err := os.Stat(dir); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Stat(stale); !os.IsNotExist(err) {
		t.Errorf("%s is still there: %v", stale, err)
	}
}
