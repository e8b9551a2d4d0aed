package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"zeroframe/bench"
)

type benchCommand struct {
	Duration time.Duration `default:"1500ms" help:"How long to measure each row."`
	Warmup   time.Duration `default:"200ms" help:"How long to load before that; repeated while the server still fills its pools."`
	Row      []string      `sep:"none" placeholder:"[FORM:]CONNS:PAYLOAD:INFLIGHT[:PATH][,OPTION...]" help:"Rows to run instead of the default ones, such as 1000:32:16, 100:16KiB:1:/send or fanout:1000:32:8. FORM: echo, fanout, storm, idle or pings; OPTION: text, random, json, cjk, rate=MESSAGES PER SECOND, or from=CONNS with idle."`
	Compress string        `enum:"off,no-takeover,takeover" default:"off" help:"Let the server agree to permessage-deflate as --compress of serve says, with a threshold of 0, and the load offer it."`
	Kind     bench.Kind    `name:"payload-kind" default:"random" help:"What messages are made of: random characters, cjk, or json, which compresses as such messages do."`
	Profile  string        `placeholder:"DIR" help:"Also write a CPU profile of each row's server to this directory: row-1.pprof and so on."`
	JSON     string        `name:"json" placeholder:"FILE" help:"Also write the report to this file."`
}

// Run prints the report and fails when a row has errors.
func (c *benchCommand) Run(o output) error {
	rows, err := c.rows()
	if err != nil {
		return usageError{err}
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	file, err := createJSON(c.JSON)
	if err != nil {
		return err
	}
	defer file.close()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	serve := []string{self, "serve", "--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0", "--loops", "1", "--log-level", "warn"}
	if c.Compress != "off" {
		serve = append(serve, "--compress", c.Compress, "--compress-threshold", "0")
	}
	line := newProgress(o.err, time.Duration(len(rows))*(c.Warmup+c.Duration))
	report, err := bench.Run(ctx, bench.Options{
		Serve: serve, Kind: c.Kind, Compress: c.Compress != "off",
		Rows: rows, Duration: c.Duration, Warmup: c.Warmup, Profiles: c.Profile,
		Progress: func(i int, count func() uint64) {
			if count == nil {
				line.follow("", nil)
				return
			}
			line.follow(rows[i].Title, count)
		},
	})
	line.stop()
	if errors.Is(err, context.Canceled) {
		return errInterrupted
	}
	if err != nil {
		return err
	}
	if err := report.Write(o.out); err != nil {
		return err
	}
	if err := file.write(report); err != nil {
		return err
	}
	if !report.OK() {
		return errors.New("not every row went well")
	}
	return nil
}

func (c *benchCommand) rows() ([]bench.Scenario, error) {
	switch {
	case c.Duration <= 0:
		return nil, fmt.Errorf("--duration: %v is not above 0", c.Duration)
	case c.Warmup < 0:
		return nil, fmt.Errorf("--warmup: %v is below 0", c.Warmup)
	case len(c.Row) == 0:
		return bench.DefaultRows(), nil
	}
	var rows []bench.Scenario
	for _, s := range c.Row {
		r, err := bench.ParseScenario(s)
		if err != nil {
			return nil, fmt.Errorf("--row: %w", err)
		}
		rows = append(rows, r)
	}
	return rows, nil
}
