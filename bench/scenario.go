package bench

import (
	"encoding"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Form is what the connections of a scenario do.
type Form uint8

const (
	// Echo sends messages that the server sends back: in a closed loop, or at a fixed rate.
	Echo Form = iota
	// FanOut sends messages from the first connection that the server sends to all, that one included; counted are
	// deliveries. In a closed loop: the next is sent when all have one.
	FanOut
	// Storm opens connections, with all that it takes until the server has answered, and closes them; counted are
	// connections opened. Plain TCP is answered by the echo of one message.
	Storm
	// Idle opens connections, has one message of each echoed, and measures what they cost in memory while they rest.
	Idle
	// Pings sends pings for the server to answer, on each connection in turn; counted are pongs.
	Pings
)

var forms = []string{Echo: "echo", FanOut: "fanout", Storm: "storm", Idle: "idle", Pings: "pings"}

// String returns the name of the form: echo, fanout, storm, idle or pings.
func (f Form) String() string {
	if int(f) < len(forms) {
		return forms[f]
	}
	return fmt.Sprintf("form %d", f)
}

// MarshalText writes the name.
func (f Form) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// UnmarshalText reads the name.
func (f *Form) UnmarshalText(b []byte) error {
	i := slices.Index(forms, string(b))
	if i < 0 {
		return fmt.Errorf("%q is none of %s", b, strings.Join(forms, ", "))
	}
	*f = Form(i)
	return nil
}

var _ encoding.TextUnmarshaler = (*Form)(nil)

// counts names what is counted.
func (f Form) counts() string {
	return [...]string{Echo: "message", FanOut: "delivery", Storm: "connection", Idle: "message", Pings: "ping"}[f]
}

// Scenario is one thing to measure. It says what the load does; which server it does it to is a Target.
//
// Of its Row, InFlight is what each connection keeps in flight in a closed loop, and with a Rate what it may have in
// flight at most; Payload is that of a message, a ping, or of what is echoed once; Path, when there is one, takes the
// place of that of the target's URL.
type Scenario struct {
	Name  string `json:"name"`  // short and stable, for command lines and files
	Title string `json:"title"` // for people
	Form  Form   `json:"form"`
	Row
	Text     bool    `json:"text"` // text messages; otherwise binary
	Kind     Kind    `json:"payload_kind"`
	Compress bool    `json:"compress"`       // permessage-deflate is offered, and used for every message
	TLS      bool    `json:"tls"`            // over TLS
	Rate     float64 `json:"rate,omitempty"` // messages, pings or connections per second over all connections; 0: closed loop
	From     int     `json:"from,omitempty"` // Idle: the connections that are there before the Conns that are measured, between which memory's slope is taken
}

// OpenLoop reports whether what is sent is due at a rate rather than when the one before is answered.
func (s *Scenario) OpenLoop() bool { return s.Rate > 0 }

// WebSocket reports whether the scenario needs one: a plain TCP echo can answer the others too.
func (s *Scenario) WebSocket() bool {
	return s.Form == FanOut || s.Form == Pings || s.Text || s.Compress || s.TLS
}

const (
	// MaxRate is the highest rate of a scenario.
	MaxRate = 10e6
	// openWindow is what a connection may have in flight at a fixed rate when a scenario does not say: far more than
	// what is in flight at a rate that a server can keep.
	openWindow = 256
)

// Check says what is wrong with a scenario; the errors are *ConfigError.
func (s *Scenario) Check() error {
	if int(s.Form) >= len(forms) {
		return &ConfigError{"Form", s.Form.String()}
	}
	if s.Rate < 0 || s.Rate > MaxRate || s.Rate != s.Rate {
		return &ConfigError{"Rate", fmt.Sprintf("%v is not between 0 and %v", s.Rate, MaxRate)}
	}
	if s.Rate > 0 && (s.Form == FanOut || s.Form == Idle) {
		return &ConfigError{"Rate", fmt.Sprintf("%v has none", s.Form)}
	}
	if s.Compress && s.Form != Echo {
		return &ConfigError{"Compress", fmt.Sprintf("%v does not compress", s.Form)}
	}
	if s.From != 0 && s.Form != Idle {
		return &ConfigError{"From", fmt.Sprintf("%v has none", s.Form)}
	}
	load := s.load("ws://localhost/")
	switch s.Form {
	case FanOut:
		c := s.fanout("ws://localhost/")
		return c.check()
	case Pings:
		return errors.Join(between("Payload", s.Payload, 0, 125), load.check())
	case Idle:
		return errors.Join(between("From", s.From, 0, s.Conns-1), load.check())
	}
	return load.check()
}

// load is the configuration of the scenario's load.
func (s *Scenario) load(url string) LoadConfig {
	return LoadConfig{
		URL: url, Conns: s.Conns, Payload: s.Payload, InFlight: s.InFlight, Rate: s.Rate, Pings: s.Form == Pings,
		Text: s.Text, Kind: s.Kind, Compress: s.Compress,
	}
}

// fanout is that of its fan-out.
func (s *Scenario) fanout(url string) FanoutConfig {
	return FanoutConfig{
		URL: url, Subscribers: s.Conns, Publishers: 1, Payload: s.Payload, InFlight: s.InFlight, Text: s.Text, Kind: s.Kind,
	}
}

// Scenarios are those of the race: the seven loads that servers are usually compared by, and what else tells them apart.
func Scenarios() []Scenario {
	const kib, mib = 1 << 10, 1 << 20
	row := func(conns, payload, inFlight int) Row { return Row{Conns: conns, Payload: payload, InFlight: inFlight} }
	return []Scenario{
		{Name: "small", Title: "100 connections, 32 B", Row: row(100, 32, 1)},
		{Name: "many", Title: "1,000 connections, 32 B", Row: row(1000, 32, 1)},
		{Name: "many-1k", Title: "1,000 connections, 1 KiB", Row: row(1000, kib, 1)},
		{Name: "crowd-1k", Title: "10,000 connections, 1 KiB", Row: row(10000, kib, 1)},
		{Name: "pipelined", Title: "1,000 connections, 32 B, 16 in flight", Row: row(1000, 32, 16)},
		{Name: "large-16k", Title: "100 connections, 16 KiB", Row: row(100, 16*kib, 1)},
		{Name: "large-1m", Title: "10 connections, 1 MiB", Row: row(10, mib, 1)},
		{Name: "text-ascii", Title: "text, ASCII, 100 connections, 1 KiB", Row: row(100, kib, 1), Text: true},
		{Name: "text-cjk", Title: "text, CJK, 100 connections, 1 KiB", Row: row(100, kib, 1), Text: true, Kind: CJK},
		{Name: "rate-10k", Title: "10,000 messages/s over 100 connections, 32 B", Row: row(100, 32, openWindow), Rate: 10_000},
		{Name: "rate-50k", Title: "50,000 messages/s over 100 connections, 32 B", Row: row(100, 32, openWindow), Rate: 50_000},
		{Name: "rate-50k-1k", Title: "50,000 messages/s over 1,000 connections, 1 KiB", Row: row(1000, kib, openWindow), Rate: 50_000},
		{Name: "deflate-1k", Title: "permessage-deflate, JSON, 100 connections, 1 KiB", Row: row(100, kib, 1), Text: true, Kind: JSON, Compress: true},
		{Name: "tls-small", Title: "TLS, 100 connections, 32 B", Row: row(100, 32, 1), TLS: true},
		{Name: "tls-16k", Title: "TLS, 100 connections, 16 KiB", Row: row(100, 16*kib, 1), TLS: true},
		{Name: "fanout", Title: "fan-out to 1,000 connections, 32 B", Form: FanOut, Row: row(1000, 32, 1)},
		{Name: "fanout-8", Title: "fan-out to 1,000 connections, 32 B, 8 in flight", Form: FanOut, Row: row(1000, 32, 8)},
		{Name: "storm", Title: "connections opened and closed, 64 at a time", Form: Storm, Row: row(64, 32, 1)},
		{Name: "idle", Title: "idle memory, 2,000 to 10,000 connections", Form: Idle, Row: row(10000, 32, 1), From: 2000},
		{Name: "pings", Title: "pings, 1,000 connections", Form: Pings, Row: row(1000, 8, 1)},
	}
}
