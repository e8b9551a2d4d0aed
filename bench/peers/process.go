package peers

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"zeroframe/bench"
)

// Process is a server in a process of its own. Its methods may be called from any goroutine.
type Process struct {
	Server  *Server
	Options Options
	Addr    netip.AddrPort // where it listens
	URL     string         // ws:// or wss://; tcp:// of a plain echo

	command *exec.Cmd
	printed bench.Tail    // what it printed and nobody was to read
	exited  chan struct{} // closed when it has ended
	err     error         // how, then

	mu     sync.Mutex     // one question at a time
	stdin  io.WriteCloser // nil: it is somebody else's, and answers none
	stdout *os.File
	lines  *bufio.Reader // of stdout
	silent error         // why it is asked no more: its answer did not come
}

// startTime is how long a server may take to listen. Changed by tests only.
var startTime = 10 * time.Second

// answerTime is how long it may take to answer a question, a collection of garbage included. Changed by tests only.
var answerTime = 30 * time.Second

// stopTime is how long a process may take to end before it is killed.
const stopTime = 5 * time.Second

// launch starts the process.
func (p *Process) launch(core int) error {
	p.command.Env = append(os.Environ(), "GOMAXPROCS=1")
	p.command.Stderr = &p.printed
	p.command.SysProcAttr = bench.ChildAttr()
	p.command.WaitDelay = time.Second // when it leaves others behind that hold what it writes to
	p.exited = make(chan struct{})
	return bench.OnCore(core, p.command.Start)
}

// startSelf runs this program as the server's process.
func startSelf(core int, s *Server, o Options) (*Process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return startChild(core, s, o, self, s.arguments(o)...)
}

// startChild runs a program that does as ServeIfChild says.
func startChild(core int, s *Server, o Options, path string, args ...string) (*Process, error) {
	p := &Process{Server: s, Options: o, command: exec.Command(path, args...)}
	out, in, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	p.command.Stdout = in
	if p.stdin, err = p.command.StdinPipe(); err == nil {
		err = p.launch(core)
	}
	in.Close()
	if err != nil {
		out.Close()
		return nil, err
	}
	p.stdout, p.lines = out, bufio.NewReader(out)
	go func() {
		p.err = p.command.Wait()
		close(p.exited)
		p.mu.Lock() // its last answer has been read: the pipe ends with the process
		defer p.mu.Unlock()
		out.Close()
	}()
	p.mu.Lock()
	out.SetReadDeadline(time.Now().Add(startTime))
	line, err := p.lines.ReadString('\n')
	out.SetReadDeadline(time.Time{})
	p.mu.Unlock()
	if err == nil {
		p.Addr, err = netip.ParseAddrPort(strings.TrimSpace(line))
	}
	if err != nil {
		return nil, fmt.Errorf("it does not say where it listens: %w", cmp.Or(p.Stop(), err))
	}
	p.URL = fmt.Sprintf("%s://%v/", s.scheme(o), p.Addr)
	return p, nil
}

func (s *Server) scheme(o Options) string {
	switch {
	case s.TCP:
		return "tcp"
	case o.Pair != "":
		return "wss"
	}
	return "ws"
}

// Stop ends the process and waits for it. The error is that of one that had ended by itself, or not as it should, with
// the last of what it printed.
func (p *Process) Stop() error {
	select {
	case <-p.exited:
		return fmt.Errorf("it had ended by itself, with %w%v", cmp.Or(p.err, errNone), &p.printed)
	default:
	}
	if p.stdin == nil {
		p.kill()
		<-p.exited
		return nil
	}
	p.stdin.Close()
	timer := time.NewTimer(stopTime)
	defer timer.Stop()
	select {
	case <-p.exited:
	case <-timer.C:
		p.kill()
		<-p.exited
		return fmt.Errorf("it did not end within %v and was killed%v", stopTime, &p.printed)
	}
	if p.err != nil {
		return fmt.Errorf("it ended with %w%v", p.err, &p.printed)
	}
	return nil
}

var errNone = errors.New("success")

// kill ends it and what it has started: bench.ChildAttr made it the head of a group.
func (p *Process) kill() { syscall.Kill(-p.PID(), syscall.SIGKILL) }

// PID returns its number.
func (p *Process) PID() int { return p.command.Process.Pid }

// CPU returns the processor time that it has used, user and system.
func (p *Process) CPU() (time.Duration, error) { return bench.CPUOf(p.PID()) }

// CPUs returns the processor times that this process, the load, and the server have used.
func (p *Process) CPUs() (client, server time.Duration, err error) {
	server, err = p.CPU()
	return bench.OwnCPU(), server, err
}

// Resident returns the bytes of physical memory that it holds; 0 when that is not known.
func (p *Process) Resident() float64 { return float64(bench.ResidentOf(p.PID())) }

// Snapshot returns the figures of the process by its own account, after it collected garbage and gave free memory back if
// that is asked for; without, it costs the server tens of microseconds. The error is errors.ErrUnsupported of a server
// that is not a Go program of this package, and ctx's when that ends before the answer comes, which is awaited for half a
// minute at most. After such an end the process is asked no more.
func (p *Process) Snapshot(ctx context.Context, collect bool) (*bench.Snapshot, error) {
	if !p.tells() {
		return nil, errors.ErrUnsupported
	}
	question := askCounts
	if collect {
		question = askCollect
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.silent != nil {
		return nil, p.silent
	}
	if _, err := io.WriteString(p.stdin, question+"\n"); err != nil {
		return nil, err
	}
	line, err := p.answer(ctx)
	if err != nil {
		p.silent = err
		return nil, err
	}
	shot := new(bench.Snapshot)
	return shot, json.Unmarshal(line, shot)
}

// answer reads a line, until ctx ends or it takes too long.
func (p *Process) answer(ctx context.Context) ([]byte, error) {
	waiting, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	stop := context.AfterFunc(waiting, func() { p.stdout.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	line, err := p.lines.ReadBytes('\n')
	switch {
	case err == nil:
		return line, nil
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case waiting.Err() != nil:
		return nil, fmt.Errorf("it hangs: no answer to a question within %v", answerTime)
	}
	return nil, err
}

// Collect makes it collect garbage and give free memory back, and returns the bytes that its heap then has in use. The
// error is that of Snapshot.
func (p *Process) Collect() (live float64, err error) {
	shot, err := p.Snapshot(context.Background(), true)
	if err != nil {
		return 0, err
	}
	return float64(shot.Process.LiveHeap), nil
}

// tells reports whether it answers questions.
func (p *Process) tells() bool { return p.stdin != nil && p.Server.program == nil }

// Command returns the words that it was started with, its path first.
func (p *Process) Command() []string { return slices.Clone(p.command.Args) }
