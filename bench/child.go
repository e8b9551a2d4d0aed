package bench

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// child is a process that this one starts, and which does not outlive it where the system can see to that (ChildAttr).
type child struct {
	command *exec.Cmd
	printed Tail          // on its standard error
	exited  chan struct{} // closed when it has ended
	err     error         // how, then
}

func newChild(command []string) child {
	return child{command: exec.Command(command[0], command[1:]...), exited: make(chan struct{})}
}

// start runs it on a core, on any if that is negative, and returns what it prints. Then reap must be called.
func (c *child) start(core int) (out *os.File, err error) {
	c.command.SysProcAttr = ChildAttr()
	c.command.Stderr = &c.printed
	out, in, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	c.command.Stdout = in
	err = OnCore(core, c.command.Start)
	in.Close()
	if err != nil {
		out.Close()
		return nil, err
	}
	return out, nil
}

// reap waits for the end, and says that it has come.
func (c *child) reap() {
	c.err = c.command.Wait()
	close(c.exited)
}

// PID returns the process's number.
func (c *child) PID() int { return c.command.Process.Pid }

var errSuccess = errors.New("success")

// ended says how a process ended that was to go on, once exited is closed.
func (c *child) ended() error {
	err := c.err
	if err == nil {
		err = errSuccess
	}
	return fmt.Errorf("ended with %w%v", err, &c.printed)
}

// wait waits for the end of a process that was told to, and kills it if that does not come in time. The error is of one
// that was killed, or did not end with success.
func (c *child) wait(who string, most time.Duration) error {
	timer := time.NewTimer(most)
	defer timer.Stop()
	select {
	case <-c.exited:
	case <-timer.C:
		c.command.Process.Kill()
		<-c.exited
		return fmt.Errorf("%s did not end within %v and was killed%v", who, most, &c.printed)
	}
	if c.err != nil {
		return fmt.Errorf("%s %w", who, c.ended())
	}
	return nil
}

// Tail keeps the last 4 KiB that were written to it. Any goroutine may use it; the zero value is empty.
type Tail struct {
	mu sync.Mutex
	b  []byte
}

const tailSize = 4 << 10

// Write never fails.
func (t *Tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, p...)
	if len(t.b) > tailSize {
		t.b = append(t.b[:0], t.b[len(t.b)-tailSize:]...)
	}
	return len(p), nil
}

// String returns it as the end of a message about who wrote it: "; it printed:" and the text.
func (t *Tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s := strings.TrimSpace(string(t.b)); s != "" {
		return "; it printed:\n" + s
	}
	return "; it printed nothing"
}
