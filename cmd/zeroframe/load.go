package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"zeroframe/bench"
)

type loadCommand struct {
	Mode      string        `enum:"echo,fanout" default:"echo" help:"What the server does with a message: sends it back (echo), or sends it to all connections (fanout)."`
	URL       string        `placeholder:"URL" help:"What to connect to: ws://host[:port]/path, wss://, or ws+unix:///path/to/socket:/path. Default: ws://127.0.0.1:9001/echo, and /topic/load there with --mode fanout."`
	Insecure  bool          `short:"k" help:"Take any certificate of the server's."`
	Conns     *int          `placeholder:"100" help:"Connections, with --mode echo."`
	Payload   size          `default:"32" help:"Payload of each message."`
	Inflight  int           `default:"1" help:"Messages in flight on each connection: the next is sent when an echo comes back, or when all subscribers have one."`
	Duration  time.Duration `default:"10s" help:"How long to measure."`
	Warmup    time.Duration `default:"500ms" help:"How long to load before that."`
	Text      bool          `help:"Send text messages instead of binary ones."`
	Kind      bench.Kind    `name:"payload-kind" default:"random" help:"What messages are made of: random characters, cjk, or json, which compresses as such messages do."`
	Compress  bool          `help:"Offer permessage-deflate, with context takeover both ways, compress every message where the server agrees, and say what came of it."`
	Loops     int           `default:"${loops}" help:"Event loops."`
	ServerPID int           `name:"server-pid" placeholder:"PID" help:"Report the CPU time of this process too (Linux)."`
	JSON      bool          `name:"json" help:"Print the result as JSON."`

	fanoutFlags `embed:""`
}

// loadReport is what --json prints.
type loadReport struct {
	Command  []string   `json:"command"`
	URL      string     `json:"url"`
	Conns    int        `json:"conns"`
	Payload  int        `json:"payload"`
	InFlight int        `json:"in_flight"`
	Text     bool       `json:"text"`
	Kind     bench.Kind `json:"payload_kind"`
	Loops    int        `json:"loops"`
	CutShort bool       `json:"interrupted,omitempty"` // before the time was up
	*bench.Result
}

// Run loads until the time is up or an interrupt comes, which makes it fail, and prints what was found until then.
func (c *loadCommand) Run(o output) error {
	switch {
	case c.Duration <= 0:
		return usageError{fmt.Errorf("--duration: %v is not above 0", c.Duration)}
	case c.Warmup < 0:
		return usageError{fmt.Errorf("--warmup: %v is below 0", c.Warmup)}
	case c.Loops < 1:
		return usageError{fmt.Errorf("--loops: %d is not above 0", c.Loops)}
	case c.ServerPID < 0:
		return usageError{fmt.Errorf("--server-pid: %d is not a process", c.ServerPID)}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if c.Mode == "fanout" {
		return c.runFanout(ctx, o)
	}
	if err := c.fanoutFlags.refuse(); err != nil {
		return err
	}
	url, conns := cmp.Or(c.URL, "ws://127.0.0.1:9001/echo"), or(c.Conns, 100)
	load, err := bench.Open(ctx, bench.LoadConfig{
		URL: url, TLS: c.trust(), Conns: conns, Payload: c.Payload.int(), InFlight: c.Inflight,
		Text: c.Text, Kind: c.Kind, Compress: c.Compress, Loops: c.Loops, ServerPID: c.ServerPID,
	})
	if err != nil {
		return notOpen(ctx, err)
	}
	defer load.Close()
	line := newProgress(o.err, c.Warmup+c.Duration)
	line.follow(fmt.Sprintf("%d connections", conns), load.Echoes)
	result, err := measure(ctx, c.Warmup, c.Duration, load.Run)
	line.stop()
	if err != nil {
		return err
	}
	cutShort := ctx.Err() != nil && result.Elapsed < c.Duration
	err = c.print(o, result, loadReport{os.Args, url, conns, c.Payload.int(), c.Inflight, c.Text, c.Kind, load.Loops(), cutShort, result},
		fmt.Sprintf("%d connections to %s, %d %s messages of %s in flight on each, %d loops",
			conns, url, c.Inflight, c.messages(), bench.FormatSize(int64(c.Payload)), load.Loops()))
	switch {
	case err != nil:
		return err
	case result.Errors > 0:
		return fmt.Errorf("%d errors; the first: %s", result.Errors, result.Error)
	case cutShort:
		return errCutShort
	case result.Messages == 0:
		return errors.New("no message came back")
	}
	return nil
}

// notOpen is why a load did not begin.
func notOpen(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return errInterrupted
	}
	return nameFlag(err)
}

// print writes what was found: the report as JSON, or the result as text below a line about the load.
func (c *loadCommand) print(o output, result interface{ WriteText(io.Writer) error }, report any, load string) error {
	if c.JSON {
		encoder := json.NewEncoder(o.out)
		encoder.SetIndent("", "  ")
		return encoder.Encode(report)
	}
	fmt.Fprintf(o.out, "command     %s\nload        %s\n", strings.Join(os.Args, " "), load)
	return result.WriteText(o.out)
}

// trust is for wss.
func (c *loadCommand) trust() *tls.Config {
	return &tls.Config{InsecureSkipVerify: c.Insecure, SessionTicketsDisabled: true}
}

// messages says what kind of messages they are.
func (c *loadCommand) messages() string {
	if c.Text {
		return c.Kind.String() + " text"
	}
	return c.Kind.String() + " binary"
}

// measure runs a load twice, and returns what it found the second time, of which an interrupt of the first leaves nothing.
func measure[R any](ctx context.Context, warmup, d time.Duration, run func(context.Context, time.Duration) (R, error)) (r R, err error) {
	if warmup > 0 {
		if r, err = run(ctx, warmup); err != nil {
			return r, err
		}
		if ctx.Err() != nil {
			return r, errInterrupted
		}
	}
	return run(ctx, d)
}
