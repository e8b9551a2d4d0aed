package natstest

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"testing"
	"time"

	"zeroframe/backplane/nats"
	"zeroframe/frame"
)

func TestNumbersOfMembersAreKnownEverywhereInTheEnd(t *testing.T) {
	s := newServer(t)
	nodes := connectedNodes(t, s.url(), "a", "b", "c")
	random := rand.New(rand.NewPCG(1, 2))
	truth := make(map[string]int)
	var members []*member
	for i := range 12 {
		members = append(members, nodes[i%3].member())
	}
	has := make(map[[2]int]bool)
	for range 400 {
		m, topic := random.IntN(len(members)), random.IntN(5)
		if name := fmt.Sprint(topic); has[[2]int{m, topic}] {
			members[m].ask("-" + name)
			truth[name]--
		} else {
			members[m].ask("+" + name)
			truth[name]++
		}
		has[[2]int{m, topic}] = !has[[2]int{m, topic}]
	}
	late := connectedNodes(t, s.url(), "d")[0]
	for _, n := range append(nodes, late) {
		for topic, k := range truth {
			n.knows(topic, k)
		}
	}
	for i, m := range members { // whoever ends is a member no more
		if i%3 == 1 {
			m.Terminate()
			for topic := range 5 {
				if has[[2]int{i, topic}] {
					truth[fmt.Sprint(topic)]--
				}
			}
		}
	}
	for _, n := range append(nodes, late) {
		for topic, k := range truth {
			n.knows(topic, k)
		}
	}
	nodes[0].Close() // says goodbye
	began := time.Now()
	for topic := range 5 {
		want := 0
		for i := range members {
			if i%3 == 2 && has[[2]int{i, topic}] {
				want++
			}
		}
		late.knows(fmt.Sprint(topic), want)
	}
	if d := time.Since(began); d > time.Second {
		t.Errorf("an engine that has ended was known for %v", d)
	}
}

// bare is a backplane without an engine.
func bare(t testing.TB, url string, deliver func(string, frame.OpCode, []byte), opts ...nats.Option) *nats.Backplane {
	t.Helper()
	b, err := nats.New(url, quick("bare", opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Attach(deliver, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	for end := time.Now().Add(patience); !b.Status().Connected; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("not connected")
		}
	}
	return b
}

func ignore(string, frame.OpCode, []byte) {}

func TestANewEngineIsToldOfManyTopics(t *testing.T) {
	s := newServer(t)
	const topics = 30_000
	first := bare(t, s.url(), ignore)
	for i := range topics {
		first.Count(fmt.Sprintf("topic number %d", i), i%100+1)
	}
	late := bare(t, s.url(), ignore)
	last := fmt.Sprintf("topic number %d", topics-1)
	for i := range topics {
		name := fmt.Sprintf("topic number %d", i)
		until(t, name, func() bool { return late.Elsewhere(name) == i%100+1 })
	}
	first.Count(last, 0)
	until(t, "the last one to go", func() bool { return late.Elsewhere(last) == 0 })
}

func TestWithoutPresenceNothingIsToldOrKnown(t *testing.T) {
	s := newServer(t)
	with, without := bare(t, s.url(), ignore), bare(t, s.url(), ignore, nats.WithPresence(0, 0))
	without.Count("room", 5)
	with.Count("room", 3)
	other := bare(t, s.url(), ignore)
	until(t, "presence", func() bool { return other.Elsewhere("room") == 3 })
	if n := without.Elsewhere("room"); n != 0 {
		t.Errorf("%d elsewhere", n)
	}
}
