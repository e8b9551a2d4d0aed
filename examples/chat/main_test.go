package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"zeroframe/engine"
	"zeroframe/frame"
)

func TestMain(m *testing.M) {
	before := runtime.NumGoroutine()
	code := m.Run()
	http.DefaultClient.CloseIdleConnections()
	for end := time.Now().Add(time.Minute); code == 0 && runtime.NumGoroutine() > before; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			buf := make([]byte, 1<<20)
			fmt.Fprintf(os.Stderr, "%d goroutines before the tests, %d after:\n%s\n",
				before, runtime.NumGoroutine(), buf[:runtime.Stack(buf, true)])
			code = 1
		}
	}
	os.Exit(code)
}

// open serves the chat until the test ends, or stop is called, which returns what serve does.
func open(t *testing.T) (address string, stop func() error) {
	t.Helper()
	e, err := newServer()
	if err != nil {
		t.Fatal(err)
	}
	ln, err := e.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- serve(ctx, e, ln)
		close(ended)
	}()
	stop = func() error {
		cancel()
		return <-ended
	}
	t.Cleanup(func() { stop() })
	return ln.Addr().String(), stop
}

// visitor is a person in a room, without a page.
type visitor struct {
	*engine.Session
	t *testing.T
}

// people returns who lets others come in.
func people(t *testing.T, address string) (come func(name, room string) visitor) {
	e, err := engine.New(engine.WithLoops(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return func(name, room string) visitor {
		t.Helper()
		s, err := e.DialSession(t.Context(), "ws://"+address+"/room/"+url.PathEscape(room)+"?name="+url.QueryEscape(name), nil)
		if err != nil {
			t.Fatal(err)
		}
		return visitor{s, t}
	}
}

func (v visitor) say(text string) {
	v.t.Helper()
	if err := v.SendText(v.t.Context(), text); err != nil {
		v.t.Fatal(err)
	}
}

// hears checks what comes next, but for its time, which must be now.
func (v visitor) hears(want said) {
	v.t.Helper()
	ctx, cancel := context.WithTimeout(v.t.Context(), time.Minute)
	defer cancel()
	got, err := engine.ReceiveValue[said](ctx, v.Session)
	if err != nil {
		v.t.Fatal(err)
	}
	if ago := time.Since(got.At); ago < -time.Minute || ago > time.Minute {
		v.t.Errorf("said at %v", got.At)
	}
	if got.At = want.At; got != want {
		v.t.Errorf("heard %+v, want %+v", got, want)
	}
}

// isClosed waits for the end, whatever is said before.
func (v visitor) isClosed(code frame.CloseCode, reason string) {
	v.t.Helper()
	ctx, cancel := context.WithTimeout(v.t.Context(), time.Minute)
	defer cancel()
	for range v.Messages(ctx) { // one that does not listen is not read from, and would not see the end
	}
	r, err := v.CloseReason(ctx)
	if err != nil || r.Code != code || reason != "" && r.Text != reason || !r.Remote {
		v.t.Errorf("closed with %+v, %v, want %d %q", r, err, code, reason)
	}
}

func TestARoomHearsWhatIsSaidInIt(t *testing.T) {
	address, _ := open(t)
	come := people(t, address)
	ada := come("Ada", "den")
	ada.hears(said{From: "Ada", Does: "joins", Here: 1})
	bob := come("Bob Ø", "den")
	for _, v := range []visitor{ada, bob} {
		v.hears(said{From: "Bob Ø", Does: "joins", Here: 2})
	}
	cy := come("Cy", "attic")
	cy.hears(said{From: "Cy", Does: "joins", Here: 1})

	ada.say(" <b>hello</b>\n")
	ada.hears(said{From: "Ada", Text: "<b>hello</b>", Mine: true})
	bob.hears(said{From: "Ada", Text: "<b>hello</b>"})
	bob.say("  ") // is nothing
	bob.say("hi")
	bob.hears(said{From: "Bob Ø", Text: "hi", Mine: true})
	ada.hears(said{From: "Bob Ø", Text: "hi"})

	ada.Close(frame.CloseGoingAway, "")
	bob.hears(said{From: "Ada", Does: "leaves", Here: 1})
	cy.say("anybody?") // the next that Cy hears: nothing came from the den
	cy.hears(said{From: "Cy", Text: "anybody?", Mine: true})
}

func TestALastingCrowdHearsTheRightNumber(t *testing.T) {
	address, _ := open(t)
	come := people(t, address)
	ada := come("Ada", "den")
	const crowd = 30
	for range crowd {
		guest := come("guest", "den")
		go guest.Close(frame.CloseNormal, "")
	}
	joined, left, here := 0, 0, 0
	for joined < crowd+1 || left < crowd {
		s, err := engine.ReceiveValue[said](t.Context(), ada.Session)
		if err != nil {
			t.Fatal(err)
		}
		if s.Does == "joins" {
			joined++
		} else {
			left++
		}
		here = s.Here
	}
	if here != 1 {
		t.Errorf("the last number is %d, want 1", here)
	}
}

func TestWhoSaysTooMuchIsDisconnected(t *testing.T) {
	address, _ := open(t)
	come := people(t, address)
	ada := come("Ada", "den")
	ada.hears(said{From: "Ada", Does: "joins", Here: 1})

	loud := come("Loud", "den")
	loud.say(strings.Repeat("a", maxMessage+1))
	loud.isClosed(frame.CloseMessageTooBig, "")
	ada.hears(said{From: "Loud", Does: "joins", Here: 2})
	ada.hears(said{From: "Loud", Does: "leaves", Here: 1})

	binary := come("Binary", "den")
	binary.Send(t.Context(), frame.Binary, []byte("bits"))
	binary.isClosed(frame.CloseUnsupportedData, "only text, please")
	ada.hears(said{From: "Binary", Does: "joins", Here: 2})
	ada.hears(said{From: "Binary", Does: "leaves", Here: 1})

	hasty := come("Hasty", "den")
	ada.hears(said{From: "Hasty", Does: "joins", Here: 2})
	for range 100 { // far more than is earned meanwhile, if not all of them are taken off it
		if hasty.SendText(t.Context(), "ha") != nil {
			break
		}
	}
	hasty.isClosed(frame.ClosePolicyViolation, "too many messages")
	for range burst {
		ada.hears(said{From: "Hasty", Text: "ha"})
	}
}

func TestTheAllowanceGrowsBackUpToTheBurst(t *testing.T) {
	now := time.Now()
	p := person{allowance: burst, counted: now}
	talk := func() (n int) {
		for p.mayTalk(now) {
			n++
		}
		return n
	}
	for _, c := range []struct {
		later time.Duration
		want  int
	}{{0, burst}, {0, 0}, {time.Second / 2, perSecond / 2}, {2 * time.Second, 2 * perSecond}, {time.Hour, burst}} {
		now = now.Add(c.later)
		if n := talk(); n != c.want {
			t.Errorf("%v later: %d messages, want %d", c.later, n, c.want)
		}
	}
}

func TestWhoHasNoNameOrComesFromElsewhereIsRefused(t *testing.T) {
	address, _ := open(t)
	e, err := engine.New(engine.WithLoops(1))
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	long := strings.Repeat("é", maxName)
	for _, c := range []struct {
		target, origin string
		status         int
	}{
		{"/room/den", "", 400},
		{"/room/den?name=", "", 400},
		{"/room/den?name=%20Ada", "", 400},
		{"/room/den?name=%E2%80%AEadA", "", 400}, // would turn the line around
		{"/room/den?name=%FF", "", 400},
		{"/room/den?name=" + url.QueryEscape(long+"é"), "", 400},
		{"/room/" + url.PathEscape(long+"é") + "?name=Ada", "", 400},
		{"/room/den?name=Ada", "http://elsewhere.example", 403},
		{"/room/den?name=Ada", "http://" + address, 0},
		{"/room/" + url.PathEscape(long) + "?name=" + url.QueryEscape(long), "", 0},
	} {
		header := http.Header{}
		if c.origin != "" {
			header.Set("Origin", c.origin)
		}
		s, err := e.DialSession(t.Context(), "ws://"+address+c.target, header)
		var refused *engine.HandshakeError
		switch {
		case err == nil && c.status == 0:
			s.Close(frame.CloseNormal, "")
		case err == nil || !errors.As(err, &refused) || refused.Status != c.status:
			t.Errorf("%s from %q: %v, want %d", c.target, c.origin, err, c.status)
		}
	}
}

func TestThePageIsServedWithAPolicyThatItKeeps(t *testing.T) {
	address, _ := open(t)
	for path, want := range map[string]int{"/": 200, "/room/den": 200, "/room/": 404, "/other": 404} {
		r, err := http.Get("http://" + address + path)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r.Body)
		r.Body.Close()
		if err != nil || r.StatusCode != want || want == 200 != (string(b) == page) {
			t.Errorf("%s: %s, %d bytes, %v", path, r.Status, len(b), err)
		}
		if p := r.Header.Get("Content-Security-Policy"); want == 200 && (!strings.Contains(p, "default-src 'none'") || strings.Contains(p, "unsafe")) {
			t.Errorf("%s: policy %q", path, p)
		}
	}
	for _, tag := range []string{"script", "style"} { // as hashed assumes
		if n := strings.Count(page, "<"+tag); n != 1 {
			t.Errorf("the page has %d elements called %s", n, tag)
		}
	}
}

func TestEverybodyIsToldWhenTheServerGoes(t *testing.T) {
	address, stop := open(t)
	come := people(t, address)
	all := []visitor{come("Ada", "den"), come("Bob", "den"), come("Cy", "attic")}
	if err := stop(); err != nil {
		t.Error(err)
	}
	for _, v := range all {
		v.isClosed(frame.CloseGoingAway, "")
	}
}

func TestNoMessageOfThePageIsTooLarge(t *testing.T) {
	if b, _ := json.Marshal(strings.Repeat("€", 1000)); len(b)-2 > maxMessage || !strings.Contains(page, `maxlength="1000"`) {
		t.Errorf("1000 characters may take %d bytes", len(b)-2)
	}
}
