package natstest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nats-server/v2/server"

	"zeroframe/backplane/nats"
	"zeroframe/engine"
	"zeroframe/frame"
)

func TestAMessageReachesTheMembersOfEveryEngineOnce(t *testing.T) {
	s := newServer(t)
	nodes := connectedNodes(t, s.url(), "a", "b", "c")
	var members []*member
	for _, n := range nodes {
		members = append(members, n.member("room"), n.member("room", "other"))
	}
	for _, n := range nodes {
		n.knows("room", 6)
		n.knows("other", 3)
	}
	for i, n := range nodes {
		n.publish("room", fmt.Sprint("from engine ", i))
		if err := n.Publish("room", frame.Binary, []byte{0xff, byte(i)}); err != nil {
			t.Fatal(err)
		}
		for _, m := range members {
			m.expect(frame.Text, fmt.Sprint("from engine ", i))
			m.expect(frame.Binary, string([]byte{0xff, byte(i)}))
		}
	}
	members[0].order("!room from a member")
	for _, m := range members[1:] {
		m.expectText("from a member")
	}
	nodes[2].publish("other", "for some")
	for i := 1; i < len(members); i += 2 {
		members[i].expectText("for some")
	}
	nodes[1].publish("room", "the end")
	for _, m := range members { // and nothing was between
		m.expectText("the end")
	}
	for i, n := range nodes {
		b := n.Stats().Backplane
		if want := []uint64{3, 3, 3}[i]; b.Sent != want || b.Received != 9-want || b.Dropped != 0 {
			t.Errorf("engine %d sent %d and received %d, dropped %d", i, b.Sent, b.Received, b.Dropped)
		}
	}
}

// What the server has sent to each engine says who was bothered.
func TestAnEngineSubscribesToATopicOnlyWhileItHasMembers(t *testing.T) {
	s := newServer(t)
	without := nats.WithPresence(0, 0)
	var nodes []*node
	for _, name := range []string{"a", "b", "c"} {
		n := startNode(t, s.url(), name, without)
		n.connected()
		nodes = append(nodes, n)
	}
	subscribed := func(name string, subjects ...string) {
		t.Helper()
		slices.Sort(subjects)
		until(t, fmt.Sprintf("%s subscribed to %v", name, subjects), func() bool {
			got := s.client(name).Subs
			slices.Sort(got)
			return slices.Equal(got, subjects)
		})
	}
	subscribed("b")
	one, two := nodes[1].member("room"), nodes[1].member("room")
	subscribed("b", "zeroframe.t.room")
	for range 100 {
		nodes[0].publish("room", "x")
		nodes[0].publish("elsewhere", "x")
	}
	for range 100 {
		one.expectText("x")
		two.expectText("x")
	}
	if n := s.client("b").OutMsgs; n != 100 {
		t.Errorf("the engine with members was sent %d messages, want 100", n)
	}
	if a, c := s.client("a").OutMsgs, s.client("c").OutMsgs; a != 0 || c != 0 {
		t.Errorf("engines without members were sent %d and %d messages", a, c)
	}
	nodes[1].publish("room", "its own") // does not come back
	one.expectText("its own")
	two.expectText("its own")
	one.ask("-room")
	nodes[0].publish("room", "y")
	two.expectText("y")
	subscribed("b", "zeroframe.t.room")
	two.Terminate()
	subscribed("b")
	nodes[0].publish("room", "z")
	nodes[0].publish("ping", "to know that it has passed")
	nodes[2].member("ping")
	subscribed("c", "zeroframe.t.ping")
	if n := s.client("b").OutMsgs; n != 101 {
		t.Errorf("the engine that had members was sent %d messages, want 101", n)
	}
	one.ask("+room")
	subscribed("b", "zeroframe.t.room")
	nodes[0].publish("room", "again")
	one.expectText("again")
}

func TestTheOrderOfAPublisherIsKept(t *testing.T) {
	s := newServer(t)
	nodes := connectedNodes(t, s.url(), "a", "b", "c")
	const publishers, messages = 4, 600 // on each engine; fewer in all than may wait
	var members []*member
	for _, n := range nodes {
		members = append(members, n.member("even", "odd"))
	}
	for _, n := range nodes {
		n.knows("even", 3)
		n.knows("odd", 3)
	}
	var published sync.WaitGroup
	for i, n := range nodes {
		for p := range publishers {
			published.Go(func() {
				payload := make([]byte, 16)
				for k := range messages {
					binary.BigEndian.PutUint64(payload, uint64(i*publishers+p))
					binary.BigEndian.PutUint64(payload[8:], uint64(k))
					if err := n.Publish([]string{"even", "odd"}[k%2], frame.Binary, payload); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
	}
	var received sync.WaitGroup
	for i, m := range members {
		ctx := patiently(t)
		received.Go(func() {
			var next [3 * publishers]uint64
			for range 3 * publishers * messages {
				got, err := m.Receive(ctx)
				if err != nil {
					t.Errorf("member %d: %v, has %v", i, err, next)
					return
				}
				who, k := binary.BigEndian.Uint64(got.Payload), binary.BigEndian.Uint64(got.Payload[8:])
				if k != next[who] {
					t.Errorf("member %d received %d of publisher %d, want %d", i, k, who, next[who])
					return
				}
				next[who]++
			}
		})
	}
	published.Wait()
	received.Wait()
}

func TestOddNamesOfTopicsAreExact(t *testing.T) {
	names := []string{"room", "Room", "room ", "room.", "room.a", "room.*", "room.>", "*", ">", "*.*", ".", "..", " ", "\t",
		"\r\n", "\x00", "\x00\x00",
		"=", "==", "=2E", "=2e", "日本語", "日本", "\xff\xfe\xfd", "café", "cafe\u0301", "a/b", "$SYS.>",
		"_INBOX.x", "presence", "t.room", "zeroframe.t.room",
		strings.Repeat("x", engine.MaxTopicName), strings.Repeat("x", engine.MaxTopicName-1), strings.Repeat(" ", engine.MaxTopicName),
		strings.Repeat(" ", engine.MaxTopicName-1), strings.Repeat("\xf0\x9f\x90\xa6", engine.MaxTopicName/4)}
	s := newServer(t)
	nodes := connectedNodes(t, s.url(), "a", "b")
	var members []*member
	for _, name := range names {
		members = append(members, nodes[1].member(name))
	}
	for _, name := range names {
		nodes[0].knows(name, 1)
	}
	for i := range names {
		nodes[0].publish(names[i], fmt.Sprint("to ", i))
	}
	for i, name := range names {
		nodes[0].publish(name, "the end")
		members[i].expectText(fmt.Sprint("to ", i), "the end")
	}
	if b := nodes[1].Stats().Backplane; b.Received != uint64(2*len(names)) || b.Dropped != 0 {
		t.Errorf("%d messages received, %d dropped", b.Received, b.Dropped)
	}
	for _, name := range []string{"", strings.Repeat("x", engine.MaxTopicName+1)} {
		if err := nodes[0].Publish(name, frame.Text, nil); !errors.Is(err, engine.ErrTopicName) {
			t.Errorf("a name of %d bytes: %v", len(name), err)
		}
	}
}

func TestPayloadsUpToTheServersLimitComeAndLargerOnesStayLocal(t *testing.T) {
	const most = 300_000
	s := newServer(t, func(o *server.Options) { o.MaxPayload = most })
	nodes := connectedNodes(t, s.url(), "a", "b")
	here, there := nodes[0].member("room"), nodes[1].member("room")
	nodes[0].knows("room", 2)
	for _, n := range []int{0, 1, 125, 126, 65_536, 200_000, most - 10} {
		payload := strings.Repeat("p", n)
		nodes[0].publish("room", payload)
		here.expectText(payload)
		there.expectText(payload)
	}
	for _, n := range []int{most - 9, most, 5 << 20} {
		payload := strings.Repeat("q", n)
		if err := nodes[0].Publish("room", frame.Text, []byte(payload)); !errors.Is(err, nats.ErrTooLarge) {
			t.Errorf("%d bytes: %v", n, err)
		}
		here.expectText(payload)
	}
	nodes[0].publish("room", "the end")
	here.expectText("the end")
	there.expectText("the end")
	if b := nodes[0].Stats().Backplane; b.Dropped != 3 || !b.Connected || b.Reconnects != 0 {
		t.Errorf("%+v", b)
	}
}

func TestEnginesWithDifferentPrefixesDoNotHearEachOther(t *testing.T) {
	s := newServer(t)
	var nodes []*node
	for i, prefix := range []string{"one", "one.two", "one"} {
		n := startNode(t, s.url(), fmt.Sprint(i), nats.WithPrefix(prefix))
		n.connected()
		nodes = append(nodes, n)
	}
	members := []*member{nodes[0].member("room"), nodes[1].member("room"), nodes[2].member("room")}
	nodes[0].knows("room", 2)
	nodes[2].knows("room", 2)
	nodes[1].knows("room", 1)
	for i, n := range nodes {
		n.publish("room", fmt.Sprint(i))
	}
	members[1].expectText("1")
	var got []string
	for range 2 {
		got = append(got, string(members[0].next().Payload))
	}
	slices.Sort(got)
	if !slices.Equal(got, []string{"0", "2"}) {
		t.Errorf("received %v", got)
	}
}
