package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"zeroframe/bench"
	"zeroframe/bench/peers"
)

// server can be started. process is one that runs.
type server interface {
	name() string
	how() string
	start(p *plan) (process, error)
}

type process interface {
	url() string
	pid() int
	stop()
}

// ownServer is one of this program.
type ownServer struct{ *peers.Server }

func (s ownServer) name() string { return s.Name }
func (s ownServer) how() string  { return s.How }

func (s ownServer) start(p *plan) (process, error) {
	child, err := peers.Start(p.serverCore, "serve", "-server", s.Name)
	if err != nil {
		return nil, err
	}
	return ownProcess{child}, nil
}

type ownProcess struct{ *peers.Process }

func (p ownProcess) url() string { return fmt.Sprintf("ws://%v/", p.Addr) }
func (p ownProcess) pid() int    { return p.PID() }
func (p ownProcess) stop()       { p.Stop() }

// other is a server of somebody else's, by its command.
type other struct {
	title   string
	command []string
}

func parseOther(s string) (*other, error) {
	title, command, ok := strings.Cut(s, "=")
	o := &other{title, strings.Fields(command)}
	if !ok || title == "" || len(o.command) == 0 {
		return nil, fmt.Errorf("%q is not NAME=COMMAND", s)
	}
	return o, nil
}

func (o *other) name() string { return o.title }
func (o *other) how() string  { return strings.Join(o.command, " ") }

// startTime is how long a server may take to listen.
const startTime = 10 * time.Second

func (o *other) start(p *plan) (process, error) {
	ln, err := net.Listen("tcp4", "127.0.0.1:0") // a port that is free, or was a moment ago
	if err != nil {
		return nil, err
	}
	addr := ln.Addr().(*net.TCPAddr)
	ln.Close()
	args := make([]string, len(o.command))
	for i, a := range o.command {
		args[i] = strings.ReplaceAll(a, "{port}", strconv.Itoa(addr.Port))
	}
	c := &otherProcess{exec.Command(args[0], args[1:]...), fmt.Sprintf("ws://%v%s", addr, p.path)}
	c.Env = append(os.Environ(), "GOMAXPROCS=1")
	c.Stderr = os.Stderr
	c.SysProcAttr = bench.ChildAttr()
	if err := bench.OnCore(p.serverCore, c.Start); err != nil {
		return nil, err
	}
	for end := time.Now().Add(startTime); ; time.Sleep(10 * time.Millisecond) {
		conn, err := net.Dial("tcp4", addr.String())
		if err == nil {
			conn.Close()
			return c, nil
		}
		if time.Now().After(end) {
			c.stop()
			return nil, fmt.Errorf("nobody listens on port %d: %w", addr.Port, err)
		}
	}
}

type otherProcess struct {
	*exec.Cmd
	at string
}

func (p *otherProcess) url() string { return p.at }
func (p *otherProcess) pid() int    { return p.Process.Pid }
func (p *otherProcess) stop()       { p.Process.Kill(); p.Wait() }

// open connects a load to a server.
func open(s process, row bench.Row, notReading int) (*bench.Fanout, error) {
	return bench.OpenFanout(context.Background(), bench.FanoutConfig{
		URL: s.url(), Subscribers: row.Conns, Publishers: 1, NotReading: notReading, Payload: row.Payload, InFlight: row.InFlight,
		Loops: 1, ServerPID: s.pid(),
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
