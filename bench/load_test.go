package bench

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"zeroframe/engine"
	"zeroframe/frame"
)

// serve runs h on a server in this process and returns the URL.
func serve(t testing.TB, h engine.HandlerFunc, options ...engine.RouteOption) string {
	t.Helper()
	return serveHandler(t, h, options...)
}

func serveHandler(t testing.TB, h engine.Handler, options ...engine.RouteOption) string {
	t.Helper()
	e, err := engine.New(engine.WithLoops(1))
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Handle("/echo", h, options...); err != nil {
		t.Fatal(err)
	}
	ln, err := e.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() { defer close(served); e.Serve(ln) }()
	t.Cleanup(func() { e.Close(); <-served })
	return "ws://" + ln.Addr().String() + "/echo"
}

func echo(c *engine.Conn, op frame.OpCode, payload []byte) { c.Reply(op, payload) }

// load runs a load for d.
func load(t testing.TB, config LoadConfig, d time.Duration) *Result {
	t.Helper()
	l, err := Open(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	r, err := l.Run(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

const short = 100 * time.Millisecond

func TestLoadCountsTheEchoesOfAServer(t *testing.T) {
	for name, config := range map[string]LoadConfig{
		"small":     {Conns: 10, Payload: 32, InFlight: 1, Loops: 1},
		"pipelined": {Conns: 20, Payload: 100, InFlight: 16, Loops: 2},
		"text":      {Conns: 3, Payload: 1000, InFlight: 2, Loops: 1, Text: true},
		"large":     {Conns: 2, Payload: 300_000, InFlight: 3, Loops: 1},
		"empty":     {Conns: 2, Payload: 0, InFlight: 2, Loops: 1},
		"json":      {Conns: 3, Payload: 500, InFlight: 3, Loops: 2, Kind: JSON},
	} {
		t.Run(name, func(t *testing.T) {
			var seen atomic.Uint64
			config.URL = serve(t, func(c *engine.Conn, op frame.OpCode, payload []byte) {
				if want := config.Text; (op == frame.Text) != want {
					t.Errorf("a %v message", op)
				}
				seen.Add(1)
				c.Reply(op, payload)
			})
			var r *Result
			for d := short; d <= 64*short && (r == nil || r.Messages == 0 && r.Errors == 0); d *= 4 { // a busy machine needs longer
				seen.Store(0)
				r = load(t, config, d)
			}
			if r.Errors != 0 || r.Messages == 0 {
				t.Fatalf("%d messages, %d errors: %s", r.Messages, r.Errors, r.Error)
			}
			if seen.Load() != r.Total {
				t.Errorf("the server saw %d messages, the load counts %d", seen.Load(), r.Total)
			}
			if late := r.Total - r.Messages; late > uint64(config.Conns*config.InFlight) {
				t.Errorf("%d messages came back after the time was up, %d may be in flight", late, config.Conns*config.InFlight)
			}
			if r.Bytes != r.Messages*uint64(config.Payload) {
				t.Errorf("%d bytes", r.Bytes)
			}
			l := r.Latency
			if l.P50 <= 0 || l.P50 > l.P99 || l.P99 > l.P999 || l.P999 > l.Max || l.Max > time.Minute {
				t.Errorf("latencies %+v", l)
			}
			if r.Elapsed < short || r.Client.Seconds <= 0 || r.Client.Utilisation <= 0 || r.Client.PerMillion <= 0 {
				t.Errorf("elapsed %v, CPU %v", r.Elapsed, r.Client)
			}
		})
	}
}

func TestASecondRunUsesTheSameConnections(t *testing.T) {
	l, err := Open(t.Context(), LoadConfig{URL: serve(t, echo), Conns: 4, Payload: 50, InFlight: 3, Loops: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	total := uint64(0)
	for range 3 {
		r, err := l.Run(t.Context(), short/4)
		if err != nil || r.Errors != 0 || r.Messages == 0 {
			t.Fatalf("%v %+v", err, r)
		}
		total += r.Total
	}
	for end := time.Now().Add(time.Minute); l.Echoes() != total; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d echoes counted, %d in the results", l.Echoes(), total)
		}
	}
}

func TestAnEchoThatDiffersIsAnError(t *testing.T) {
	n := 0 // one loop: no race
	for name, bad := range map[string]engine.HandlerFunc{
		"a flipped bit": func(c *engine.Conn, op frame.OpCode, p []byte) { p[len(p)/2] ^= 4; c.Reply(op, p) },
		"another type":  func(c *engine.Conn, op frame.OpCode, p []byte) { c.Reply(frame.Text, p) },
		"one twice":     func(c *engine.Conn, op frame.OpCode, p []byte) { c.Send(op, p); c.Send(op, p) },
		"one too short": func(c *engine.Conn, op frame.OpCode, p []byte) { c.Reply(op, p[:len(p)-1]) },
	} {
		t.Run(name, func(t *testing.T) {
			n = 0
			url := serve(t, func(c *engine.Conn, op frame.OpCode, p []byte) {
				if n++; n == 50 {
					bad(c, op, p)
					return
				}
				c.Reply(op, p)
			})
			r := load(t, LoadConfig{URL: url, Conns: 2, Payload: 64, InFlight: 2, Loops: 1}, short)
			if r.Errors != 1 || !strings.Contains(r.Error, "echo") {
				t.Errorf("%d errors: %q", r.Errors, r.Error)
			}
			if r.Messages < 49 {
				t.Errorf("%d messages: the other connection must go on", r.Messages)
			}
		})
	}
}

func TestAnEchoThatIsMissingIsAnError(t *testing.T) {
	defer func(d time.Duration) { drainTime = d }(drainTime)
	drainTime = 200 * time.Millisecond
	n := 0
	url := serve(t, func(c *engine.Conn, op frame.OpCode, p []byte) {
		if n++; n != 50 {
			c.Reply(op, p)
		}
	})
	r := load(t, LoadConfig{URL: url, Conns: 2, Payload: 64, InFlight: 1, Loops: 1}, short)
	if r.Errors != 1 || !strings.Contains(r.Error, "missing") {
		t.Errorf("%d errors: %q", r.Errors, r.Error)
	}
}

func TestAConnectionThatEndsIsAnError(t *testing.T) {
	n := 0
	url := serve(t, func(c *engine.Conn, op frame.OpCode, p []byte) {
		if n++; n == 50 {
			c.Close(frame.CloseGoingAway, "enough")
			return
		}
		c.Reply(op, p)
	})
	l, err := Open(t.Context(), LoadConfig{URL: url, Conns: 1, Payload: 64, InFlight: 2, Loops: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	begin := time.Now()
	r, err := l.Run(t.Context(), time.Minute)
	if err != nil || r.Errors != 1 || !strings.Contains(r.Error, "enough") {
		t.Errorf("%v, %+v", err, r)
	}
	if time.Since(begin) > 50*time.Second {
		t.Error("the load went on without a connection")
	}
	if _, err := l.Run(t.Context(), short); err == nil || !strings.Contains(err.Error(), "no connection is left") {
		t.Errorf("a run without connections: %v", err)
	}
}

func TestAnInterruptedRunReportsWhatItFound(t *testing.T) {
	l, err := Open(t.Context(), LoadConfig{URL: serve(t, echo), Conns: 2, Payload: 10, InFlight: 1, Loops: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithTimeout(t.Context(), short)
	defer cancel()
	if r, err := l.Run(ctx, time.Hour); err != nil || r.Messages == 0 || r.Errors != 0 {
		t.Errorf("%v, %+v", err, r)
	}
}

func TestConnectingFailsWithAReason(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	ln.Close()
	for url, want := range map[string]string{
		"ws://" + addr + "/echo":                              "nobody listens at " + addr,
		strings.Replace(serve(t, echo), "/echo", "/other", 1): "404",
	} {
		_, err := Open(t.Context(), LoadConfig{URL: url, Conns: 3, Payload: 1, InFlight: 1})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", url, err, want)
		}
	}
}

func TestALoadThatCannotBeNamesItsField(t *testing.T) {
	good := LoadConfig{URL: "ws://127.0.0.1:1/", Conns: 1, Payload: 1, InFlight: 1}
	for field, change := range map[string]func(*LoadConfig){
		"URL":      func(c *LoadConfig) { c.URL = "http://127.0.0.1/" },
		"Conns":    func(c *LoadConfig) { c.Conns = 0 },
		"Payload":  func(c *LoadConfig) { c.Payload = -1 },
		"InFlight": func(c *LoadConfig) { c.InFlight = 1 << 20 },
		"Loops":    func(c *LoadConfig) { c.Loops = -1 },
	} {
		c := good
		change(&c)
		_, err := Open(t.Context(), c)
		var config *ConfigError
		if !errors.As(err, &config) || config.Field != field {
			t.Errorf("%s: %v", field, err)
		}
	}
}
