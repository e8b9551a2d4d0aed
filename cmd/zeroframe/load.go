package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"zeroframe/bench"
)

type loadCommand struct {
	URL       string        `default:"ws://127.0.0.1:9001/echo" help:"What to connect to: ws://host[:port]/path, wss://, or ws+unix:///path/to/socket:/path. It must echo."`
	Insecure  bool          `short:"k" help:"Take any certificate of the server's."`
	Conns     int           `default:"100" help:"Connections."`
	Payload   size          `default:"32" help:"Payload of each message."`
	Inflight  int           `default:"1" help:"Messages in flight on each connection: the next is sent when an echo comes back."`
	Duration  time.Duration `default:"10s" help:"How long to measure."`
	Warmup    time.Duration `default:"500ms" help:"How long to load before that."`
	Text      bool          `help:"Send text messages instead of binary ones."`
	Kind      bench.Kind    `name:"payload-kind" default:"random" help:"What messages are made of: random characters, or json, which compresses as such messages do."`
	Compress  bool          `help:"Offer permessage-deflate, with context takeover both ways, compress every message where the server agrees, and say what came of it."`
	Loops     int           `default:"${loops}" help:"Event loops."`
	ServerPID int           `name:"server-pid" placeholder:"PID" help:"Report the CPU time of this process too (Linux)."`
	JSON      bool          `name:"json" help:"Print the result as JSON."`
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
	*bench.Result
}

// Run loads until the time is up or an interrupt comes, and prints what was found until then.
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
	load, err := bench.Open(ctx, bench.LoadConfig{
		URL: c.URL, TLS: &tls.Config{InsecureSkipVerify: c.Insecure, SessionTicketsDisabled: true}, Conns: c.Conns, Payload: c.Payload.int(), InFlight: c.Inflight,
		Text: c.Text, Kind: c.Kind, Compress: c.Compress, Loops: c.Loops, ServerPID: c.ServerPID,
	})
	if err != nil {
		return nameFlag(err)
	}
	defer load.Close()
	line := newProgress(o.err, c.Warmup+c.Duration)
	line.follow(fmt.Sprintf("%d connections", c.Conns), load)
	result, err := c.measure(ctx, load)
	line.stop()
	if err != nil {
		return err
	}
	if c.JSON {
		encoder := json.NewEncoder(o.out)
		encoder.SetIndent("", "  ")
		err = encoder.Encode(loadReport{os.Args, c.URL, c.Conns, c.Payload.int(), c.Inflight, c.Text, c.Kind, load.Loops(), result})
	} else {
		text := c.Kind.String() + " binary"
		if c.Text {
			text = c.Kind.String() + " text"
		}
		fmt.Fprintf(o.out, "command     %s\n", strings.Join(os.Args, " "))
		fmt.Fprintf(o.out, "load        %d connections to %s, %d %s messages of %s in flight on each, %d loops\n",
			c.Conns, c.URL, c.Inflight, text, bench.FormatSize(int64(c.Payload)), load.Loops())
		err = result.WriteText(o.out)
	}
	switch {
	case err != nil:
		return err
	case result.Errors > 0:
		return fmt.Errorf("%d errors; the first: %s", result.Errors, result.Error)
	case result.Messages == 0:
		return errors.New("no message came back")
	}
	return nil
}

func (c *loadCommand) measure(ctx context.Context, load *bench.Load) (*bench.Result, error) {
	if c.Warmup > 0 {
		if _, err := load.Run(ctx, c.Warmup); err != nil {
			return nil, err
		}
	}
	return load.Run(ctx, c.Duration)
}
