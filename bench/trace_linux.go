package bench

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// countSyscalls counts the system calls of another process, with all its threads and what it starts, while run is
// running, which returns how many messages that was: with perf, which disturbs little, or else with strace. Where neither is
// there, or allowed to, there is why instead. The error is run's.
func countSyscalls(ctx context.Context, pid int, run func() (messages uint64, err error)) (s *Syscalls, why string, err error) {
	var failed []string
	for _, with := range []struct {
		name   string
		attach func(context.Context, int) (*tracer, error)
	}{{"perf", attachPerf}, {"strace", attachStrace}} {
		t, err := with.attach(ctx, pid)
		if err == nil {
			messages, runErr := run()
			var calls map[string]uint64
			calls, err = t.detach()
			if runErr != nil || ctx.Err() != nil {
				return nil, "", errors.Join(runErr, ctx.Err())
			}
			if err == nil {
				return syscallsOf(with.name, calls, messages), "", nil
			}
		}
		failed = append(failed, fmt.Sprintf("%s: %v", with.name, err))
	}
	return nil, strings.Join(failed, "; "), ctx.Err()
}

// tracer is attached to a process. detach ends it and returns how often each call was made; "" is all of them.
type tracer struct {
	detach func() (map[string]uint64, error)
}

// saying is an error with what the tracer printed, in a line.
func saying(err error, printed string) error {
	if words := strings.Fields(printed); len(words) > 0 {
		return fmt.Errorf("%w: %s", err, strings.Join(words, " "))
	}
	return err
}

// attachTime is how long a tracer may take to attach, and to end.
const attachTime = 10 * time.Second

// usual are the calls that perf counts by name, as far as the kernel knows them.
var usual = strings.Fields(`read write readv writev recvfrom sendto recvmsg sendmsg recvmmsg sendmmsg epoll_wait epoll_pwait epoll_pwait2
	epoll_ctl poll ppoll select futex sched_yield nanosleep clock_nanosleep accept accept4 close shutdown setsockopt getsockopt
	fcntl timerfd_settime io_uring_enter madvise getpid tgkill rt_sigreturn rt_sigprocmask`)

// attachPerf counts by tracepoints, which are switched on and off at our word, so that nothing else is counted.
func attachPerf(ctx context.Context, pid int) (*tracer, error) {
	events := []string{"raw_syscalls:sys_enter"}
	for _, name := range usual {
		for _, tracefs := range []string{"/sys/kernel/tracing", "/sys/kernel/debug/tracing"} {
			if _, err := os.Stat(filepath.Join(tracefs, "events/syscalls/sys_enter_"+name)); err == nil {
				events = append(events, "syscalls:sys_enter_"+name)
				break
			}
		}
	}
	orders, order, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	ack, acks, err := os.Pipe()
	if err != nil {
		orders.Close()
		order.Close()
		return nil, err
	}
	c := exec.CommandContext(ctx, "perf", "stat", "-D", "-1", "-x", ";", "-e", strings.Join(events, ","),
		"-p", strconv.Itoa(pid), "--control", "fd:3,4")
	c.ExtraFiles = []*os.File{orders, acks}
	var out bytes.Buffer
	end, err := begin(c, &out)
	orders.Close()
	acks.Close()
	if err != nil {
		order.Close()
		ack.Close()
		return nil, err
	}
	tell := func(what string) error {
		ack.SetReadDeadline(time.Now().Add(attachTime))
		if _, err := io.WriteString(order, what+"\n"); err != nil {
			return err
		}
		_, err := io.ReadAtLeast(ack, make([]byte, 16), len("ack\n"))
		return err
	}
	detach := func() (map[string]uint64, error) {
		err := tell("disable")
		order.Close()
		ack.Close()
		if ended := end(); ended != nil || err != nil {
			return nil, saying(cmp.Or(ended, err), out.String()) // why it ended says more than that it does not listen
		}
		return readPerf(&out)
	}
	if err := tell("enable"); err != nil {
		_, ended := detach()
		return nil, cmp.Or(ended, err)
	}
	return &tracer{detach}, nil
}

// begin starts a tracer, whose end is by an interrupt.
func begin(c *exec.Cmd, messages io.Writer) (end func() error, err error) {
	c.Env = append(os.Environ(), "LC_ALL=C")
	c.SysProcAttr = ChildAttr()
	c.Stderr = messages
	c.WaitDelay = attachTime
	if err := c.Start(); err != nil {
		return nil, err
	}
	return func() error {
		c.Process.Signal(os.Interrupt)
		timer := time.AfterFunc(attachTime, func() { c.Process.Kill() })
		defer timer.Stop()
		if err := c.Wait(); err != nil {
			var exit *exec.ExitError
			if errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGINT { // it ends by the interrupt itself
				return nil
			}
			return err
		}
		return nil
	}, nil
}

// readPerf reads "count;unit;event;..." lines.
func readPerf(r io.Reader) (map[string]uint64, error) {
	calls := make(map[string]uint64)
	for lines := bufio.NewScanner(r); lines.Scan(); {
		fields := strings.Split(lines.Text(), ";")
		if len(fields) < 3 {
			continue
		}
		n, err := strconv.ParseUint(fields[0], 10, 64)
		if err != nil { // <not counted>, <not supported>
			continue
		}
		if fields[2] == "raw_syscalls:sys_enter" {
			calls[""] = n
		} else if name, ok := strings.CutPrefix(fields[2], "syscalls:sys_enter_"); ok {
			calls[name] = n
		}
	}
	if _, ok := calls[""]; !ok {
		return nil, errors.New("it did not count")
	}
	return calls, nil
}

// attachStrace stops the process at every call: the figures are right, the process is slow.
func attachStrace(ctx context.Context, pid int) (*tracer, error) {
	dir, err := TempDir("zeroframe-syscalls")
	if err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "summary")
	c := exec.CommandContext(ctx, "strace", "-c", "-f", "-p", strconv.Itoa(pid), "-o", file)
	said, say, err := os.Pipe()
	if err != nil {
		os.RemoveAll(dir)
		return nil, err
	}
	end, err := begin(c, say)
	say.Close()
	if err != nil {
		said.Close()
		os.RemoveAll(dir)
		return nil, err
	}
	detach := func() (map[string]uint64, error) {
		defer os.RemoveAll(dir)
		err := end()
		said.Close()
		if err != nil {
			return nil, err
		}
		summary, err := os.Open(file)
		if err != nil {
			return nil, err
		}
		defer summary.Close()
		return readStrace(summary)
	}
	said.SetReadDeadline(time.Now().Add(attachTime))
	var printed strings.Builder
	for lines := bufio.NewScanner(said); lines.Scan(); fmt.Fprintln(&printed, lines.Text()) {
		if strings.Contains(lines.Text(), "attached") {
			said.SetReadDeadline(time.Time{})
			go io.Copy(io.Discard, said)
			return &tracer{detach}, nil
		}
	}
	detach()
	return nil, saying(errors.New("it does not attach"), printed.String())
}

// readStrace reads the table: share of time, seconds, microseconds per call, calls, perhaps errors, name.
func readStrace(r io.Reader) (map[string]uint64, error) {
	calls := make(map[string]uint64)
	for lines := bufio.NewScanner(r); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) < 5 {
			continue
		}
		n, err := strconv.ParseUint(fields[3], 10, 64)
		if err != nil {
			continue
		}
		if name := fields[len(fields)-1]; name != "total" {
			calls[name] = n
			calls[""] += n
		}
	}
	if len(calls) == 0 {
		return nil, errors.New("it did not count")
	}
	return calls, nil
}
