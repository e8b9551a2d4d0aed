//go:build unix

package bench

import (
	"strings"
	"testing"
)

func TestAServerThatDoesNotStartSaysWhy(t *testing.T) {
	for name, test := range map[string]struct {
		script, want string
	}{
		"it fails": {"echo no such option >&2; exit 3", "no such option"},
		"it ends":  {"echo listening on ws://127.0.0.1:1/", "ended with success"},
	} {
		s, err := StartServer(t.Context(), []string{"/bin/sh", "-c", test.script}, nil, -1)
		if err == nil {
			s.Stop()
			t.Fatalf("%s: started", name)
		}
		if !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
	}
	if _, err := StartServer(t.Context(), []string{"/no/such/program"}, nil, -1); err == nil || !strings.Contains(err.Error(), "/no/such/program") {
		t.Errorf("no such program: %v", err)
	}
}

func TestAServerThatEndsBadlyIsReported(t *testing.T) {
	script := `trap 'echo oh dear >&2; exit 4' INT
echo metrics on http://127.0.0.1:1/
echo listening on ws://127.0.0.1:2/
while :; do sleep 0.01; done`
	s, err := StartServer(t.Context(), []string{"/bin/sh", "-c", script}, nil, -1)
	if err != nil {
		t.Fatal(err)
	}
	if got := s.URL("/echo"); got != "ws://127.0.0.1:2/echo" {
		t.Errorf("URL %q", got)
	}
	if _, err := s.Snapshot(t.Context(), false); err == nil {
		t.Error("counts of a server that has none")
	}
	if err := s.Stop(); err == nil || !strings.Contains(err.Error(), "status 4") || !strings.Contains(err.Error(), "oh dear") {
		t.Errorf("stop: %v", err)
	}
}
