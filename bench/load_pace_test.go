package bench

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"zeroframe/engine"
	"zeroframe/frame"
)

// beyond returns what part of the messages took longer than d, by the curve.
func beyond(m *Measurement, d time.Duration) float64 {
	for _, at := range m.Curve {
		if at.Value > d {
			return 1 - at.Q
		}
	}
	return 0
}

// One of two connections is stalled for a third of the run. A load that waits for its answers would see one long latency
// there, or a few; one that sends at a rate sees all of the messages that were due meanwhile, from the longest to none.
func TestAStallShowsInAllThatWasDueMeanwhile(t *testing.T) {
	for _, spec := range []string{"2:32:1,rate=400", "2:32:1024,rate=400", "pings:2:8:1,rate=400"} {
		t.Run(spec, func(t *testing.T) {
			var wrong []string
			for stall := 200 * time.Millisecond; stall < 6*time.Second; stall *= 3 { // a busy machine has stalls of its own
				if wrong = stalled(t, mustParse(t, spec), stall); len(wrong) == 0 {
					return
				}
			}
			t.Error(strings.Join(wrong, "; "))
		})
	}
}

// stalled measures for three times a stall, and returns what does not show it.
func stalled(t *testing.T, scenario Scenario, stall time.Duration) (wrong []string) {
	complain := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	handler := &stalling{stall: func(c *engine.Conn) {
		c.Pause()
		time.AfterFunc(stall, c.Resume)
	}}
	run := 3 * stall
	m := measureOnce(t, scenario, Target{URL: serveHandler(t, handler)}, Settings{Duration: run})
	if m.Pace.Due != uint64(400*run/time.Second) || m.Total+m.Pace.Unsent != m.Pace.Due {
		complain("%d messages, pace %+v", m.Total, m.Pace)
	}
	// A sixth of the messages were due on that connection in that time, and half of those more than half of it before its end.
	if got := beyond(m, stall/2); got < 0.06 {
		complain("%.1f %% of the messages took more than %v, want 8 %% at least", got*100, stall/2)
	}
	if m.Latency.Max < stall*9/10 || m.Latency.P50 > stall/2 {
		complain("%+v", m.Latency)
	}
	if m.Scenario.InFlight == 1 && m.Pace.Lag.Max < stall/2 {
		complain("messages were sent %+v after they were due", m.Pace.Lag)
	}
	return wrong
}

// stalling echoes, and has its stall at the tenth message or ping.
type stalling struct {
	engine.NopHandler
	seen  int
	stall func(*engine.Conn)
}

func (s *stalling) count(c *engine.Conn) {
	if s.seen++; s.seen == 10 {
		s.stall(c)
	}
}

func (s *stalling) OnMessage(c *engine.Conn, op frame.OpCode, p []byte) {
	s.count(c)
	c.Reply(op, p)
}

func (s *stalling) OnPing(c *engine.Conn, p []byte) { s.count(c) }

// A server that takes its time cannot keep a rate, and what could not be sent counts with the time it had waited.
func TestARateThatCannotBeKeptIsTold(t *testing.T) {
	const run = 300 * time.Millisecond
	for _, inFlight := range []string{"1", "64"} {
		url := serve(t, func(c *engine.Conn, op frame.OpCode, p []byte) {
			for end := time.Now().Add(time.Millisecond); time.Now().Before(end); {
			}
			c.Reply(op, p)
		})
		m := measureOnce(t, mustParse(t, "2:32:"+inFlight+",rate=5000"), Target{URL: url}, Settings{Duration: run})
		p := m.Pace
		if p.Kept || p.Due < 1490 || p.Unsent == 0 || p.Unsent+m.Total != p.Due {
			t.Errorf("%s in flight: %d messages, pace %+v", inFlight, m.Total, p)
		}
		if got := beyond(m, run/3); got < 0.4 || m.Latency.Max < run*3/4 {
			t.Errorf("%s in flight: %.0f %% took more than %v, the longest %v", inFlight, got*100, run/3, m.Latency.Max)
		}
	}
}

func TestMessagesAreSentWhenTheyAreDue(t *testing.T) {
	for range 10 { // a busy machine may spoil some
		m := measureOnce(t, mustParse(t, "10:32:256,rate=1000"), Target{URL: serve(t, echo)}, Settings{Duration: 2 * short, Loops: 2})
		if n := time.Duration(m.Pace.Due); n*time.Millisecond < 2*short || n*time.Millisecond > m.Elapsed+time.Millisecond {
			t.Fatalf("in %v: %+v", m.Elapsed, m.Pace)
		}
		if m.Pace.Kept && m.Pace.Lag.P50 < time.Millisecond {
			return
		}
	}
	t.Error("half of the messages left more than a millisecond late, ten times")
}

func TestARateGoesOnWithoutTheConnectionsThatEnd(t *testing.T) {
	n := 0
	url := serve(t, func(c *engine.Conn, op frame.OpCode, p []byte) {
		if n++; n == 20 {
			c.Close(frame.CloseGoingAway, "enough")
			return
		}
		c.Reply(op, p)
	})
	m, err := Measure(t.Context(), mustParse(t, "4:32:8,rate=2000"), Target{URL: url}, Settings{Duration: 2 * short})
	if err != nil || m.Errors != 1 || m.Pace.Kept || m.Messages < 250 {
		t.Errorf("%v, %+v, pace %+v", err, m, m.Pace)
	}
	url = serve(t, func(c *engine.Conn, op frame.OpCode, p []byte) { c.Terminate() })
	if m, err = Measure(t.Context(), mustParse(t, "4:32:8,rate=2000"), Target{URL: url}, Settings{Duration: time.Minute}); err != nil || m.Errors != 4 {
		t.Errorf("no connection is left: %v, %+v", err, m)
	}
}
