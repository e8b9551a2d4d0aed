package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"

	"zeroframe/bench"
)

// fanoutFlags are those of load for --mode fanout alone. Pointers, to know those that were not given.
type fanoutFlags struct {
	Subscribers *int `placeholder:"1000" help:"Connections, with --mode fanout: all get every message."`
	Publishers  *int `placeholder:"1" help:"Of the subscribers, those that send too, with --mode fanout."`
	NotReading  *int `placeholder:"0" help:"Of the other subscribers, those that read nothing, with --mode fanout."`
}

// refuse returns the error of flags that were given in another mode.
func (f *fanoutFlags) refuse() error {
	for name, v := range map[string]*int{"--subscribers": f.Subscribers, "--publishers": f.Publishers, "--not-reading": f.NotReading} {
		if v != nil {
			return usageError{fmt.Errorf("%s: only with --mode fanout", name)}
		}
	}
	return nil
}

func or(v *int, otherwise int) int {
	if v == nil {
		return otherwise
	}
	return *v
}

// fanoutReport is what --json prints.
type fanoutReport struct {
	Command     []string   `json:"command"`
	URL         string     `json:"url"`
	Subscribers int        `json:"subscribers"`
	Publishers  int        `json:"publishers"`
	NotReading  int        `json:"not_reading"`
	Payload     int        `json:"payload"`
	InFlight    int        `json:"in_flight"`
	Text        bool       `json:"text"`
	Kind        bench.Kind `json:"payload_kind"`
	Loops       int        `json:"loops"`
	CutShort    bool       `json:"interrupted,omitempty"` // before the time was up
	*bench.FanoutResult
}

// runFanout is Run with --mode fanout.
func (c *loadCommand) runFanout(ctx context.Context, o output) error {
	switch {
	case c.Compress:
		return usageError{errors.New("--compress: not with --mode fanout")}
	case c.Conns != nil:
		return usageError{errors.New("--conns: not with --mode fanout, but --subscribers")}
	}
	config := bench.FanoutConfig{
		URL: cmp.Or(c.URL, "ws://127.0.0.1:9001/topic/load"), TLS: c.trust(),
		Subscribers: or(c.Subscribers, 1000), Publishers: or(c.Publishers, 1), NotReading: or(c.NotReading, 0),
		Payload: c.Payload.int(), InFlight: c.Inflight, Text: c.Text, Kind: c.Kind, Loops: c.Loops, ServerPID: c.ServerPID,
	}
	f, err := bench.OpenFanout(ctx, config)
	if err != nil {
		return notOpen(ctx, err)
	}
	defer f.Close()
	line := newProgress(o.err, c.Warmup+c.Duration)
	line.follow(fmt.Sprintf("%d subscribers", config.Subscribers), f.Deliveries)
	result, err := measure(ctx, c.Warmup, c.Duration, f.Run)
	line.stop()
	if err != nil {
		return err
	}
	cutShort := ctx.Err() != nil && result.Elapsed < c.Duration
	report := fanoutReport{os.Args, config.URL, config.Subscribers, config.Publishers, config.NotReading,
		config.Payload, config.InFlight, c.Text, c.Kind, f.Loops(), cutShort, result}
	err = c.print(o, result, report,
		fmt.Sprintf("%d subscribers at %s, of which %d publish, with %d %s messages of %s in flight each, and %d do not read; %d loops",
			config.Subscribers, config.URL, config.Publishers, config.InFlight, c.messages(), bench.FormatSize(int64(config.Payload)),
			config.NotReading, f.Loops()))
	switch {
	case err != nil:
		return err
	case result.Errors > 0:
		return fmt.Errorf("%d errors; the first: %s", result.Errors, result.Error)
	case cutShort:
		return errCutShort
	case result.Deliveries == 0:
		return errors.New("no message came")
	}
	return nil
}
