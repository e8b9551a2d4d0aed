package peers

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Plan is what commands are told that set servers beside each other: how often to measure each cell, how long, and whom.
type Plan struct {
	Repeat           int
	Duration, Warmup time.Duration
	ServerCore       int // for Server.Start

	names string
}

// Flags defines -repeat, -duration, -warmup and -servers, with these defaults.
func (p *Plan) Flags(duration, warmup time.Duration, servers string) {
	flag.IntVar(&p.Repeat, "repeat", 3, "how often to measure each cell; medians are printed")
	flag.DurationVar(&p.Duration, "duration", duration, "how long to measure a cell each time")
	flag.DurationVar(&p.Warmup, "warmup", warmup, "how long to load it before that")
	flag.StringVar(&p.names, "servers", servers, "servers to measure")
}

// Begin checks what the flags say, pins this process as PinLoad does, and returns the servers. suits says why one cannot
// take part, nil if it can.
func (p *Plan) Begin(suits func(*Server) error) (servers []*Server, err error) {
	if p.Repeat < 1 || p.Duration <= 0 || p.Warmup < 0 {
		return nil, errors.New("-repeat and -duration must be positive, -warmup not negative")
	}
	for _, name := range strings.Split(p.names, ",") {
		s, err := Find(All(), name)
		if err == nil {
			err = suits(s)
		}
		if err != nil {
			return nil, fmt.Errorf("-servers: %s: %w", name, err)
		}
		servers = append(servers, s)
	}
	p.ServerCore, err = PinLoad()
	return servers, err
}

// Exit ends a command, with 1 and its name before err where there is one.
func Exit(err error) {
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", filepath.Base(os.Args[0]), err)
		os.Exit(1)
	}
	os.Exit(0)
}
