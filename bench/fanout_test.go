package bench

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"zeroframe/engine"
	"zeroframe/frame"
)

// topicServer sends each message to all its connections. change, where there is one, is told which message of the first
// publisher this is, and may deal with it.
type topicServer struct {
	engine.NopHandler
	mu     sync.Mutex
	engine *engine.Engine
	seen   int
	change func(seen int, c *engine.Conn, op frame.OpCode, payload []byte) (handled bool)
}

func (s *topicServer) OnOpen(c *engine.Conn) { c.Subscribe("all") }

func (s *topicServer) OnMessage(c *engine.Conn, op frame.OpCode, payload []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if id, _ := readStamp(payload); id == 0 && s.change != nil { // a probe has another one
		if s.seen++; s.change(s.seen, c, op, payload) {
			return
		}
	}
	s.engine.Publish("all", op, payload)
}

func serveTopic(t testing.TB, s *topicServer) (url string) {
	t.Helper()
	e, err := engine.New(engine.WithLoops(2))
	if err != nil {
		t.Fatal(err)
	}
	s.engine = e
	if err := e.Handle("/topic", s); err != nil {
		t.Fatal(err)
	}
	ln, err := e.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() { defer close(served); e.Serve(ln) }()
	t.Cleanup(func() { e.Close(); <-served })
	return "ws://" + ln.Addr().String() + "/topic"
}

func TestFanoutCountsWhatReachesEachMember(t *testing.T) {
	for name, config := range map[string]FanoutConfig{
		"one publisher":    {Subscribers: 20, Publishers: 1, Payload: 32, InFlight: 1, Loops: 1},
		"pipelined":        {Subscribers: 20, Publishers: 1, Payload: 1000, InFlight: 8, Loops: 2},
		"several":          {Subscribers: 10, Publishers: 4, Payload: 64, InFlight: 3, Loops: 3},
		"all publish":      {Subscribers: 5, Publishers: 5, Payload: 11, InFlight: 2, Loops: 1, Text: true},
		"by itself":        {Subscribers: 1, Publishers: 1, Payload: 100, InFlight: 1, Loops: 2},
		"large":            {Subscribers: 3, Publishers: 2, Payload: 200_000, InFlight: 2, Loops: 2, Kind: JSON},
		"some do not read": {Subscribers: 10, Publishers: 2, NotReading: 5, Payload: 32, InFlight: 2, Loops: 2},
	} {
		t.Run(name, func(t *testing.T) {
			s := new(topicServer)
			config.URL = serveTopic(t, s)
			f, err := OpenFanout(t.Context(), config)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			published := f.Publishes()
			for range 2 {
				r, err := f.Run(t.Context(), short)
				for d := 4 * short; d <= 64*short && err == nil && r.Publishes == 0 && r.Errors == 0; d *= 4 { // a busy machine needs longer
					published = f.Publishes()
					r, err = f.Run(t.Context(), d)
				}
				if err != nil {
					t.Fatal(err)
				}
				if r.Errors != 0 || r.Publishes == 0 {
					t.Fatalf("%d publishes, %d errors: %s", r.Publishes, r.Errors, r.Error)
				}
				sent := f.Publishes() - published
				published = f.Publishes()
				readers := uint64(config.Subscribers - config.NotReading)
				if r.Total != sent*readers {
					t.Errorf("%d messages were sent to %d members, %d have come", sent, readers, r.Total)
				}
				flying := uint64(config.Publishers * config.InFlight)
				if r.Total-r.Deliveries > (flying+1)*readers || sent-r.Publishes > flying {
					t.Errorf("%+v with %d in flight", r, flying)
				}
				if r.Bytes != r.Deliveries*uint64(config.Payload) {
					t.Errorf("%d bytes", r.Bytes)
				}
				l := r.Latency
				if l.P50 <= 0 || l.P50 > l.P99 || l.P99 > l.P999 || l.P999 > l.Max || l.Max > time.Minute {
					t.Errorf("latencies %+v", l)
				}
				if r.Elapsed < short || r.Client.Seconds <= 0 || r.Client.PerMillion <= 0 {
					t.Errorf("elapsed %v, CPU %v", r.Elapsed, r.Client)
				}
			}
		})
	}
}

func TestAFanoutFindsWhatAServerDoesWrong(t *testing.T) {
	defer func(d time.Duration) { drainTime = d }(drainTime)
	drainTime = 300 * time.Millisecond
	for name, c := range map[string]struct {
		change func(s *topicServer) func(int, *engine.Conn, frame.OpCode, []byte) bool
		want   string
	}{
		"a message lost for all": {func(s *topicServer) func(int, *engine.Conn, frame.OpCode, []byte) bool {
			return func(seen int, _ *engine.Conn, _ frame.OpCode, _ []byte) bool { return seen == 50 }
		}, "is lost or late"},
		"a message lost for one": {func(s *topicServer) func(int, *engine.Conn, frame.OpCode, []byte) bool {
			return func(seen int, c *engine.Conn, op frame.OpCode, p []byte) bool {
				if seen == 50 {
					c.Publish("all", op, p)
				}
				return seen == 50
			}
		}, "is lost or late"},
		"all lost": {func(s *topicServer) func(int, *engine.Conn, frame.OpCode, []byte) bool {
			return func(seen int, _ *engine.Conn, _ frame.OpCode, _ []byte) bool { return seen >= 50 }
		}, "missing on 10 connections"},
		"one twice": {func(s *topicServer) func(int, *engine.Conn, frame.OpCode, []byte) bool {
			return func(seen int, _ *engine.Conn, op frame.OpCode, p []byte) bool {
				if seen == 50 {
					s.engine.Publish("all", op, p)
				}
				return false
			}
		}, "came again"},
		"one held back": {func(s *topicServer) func(int, *engine.Conn, frame.OpCode, []byte) bool {
			var held []byte
			return func(seen int, _ *engine.Conn, op frame.OpCode, p []byte) bool {
				if seen == 50 {
					held = bytes.Clone(p)
				} else if seen == 51 {
					s.engine.Publish("all", op, p)
					s.engine.Publish("all", op, held)
				}
				return seen == 50 || seen == 51
			}
		}, "is lost or late"},
		"a flipped bit": {func(s *topicServer) func(int, *engine.Conn, frame.OpCode, []byte) bool {
			return func(seen int, _ *engine.Conn, _ frame.OpCode, p []byte) bool {
				if seen == 50 {
					p[len(p)/2] ^= 4
				}
				return false
			}
		}, "that nobody sent"},
		"another type": {func(s *topicServer) func(int, *engine.Conn, frame.OpCode, []byte) bool {
			return func(seen int, _ *engine.Conn, _ frame.OpCode, p []byte) bool {
				if seen == 50 {
					s.engine.Publish("all", frame.Text, p)
				}
				return seen == 50
			}
		}, "that nobody sent"},
		"a close": {func(s *topicServer) func(int, *engine.Conn, frame.OpCode, []byte) bool {
			return func(seen int, c *engine.Conn, _ frame.OpCode, _ []byte) bool {
				if seen == 50 {
					c.Close(frame.CloseGoingAway, "enough")
				}
				return false
			}
		}, "enough"},
	} {
		t.Run(name, func(t *testing.T) {
			s := new(topicServer)
			s.change = c.change(s)
			begin := time.Now()
			f, err := OpenFanout(t.Context(), FanoutConfig{URL: serveTopic(t, s), Subscribers: 10, Publishers: 1, Payload: 64, InFlight: 4, Loops: 2})
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			r, err := f.Run(t.Context(), 2*time.Second)
			if err != nil {
				t.Fatal(err)
			}
			if r.Errors == 0 || !strings.Contains(r.Error, c.want) {
				t.Errorf("%d errors, the first: %q, want %q", r.Errors, r.Error, c.want)
			}
			if r.Deliveries < 10*10 {
				t.Errorf("%d deliveries before it", r.Deliveries)
			}
			if time.Since(begin) > 20*time.Second {
				t.Error("the load went on")
			}
			if _, err := f.Run(t.Context(), short); err == nil || !strings.Contains(err.Error(), "has ended") {
				t.Errorf("a run after it: %v", err)
			}
		})
	}
}

func TestAFanoutNeedsAServerThatSendsToAll(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*short)
	defer cancel()
	_, err := OpenFanout(ctx, FanoutConfig{URL: serve(t, echo), Subscribers: 3, Publishers: 1, Payload: 32, InFlight: 1})
	if err == nil || !strings.Contains(err.Error(), "2 of 3 connections got no message") {
		t.Error(err)
	}
}

func TestAnInterruptedFanoutReportsWhatItFound(t *testing.T) {
	f, err := OpenFanout(t.Context(), FanoutConfig{URL: serveTopic(t, new(topicServer)), Subscribers: 3, Publishers: 1, Payload: 32, InFlight: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	ctx, cancel := context.WithTimeout(t.Context(), short)
	defer cancel()
	if r, err := f.Run(ctx, time.Hour); err != nil || r.Deliveries == 0 || r.Errors != 0 {
		t.Errorf("%v, %+v", err, r)
	}
}

func TestAFanoutThatCannotBeNamesItsField(t *testing.T) {
	good := FanoutConfig{URL: "ws://127.0.0.1:1/", Subscribers: 10, Publishers: 2, Payload: 32, InFlight: 1}
	for field, changes := range map[string][]func(*FanoutConfig){
		"URL":         {func(c *FanoutConfig) { c.URL = "http://127.0.0.1/" }},
		"Subscribers": {func(c *FanoutConfig) { c.Subscribers = 0 }},
		"Publishers":  {func(c *FanoutConfig) { c.Publishers = 0 }, func(c *FanoutConfig) { c.Publishers = 11 }, func(c *FanoutConfig) { c.Subscribers, c.Publishers = 1<<20, 100 }},
		"NotReading":  {func(c *FanoutConfig) { c.NotReading = -1 }, func(c *FanoutConfig) { c.NotReading = 9 }},
		"Payload":     {func(c *FanoutConfig) { c.Payload = MinFanoutPayload - 1 }},
		"InFlight":    {func(c *FanoutConfig) { c.InFlight = 0 }, func(c *FanoutConfig) { c.InFlight, c.Payload = 1<<16, 1<<20 }},
		"Loops":       {func(c *FanoutConfig) { c.Loops = -1 }},
	} {
		for i, change := range changes {
			c := good
			change(&c)
			_, err := OpenFanout(t.Context(), c)
			var config *ConfigError
			if !errors.As(err, &config) || config.Field != field {
				t.Errorf("%s, %d: %v", field, i, err)
			}
		}
	}
}
