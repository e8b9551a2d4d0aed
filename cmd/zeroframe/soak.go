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

type soakCommand struct {
	Memory       bool          `help:"One process with all connections and their clients, in memory in place of sockets."`
	Conns        *int          `placeholder:"N" help:"Connections. Default: 10000; 1000000 with --memory."`
	PingInterval time.Duration `default:"${ping_interval}" help:"Time between the server's pings on a connection."`
	PingTimeout  time.Duration `default:"${ping_timeout}" help:"How long a pong may take."`
	Tolerance    time.Duration `default:"1s" help:"How late a ping may come; a later one is missed."`
	Duration     time.Duration `default:"5m" help:"How long to soak, once all connections are open."`
	Echoes       float64       `placeholder:"100" default:"100" help:"Messages per second, over all connections; 0: none."`
	Mute         int           `default:"0" help:"Clients that answer no ping, to see that the soak finds them."`
	Processes    int           `default:"0" help:"Server processes, and as many of clients; 0: as few as the limit of file descriptors allows."`
	Loops        int           `default:"0" help:"Event loops of each server process; 0: one per processor, shared by the processes."`
	GOGC         int           `name:"gogc" placeholder:"25" default:"0" help:"When the servers collect garbage, in percent of what is live. Default: what GOGC says; 25 with --memory."`
	JSON         string        `name:"json" placeholder:"FILE" help:"Also write the result to this file."`
}

// Run soaks until the time is up or an interrupt comes, and fails when anything was missed or lost, or time was left: a
// soak that was cut short has shown nothing of the rest.
func (c *soakCommand) Run(o output) error {
	file, err := createJSON(c.JSON)
	if err != nil {
		return err
	}
	defer file.close()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	r, err := c.soak(ctx, o)
	if errors.Is(err, context.Canceled) {
		return errInterrupted
	}
	if r == nil {
		return nameFlag(err)
	}
	if err := r.WriteText(o.out); err != nil {
		return err
	}
	if err := file.write(r); err != nil {
		return err
	}
	if r.Interrupted {
		err = errors.Join(errCutShort, err)
	}
	return errors.Join(r.Err(), err)
}

func (c *soakCommand) soak(ctx context.Context, o output) (*bench.SoakResult, error) {
	conns := or(c.Conns, 10_000)
	if c.Memory {
		conns = or(c.Conns, 1_000_000)
	}
	config := bench.SoakConfig{
		Conns: conns, PingInterval: c.PingInterval, PingTimeout: c.PingTimeout, Tolerance: c.Tolerance,
		Duration: c.Duration, Echoes: c.Echoes, Mute: c.Mute, Loops: c.Loops, GOGC: c.GOGC,
	}
	if err := config.Check(); err != nil {
		return nil, err
	}
	limits, err := bench.ReadSoakLimits()
	if c.Memory {
		if c.Processes != 0 {
			return nil, usageError{errors.New("--processes: with --memory there is one")}
		}
		if config.GOGC == 0 && os.Getenv("GOGC") == "" {
			config.GOGC = memoryGOGC
		}
		if err == nil { // elsewhere it is not known what memory there is
			plan := bench.PlanSoakMemory(conns, limits)
			if err := plan.WriteText(o.out); err != nil {
				return nil, err
			}
			if err := plan.Err(); err != nil {
				return nil, err
			}
		}
		defer c.show(&config, o)()
		return bench.SoakMemory(ctx, config)
	}
	if c.Processes < 0 || c.Processes > 1000 {
		return nil, usageError{fmt.Errorf("--processes: %d is not between 0 and 1000", c.Processes)}
	}
	if err != nil {
		return nil, err
	}
	plan := bench.PlanSoak(conns, c.Processes, limits)
	if err := plan.WriteText(o.out); err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	config.Serve, config.Clients = []string{self, "serve"}, []string{self, "soak-clients"}
	if err := plan.Err(); err != nil {
		return nil, err
	}
	defer c.show(&config, o)()
	return bench.Soak(ctx, config, plan)
}

// show tells when all connections are open, and on a terminal how far that and the soak are, until stop is called.
func (c *soakCommand) show(config *bench.SoakConfig, o output) (stop func()) {
	opening := newBar(o.err, int64(config.Conns))
	var soaking *progress
	if opening != nil {
		opening.Describe("opening connections")
		config.Opening = func(open uint64) { opening.Set64(int64(min(open, uint64(config.Conns)-1))) } // the last step would clear the line
	}
	config.Soaking = func(r *bench.SoakResult, pings func() uint64) {
		if opening != nil {
			opening.Finish()
		}
		r.WriteOpened(o.out)
		if soaking = newProgress(o.err, c.Duration); soaking != nil {
			soaking.unit = "pings"
			soaking.follow(fmt.Sprintf("%d connections", config.Conns), pings)
		}
	}
	return func() {
		if opening != nil {
			opening.Finish()
		}
		soaking.stop()
	}
}

// memoryGOGC keeps the heap of a million connections small: next to nothing is allocated once they are open.
const memoryGOGC = 25

// soakClientsCommand is a process that `soak` starts.
type soakClientsCommand struct{}

// Run takes orders until there are no more. An interrupt of the terminal's is for the process that gives them.
func (soakClientsCommand) Run(o output) error {
	signal.Ignore(os.Interrupt)
	return bench.ServeSoakClients(o.in, o.out)
}
