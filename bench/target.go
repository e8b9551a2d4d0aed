package bench

import (
	"context"
	"crypto/tls"
	"fmt"
	"strings"
)

// Target is a server to measure: how to reach it, and what it tells of itself.
type Target struct {
	// Name is who it is, for reports.
	Name string
	// URL is where it listens and what it speaks there: ws://host:port/path, wss:// or ws+unix:// for WebSockets,
	// tcp://host:port for a server that sends back the bytes it gets.
	URL string
	// TLS is for wss, as engine.WithClientTLS takes it; nil: what the system trusts.
	TLS *tls.Config
	// PID is the server's process, whose processor time, memory and system calls are taken where the system lets us
	// (Linux); 0: unknown, or this process.
	PID int
	// Snapshot asks the server for its own figures: for allocations, live heap and cycles of collection. With collect it
	// collects garbage first and gives what is free back to the system. Its Engine is looked at only if it is there. nil: the
	// server does not tell.
	Snapshot func(ctx context.Context, collect bool) (*Snapshot, error)
}

// Plain reports whether the server speaks plain TCP.
func (t *Target) Plain() bool { return strings.HasPrefix(t.URL, "tcp://") }

// UnsuitableError is returned by Measure for a scenario that a target cannot do, whatever happens: text over plain TCP,
// TLS without wss.
type UnsuitableError struct{ Scenario, Target, Reason string }

// Error says what does not fit.
func (e *UnsuitableError) Error() string {
	return fmt.Sprintf("bench: %s does not suit %s: %s", e.Scenario, e.Target, e.Reason)
}

// Suits returns an *UnsuitableError if the target cannot do the scenario.
func (t *Target) Suits(s *Scenario) error {
	reason := ""
	switch {
	case t.Plain() && s.WebSocket():
		reason = "it needs a WebSocket"
	case t.Plain() && s.Payload == 0:
		reason = "it has empty messages"
	case s.TLS && !strings.HasPrefix(t.URL, "wss"):
		reason = "it needs a wss:// URL"
	case !s.TLS && strings.HasPrefix(t.URL, "wss"):
		reason = "it is without TLS"
	default:
		return nil
	}
	return &UnsuitableError{s.String(), t.Name, reason}
}

// at returns the URL with the scenario's path, if it has one.
func (t *Target) at(s *Scenario) string {
	scheme, rest, ok := strings.Cut(t.URL, "://")
	if s.Path == "" || !ok || t.Plain() {
		return t.URL
	}
	if strings.HasSuffix(scheme, "+unix") { // the path of the socket, a colon, the path of the request
		socket, _, _ := strings.Cut(rest, ":")
		return scheme + "://" + socket + ":" + s.Path
	}
	host, _, _ := strings.Cut(rest, "/")
	return scheme + "://" + host + s.Path
}
