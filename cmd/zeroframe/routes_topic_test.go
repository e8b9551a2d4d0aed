package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"zeroframe/bench"
	"zeroframe/engine"
	"zeroframe/frame"
)

// topicMember subscribes to a topic of a server, and waits until the server counts it in.
func topicMember(t *testing.T, e *engine.Engine, metrics, url string, members uint64) (*heard, *engine.Conn) {
	t.Helper()
	h := newHeard()
	c, err := e.Dial(t.Context(), url, nil, h)
	if err != nil {
		t.Fatal(err)
	}
	snapshotWhen(t, metrics, func(s bench.Snapshot) bool { return s.Engine.Handshakes == members })
	return h, c
}

func TestAMessageReachesAllConnectionsOfItsTopic(t *testing.T) {
	p := start(t, "serve", "--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0", "--loops", "2")
	metrics, url := p.line("metrics on "), p.line("listening on ")
	e := client(t)
	a, from := topicMember(t, e, metrics, url+"topic/a%20room", 1)
	b, _ := topicMember(t, e, metrics, url+"topic/a%20room", 2)
	other, elsewhere := topicMember(t, e, metrics, url+"topic/other", 3)
	from.SendText("hello")
	from.Send(frame.Binary, []byte("all"))
	for _, h := range []*heard{a, b} {
		for _, want := range []string{fmt.Sprint(frame.Text, " hello"), fmt.Sprint(frame.Binary, " all")} {
			if got := within(t, h.messages); got != want {
				t.Errorf("%q, want %q", got, want)
			}
		}
	}
	elsewhere.SendText("here") // and nothing of the other topic before it
	if got := within(t, other.messages); got != fmt.Sprint(frame.Text, " here") {
		t.Errorf("%q in another topic", got)
	}
	shot := snapshotWhen(t, metrics, func(s bench.Snapshot) bool { return s.Engine.Delivered == 5 })
	if shot.Engine.Topics != 2 {
		t.Errorf("%d topics, want 2", shot.Engine.Topics)
	}
	_, err := e.Dial(t.Context(), url+"topic/"+strings.Repeat("x", engine.MaxTopicName+1), nil, engine.NopHandler{})
	var refused *engine.HandshakeError
	if !errors.As(err, &refused) || refused.Status != 400 {
		t.Errorf("a name that is too long: %v", err)
	}
}

func TestLoadMeasuresATopic(t *testing.T) {
	p := start(t, "serve", "--listen", "127.0.0.1:0")
	url := p.line("listening on ")
	var out, errOut bytes.Buffer
	args := []string{"load", "--mode", "fanout", "--url", url + "topic/x", "--subscribers", "20", "--publishers", "3", "--not-reading", "2",
		"--inflight", "2", "--duration", "50ms", "--warmup", "20ms", "--loops", "2", "--server-pid", fmt.Sprint(p.Process.Pid)}
	if code := run(append(args, "--json"), &out, &errOut); code != exitOK {
		t.Fatalf("exit code %d: %s", code, &errOut)
	}
	var r fanoutReport
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		t.Fatal(err)
	}
	if r.Deliveries == 0 || r.Errors != 0 || r.Subscribers != 20 || r.Publishers != 3 || r.NotReading != 2 || r.Payload != 32 ||
		r.InFlight != 2 || r.Loops != 2 || r.Total%18 != 0 || r.Latency.P99 == 0 {
		t.Errorf("%s", &out)
	}
	out.Reset()
	if code := run(args, &out, &errOut); code != exitOK || !strings.Contains(out.String(), " deliveries per second") {
		t.Errorf("exit code %d: %s", code, &out)
	}
}
