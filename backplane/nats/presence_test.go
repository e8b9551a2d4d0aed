package nats

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"zeroframe/engine"
)

// meeting is some engines, what they really have, and a network of their own on a clock of its own.
type meeting struct {
	t       *testing.T
	random  *rand.Rand
	now     time.Time
	members []*member
	sent    int // messages
	bytes   int
	largest int
	lose    float64 // share of deliveries that do not happen
}

type member struct {
	*presence
	id     engineID
	counts map[string]int
	inbox  [][]byte
	heard  func(k kind)
}

const (
	testEvery  = time.Second
	testForget = 15 * time.Second
)

func newMeeting(t *testing.T, engines int) *meeting {
	m := &meeting{t: t, random: rand.New(rand.NewPCG(7, 7)), now: time.Now()}
	for range engines {
		m.join()
	}
	return m
}

func (m *meeting) join() *member {
	e := &member{id: engineID{byte(len(m.members) + 1)}, counts: make(map[string]int)}
	s := newSubjects("p", e.id)
	e.presence = newPresence(e.id, &s, testEvery, testForget)
	m.members = append(m.members, e)
	e.hello(m.now, m.from(e))
	return e
}

// leave ends an engine without a word.
func (m *meeting) leave(e *member) {
	for i, other := range m.members {
		if other == e {
			m.members = append(m.members[:i], m.members[i+1:]...)
			return
		}
	}
}

// from returns how e sends.
func (m *meeting) from(e *member) send {
	return func(subject string, data []byte) bool {
		m.sent++
		m.largest = max(m.largest, len(data))
		for _, to := range m.members {
			if to != e && (subject == to.subjects.presence || subject == to.subjects.own) && m.random.Float64() >= m.lose {
				m.bytes += len(data)
				to.inbox = append(to.inbox, append([]byte(nil), data...))
			}
		}
		return true
	}
}

func (e *member) set(topic string, n int) {
	e.count(topic, n)
	if e.counts[topic] = n; n == 0 {
		delete(e.counts, topic)
	}
}

// round lets everyone hear, and speak once.
func (m *meeting) round() {
	m.now = m.now.Add(testEvery)
	for _, e := range m.members {
		m.listen(e)
		e.fold()
		e.speak(m.now, m.from(e))
	}
	for _, e := range m.members { // questions are answered at once
		m.listen(e)
		e.speak(m.now, m.from(e))
		m.listen(e)
	}
}

func (m *meeting) listen(e *member) {
	for _, data := range e.inbox {
		k, from, body, err := parseHeader(data)
		if err != nil {
			m.t.Fatal(err)
		}
		if _, err := e.hear(k, from, body, m.now); err != nil {
			m.t.Fatalf("kind %x from %v: %v", k, from, err)
		}
		if e.heard != nil {
			e.heard(k)
		}
	}
	e.inbox = nil
}

// agreed reports whether everyone knows the truth.
func (m *meeting) agreed() bool { return m.difference() == "" }

func (m *meeting) difference() string {
	topics := make(map[string]bool)
	for _, e := range m.members {
		for topic := range e.counts {
			topics[topic] = true
		}
		for _, o := range e.engines {
			for topic := range o.counts {
				topics[topic] = true
			}
		}
	}
	for _, e := range m.members {
		for topic := range topics {
			want := 0
			for _, other := range m.members {
				if other != e {
					want += other.counts[topic]
				}
			}
			if n := e.elsewhere(topic); n != want {
				return fmt.Sprintf("engine %d has %d elsewhere in %q, want %d", e.id[0], n, topic, want)
			}
		}
	}
	return ""
}

// settle runs rounds until all agree.
func (m *meeting) settle(rounds int) {
	m.t.Helper()
	for range rounds {
		if m.round(); m.agreed() {
			return
		}
	}
	m.t.Fatalf("after %d rounds %s", rounds, m.difference())
}

func TestChangesAreToldOnceASecondHoweverManyThereAre(t *testing.T) {
	m := newMeeting(t, 3)
	m.settle(3)
	m.sent = 0
	for i := range 3000 {
		m.members[0].set("room", i%7+1)
		m.members[0].set(fmt.Sprint("passing ", i), 1)
		m.members[0].set(fmt.Sprint("passing ", i), 0)
	}
	m.settle(1)
	if m.sent != 1 {
		t.Errorf("%d messages, want 1", m.sent)
	}
	if n := len(m.members[0].told); n != 1 {
		t.Errorf("%d topics were told, want 1", n)
	}
}

func TestAtRestThereAreOnlySignsOfLife(t *testing.T) {
	m := newMeeting(t, 4)
	m.members[0].set("room", 3)
	m.settle(3)
	m.sent, m.bytes = 0, 0
	for range 30 { // seconds
		m.round()
	}
	if m.sent < 4*30/5-4 || m.sent > 4*30/5+4 || m.bytes > m.sent*3*(headerSize+1) {
		t.Errorf("%d messages and %d bytes in 30 s", m.sent, m.bytes)
	}
}

func TestANewEngineLearnsEverythingAndIsLearned(t *testing.T) {
	m := newMeeting(t, 2)
	for i := range 5000 {
		m.members[i%2].set(fmt.Sprintf("topic %d %s", i, strings.Repeat("n", i%1000)), i%9+1)
	}
	m.settle(3)
	for range 20 {
		m.members[0].set("number", m.random.IntN(5))
		m.round()
	}
	m.join().set("its own", 2)
	m.settle(4)
	if m.largest > partSize {
		t.Errorf("a message had %d bytes", m.largest)
	}
}

func TestNumbersAreRightInTheEndWhateverWasLost(t *testing.T) {
	for _, lose := range []float64{0, 0.1, 0.5, 0.9} {
		t.Run(fmt.Sprint(lose), func(t *testing.T) {
			m := newMeeting(t, 4)
			m.lose = lose
			for range 60 {
				for range m.random.IntN(200) {
					topic := fmt.Sprintf("%d%s", m.random.IntN(400), strings.Repeat("x", 300))
					m.members[m.random.IntN(len(m.members))].set(topic, m.random.IntN(4))
				}
				m.round()
			}
			if lose == 0.5 && m.agreed() {
				t.Error("nothing was lost")
			}
			m.lose = 0
			m.settle(12) // a sign of life, and time to ask again
		})
	}
}

func TestAnEngineThatDiesIsForgottenAndOneThatLeavesAtOnce(t *testing.T) {
	m := newMeeting(t, 3)
	dead, gone := m.members[1], m.members[2]
	dead.set("room", 5)
	gone.set("room", 2)
	m.settle(3)
	gone.bye(m.now, m.from(gone))
	m.leave(gone)
	m.settle(1)
	m.leave(dead)
	died := m.now
	for m.members[0].elsewhere("room") != 0 {
		if m.round(); m.now.Sub(died) > testForget+2*testEvery {
			t.Fatal("a dead engine is not forgotten")
		}
	}
	if d := m.now.Sub(died); d < testForget-testForget/3 {
		t.Errorf("forgotten after %v", d)
	}
	if n := len(m.members[0].engines); n != 0 {
		t.Errorf("%d engines are left", n)
	}
}

func TestWhileNothingCanBeHeardNobodyIsForgotten(t *testing.T) {
	m := newMeeting(t, 2)
	m.members[1].set("room", 5)
	m.settle(3)
	m.now = m.now.Add(time.Hour) // without a connection nobody speaks
	m.members[0].hello(m.now, m.from(m.members[0]))
	for range 5 { // it is back before the other one
		m.now = m.now.Add(testEvery)
		m.members[0].speak(m.now, m.from(m.members[0]))
	}
	m.members[1].hello(m.now, m.from(m.members[1]))
	snapshots := 0
	m.members[0].heard = func(k kind) {
		if k == kindSnapshot {
			snapshots++
		}
	}
	for range 30 {
		if m.round(); !m.agreed() {
			t.Fatal(m.difference())
		}
	}
	if snapshots != 0 {
		t.Errorf("%d snapshots where nothing had changed", snapshots)
	}
}

func TestWhatCouldNotBeSentIsToldLater(t *testing.T) {
	m := newMeeting(t, 2)
	e := m.members[0]
	m.settle(2)
	for i := range 3000 {
		e.set(fmt.Sprint("topic ", i), 1)
	}
	e.fold()
	n := 0
	m.now = m.now.Add(testEvery)
	e.speak(m.now, func(subject string, data []byte) bool { // it breaks in the middle
		if n++; n > 1 {
			return false
		}
		return m.from(e)(subject, data)
	})
	if n != 2 {
		t.Fatalf("%d messages were tried", n)
	}
	m.settle(1)
	if e.seq == 0 || m.members[1].engines[e.id].seq != e.seq {
		t.Errorf("told %d, heard %d", e.seq, m.members[1].engines[e.id].seq)
	}
}

// Whatever comes on the subjects, it does not end the engine.
func TestMalformedMessagesAreRefused(t *testing.T) {
	good := appendHeader(nil, kindChange, engineID{9})
	good = append(good, 1)
	good = appendCount(good, "room", 300)
	good = appendCount(good, "other", 1)
	whole := 0
	for n := range len(good) + 1 {
		k, from, body, err := parseHeader(good[:n])
		if err == nil {
			h := newHearer(testEvery, testForget)
			if _, err = h.hear(k, from, body, time.Now()); err == nil {
				whole++
			}
		}
	}
	if whole != 3 { // nothing changed, one topic, both
		t.Errorf("%d prefixes of a message are messages, want 3", whole)
	}
	for _, bad := range [][]byte{
		{},
		{0},
		{1, 0}, // a topic without a name
		append([]byte{0x81, 8}, make([]byte, engine.MaxTopicName+2)...), // 1025 bytes
		{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1},
		{1, 'x', 0xff, 0xff, 0xff, 0xff, 0x10}, // 2^32 members
	} {
		m := make(map[string]int)
		if err := readCounts(m, bad); (err == nil) != (len(bad) == 0) {
			t.Errorf("% x: %v", bad, err)
		}
	}
	random := rand.New(rand.NewPCG(3, 4))
	h := newHearer(testEvery, testForget)
	for range 20_000 {
		b := make([]byte, random.IntN(40))
		for i := range b {
			b[i] = byte(random.IntN(256)) >> random.IntN(8)
		}
		h.hear(kind(0x10+random.IntN(7)), engineID{byte(random.IntN(4))}, b, time.Now())
	}
}
