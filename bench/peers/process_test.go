package peers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	coder "github.com/coder/websocket"
)

// serveIfOther makes this program somebody else's server: it echoes bytes, or fails to.
func serveIfOther() {
	if len(os.Args) != 3 || !strings.HasPrefix(os.Args[1], "other-") {
		return
	}
	fmt.Fprintln(os.Stderr, "a banner")
	switch os.Args[1] {
	case "other-dies":
		fmt.Println("no such thing here")
		os.Exit(3)
	case "other-topic", "other-echo":
		ln, err := net.Listen("tcp4", "127.0.0.1:"+os.Args[2])
		if err != nil {
			panic(err)
		}
		serve := serveGWS
		if os.Args[1] == "other-topic" {
			serve = publishGWS
		}
		panic(serve(ln, Options{}))
	case "other-tcp":
		ln, err := net.Listen("tcp4", "127.0.0.1:"+os.Args[2])
		if err != nil {
			panic(err)
		}
		for {
			c, err := ln.Accept()
			if err != nil {
				panic(err)
			}
			go io.Copy(c, c)
		}
	}
	select {}
}

// other is a server by commands of this program.
func other(t *testing.T, commands ...string) *Server {
	t.Helper()
	l := Others{Path: "/some/where"}
	for _, c := range commands {
		if err := l.Add("mine=" + strings.Replace(c, "SELF", os.Args[0], 1)); err != nil {
			t.Fatal(err)
		}
	}
	if len(l.Servers) != 1 {
		t.Fatalf("%d servers", len(l.Servers))
	}
	return l.Servers[0]
}

func TestOtherServersJoinByTheirCommand(t *testing.T) {
	s := other(t, "SELF other-echo {port}", "topic:SELF other-topic {port}")
	if s.How == "" || s.Publishing == "" || s.TCP || s.Can(Options{}) != nil || s.Can(Options{Work: Topic}) != nil {
		t.Errorf("%+v", s)
	}
	for _, o := range []Options{{Mode: NoTakeover}, {Pair: "pair.pem"}, {Mode: Takeover, Work: Topic}} {
		if s.Can(o) == nil {
			t.Errorf("takes %+v", o)
		}
	}
	for _, work := range []Work{Echo, Topic} {
		p := started(t, s, Options{Work: work})
		if want := fmt.Sprintf("ws://%v/some/where", p.Addr); p.URL != want {
			t.Errorf("%s, not %s", p.URL, want)
		}
		c, _, _ := dialed(t, p, nil, coder.CompressionDisabled)
		if err := exchange(c, coder.MessageBinary, []byte("hello")); err != nil {
			t.Error(err)
		}
		if _, err := p.Snapshot(t.Context(), false); !errors.Is(err, errors.ErrUnsupported) {
			t.Error(err)
		}
	}
	echo := other(t, "tcp:SELF other-tcp {port}")
	if p := started(t, echo, Options{}); !echo.TCP || !strings.HasPrefix(p.URL, "tcp://") {
		t.Errorf("%+v", p)
	}
}

func TestOtherServersAreNamedWithTheirCommand(t *testing.T) {
	for _, s := range []string{"", "mine", "mine=", "=./server", "mine=tcp:", "gws=./server"} {
		if err := new(Others).Add(s); err == nil {
			t.Errorf("%q is taken", s)
		}
	}
	for _, twice := range [][2]string{{"mine=./a", "mine=./b"}, {"mine=tcp:./a", "mine=./b"}, {"mine=./a", "mine=tcp:./b"}} {
		var l Others
		if err := l.Add(twice[0]); err != nil {
			t.Error(err)
		}
		if err := l.Add(twice[1]); err == nil {
			t.Errorf("%q are taken", twice)
		}
	}
	l := Others{Unmarked: Topic}
	if err := l.Add("mine=./server -p {port} -q a=b:c"); err != nil || l.Servers[0].Publishing != "./server -p {port} -q a=b:c" {
		t.Errorf("%+v, %v", l.Servers, err)
	}
}

func TestServerThatDiesSaysWhatItPrinted(t *testing.T) {
	_, err := other(t, "SELF other-dies {port}").Start(-1, Options{})
	if err == nil || !strings.Contains(err.Error(), "no such thing here") || !strings.Contains(err.Error(), "exit status 3") {
		t.Error(err)
	}
	if _, err := other(t, "./no-such-program {port}").Start(-1, Options{}); err == nil {
		t.Error("a program that is not there starts")
	}
	// One of ours that cannot read its certificate.
	_, err = zeroframe.Start(-1, Options{Pair: "no-such-file.pem"})
	if err == nil || !strings.Contains(err.Error(), "no-such-file.pem: no such file") {
		t.Error(err)
	}
}

func TestServerThatDoesNotListenIsAnError(t *testing.T) {
	defer func(d time.Duration) { startTime = d }(startTime)
	startTime /= 10
	_, err := other(t, "SELF other-sleeps {port}").Start(-1, Options{})
	if err == nil || !strings.Contains(err.Error(), "nobody listens") || !strings.Contains(err.Error(), "a banner") {
		t.Error(err)
	}
}

func TestServerThatDiedWhileItServedIsAnErrorOfStop(t *testing.T) {
	p, err := zeroframe.Start(-1, Options{})
	if err != nil {
		t.Fatal(err)
	}
	p.kill()
	<-p.exited
	if _, err := p.Snapshot(t.Context(), true); err == nil {
		t.Error("a dead server counts")
	}
	if err := p.Stop(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Error(err)
	}
}

func TestServerThatHangsIsAskedNoLongerThanOneWaits(t *testing.T) {
	stopped := func() *Process {
		p, err := gwsServer.Start(-1, Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { p.Stop() })
		if _, err := p.Snapshot(t.Context(), false); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Kill(p.PID(), syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(p.kill)
		return p
	}
	p := stopped()
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	if _, err := p.Snapshot(ctx, true); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	defer func(d time.Duration) { answerTime = d }(answerTime)
	answerTime = 50 * time.Millisecond
	p = stopped()
	for range 2 { // the second time without waiting: an answer that comes late is none to the next question
		if _, err := p.Snapshot(t.Context(), true); err == nil || !strings.Contains(err.Error(), "it hangs") {
			t.Error(err)
		}
		answerTime = time.Hour
	}
}

func TestProcessTellsWhatItCosts(t *testing.T) {
	p := started(t, gwsServer, Options{})
	c, _, _ := dialed(t, p, nil, coder.CompressionDisabled)
	before, err := p.Snapshot(t.Context(), true)
	if err != nil {
		t.Fatal(err)
	}
	used, err := p.CPU()
	if err != nil {
		t.Fatal(err)
	}
	const messages = 2000
	for range messages {
		if err := exchange(c, coder.MessageBinary, random(4, 10_000)); err != nil {
			t.Fatal(err)
		}
	}
	after, err := p.Snapshot(t.Context(), false)
	if err != nil {
		t.Fatal(err)
	}
	if n := after.Process.Allocs - before.Process.Allocs; n < messages || n > 100*messages { // gws takes an object for each message, at least
		t.Errorf("%d objects for %d messages", n, messages)
	}
	if f := after.Process; f.PID != p.PID() || f.GOMAXPROCS != 1 || f.LiveHeap == 0 || before.Process.GCCycles == 0 || after.Engine != nil {
		t.Errorf("%+v", after)
	}
	if live, err := p.Collect(); err != nil || live < 10_000 || live > 1<<30 {
		t.Errorf("%v bytes live, %v", live, err)
	}
	if runtime.GOOS == "linux" {
		if now, err := p.CPU(); err != nil || now <= used || p.Resident() < 1<<20 {
			t.Errorf("%v and %v of CPU, %v bytes resident, %v", used, now, p.Resident(), err)
		}
	}
}

func TestFloorCountsNothing(t *testing.T) {
	each(t, []*Server{floorTCP}, Options{}, func(t *testing.T, s *Server) {
		if _, err := started(t, s, Options{}).Collect(); !errors.Is(err, errors.ErrUnsupported) {
			t.Error(err)
		}
	})
}
