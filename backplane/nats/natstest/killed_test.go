package natstest

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"zeroframe/engine"
)

// station is an engine in a process of its own, with a member of "room" that keeps what it is sent, and a publisher.
type station struct {
	*process
	name    string
	order   *member      // a client that is no member
	said    atomic.Int64 // messages published
	silence context.CancelFunc
	ended   sync.WaitGroup

	mu    sync.Mutex
	heard map[string][]int // numbers received, by publisher
}

// startStation starts an engine and connects its member. The client engine is the test's own.
func startStation(t *testing.T, clients *engine.Engine, url, name string) *station {
	t.Helper()
	s := &station{process: startProcess(t, "engine", urlVariable+"="+url), name: name, heard: make(map[string][]int)}
	n := &node{Engine: clients, t: t, addr: s.process.said}
	s.order = n.member()
	m := n.member("room")
	s.ended.Go(func() {
		for {
			got, err := m.Receive(context.Background())
			if err != nil {
				return
			}
			who, number, _ := strings.Cut(string(got.Payload), " ")
			var k int
			fmt.Sscan(number, &k)
			s.mu.Lock()
			s.heard[who] = append(s.heard[who], k)
			s.mu.Unlock()
		}
	})
	return s
}

// talk publishes its numbers until hush, or until the process is gone.
func (s *station) talk() {
	ctx, silence := context.WithCancel(context.Background())
	s.silence = silence
	s.ended.Go(func() {
		pause := time.NewTicker(500 * time.Microsecond)
		defer pause.Stop()
		for ctx.Err() == nil {
			if s.order.SendBinary(ctx, fmt.Appendf(nil, "!room %s %d", s.name, s.said.Load()+1)) != nil {
				return
			}
			s.said.Add(1)
			<-pause.C
		}
	})
}

// has returns the numbers received from a publisher.
func (s *station) has(who string) []int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.heard[who][:len(s.heard[who]):len(s.heard[who])]
}

// hearsOn waits until it has received some more of each.
func (s *station) hearsOn(of ...*station) {
	s.t.Helper()
	for _, o := range of {
		n := len(s.has(o.name)) + 50
		until(s.t, s.name+" to hear more of "+o.name, func() bool { return len(s.has(o.name)) >= n })
	}
}

// ask returns what the engine says about itself: whether it is connected, and how many members "room" has everywhere.
func (s *station) ask() (connected bool, everywhere int) {
	s.t.Helper()
	s.order.order("?room")
	fmt.Sscan(string(s.order.next().Payload), &connected, &everywhere)
	return connected, everywhere
}

func (s *station) knows(everywhere int) {
	s.t.Helper()
	until(s.t, fmt.Sprintf("%s to know of %d members", s.name, everywhere), func() bool {
		connected, n := s.ask()
		return connected && n == everywhere
	})
}

// expectEverything fails unless the numbers of a publisher came in order, each at most once, and all after a first one.
func (s *station) expectEverything(of *station, after int) {
	s.t.Helper()
	last := 0
	for _, k := range s.has(of.name) {
		if k <= last {
			s.t.Fatalf("%s received %d of %s behind %d", s.name, k, of.name, last)
		}
		if k != last+1 && last >= after {
			s.t.Fatalf("%s received %d of %s behind %d: all were to come from %d on", s.name, k, of.name, last, after)
		}
		last = k
	}
	if last != int(of.said.Load()) {
		s.t.Fatalf("%s received up to %d of %s, which published %d", s.name, last, of.name, of.said.Load())
	}
}

// Three engines, three processes. An engine is killed while all publish, then the server, and each comes back.
func TestSurvivorsDeliverEverythingAfterRecoveryAndNothingTwice(t *testing.T) {
	clients, err := engine.New(engine.WithPingInterval(0))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { clients.Close() })
	onEachServer(t, func(t *testing.T, srv *aServer) {
		srv.start()
		start := func(name string) *station { return startStation(t, clients, srv.url(), name) }
		a, b, c := start("a"), start("b"), start("c")
		all := []*station{a, b, c}
		for _, s := range all {
			s.knows(3)
		}
		for _, s := range all {
			s.talk()
		}
		for _, s := range all {
			s.hearsOn(all...)
		}

		c.kill()
		for _, s := range []*station{a, b} {
			s.hearsOn(a, b)
			s.knows(2)
		}

		for _, s := range []*station{a, b} {
			for _, o := range all { // so far nothing was lost, nor of what the dead engine had sent
				for i, k := range s.has(o.name) {
					if k != i+1 {
						t.Fatalf("%s received %d of %s where %d was to come", s.name, k, o.name, i+1)
					}
				}
			}
		}
		srv.killServer()
		for _, s := range []*station{a, b} {
			until(t, s.name+" to lose the server", func() bool { connected, _ := s.ask(); return !connected })
		}
		a.hearsOn(a) // its own, meanwhile
		b.hearsOn(b)
		srv.start()
		a.knows(2)
		b.knows(2)
		recovered := [2]int{int(a.said.Load()) + 1, int(b.said.Load()) + 1}
		d := start("d")
		for _, s := range []*station{a, b, d} {
			s.knows(3)
		}
		joined := [2]int{int(a.said.Load()) + 1, int(b.said.Load()) + 1}
		d.talk()
		for _, s := range []*station{a, b, d} {
			s.hearsOn(a, b, d)
		}

		for _, s := range []*station{a, b, d} {
			s.silence()
		}
		for _, s := range []*station{a, b, d} {
			s.ask() // behind what it has published
		}
		for _, s := range []*station{a, b, d} {
			for _, o := range []*station{a, b, d} {
				until(t, s.name+" to have heard all of "+o.name, func() bool {
					has := s.has(o.name)
					return len(has) > 0 && has[len(has)-1] == int(o.said.Load())
				})
			}
		}
		a.expectEverything(a, 0) // locally nothing was ever lost
		b.expectEverything(b, 0)
		d.expectEverything(d, 0)
		a.expectEverything(d, 0)
		b.expectEverything(d, 0)
		a.expectEverything(b, recovered[1])
		b.expectEverything(a, recovered[0])
		d.expectEverything(a, joined[0])
		d.expectEverything(b, joined[1])
		d.end()
		a.knows(2)
		b.end()
		a.end()
		for _, s := range []*station{a, b, c, d} {
			s.ended.Wait()
		}
	})
}
