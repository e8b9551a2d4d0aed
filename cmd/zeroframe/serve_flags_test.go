package main

import (
	"strings"
	"testing"

	"zeroframe/bench"
	"zeroframe/engine"
	"zeroframe/frame"
)

func TestSessionQueueFlagsBoundWhatASessionIsSent(t *testing.T) {
	for name, flags := range map[string][]string{
		"messages": {"--session-queue-messages", "2"},
		"bytes":    {"--session-queue-bytes", "2KiB"},
	} {
		url := start(t, append([]string{"serve", "--listen", "127.0.0.1:0", "--overflow", "close"}, flags...)...).line("listening on ")
		c := openWire(t, url, "/slow/60000")
		for range 4 { // one is being served at most, two wait, and one is too many
			c.send(wireFrame{frame.Binary, true, string(make([]byte, 1<<10))})
		}
		if code, text := c.readClose(); code != frame.ClosePolicyViolation || text != "more was sent than is received" {
			t.Errorf("%s: %v %q", name, code, text)
		}
	}
	url := start(t, "serve", "--listen", "127.0.0.1:0", "--overflow", "close").line("listening on ")
	h := ponged{pongs: make(chan string, 1)}
	c, err := client(t).Dial(t.Context(), url+"slow/60000", nil, h)
	if err != nil {
		t.Fatal(err)
	}
	for range engine.DefaultSessionMessages {
		c.Send(frame.Binary, make([]byte, 1<<10))
	}
	h.expectPong(t, c) // by default the four would have had room
}

func TestOverflowSuspendMakesTheSenderWait(t *testing.T) {
	url := start(t, "serve", "--listen", "127.0.0.1:0", "--session-queue-messages", "1").line("listening on ")
	c := openWire(t, url, "/slow/1")
	for i := range 50 {
		c.send(wireFrame{frame.Binary, true, string(make([]byte, i))})
	}
	for i := range 50 {
		if f := c.read(); f.op != frame.Binary || len(f.payload) != i {
			t.Fatalf("echo %d is %v", i, f)
		}
	}
}

func TestOverflowCloseEndsSessionsWhosePeerDoesNotRead(t *testing.T) {
	p := start(t, "serve", "--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0", "--overflow", "close", "--close-timeout", "100ms",
		"--max-backpressure", "100KiB", "--session-queue-messages", "1000000", "--session-queue-bytes", "1TiB")
	metrics := p.line("metrics on ")
	c := openWire(t, p.line("listening on "), "/session")
	snapshotWhen(t, metrics, func(s bench.Snapshot) bool { // more and more, until the kernel's buffers are full
		c.send(wireFrame{frame.Binary, true, string(make([]byte, 64<<10))})
		return s.Engine.Closes[frame.ClosePolicyViolation] == 1
	})
}

func TestWriteTimeoutDropsAPeerThatDoesNotRead(t *testing.T) {
	p := start(t, "serve", "--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0", "--write-timeout", "200ms")
	metrics := p.line("metrics on ")
	c := openWire(t, p.line("listening on "), "/flood/1000000000000")
	c.send(wireFrame{frame.Text, true, "go"})
	snapshotWhen(t, metrics, func(s bench.Snapshot) bool { return s.Engine.Closes[frame.CloseAbnormal] == 1 })
}

func TestLifetimeEndsConnections(t *testing.T) {
	url := start(t, "serve", "--listen", "127.0.0.1:0", "--lifetime", "100ms").line("listening on ")
	for _, path := range []string{"echo", "session", "raw"} {
		if code, text := openWire(t, url, "/"+path).readClose(); code != frame.CloseGoingAway || !strings.Contains(text, "lifetime") {
			t.Errorf("/%s: %v %q", path, code, text)
		}
	}
}

func TestPingPolicySaysWhatAnswersAPing(t *testing.T) {
	for policy, closed := range map[string]bool{"strict": true, "any": false} {
		url := start(t, "serve", "--listen", "127.0.0.1:0", "--ping-interval", "20ms", "--ping-timeout", "500ms",
			"--ping-policy", policy).line("listening on ")
		c := openWire(t, url, "/echo")
		f, pings := wireFrame{}, 0
		for pings < 2 && f.op != frame.Close { // it sends all the time, and no pong
			c.send(wireFrame{frame.Text, true, "still here"})
			for f = c.read(); f.op == frame.Ping; f = c.read() {
				pings++
			}
		}
		if closed != (f.op == frame.Close) || closed && pings != 1 {
			t.Errorf("%s: %d pings, then %v", policy, pings, f)
		}
	}
}
