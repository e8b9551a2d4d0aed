//go:build unix

package loop_test

import (
	"testing"
	"time"

	"zeroframe/internal/loop"
)

// lateness is two ticks and what a busy machine adds; a timer that waits for the next event instead would be as late as
// the test is patient.
const lateness = 2*8400*time.Microsecond + 500*time.Millisecond

func TestTimersFireInTimeAndNeverEarly(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		p := newProbe(t)
		fired := make(chan time.Duration)
		p.onTimeout = func() { fired <- loop.Clock() }
		w.connect(p)
		within(t, p.opened)
		for _, d := range []time.Duration{0, 1, time.Millisecond, 9 * time.Millisecond, 60 * time.Millisecond, 200 * time.Millisecond} {
			var at time.Duration
			p.onLoop(func() {
				at = p.Loop().Now() + d
				p.SetTimer(at)
				if when, armed := p.Timer(); !armed || when < at || when > at+8400*time.Microsecond {
					t.Errorf("armed %v for %v, asked for %v", armed, when, at)
				}
			})
			if late := within(t, fired) - at; late < 0 || late > lateness {
				t.Errorf("a timer of %v fired %v late", d, late)
			}
			p.onLoop(func() {
				if _, armed := p.Timer(); armed {
					t.Error("still armed after it fired")
				}
			})
		}
	})
}

// A loop that slept for long serves the event that woke it with the time of now: deadlines are set from it, and would
// have passed already otherwise.
func TestTheClockIsReadAfterASleep(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		p := newProbe(t)
		stale := make(chan time.Duration, 10)
		look := func() { stale <- loop.Clock() - p.Loop().Now() }
		p.onData = func([]byte) { look() }
		p.onEOF = func() { look(); p.Close(nil) }
		c := w.connect(p)
		within(t, p.opened)
		asleep := func() { time.Sleep(300 * time.Millisecond) } // nothing can be waited for: nothing shall happen
		asleep()
		c.Write([]byte("x"))
		if d := within(t, stale); d > 200*time.Millisecond {
			t.Errorf("the clock is %v old in Data", d)
		}
		asleep()
		c.(interface{ CloseWrite() error }).CloseWrite()
		if d := within(t, stale); d > 200*time.Millisecond {
			t.Errorf("the clock is %v old in EOF", d)
		}
	})
}

// Whatever callback arms a timer, the loop wakes up for it.
func TestTimersArmedInAnyCallbackFire(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		for _, callback := range []string{"Opened", "Data", "EOF", "Written", "Mail", "Timeout"} {
			p := newProbe(t)
			fired := make(chan struct{}, 10)
			arm := func(in string) {
				if in == callback {
					p.SetTimer(p.Loop().Now() + 5*time.Millisecond)
				}
			}
			first := true
			p.onOpened = func() { arm("Opened") }
			p.onData = func([]byte) { arm("Data") }
			p.onEOF = func() { arm("EOF") }
			p.onWritten = func(int) { arm("Written") }
			p.onMail = func(loop.Mail) {
				arm("Mail")
				if callback == "Timeout" {
					p.SetTimer(p.Loop().Now())
				}
			}
			p.onTimeout = func() {
				if callback == "Timeout" && first {
					first = false
					arm("Timeout")
					return
				}
				fired <- struct{}{}
			}
			c := w.connect(p)
			within(t, p.opened)
			switch callback {
			case "Data":
				c.Write([]byte("x"))
			case "EOF":
				c.(interface{ CloseWrite() error }).CloseWrite()
			case "Written":
				p.send([]byte("x"))
			case "Mail", "Timeout":
				p.Notify(loop.MailUser)
			}
			within(t, fired)
			p.onLoop(func() { p.Close(nil) })
		}
	})
}

func TestATimerIsReplacedAndEndsWithItsConnection(t *testing.T) {
	w := start(t, loop.Config{})
	p, last := newProbe(t), newProbe(t)
	fired := make(chan string, 10)
	p.onTimeout = func() { fired <- "replaced" }
	last.onTimeout = func() { fired <- "last" }
	w.connect(p)
	w.connect(last)
	within(t, p.opened)
	within(t, last.opened)
	onLoop(t, w.Loops()[0], func() {
		now := w.Loops()[0].Now()
		p.SetTimer(now + 10*time.Millisecond)
		p.SetTimer(now + time.Hour) // later
		last.SetTimer(now + 60*time.Millisecond)
	})
	if s := within(t, fired); s != "last" {
		t.Fatalf("%s fired, which was put off by an hour", s)
	}
	onLoop(t, w.Loops()[0], func() {
		now := w.Loops()[0].Now()
		p.SetTimer(now + 10*time.Millisecond) // sooner
		last.SetTimer(now + time.Hour)
	})
	if s := within(t, fired); s != "replaced" {
		t.Fatalf("%s fired", s)
	}
	onLoop(t, w.Loops()[0], func() {
		p.Close(nil)
		p.SetTimer(0) // the probe reports a Timeout after Closed
	})
	onLoop(t, w.Loops()[0], func() {})
}

func TestThousandsOfTimersFireInOrderAndOnce(t *testing.T) {
	w := start(t, loop.Config{})
	w.connect = w.overStream(noFaults)
	const conns = 3000
	l := w.Loops()[0]
	fired := make(chan time.Duration, 2*conns)
	probes := make([]*probe, conns)
	for i := range probes {
		p := newProbe(t)
		probes[i] = p
		p.onTimeout = func() {
			if at, _ := p.Timer(); loop.Clock() < at {
				t.Error("early")
			}
			at, _ := p.Timer()
			fired <- at
		}
		w.connect(p)
	}
	for _, p := range probes {
		within(t, p.opened)
	}
	onLoop(t, l, func() {
		for i, p := range probes {
			p.SetTimer(l.Now() + time.Duration(i*7919%conns)*100*time.Microsecond)
		}
	})
	var last time.Duration
	for range conns {
		at := within(t, fired)
		if at < last {
			t.Fatal("out of order")
		}
		last = at
	}
	onLoop(t, l, func() {})
	if len(fired) != 0 {
		t.Error("fired twice")
	}
}
