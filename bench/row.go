package bench

import (
	"fmt"
	"strings"
)

// Row is the size of a load, and which route of a server it is for.
type Row struct {
	Path     string `json:"path,omitempty"` // "": that of the server's URL
	Conns    int    `json:"conns"`
	Payload  int    `json:"payload"`
	InFlight int    `json:"in_flight"`
}

// ParseRow reads conns:payload:inflight[:path], "100:32:1" or "100:16KiB:1:/send".
func ParseRow(s string) (Row, error) {
	r, err := parseRow(s)
	if err != nil {
		return r, err
	}
	c := LoadConfig{URL: "ws://localhost/", Conns: r.Conns, Payload: r.Payload, InFlight: r.InFlight}
	return r, c.check()
}

// parseRow reads one whatever its numbers are.
func parseRow(s string) (r Row, err error) {
	parts := strings.SplitN(s, ":", 4)
	if len(parts) < 3 {
		return r, fmt.Errorf("%q is not conns:payload:inflight[:path]", s)
	}
	for i, to := range []*int{&r.Conns, &r.Payload, &r.InFlight} {
		n, err := ParseSize(parts[i])
		if err != nil {
			return r, fmt.Errorf("%q: %w", s, err)
		}
		*to = int(min(n, 1<<31-1))
	}
	if len(parts) == 4 {
		if r.Path = parts[3]; !strings.HasPrefix(r.Path, "/") {
			return r, fmt.Errorf("%q: the path must begin with /", s)
		}
	}
	return r, nil
}

// String names the row: "100 x 32 B x1 /send".
func (r Row) String() string {
	s := fmt.Sprintf("%d x %s x%d", r.Conns, FormatSize(int64(r.Payload)), r.InFlight)
	if r.Path != "" {
		s += " " + r.Path
	}
	return s
}
