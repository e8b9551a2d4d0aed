package main

import (
	"context"
	"errors"
	"time"

	"zeroframe/bench"
	"zeroframe/bench/peers"
)

// work is what all servers are asked to do.
var work = peers.Options{Work: peers.Topic}

// open connects a load to a server.
func open(s *peers.Process, row bench.Row, notReading int) (*bench.Fanout, error) {
	return bench.OpenFanout(context.Background(), bench.FanoutConfig{
		URL: s.URL, Subscribers: row.Conns, Publishers: 1, NotReading: notReading, Payload: row.Payload, InFlight: row.InFlight,
		Loops: 1, ServerPID: s.PID(),
	})
}

// run loads for d, or until ctx ends, and makes an error of what went wrong.
func run(ctx context.Context, f *bench.Fanout, d time.Duration) (*bench.FanoutResult, error) {
	r, err := f.Run(ctx, d)
	if err == nil && (r.Errors > 0 || r.Server == nil) {
		err = errors.New("no figures: " + r.Error)
	}
	return r, err
}
