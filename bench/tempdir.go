package bench

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// TempDir makes a directory for the files of this process among the system's temporary ones, which the caller removes.
// name says whose it is. It removes those of the same name first whose processes have ended without: by kill -9, say.
func TempDir(name string) (string, error) {
	left, err := filepath.Glob(filepath.Join(os.TempDir(), name+"-*-*"))
	if err != nil {
		return "", err
	}
	for _, dir := range left {
		var pid int
		if n, _ := fmt.Sscanf(filepath.Base(dir), name+"-%d-", &pid); n == 1 && pid > 0 && hasEnded(pid) {
			os.RemoveAll(dir) // what belongs to somebody else stays
		}
	}
	return os.MkdirTemp("", fmt.Sprintf("%s-%d-", name, os.Getpid()))
}

// hasEnded reports whether there is no process of that number.
func hasEnded(pid int) bool {
	p, err := os.FindProcess(pid)
	if err != nil {
		return false
	}
	defer p.Release()
	return errors.Is(p.Signal(syscall.Signal(0)), os.ErrProcessDone)
}
