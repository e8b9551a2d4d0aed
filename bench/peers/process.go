package peers

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"strings"
	"time"

	"zeroframe/bench"
)

// Process is a server in a process of its own.
type Process struct {
	Addr    netip.AddrPort // where it listens
	command *exec.Cmd
	stdin   io.WriteCloser
	lines   *bufio.Reader // of its output
}

// Start runs this program with other arguments, which make it call Listen, on a core with GOMAXPROCS=1; negative: on any.
func Start(core int, args ...string) (*Process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &Process{command: exec.Command(self, args...)}
	p.command.Env = append(os.Environ(), "GOMAXPROCS=1")
	p.command.Stderr = os.Stderr
	p.command.SysProcAttr = bench.ChildAttr()
	out, err := p.command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if p.stdin, err = p.command.StdinPipe(); err != nil {
		return nil, err
	}
	if err := bench.OnCore(core, p.command.Start); err != nil {
		return nil, err
	}
	p.lines = bufio.NewReader(out)
	line, err := p.lines.ReadString('\n')
	if err == nil {
		p.Addr, err = netip.ParseAddrPort(strings.TrimSpace(line))
	}
	if err != nil {
		p.Stop()
		return nil, fmt.Errorf("the server does not say where it listens: %w", err)
	}
	return p, nil
}

// Listen is the other side of Start: it opens a listener and prints its address. The process lives until its standard
// input ends, and for each line there collects garbage, gives what is free back to the system, and prints the bytes that
// are still in use.
func Listen() (net.Listener, error) {
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	fmt.Println(ln.Addr())
	go func() {
		for orders := bufio.NewScanner(os.Stdin); orders.Scan(); {
			runtime.GC() // twice, for what sync.Pools hold
			debug.FreeOSMemory()
			live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
			metrics.Read(live)
			fmt.Println(live[0].Value.Uint64())
		}
		os.Exit(0)
	}()
	return ln, nil
}

// Stop ends the process.
func (p *Process) Stop() {
	p.stdin.Close()
	p.command.Wait()
}

// PID returns its number.
func (p *Process) PID() int { return p.command.Process.Pid }

// Resident returns the bytes of physical memory that it holds.
func (p *Process) Resident() float64 { return float64(bench.ResidentOf(p.PID())) }

// Collect makes it collect garbage and give free memory back, and returns the bytes that its heap then has in use.
func (p *Process) Collect() (live float64, err error) {
	if _, err := io.WriteString(p.stdin, "collect\n"); err != nil {
		return 0, err
	}
	_, err = fmt.Fscanln(p.lines, &live)
	return live, err
}

// CPU reads the processor times that both sides have used.
func (p *Process) CPU() (client, server time.Duration, err error) {
	server, err = bench.CPUOf(p.PID())
	return bench.OwnCPU(), server, err
}
