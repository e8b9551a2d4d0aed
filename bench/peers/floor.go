package peers

import (
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"

	"zeroframe/bench"
)

//go:embed floor/echo.c
var floorSource string

var floorTCP = &Server{
	Name: "tcp-c", TCP: true, How: "plain TCP in C: level-triggered epoll in one thread, a recv and a send for each event, compiled with " +
		strings.Join(append([]string{compiler}, compilerFlags...), " "),
	program: compiledFloor,
}

const compiler = "cc"

var compilerFlags = []string{"-O3"}

// compiledFloor returns the program of floor/echo.c. It is compiled once, and kept open rather than in a file, which somebody
// would have to remove.
var compiledFloor = sync.OnceValues(func() (string, error) {
	if runtime.GOOS != "linux" {
		return "", errors.New("stands on epoll, which is Linux's")
	}
	if _, err := exec.LookPath(compiler); err != nil {
		return "", errors.New("no C compiler is there")
	}
	dir, err := bench.TempDir("zeroframe-floor")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "floor")
	compile := exec.Command(compiler, append(compilerFlags, "-x", "c", "-o", path, "-")...)
	compile.Stdin = strings.NewReader(floorSource)
	if out, err := compile.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%v: %w\n%s", compile, err, out)
	}
	if compiled, err = os.Open(path); err != nil {
		return "", err
	}
	return fmt.Sprintf("/proc/self/fd/%d", compiled.Fd()), nil // a child has it too, until it becomes that program
})

// compiled is open as long as this process is.
var compiled *os.File
