package nats

import (
	"errors"
	"strings"
	"testing"
	"time"

	natsgo "github.com/nats-io/nats.go"

	"zeroframe/engine"
)

func TestOptionsOutOfBoundsAreNamed(t *testing.T) {
	failing := natsgo.Option(func(*natsgo.Options) error { return errors.New("no such file") })
	for name, opts := range map[string][]Option{
		"nats.WithPrefix": {WithPrefix(""), WithPrefix("a..b"), WithPrefix(".a"), WithPrefix("a.*"), WithPrefix(">"),
			WithPrefix("a b"), WithPrefix("é"), WithPrefix(strings.Repeat("x", 129))},
		"nats.WithClient": {WithClient(natsgo.Name("fine"), failing)},
		"nats.WithBuffer": {WithBuffer(64<<10 - 1), WithBuffer(-1), WithBuffer(1<<30 + 1)},
		"nats.WithReconnect": {WithReconnect(0, time.Second), WithReconnect(2*time.Second, time.Second),
			WithReconnect(time.Second, 2*time.Hour)},
		"nats.WithPresence": {WithPresence(0, time.Second), WithPresence(time.Second, 0),
			WithPresence(time.Second, 3*time.Second), WithPresence(-1, -4)},
	} {
		for i, o := range opts {
			_, err := New("nats://127.0.0.1", o)
			var oe *engine.OptionError
			if !errors.As(err, &oe) || oe.Option != name {
				t.Errorf("%s, %d: %v", name, i, err)
			}
		}
	}
}

func TestURLsAreReadAndPasswordsAreNotShown(t *testing.T) {
	for _, good := range []string{"nats://a:4222", "a", "a:1", " nats://a , tls://b:4223,", "ws://a,wss://b",
		"nats://user:secret@a", "nats://[::1]:4222"} {
		if _, err := New(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, bad := range []string{"", ",", "http://a", "nats://", "nats://user:secret@", "nats://user:sec%ret@a",
		"nats://a,http://secret", "redis://secret:secret@a", "nats://a:secret"} {
		if _, err := New(bad); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestTheWaitBetweenTriesDoublesUpToItsBoundAndVaries(t *testing.T) {
	c := defaults()
	varied := false
	var first time.Duration
	for n := range 100 {
		full := min(c.retryLow<<min(max(n-1, 0), 20), c.retryHigh)
		for range 20 {
			d := c.delay(n)
			if d < full/2 || d > full {
				t.Fatalf("before try %d: %v, want up to %v", n, d, full)
			}
			if n == 5 {
				varied = varied || first != 0 && d != first
				first = d
			}
		}
	}
	if !varied {
		t.Error("all engines would come back at once")
	}
}
