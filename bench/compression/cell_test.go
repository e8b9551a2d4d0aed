//go:build linux

package main

import (
	"bytes"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"zeroframe/bench/peers"
)

func TestMain(m *testing.M) {
	os.Setenv("GORACE", "atexit_sleep_ms=0") // or each process takes a second to end
	peers.ServeIfChild()
	os.Exit(m.Run())
}

// servers are those that compress, but for nbio: the race detector cannot see how that synchronises.
var servers = slices.DeleteFunc(peers.All(), func(s *peers.Server) bool { return len(s.Modes) < 2 || s.Name == "nbio" })

// served is a server for as long as the test lasts, and a load for it.
func served(t *testing.T, s *peers.Server, m peers.Mode, messages *messages) (*load, netip.AddrPort) {
	t.Helper()
	to, err := s.Start(-1, peers.Options{Mode: m, Size: messages.size})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := to.Stop(); err != nil {
			t.Errorf("%s: %v", s.Name, err)
		}
	})
	l, err := newLoad(messages, m)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.close)
	return l, to.Addr
}

// dialed is a load with n connections to such a server.
func dialed(t *testing.T, s *peers.Server, m peers.Mode, messages *messages, n int) *load {
	t.Helper()
	l, to := served(t, s, m, messages)
	if err := l.open(to, n); err != nil {
		t.Fatal(err)
	}
	return l
}

func TestEveryServerRepliesWithWhatItWasSentInItsMode(t *testing.T) {
	const conns = 3
	for size, each := range map[int]int{128: variety + 100, 5000: 60} { // the latter larger than the servers' buffers
		messages := newMessages(size)
		for _, s := range servers {
			var wire []uint64
			for _, m := range s.Modes {
				l := dialed(t, s, m, messages, conns)
				if err := l.runCount(each); err != nil {
					t.Fatalf("%s, %s: %v", s.Name, m, err)
				}
				if err := l.verify(); err != nil || l.received != uint64(conns*each) || len(l.kept) != each {
					t.Errorf("%s, %s: %d replies, %d kept: %v", s.Name, m, l.received, len(l.kept), err)
				}
				wire = append(wire, l.wire)
			}
			saved := slices.IsSortedFunc(wire, func(a, b uint64) int { return int(b*101/100) - int(a) }) // but for a hundredth: coder's long messages
			if wire[0] < uint64(conns*each*size) || !saved {
				t.Errorf("%s, %d B: %d bytes on the wire in modes %v", s.Name, size, wire, s.Modes)
			}
		}
	}
}

func TestReplyThatIsNotTheMessageIsFound(t *testing.T) {
	l := dialed(t, servers[0], peers.Takeover, newMessages(1024), 1)
	if err := l.runCount(20); err != nil {
		t.Fatal(err)
	}
	whole := l.kept
	for name, spoil := range map[string]func([]reply) []reply{
		"a flipped bit":      func(r []reply) []reply { r[9].payload[len(r[9].payload)/2] ^= 1; return r },
		"two exchanged":      func(r []reply) []reply { r[3], r[4] = r[4], r[3]; return r },
		"one missing":        func(r []reply) []reply { return slices.Delete(r, 5, 6) },
		"one cut":            func(r []reply) []reply { r[7].payload = r[7].payload[:100]; return r },
		"not marked as such": func(r []reply) []reply { r[2].compressed = false; return r },
	} {
		l.kept = nil
		for _, r := range whole {
			l.kept = append(l.kept, reply{r.compressed, bytes.Clone(r.payload)})
		}
		if l.kept = spoil(l.kept); l.verify() == nil {
			t.Errorf("%s: not found", name)
		}
	}
}

func TestServerThatDoesNotAgreeIsFound(t *testing.T) {
	messages := newMessages(128)
	for m, lacking := range map[peers.Mode]peers.Mode{peers.NoTakeover: peers.Off, peers.Takeover: peers.NoTakeover} {
		l, to := served(t, servers[0], lacking, messages)
		l.mode = m
		if err := l.open(to, 1); err == nil {
			t.Errorf("a server in mode %q passes for %q", lacking, m)
		}
	}
}

func TestRunCountsWhatCameBackWhileItLasted(t *testing.T) {
	l := dialed(t, servers[0], peers.NoTakeover, newMessages(128), 5)
	cpu := func() (client, server time.Duration, err error) { return 0, 0, nil }
	for range 2 {
		before := l.received
		w, err := l.runFor(500*time.Millisecond, cpu)
		if err != nil {
			t.Fatal(err)
		}
		if late := l.received - before - w.messages; w.messages == 0 || w.wire == 0 || w.elapsed < 500*time.Millisecond || late > 5 {
			t.Errorf("%+v, and %d later", w, late)
		}
	}
	if err := l.verify(); err != nil {
		t.Error(err)
	}
}

func TestMessagesDiffer(t *testing.T) {
	seen := make(map[string]bool)
	for _, p := range newMessages(128).plain {
		if seen[string(p)] || len(p) != 128 || !strings.Contains(string(p), `"`) {
			t.Fatalf("%q", p)
		}
		seen[string(p)] = true
	}
}
