package bench

import (
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
)

// plenty are the limits of a machine that has been tuned.
var plenty = SoakLimits{
	Files: 4 << 20, SystemFiles: 16 << 20, Watches: 16 << 20, FirstPort: 20000, LastPort: 65535,
	Backlog: 4096, SocketMemory: 64 << 30, Memory: 256 << 30,
}

func with(l SoakLimits, change func(*SoakLimits)) SoakLimits {
	change(&l)
	return l
}

func TestASoakTakesAsManyProcessesAsTheLimitOfFilesDemands(t *testing.T) {
	files := func(n uint64) SoakLimits { return with(plenty, func(l *SoakLimits) { l.Files = n }) }
	for name, test := range map[string]struct {
		conns, processes     int
		limits               SoakLimits
		servers, clients     int
		perClient, addresses int
	}{
		"one of each where that is enough":         {1_000_000, 0, plenty, 1, 1, 1_000_000, 44},
		"sixteen of each for 300000":               {300_000, 0, files(20_000), 16, 16, 18_750, 1},
		"servers leave room for an uneven hash":    {19_872, 0, files(20_000), 1, 1, 19_872, 1},
		"of which a client needs none":             {39_744, 0, files(20_000), 3, 2, 19_872, 1},
		"as many as are wanted":                    {300, 2, plenty, 2, 2, 150, 1},
		"no client process without a connection":   {5, 4, plenty, 4, 3, 2, 1},
		"more addresses where there are few ports": {10_000, 1, with(plenty, func(l *SoakLimits) { l.FirstPort, l.LastPort = 60_001, 61_000 }), 1, 1, 10_000, 20},
	} {
		p := PlanSoak(test.conns, test.processes, test.limits)
		if p.Servers != test.servers || p.Clients != test.clients || p.PerClient != test.perClient || p.Addresses != test.addresses {
			t.Errorf("%s: %d servers, %d clients of %d connections from %d addresses, want %d, %d, %d, %d",
				name, p.Servers, p.Clients, p.PerClient, p.Addresses, test.servers, test.clients, test.perClient, test.addresses)
		}
		if err := p.Err(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		total := 0
		for i := range p.Clients {
			n := p.connsOf(i)
			if total += n; n < 1 || n > p.PerClient {
				t.Errorf("%s: client %d has %d connections", name, i, n)
			}
		}
		if total != test.conns {
			t.Errorf("%s: the clients have %d connections together", name, total)
		}
	}
}

// What the plan leaves for an uneven hash is enough for dice.
func TestTheFullestOfTheProcessesThatShareAPortStaysWithinItsRoom(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{2, 7, 16} {
		const conns = 20_000
		for range 50 {
			got := make([]int, n)
			fullest := 0
			for range conns {
				i := random.IntN(n)
				got[i]++
				fullest = max(fullest, got[i])
			}
			if room := mostShared(conns, n); fullest > room || room > conns/n+conns/10 {
				t.Errorf("%d processes: the fullest has %d, and room for %d", n, fullest, room)
			}
		}
	}
}

func TestEachSourceAddressOfASoakIsItsOwn(t *testing.T) {
	p := PlanSoak(4_000_000, 0, with(plenty, func(l *SoakLimits) {
		l.Files, l.FirstPort, l.LastPort = 20_000, 65_000, 65_099
		l.SystemFiles, l.Watches = 1<<30, 1<<30
	}))
	seen := make(map[string]bool)
	for i := range p.Clients {
		list := p.Sources(i)
		if len(list)*50 < p.connsOf(i) {
			t.Fatalf("client %d: %d addresses of 50 ports for %d connections", i, len(list), p.connsOf(i))
		}
		for _, a := range list {
			b := a.As4()
			if !a.IsLoopback() || b[0] != 127 || b[1] == 0 || b[3] == 0 || b[3] == 255 {
				t.Fatalf("%v is no address for clients", a)
			}
			if seen[a.String()] {
				t.Fatalf("%v twice", a)
			}
			seen[a.String()] = true
		}
	}
	if len(seen) < 254*254 {
		t.Errorf("only %d addresses were looked at", len(seen))
	}
}

func TestASoakWithoutRoomSaysWhatIsMissingAndWhatWouldFit(t *testing.T) {
	for name, test := range map[string]struct {
		processes int
		change    func(*SoakLimits)
		says      []string
	}{
		"files of a process":  {2, func(l *SoakLimits) { l.Files = 20_000 }, []string{"RLIMIT_NOFILE", "ulimit -n", "there are 20,000"}},
		"files of the system": {0, func(l *SoakLimits) { l.SystemFiles = 500_000 }, []string{"fs.file-max", "sysctl -w", "2,000,064"}},
		"watches":             {0, func(l *SoakLimits) { l.Watches = 100_000 }, []string{"sysctl -w fs.epoll.max_user_watches=2000000"}},
		"memory":              {0, func(l *SoakLimits) { l.Memory = 4 << 30 }, []string{"memory:", "there are 4,096"}},
		"several things":      {0, func(l *SoakLimits) { l.Memory, l.Watches = 4<<30, 100 }, []string{"memory:", "max_user_watches"}},
	} {
		l := with(plenty, test.change)
		p := PlanSoak(1_000_000, test.processes, l)
		var missing *SoakLimitError
		if !errors.As(p.Err(), &missing) {
			t.Errorf("%s: %v", name, p.Err())
			continue
		}
		for _, want := range test.says {
			if !strings.Contains(missing.Error(), want) {
				t.Errorf("%s: %q is not in %v", name, want, missing)
			}
		}
		if fits := PlanSoak(missing.Fits, test.processes, l); missing.Fits < 1 || fits.Err() != nil {
			t.Errorf("%s: %d would fit, and then: %v", name, missing.Fits, fits.Err())
		}
		if more := PlanSoak(missing.Fits+missing.Fits/20+10, test.processes, l); more.Err() == nil {
			t.Errorf("%s: %d would fit, and so would a twentieth more", name, missing.Fits)
		}
		var b strings.Builder
		if err := p.WriteText(&b); err != nil || strings.Count(b.String(), "NOT ENOUGH") != len(missing.Missing) {
			t.Errorf("%s: %v\n%s", name, err, b.String())
		}
	}
	slow := PlanSoak(1_000_000, 0, with(plenty, func(l *SoakLimits) { l.Backlog, l.SocketMemory = 10, 1<<20 }))
	var b strings.Builder
	if err := slow.WriteText(&b); err != nil || strings.Count(b.String(), "slower") != 2 || slow.Err() != nil {
		t.Errorf("what only slows a soak down: %v, %v\n%s", slow.Err(), err, b.String())
	}
}

func TestASoakInMemoryNeedsMemory(t *testing.T) {
	p := PlanSoakMemory(1_000_000, SoakLimits{Memory: 128 << 20})
	var missing *SoakLimitError
	if !errors.As(p.Err(), &missing) || missing.Fits < 100_000 || missing.Fits > 300_000 {
		t.Fatal(p.Err())
	}
	if fits := PlanSoakMemory(missing.Fits, SoakLimits{Memory: 128 << 20}); fits.Err() != nil {
		t.Error(fits.Err())
	}
	if none := PlanSoakMemory(1, SoakLimits{Memory: 1 << 20}); none.Err() == nil {
		t.Error("a process fits into 1 MiB")
	}
}
