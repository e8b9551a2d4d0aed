//go:build linux

package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"zeroframe/bench"
)

// cell is a server in a mode, on messages of a size, and what was found of it.
type cell struct {
	server   *server
	mode     mode
	messages *messages

	windows []window // of the repetitions
	flate   []time.Duration
	own     []time.Duration // the library's times for a message, klauspost's and package deflate's

	memory memory
}

// child is a server in a process of its own.
type child struct {
	*exec.Cmd
	stdin io.WriteCloser
	lines *bufio.Reader // of its output
	addr  netip.AddrPort
}

func (c *cell) start(p *plan) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	s := &child{Cmd: exec.Command(self, "serve", "-server", c.server.name, "-mode", string(c.mode), "-size", fmt.Sprint(c.messages.size))}
	s.Env = append(os.Environ(), "GOMAXPROCS=1")
	s.Stderr = os.Stderr
	s.SysProcAttr = bench.ChildAttr()
	out, err := s.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if s.stdin, err = s.StdinPipe(); err != nil {
		return nil, err
	}
	if err := bench.OnCore(p.serverCore, s.Cmd.Start); err != nil {
		return nil, err
	}
	s.lines = bufio.NewReader(out)
	line, err := s.lines.ReadString('\n')
	if err == nil {
		s.addr, err = netip.ParseAddrPort(strings.TrimSpace(line))
	}
	if err != nil {
		s.stop()
		return nil, fmt.Errorf("the server does not say where it listens: %w", err)
	}
	return s, nil
}

// stop ends the server.
func (s *child) stop() {
	s.stdin.Close()
	s.Wait()
}

// resident returns the bytes of memory it holds, after a collection if that is asked for.
func (s *child) resident(collect bool) (float64, error) {
	if collect {
		if _, err := io.WriteString(s.stdin, "collect\n"); err != nil {
			return 0, err
		}
		if _, err := s.lines.ReadString('\n'); err != nil {
			return 0, err
		}
	}
	return float64(bench.ResidentOf(s.Process.Pid)), nil
}

// cpu reads the times that both sides have used.
func (s *child) cpu() (client, server time.Duration, err error) {
	server, err = bench.CPUOf(s.Process.Pid)
	return bench.OwnCPU(), server, err
}

// measure is one repetition. The replies on the first connection, from the first to the last, are verified.
func (c *cell) measure(p *plan) error {
	s, err := c.start(p)
	if err != nil {
		return err
	}
	defer s.stop()
	l, err := newLoad(c.messages, c.mode)
	if err != nil {
		return err
	}
	defer l.close()
	if err := l.open(s.addr, p.conns); err != nil {
		return err
	}
	if p.warmup > 0 {
		if _, err := l.runFor(p.warmup, s.cpu); err != nil {
			return err
		}
	}
	w, err := l.runFor(p.duration, s.cpu)
	if err != nil {
		return err
	}
	if w.messages == 0 {
		return errors.New("no message came back")
	}
	c.windows = append(c.windows, w)
	return l.verify()
}

// verify judges the replies that were kept.
func (l *load) verify() error {
	if l.mode != off && !slices.ContainsFunc(l.kept, func(r reply) bool { return r.compressed }) {
		return errors.New("no reply is compressed")
	}
	return l.messages.verify(l.kept, 0, l.mode == takeover)
}

// memory is the growth of RSS in bytes per connection: as it is after one message on each, and after so many that every
// history there may be is full; and then what is left of that after a collection, compared with before after one too.
type memory struct{ one, full, collected float64 }

// fill is twice what the servers here keep of messages; coder allocates all it keeps at once.
const fill = 8 << 10

func (c *cell) measureMemory(p *plan) (err error) {
	if c.memory.one, c.memory.full, err = c.grow(p, false); err == nil {
		_, c.memory.collected, err = c.grow(p, true)
	}
	return err
}

// warmConns open connections before memory is measured, and fill what a server keeps for all of them, pools above all.
const warmConns = 20

// grow opens many connections to a server that has served some.
func (c *cell) grow(p *plan, collect bool) (one, full float64, err error) {
	s, err := c.start(p)
	if err != nil {
		return 0, 0, err
	}
	defer s.stop()
	warm, err := newLoad(c.messages, c.mode)
	if err != nil {
		return 0, 0, err
	}
	defer warm.close()
	l, err := newLoad(c.messages, c.mode)
	if err != nil {
		return 0, 0, err
	}
	defer l.close()
	if err := errors.Join(warm.open(s.addr, warmConns), warm.runCount(variety)); err != nil {
		return 0, 0, err
	}
	before, err := s.resident(collect)
	if err != nil {
		return 0, 0, err
	}
	for i, messages := range []int{1, (fill + c.messages.size - 1) / c.messages.size} {
		if i == 0 {
			err = l.open(s.addr, p.idle)
		}
		if err := errors.Join(err, l.runCount(messages)); err != nil {
			return 0, 0, err
		}
		now, err := s.resident(collect)
		if err != nil {
			return 0, 0, err
		}
		one, full = full, (now-before)/float64(p.idle)
	}
	return one, full, l.verify()
}
