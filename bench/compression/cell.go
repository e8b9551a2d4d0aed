//go:build linux

package main

import (
	"errors"
	"slices"
	"time"

	"zeroframe/bench/peers"
)

// cell is a server in a mode, on messages of a size, and what was found of it.
type cell struct {
	server   *peers.Server
	mode     peers.Mode
	messages *messages

	windows []window // of the repetitions
	flate   []time.Duration
	own     []time.Duration // the library's times for a message, klauspost's and package deflate's

	memory memory
}

func (c *cell) start(p *plan) (*peers.Process, error) {
	return c.server.Start(p.ServerCore, peers.Options{Mode: c.mode, Size: c.messages.size})
}

// measure is one repetition. The replies on the first connection, from the first to the last, are verified.
func (c *cell) measure(p *plan) error {
	s, err := c.start(p)
	if err != nil {
		return err
	}
	defer s.Stop()
	l, err := newLoad(c.messages, c.mode)
	if err != nil {
		return err
	}
	defer l.close()
	if err := l.open(s.Addr, p.conns); err != nil {
		return err
	}
	if p.Warmup > 0 {
		if _, err := l.runFor(p.Warmup, s.CPUs); err != nil {
			return err
		}
	}
	w, err := l.runFor(p.Duration, s.CPUs)
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
	if l.mode != peers.Off && !slices.ContainsFunc(l.kept, func(r reply) bool { return r.compressed }) {
		return errors.New("no reply is compressed")
	}
	return l.messages.verify(l.kept, 0, l.mode == peers.Takeover)
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
	defer s.Stop()
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
	if err := errors.Join(warm.open(s.Addr, warmConns), warm.runCount(variety)); err != nil {
		return 0, 0, err
	}
	before, err := resident(s, collect)
	if err != nil {
		return 0, 0, err
	}
	for i, messages := range []int{1, (fill + c.messages.size - 1) / c.messages.size} {
		if i == 0 {
			err = l.open(s.Addr, p.idle)
		}
		if err := errors.Join(err, l.runCount(messages)); err != nil {
			return 0, 0, err
		}
		now, err := resident(s, collect)
		if err != nil {
			return 0, 0, err
		}
		one, full = full, (now-before)/float64(p.idle)
	}
	return one, full, l.verify()
}

// resident returns the bytes of memory that a server holds, after a collection if that is asked for.
func resident(s *peers.Process, collect bool) (float64, error) {
	if collect {
		if _, err := s.Collect(); err != nil {
			return 0, err
		}
	}
	return s.Resident(), nil
}
