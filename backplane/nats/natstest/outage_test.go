package natstest

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"zeroframe/backplane/nats"
	"zeroframe/engine"
	"zeroframe/frame"
)

func TestAnEngineStartsWhileTheServerIsAwayAndFindsItLater(t *testing.T) {
	s := newServer(t)
	s.stop()
	nodes := []*node{startNode(t, s.url(), "a"), startNode(t, s.url(), "b")}
	here, there := nodes[0].member("room"), nodes[1].member("room")
	until(t, "an error", func() bool { return strings.Contains(fmt.Sprint(nodes[0].Stats().Backplane.Err), "refused") })
	nodes[0].publish("room", "local")
	here.expectText("local")
	if b := nodes[0].Stats().Backplane; b.Connected || b.Sent != 0 || b.Dropped != 0 {
		t.Errorf("%+v", b)
	}
	s.start()
	for _, n := range nodes {
		n.connected()
	}
	nodes[0].knows("room", 2)
	nodes[0].publish("room", "to all")
	here.expectText("to all")
	// What was published before either engine was connected came through if the other one was there first.
	if m := there.next(); string(m.Payload) == "local" {
		there.expectText("to all")
	} else if string(m.Payload) != "to all" {
		t.Errorf("received %q", m.Payload)
	}
	if b := nodes[0].Stats().Backplane; b.Reconnects != 0 || b.Err != nil || b.Sent != 2 {
		t.Errorf("%+v", b)
	}
}

func TestMembersGoOnAfterTheServerWasAway(t *testing.T) {
	s := newServer(t)
	nodes := connectedNodes(t, s.url(), "a", "b", "c")
	var members []*member
	for _, n := range nodes {
		members = append(members, n.member("room", "left"))
	}
	for round := range 3 {
		for _, n := range nodes {
			n.knows("room", 3)
		}
		nodes[round].publish("room", fmt.Sprint("before ", round))
		for _, m := range members {
			m.expectText(fmt.Sprint("before ", round))
		}
		s.stop()
		for _, n := range nodes {
			n.disconnected()
			if b := n.Stats().Backplane; b.Err == nil || b.Since.IsZero() {
				t.Errorf("%+v", b)
			}
		}
		for i := range 50 {
			nodes[0].publish("away", fmt.Sprint("unheard ", i))
		}
		for i, n := range nodes { // none is lost locally
			local := n.member("local")
			for k := range 200 {
				n.publish("local", fmt.Sprint(k))
			}
			for k := range 200 {
				local.expectText(fmt.Sprint(k))
			}
			local.Terminate()
			members[i].ask("-left")
			members[i].ask(fmt.Sprint("+new ", round))
		}
		s.start()
		for _, n := range nodes {
			n.connected()
		}
		for _, n := range nodes {
			n.knows("room", 3)
			n.knows("left", 0)
			n.knows(fmt.Sprint("new ", round), 3)
		}
		for i, n := range nodes {
			n.publish("left", "nobody is there")
			n.publish(fmt.Sprint("new ", round), fmt.Sprint("of ", i))
			for _, m := range members {
				m.expectText(fmt.Sprint("of ", i))
			}
			if b := n.Stats().Backplane; b.Reconnects != uint64(round+1) || b.Err != nil || b.Dropped != 0 {
				t.Errorf("%+v", b)
			}
		}
	}
	if n := strings.Count(nodes[0].logs.text(), "backplane disconnected"); n != 3 {
		t.Errorf("%d losses logged:\n%s", n, nodes[0].logs.text())
	}
}

// The publisher comes back last, so that those who are to receive what it kept are there.
func TestWhatWasPublishedMeanwhileIsSentOnceAfterwards(t *testing.T) {
	s := newServer(t)
	gate := newGate(t, s.url())
	a, b := startNode(t, gate.url(), "a"), startNode(t, s.url(), "b")
	a.connected()
	b.connected()
	here, there := a.member("room"), b.member("room")
	a.knows("room", 2)
	gate.shut()
	a.disconnected()
	var texts []string
	for i := range 500 {
		texts = append(texts, fmt.Sprint(i))
		a.publish("room", texts[i])
	}
	here.expectText(texts...)
	gate.open()
	a.connected()
	there.expectText(texts...)
	a.publish("room", "the end")
	there.expectText("the end")
	here.expectText("the end")
	if st := a.Stats().Backplane; st.Sent != 501 || st.Dropped != 0 || st.Reconnects != 1 {
		t.Errorf("%+v", st)
	}
}

func TestWhatTheBufferHasNoRoomForIsRefusedAndCountedAndServedLocally(t *testing.T) {
	s := newServer(t)
	s.stop()
	n := startNode(t, s.url(), "a", nats.WithBuffer(64<<10))
	m := n.member("room")
	refused := uint64(0)
	const messages = 1000
	for i := range messages {
		if err := n.Publish("room", frame.Text, fmt.Appendf(nil, "%0100d", i)); errors.Is(err, nats.ErrFull) {
			refused++
		} else if err != nil || refused > 0 {
			t.Fatalf("message %d: %v", i, err)
		}
	}
	for i := range messages {
		m.expectText(fmt.Sprintf("%0100d", i))
	}
	if b := n.Stats().Backplane; b.Dropped != refused || refused < messages-65536/115 || refused > messages-65536/145 {
		t.Errorf("%d refused, %d counted", refused, b.Dropped)
	}
	s.start()
	n.connected()
	until(t, "the rest to be sent", func() bool { return n.Stats().Backplane.Sent == messages-refused })
	n.publish("room", "room again")
	m.expectText("room again")
}

func TestCloseSendsWhatWaits(t *testing.T) {
	s := newServer(t)
	nodes := connectedNodes(t, s.url(), "a", "b")
	m := nodes[1].member("room")
	nodes[0].knows("room", 1)
	const messages = 5000
	for i := range messages {
		nodes[0].publish("room", fmt.Sprint(i))
	}
	nodes[0].Close()
	for i := range messages {
		m.expectText(fmt.Sprint(i))
	}
	if err := nodes[0].Publish("room", frame.Text, nil); !errors.Is(err, engine.ErrServerClosed) {
		t.Errorf("Publish after Close: %v", err)
	}
	if b := nodes[0].Stats().Backplane; b.Connected || b.Dropped != 0 || !errors.Is(b.Err, nats.ErrClosed) {
		t.Errorf("%+v", b)
	}
}

func TestCloseWithoutAServerReturnsAtOnceAndSaysWhatWasLost(t *testing.T) {
	s := newServer(t)
	s.stop()
	for _, messages := range []int{0, 3} {
		n := startNode(t, s.url(), "a")
		for range messages {
			n.publish("room", "unsent")
		}
		began := time.Now()
		n.Close()
		if d := time.Since(began); d > time.Second {
			t.Errorf("Close took %v", d)
		}
		if b := n.Stats().Backplane; b.Dropped != uint64(messages) {
			t.Errorf("%+v", b)
		}
		if told := strings.Contains(n.logs.text(), nats.ErrUnsent.Error()); told != (messages > 0) {
			t.Errorf("after %d messages the log is\n%s", messages, n.logs.text())
		}
	}
}
