package nats

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	natsgo "github.com/nats-io/nats.go"

	"zeroframe/frame"
)

func TestNothingWaitsForAServerThatDoesNotRead(t *testing.T) {
	s := newFakeServer(t, false)
	b, _ := attached(t, s, nil, WithBuffer(1<<20), WithPresence(10*time.Millisecond, time.Second))
	c := s.conn()
	until(t, "connected", func() bool { return b.Status().Connected })
	close(c.stall)
	payload := make([]byte, 60_000)
	fill := func() {
		for n := range 1001 {
			if err := b.Publish("room", frame.Binary, payload); errors.Is(err, ErrFull) {
				return
			} else if err != nil || n == 1000 {
				t.Fatalf("60 MB were taken; %v", err)
			}
		}
	}
	until(t, "the client to be stuck", func() bool { // in a write, with its lock held
		fill()
		before := b.sent.Load()
		time.Sleep(50 * time.Millisecond)
		return b.sent.Load() == before
	})
	stuck := time.Now()
	for i := range 1000 {
		if err := b.Subscribe(fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
		b.Count(fmt.Sprint(i), 1)
		b.Elsewhere("room")
		b.Publish("room", frame.Binary, payload)
		if !b.Status().Connected {
			t.Fatal("not connected")
		}
	}
	if d := time.Since(stuck); d > patience/2 {
		t.Errorf("4000 calls took %v", d)
	}
	if b.Status().Dropped < 100 {
		t.Errorf("%+v", b.Status())
	}
	began := time.Now()
	if err := b.Close(); !errors.Is(err, ErrUnsent) {
		t.Errorf("Close returned %v", err)
	}
	if d := time.Since(began); d < closeWithin || d > closeWithin+patience/2 {
		t.Errorf("Close took %v", d)
	}
}

func TestCloseDoesNotWaitForAServerThatSaysNothing(t *testing.T) {
	s := newFakeServer(t, true)
	b, _ := attached(t, s, nil, WithClient(natsgo.Timeout(time.Hour)))
	s.conn()
	began := time.Now()
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	if d := time.Since(began); d >= closeWithin {
		t.Errorf("Close took %v", d)
	}
	if err := b.Subscribe("room"); !errors.Is(err, ErrClosed) {
		t.Errorf("Subscribe after Close: %v", err)
	}
	if err := b.Publish("room", frame.Text, nil); !errors.Is(err, ErrClosed) {
		t.Errorf("Publish after Close: %v", err)
	}
}

// The client closes for good on errors that it does not know, as that of a message above max_payload.
func TestAClientThatIsSentAwayForGoodIsReplacedWithAllItsSubscriptions(t *testing.T) {
	s := newFakeServer(t, false)
	b, l := attached(t, s, nil)
	if err := b.Subscribe("room"); err != nil {
		t.Fatal(err)
	}
	for i := range 4 {
		c := s.conn()
		want := []string{"SUB zeroframe.presence ", "SUB " + b.subjects.own, "SUB zeroframe.t.room "}
		if i >= 2 {
			want = append(want, "SUB zeroframe.t.hall ")
		}
		got := make(map[string]bool)
		for range want {
			line := c.expect(t, "SUB ")
			for _, w := range want {
				if strings.HasPrefix(line, w) {
					got[w] = true
				}
			}
		}
		if len(got) != len(want) {
			t.Errorf("connection %d: subscribed to %v, want %v", i, got, want)
		}
		c.expect(t, "PUB zeroframe.presence ")
		until(t, "connected", func() bool { return b.Status().Connected })
		if b.Publish("room", frame.Text, []byte("hello")) != nil || c.expect(t, "PUB zeroframe.t.room") == "" {
			t.Error("a message was not sent")
		}
		if i == 1 {
			b.Subscribe("hall")
			c.expect(t, "SUB zeroframe.t.hall ")
		}
		if i == 3 {
			break
		}
		fmt.Fprintf(c, "-ERR 'Something Never Heard Of %d'\r\n", i)
		until(t, "why it is not connected", func() bool {
			st := b.Status()
			return !st.Connected && strings.Contains(fmt.Sprint(st.Err), "Never Heard Of") || st.Reconnects == uint64(i+1)
		})
	}
	until(t, "all to be counted", func() bool { return b.Status().Sent == 4 })
	if st := b.Status(); st.Reconnects != 3 || st.Dropped != 0 {
		t.Errorf("%+v", st)
	}
	if n := l.count("Never Heard Of"); n != 3 {
		t.Errorf("the reason was logged %d times", n)
	}
}

func TestComplaintsOfTheServerAreShownAndNotLoggedEachTime(t *testing.T) {
	s := newFakeServer(t, false)
	b, l := attached(t, s, nil)
	c := s.conn()
	until(t, "connected", func() bool { return b.Status().Connected })
	for i := range 100 {
		fmt.Fprintf(c, "-ERR 'Permissions Violation for Publish to \"zeroframe.t.%d\"'\r\n", i)
	}
	until(t, "the last complaint", func() bool { return strings.Contains(fmt.Sprint(b.Status().Err), "zeroframe.t.99") })
	if !b.Status().Connected || l.count("backplane in trouble") != 1 {
		t.Errorf("%+v, %d logged", b.Status(), l.count("backplane in trouble"))
	}
}

func TestAnEngineThatIsBehindLosesMessagesAndCountsEach(t *testing.T) {
	s := newFakeServer(t, false)
	var delivered atomic.Uint64
	entered, release := make(chan struct{}, 1), make(chan struct{})
	b, l := attached(t, s, func(topic string, op frame.OpCode, payload []byte) {
		select {
		case entered <- struct{}{}:
		default:
		}
		<-release
		delivered.Add(1)
	}, WithPresence(time.Millisecond, time.Hour))
	b.Subscribe("room")
	c := s.conn()
	sid := strings.Fields(c.expect(t, "SUB zeroframe.t.room "))[2]
	message := appendHeader(nil, kindText, engineID{1})
	const sent = waitIn + 5000
	var out strings.Builder
	for range sent {
		fmt.Fprintf(&out, "MSG zeroframe.t.room %s %d\r\n%s\r\n", sid, len(message), message)
	}
	fmt.Fprint(c, out.String(), "PING\r\n")
	c.expect(t, "PONG") // it has read all
	<-entered
	until(t, "the loss to be counted", func() bool { return b.Status().Dropped == sent-waitIn-1 })
	close(release)
	until(t, "the rest to be delivered", func() bool { return delivered.Load() == waitIn+1 })
	fmt.Fprintf(c, "MSG zeroframe.t.room %s %d\r\n%s\r\n", sid, len(message), message)
	until(t, "the next to be delivered", func() bool { return delivered.Load() == waitIn+2 })
	st := b.Status()
	if !st.Connected || st.Received != waitIn+2 || st.Received+st.Dropped != sent+1 || !errors.Is(st.Err, natsgo.ErrSlowConsumer) {
		t.Errorf("%+v", st)
	}
	if n := l.count("slow consumer"); n != 1 {
		t.Errorf("logged %d times", n)
	}
}

func TestWhatIsNotOursIsCountedAndIgnored(t *testing.T) {
	s := newFakeServer(t, false)
	var got []string
	done := make(chan struct{})
	b, _ := attached(t, s, func(topic string, op frame.OpCode, payload []byte) {
		if got = append(got, fmt.Sprint(topic, op, string(payload))); len(got) == 2 {
			close(done)
		}
	})
	b.Subscribe("room")
	c := s.conn()
	sid := strings.Fields(c.expect(t, "SUB zeroframe.t.room "))[2]
	other := engineID{1}
	for _, m := range []string{
		"", "x", string(appendHeader(nil, kindText, other)[:headerSize-1]),
		"\x02" + string(appendHeader(nil, kindText, other)[1:]) + "of another version",
		string(appendHeader(nil, 0, other)), string(appendHeader(nil, 9, other)), string(appendHeader(nil, kindChange, other)),
		string(appendHeader(nil, kindText, b.id)) + "our own",
		string(appendHeader(nil, kindText, other)) + "yes",
		string(appendHeader(nil, kindBinary, other)) + "this too",
	} {
		fmt.Fprintf(c, "MSG zeroframe.t.room %s %d\r\n%s\r\n", sid, len(m), m)
	}
	<-done
	if got[0] != fmt.Sprint("room", frame.Text, "yes") || got[1] != fmt.Sprint("room", frame.Binary, "this too") {
		t.Errorf("delivered %q", got)
	}
	if st := b.Status(); st.Dropped != 7 || st.Received != 2 {
		t.Errorf("%+v", st)
	}
}
