package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"zeroframe/bench"
)

// soak runs `zeroframe soak` and returns what it wrote.
func soak(t *testing.T, args string) (code int, r *bench.SoakResult, p *process) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "soak.json")
	p = start(t, append(strings.Fields("soak "+args), "--json", file)...)
	code = p.exit()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if len(b) == 0 {
		return code, nil, p
	}
	r = new(bench.SoakResult)
	if err := json.Unmarshal(b, r); err != nil {
		t.Fatal(err)
	}
	return code, r, p
}

func TestASoakOverSocketsPingsEveryConnection(t *testing.T) {
	code, r, p := soak(t, "--conns 401 --processes 2 --ping-interval 300ms --tolerance 10s --duration 1s --echoes 200")
	if code != exitOK || r == nil {
		t.Fatalf("exit code %d: %s", code, p.errors())
	}
	if r.Open != 401 || r.Lost != 0 || r.NotPinged != 0 || r.NoPong != 0 || r.Pings < 401 || r.Lateness.Max <= 0 || r.PingsPerSecond <= 0 {
		t.Errorf("%+v", r)
	}
	if r.EchoesSent < 10 || r.EchoesMissing != 0 || r.EchoesWrong != 0 || r.Echo.P99 <= 0 {
		t.Errorf("%d echoes, %d missing, %d wrong, p99 %v", r.EchoesSent, r.EchoesMissing, r.EchoesWrong, r.Echo.P99)
	}
	if s := r.Server; s.Processes != 2 || s.RSS == 0 || s.RSSPeak == 0 || s.CPU <= 0 || s.HeapPerConn < 200 || s.Loops < 1 {
		t.Errorf("servers: %+v", s)
	}
	if c := r.Client; c == nil || c.Processes != 2 || c.RSS == 0 || c.CPU <= 0 {
		t.Errorf("clients: %+v", c)
	}
	for line := range strings.SplitSeq("plan|needs|opened|then|missed|lateness|echoes|server|clients", "|") {
		p.line(line)
	}
}

// The clients' ears are stopped, so that they see no ping and send no pong.
func TestASoakOverSocketsFindsWhoAnswersNoPing(t *testing.T) {
	code, r, p := soak(t, "--conns 200 --processes 2 --mute 102 --ping-interval 300ms --ping-timeout 500ms --duration 2s")
	if code != exitFailed || r == nil {
		t.Fatalf("exit code %d: %s", code, p.errors())
	}
	if r.NoPong != 102 || r.NotPinged < 1 || r.Open != 98 && r.Open != 200 {
		t.Errorf("%d without a pong, %d not pinged, %d lost, %d open", r.NoPong, r.NotPinged, r.Lost, r.Open)
	}
	if !strings.Contains(p.errors(), "102 connections closed for a pong that did not come in time") {
		t.Error(p.errors())
	}
}

// No server is as punctual as this: a timer may be 8 ms late.
func TestASoakOverSocketsFindsPingsThatAreLate(t *testing.T) {
	code, r, p := soak(t, "--conns 200 --processes 1 --ping-interval 203ms --tolerance 1ms --duration 1500ms")
	if code != exitFailed || r == nil || r.NotPinged == 0 || r.Lost != 0 {
		t.Fatalf("exit code %d, %+v: %s", code, r, p.errors())
	}
	if !strings.Contains(p.errors(), "pings missed: none came in time") {
		t.Error(p.errors())
	}
}

func TestAnInterruptedSoakReportsWhatItFoundAndFails(t *testing.T) {
	for _, args := range []string{"--processes 1", "--memory"} {
		file := filepath.Join(t.TempDir(), "soak.json")
		p := start(t, append(strings.Fields("soak --conns 10 --ping-interval 10ms --tolerance 10s --duration 1h "+args), "--json", file)...)
		p.line("opened") // said once all are open
		p.Process.Signal(os.Interrupt)
		p.line("CUT SHORT    by an interrupt, after ")
		p.line("then         ")
		if code := p.exit(); code != exitFailed || p.errors() != "zeroframe: error: interrupted: what had been measured is reported\n" {
			t.Errorf("%s: exit code %d: %s", args, code, p.errors())
		}
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		r := new(bench.SoakResult)
		if err := json.Unmarshal(b, r); err != nil || !r.Interrupted || r.Duration != time.Hour || r.Elapsed >= time.Hour || r.Open != 10 {
			t.Errorf("%s: %v, %+v", args, err, r)
		}
	}
}

func TestASoakWithoutRoomStartsNothing(t *testing.T) {
	code, r, p := soak(t, "--conns 16000000 --processes 1")
	if code != exitFailed || r != nil || !strings.Contains(p.errors(), "would fit") || !strings.Contains(p.errors(), "RLIMIT_NOFILE") {
		t.Errorf("exit code %d, %+v: %s", code, r, p.errors())
	}
}

func TestASoakWhoseProcessesEndSaysSo(t *testing.T) {
	for command, want := range map[string]string{"serve": "a server process ended with signal: killed", "soak-clients": "a client process ended with signal: killed"} {
		p := start(t, strings.Fields("soak --conns 10 --processes 1 --duration 1h --echoes 0")...)
		p.line("opened") // said once all are open
		child := childOf(t, p.Process.Pid, command)
		if err := child.Kill(); err != nil {
			t.Fatal(err)
		}
		if code := p.exit(); code != exitFailed || !strings.Contains(p.errors(), want) {
			t.Errorf("%s: exit code %d: %s", command, code, p.errors())
		}
	}
}

// childOf returns the child of a process that runs a command of ours.
func childOf(t *testing.T, parent int, command string) *os.Process {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		line, err := os.ReadFile(file)
		status, _ := os.ReadFile(filepath.Join(filepath.Dir(file), "status"))
		if err != nil || !strings.Contains(string(status), fmt.Sprintf("\nPPid:\t%d\n", parent)) {
			continue // or it has ended meanwhile
		}
		if args := strings.Split(string(line), "\x00"); len(args) > 1 && args[1] == command {
			pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
			if err != nil {
				t.Fatal(err)
			}
			child, err := os.FindProcess(pid)
			if err != nil {
				t.Fatal(err)
			}
			return child
		}
	}
	t.Fatalf("process %d has no child that runs %s", parent, command)
	return nil
}
