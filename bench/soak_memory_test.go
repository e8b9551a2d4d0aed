package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"
)

// shortSoak is one in memory that takes a second or two.
func shortSoak(conns int) SoakConfig {
	return SoakConfig{
		Conns: conns, PingInterval: 300 * time.Millisecond, PingTimeout: time.Minute, Tolerance: time.Minute,
		Duration: time.Second, Echoes: 200,
	}
}

func TestASoakInMemoryPingsEveryConnection(t *testing.T) {
	const conns = 5000
	c := shortSoak(conns)
	var opened []uint64
	followed := false
	c.Opening = func(n uint64) { opened = append(opened, n) }
	c.Soaking = func(*SoakResult, func() uint64) { followed = true }
	r, err := SoakMemory(t.Context(), c)
	for c.Duration *= 4; err == nil && (r.Pings < conns || r.EchoesSent < 10) && c.Duration < time.Minute; c.Duration *= 4 {
		r, err = SoakMemory(t.Context(), c) // a busy machine had no time for either side
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Err(); err != nil {
		t.Error(err)
	}
	// In a second come three or four pings, the first one early; on a slow machine at least one.
	if r.Pings < conns || r.PingsPerSecond <= 0 || r.Lateness.Max <= 0 || r.Open != conns {
		t.Errorf("%d pings, %.0f/s, at most %v late, %d open", r.Pings, r.PingsPerSecond, r.Lateness.Max, r.Open)
	}
	if r.EchoesSent < 10 || r.Echo.P99 <= 0 {
		t.Errorf("%d echoes, p99 %v", r.EchoesSent, r.Echo.P99)
	}
	if s := r.Server; s.HeapPerConn < 200 || s.HeapPerConn > 600 || s.CPU <= 0 || s.OpeningCPU <= 0 {
		t.Errorf("process: %+v", s)
	}
	if len(opened) == 0 || !followed {
		t.Errorf("told %v of what was open, and of the soak: %v", opened, followed)
	}
	var text strings.Builder
	if err := errors.Join(r.WriteOpened(&text), r.WriteText(&text)); err != nil || strings.Contains(text.String(), "FAILED") {
		t.Errorf("%v\n%s", err, text.String())
	}
	var b bytes.Buffer
	if err := json.NewEncoder(&b).Encode(r); err != nil || !bytes.Contains(b.Bytes(), []byte(`"ping_lateness":{"p50_ns"`)) {
		t.Errorf("%v\n%s", err, b.Bytes())
	}
}

// The check can fail: here the server sends its pings when it wants to.
func TestASoakFindsAServerThatWithholdsPings(t *testing.T) {
	c := shortSoak(1000)
	c.serverInterval = time.Hour
	c.Tolerance = 100 * time.Millisecond
	r, err := SoakMemory(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if r.NotPinged != 1000 || r.OK() || r.Pings != 0 || r.Lost != 0 {
		t.Errorf("%d of 1000 missed, %d pings: %v", r.NotPinged, r.Pings, r.Err())
	}
	c.serverInterval = 800 * time.Millisecond // too seldom
	if r, err = SoakMemory(t.Context(), c); err != nil || r.NotPinged < 900 || r.OK() {
		t.Errorf("%d of 1000 missed: %v", r.NotPinged, err)
	}
	var text strings.Builder
	if r.WriteText(&text); !strings.Contains(text.String(), "FAILED       "+grouped(r.NotPinged)+" pings missed") {
		t.Error(text.String())
	}
}

// And here clients withhold pongs.
func TestASoakFindsClientsThatWithholdPongs(t *testing.T) {
	c := shortSoak(1000)
	c.Mute = 7
	var r *SoakResult
	for c.PingTimeout = 300 * time.Millisecond; ; c.PingTimeout *= 4 { // which on a busy machine others may need, too
		c.Duration = 5 * c.PingTimeout
		var err error
		if r, err = SoakMemory(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		if r.NoPong <= 7 && r.NoPong == r.Lost || c.PingTimeout > 4*time.Second {
			break
		}
	}
	if r.NoPong != 7 || r.Lost != 7 || r.Open != 993 || r.NotPinged != 0 || r.OK() || !strings.Contains(r.Error, "Ping timeout") {
		t.Errorf("%d without a pong, %d lost (%s), %d open, %d not pinged", r.NoPong, r.Lost, r.Error, r.Open, r.NotPinged)
	}
}

func TestASoakThatIsInterruptedTellsWhatItFound(t *testing.T) {
	c := shortSoak(1000)
	c.Duration = time.Hour
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	c.Soaking = func(*SoakResult, func() uint64) { cancel() }
	r, err := SoakMemory(ctx, c)
	if err != nil || r.Open != 1000 || r.Elapsed > time.Minute {
		t.Errorf("%+v, %v", r, err)
	}
	if _, err := SoakMemory(ctx, shortSoak(openAtOnce+1000)); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted before all was open: %v", err)
	}
}

func TestASoakThatCannotBeIsRefused(t *testing.T) {
	for field, change := range map[string]func(*SoakConfig){
		"Conns":        func(c *SoakConfig) { c.Conns = 0 },
		"Mute":         func(c *SoakConfig) { c.Mute = 101 },
		"Loops":        func(c *SoakConfig) { c.Loops = -1 },
		"PingInterval": func(c *SoakConfig) { c.PingInterval = 0 },
		"PingTimeout":  func(c *SoakConfig) { c.PingTimeout = 2 * time.Hour },
		"Tolerance":    func(c *SoakConfig) { c.Tolerance = -1 },
		"Duration":     func(c *SoakConfig) { c.Duration = 49 * time.Hour },
		"GOGC":         func(c *SoakConfig) { c.GOGC = -1 },
		"Echoes":       func(c *SoakConfig) { c.Echoes = -1 },
	} {
		c := shortSoak(100)
		change(&c)
		var wrong *ConfigError
		if _, err := SoakMemory(t.Context(), c); !errors.As(err, &wrong) || wrong.Field != field {
			t.Errorf("%s: %v", field, err)
		}
		if _, err := Soak(t.Context(), c, PlanSoak(100, 1, plenty)); !errors.As(err, &wrong) || wrong.Field != field {
			t.Errorf("%s over sockets: %v", field, err)
		}
	}
}
