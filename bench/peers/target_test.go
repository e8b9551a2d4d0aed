package peers

import (
	"context"
	"slices"
	"testing"
	"time"

	"zeroframe/bench"
)

// scenario is one of the race's with few connections.
func scenario(t *testing.T, name string) bench.Scenario {
	t.Helper()
	list := bench.Scenarios()
	i := slices.IndexFunc(list, func(s bench.Scenario) bool { return s.Name == name })
	if i < 0 {
		t.Fatalf("no scenario %s", name)
	}
	s := list[i]
	s.Conns = 5
	return s
}

func TestScenariosAreMeasuredOnServers(t *testing.T) {
	certificate, err := NewCertificate(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	settings := bench.Settings{Duration: 50 * time.Millisecond}
	for _, name := range []string{"small", "pipelined", "deflate-1k", "tls-small", "fanout"} {
		for _, server := range []*Server{zeroframe, gwsServer} {
			s := scenario(t, name)
			if err := server.Suits(&s, certificate.Pair); err != nil {
				t.Fatal(err)
			}
			p := started(t, server, For(&s, certificate.Pair))
			m, err := bench.Measure(context.Background(), s, p.Target(certificate), settings)
			if err != nil || m.Errors > 0 || m.Total == 0 || m.Heap == nil || (m.IO != nil) != (server == zeroframe) {
				t.Errorf("%s, %s: %+v, %v", server.Name, name, m, err)
				continue
			}
			if c := m.Compression; (c != nil) != s.Compress || s.Compress && (c.Agreed != s.Conns || c.EchoedRatio < 1.5) {
				t.Errorf("%s, %s: %v", server.Name, name, c)
			}
		}
	}
}

func TestServersDoNotSuitWhatTheyCannotDo(t *testing.T) {
	for _, tt := range []struct {
		server *Server
		name   string
		suits  bool
	}{
		{gobwasServer, "small", true}, {gobwasServer, "text-ascii", true}, {gobwasServer, "tls-small", false},
		{gobwasServer, "deflate-1k", false}, {gobwasServer, "fanout", false}, {coderServer, "fanout", false},
		{netTCP, "small", true}, {netTCP, "text-ascii", false}, {netTCP, "pings", false}, {netTCP, "storm", true},
	} {
		s := scenario(t, tt.name)
		if err := tt.server.Suits(&s, "pair.pem"); (err == nil) != tt.suits {
			t.Errorf("%s, %s: %v", tt.server.Name, tt.name, err)
		}
	}
}
