package bench

import (
	"strings"
	"testing"

	"zeroframe/engine"
)

func TestLoadSaysWhatCompressionCameTo(t *testing.T) {
	both := engine.Compression{TakeoverIn: true, TakeoverOut: true, Threshold: -1}
	alone := engine.Compression{Threshold: -1}
	for name, c := range map[string]struct {
		server   *engine.Compression
		kind     Kind
		agreed   int
		low, top float64 // of the ratios
	}{
		"takeover, json":      {&both, JSON, 4, 2, 10},
		"takeover, random":    {&both, Random, 4, 10, 100}, // a connection's messages repeat
		"no takeover, json":   {&alone, JSON, 4, 1.5, 5},
		"no takeover, random": {&alone, Random, 4, 1, 1.4}, // six bits in each byte
		"declined":            {nil, JSON, 0, 1, 1},
	} {
		t.Run(name, func(t *testing.T) {
			var options []engine.RouteOption
			if c.server != nil {
				options = append(options, engine.WithCompression(*c.server))
			}
			config := LoadConfig{URL: serve(t, echo, options...), Conns: 4, Payload: 1000, InFlight: 2, Loops: 2, Kind: c.kind, Compress: true}
			r := load(t, config, short)
			if r.Errors != 0 || r.Messages == 0 {
				t.Fatalf("%d messages, %d errors: %s", r.Messages, r.Errors, r.Error)
			}
			got := r.Compression
			if got.Agreed != c.agreed || got.Sent != 1000*r.Total || got.Echoed != got.Sent {
				t.Errorf("%d messages: %+v", r.Total, got)
			}
			for _, ratio := range []float64{got.SentRatio, got.EchoedRatio} {
				if ratio < c.low || ratio > c.top {
					t.Errorf("ratio %.2f is not %v to %v: %+v", ratio, c.low, c.top, got)
				}
			}
			if want := map[bool]string{true: "on 4 connections", false: "declined"}[c.agreed > 0]; !strings.Contains(got.String(), want) {
				t.Errorf("%q does not say %q", got, want)
			}
		})
	}
	if r := load(t, LoadConfig{URL: serve(t, echo, engine.WithCompression(both)), Conns: 1, Payload: 10, InFlight: 1}, short/10); r.Compression != nil {
		t.Errorf("unasked: %v", r.Compression)
	}
}

func TestASecondRunCountsItsOwnCompressionAlone(t *testing.T) {
	url := serve(t, echo, engine.WithCompression(engine.Compression{Threshold: -1}))
	l, err := Open(t.Context(), LoadConfig{URL: url, Conns: 2, Payload: 5000, InFlight: 1, Loops: 1, Kind: JSON, Compress: true})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for range 3 {
		r, err := l.Run(t.Context(), short/4)
		if err != nil || r.Errors != 0 {
			t.Fatalf("%v %+v", err, r)
		}
		if c := r.Compression; c.Sent != 5000*r.Total || c.SentRatio < 2 || c.SentRatio > 5 {
			t.Errorf("%+v", c)
		}
	}
}
