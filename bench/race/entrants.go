package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"zeroframe/bench"
	"zeroframe/bench/peers"
)

// field is where servers run, and what they are given.
type field struct {
	core        int                // -1: any
	certificate *peers.Certificate // nil if no scenario is over TLS
}

// contender makes one of a server of package peers.
func (f *field) contender(s *peers.Server) contender {
	c := contender{server: server{Name: s.Name, Role: roleOf(s), How: how(s), Env: []string{"GOMAXPROCS=1"}}}
	pair := ""
	if f.certificate != nil {
		pair = f.certificate.Pair
	}
	c.cannot = func(scenario *bench.Scenario) error {
		err := s.Suits(scenario, pair)
		if unsuitable, is := errors.AsType[*bench.UnsuitableError](err); is {
			return errors.New(unsuitable.Reason)
		}
		return err
	}
	c.start = func(scenario *bench.Scenario) (*started, error) {
		p, err := s.Start(f.core, peers.For(scenario, pair))
		if err != nil {
			return nil, err
		}
		return &started{p.Target(f.certificate), p.Command(), p.Stop}, nil
	}
	return c
}

func roleOf(s *peers.Server) role {
	switch {
	case s.Name == peers.Zeroframe || strings.HasPrefix(s.Name, peers.Zeroframe+"-"): // itself, set up otherwise
		return own
	case s.TCP || slices.Contains(peers.Floors, s):
		return bound
	}
	return peer
}

// how says how a server is set up for all that it does.
func how(s *peers.Server) string {
	text := s.How
	add := func(about, more string) {
		if more == "" {
			return
		}
		if text != "" {
			text += "; "
		}
		text += about + more
	}
	add("to send to all: ", s.Publishing)
	add("compressing: ", s.Compressing)
	return text
}

// choose returns the servers of the names, of none all of the default ones; others are those given by commands.
func choose(names []string, others []*peers.Server) ([]*peers.Server, error) {
	if len(names) == 0 {
		return slices.Concat(peers.Servers, others, peers.Bounds, peers.Floors), nil
	}
	known := slices.Concat(peers.All(), others)
	var list []*peers.Server
	for _, name := range names {
		s, err := peers.Find(known, name)
		if err != nil {
			return nil, fmt.Errorf("--servers: %w", err)
		}
		if slices.Contains(list, s) {
			return nil, fmt.Errorf("--servers: %s is there twice", name)
		}
		list = append(list, s)
	}
	for _, s := range others { // given on the command line, they are wanted
		if !slices.Contains(list, s) {
			list = append(list, s)
		}
	}
	return list, nil
}

// chooseScenarios returns those of the names and the ones that are described; of neither all there are.
func chooseScenarios(names, described []string) ([]bench.Scenario, error) {
	all := bench.Scenarios()
	if len(names)+len(described) == 0 {
		return all, nil
	}
	var list []bench.Scenario
	add := func(flag string, s bench.Scenario, err error) error {
		if err == nil && slices.ContainsFunc(list, func(x bench.Scenario) bool { return x.Name == s.Name }) {
			err = fmt.Errorf("%s is there twice", s.Name)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", flag, err)
		}
		list = append(list, s)
		return nil
	}
	for _, name := range names {
		i := slices.IndexFunc(all, func(s bench.Scenario) bool { return s.Name == name })
		if i < 0 {
			return nil, fmt.Errorf("--scenarios: no scenario %q", name)
		}
		if err := add("--scenarios", all[i], nil); err != nil {
			return nil, err
		}
	}
	for _, text := range described {
		s, err := bench.ParseScenario(text)
		if err := add("--scenario", s, err); err != nil {
			return nil, err
		}
	}
	return list, nil
}
