package bench

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestSystemCallsAreCountedByWhateverThereIs(t *testing.T) {
	server := testServer(t)
	all := os.Getenv("PATH")
	for _, tool := range []string{"perf", "strace"} {
		t.Run(tool, func(t *testing.T) {
			at, err := exec.LookPath(tool)
			if err != nil {
				t.Skip(err)
			}
			only := t.TempDir()
			if err := os.Symlink(at, filepath.Join(only, tool)); err != nil {
				t.Fatal(err)
			}
			t.Setenv("PATH", only)
			m := measureOnce(t, mustParse(t, "4:32:1"), server.Target("ours", "/echo"), Settings{Trace: short})
			t.Setenv("PATH", all)
			if m.Syscalls == nil {
				t.Skip(m.Untraced)
			}
			s := m.Syscalls
			if s.Tracer != tool || s.Messages == 0 || s.Calls < 2*s.Messages || s.PerMessage < 2 || s.PerMessage > 10 {
				t.Errorf("%+v", s)
			}
			if read, write := s.ByName["recvfrom"]+s.ByName["read"], s.ByName["sendto"]+s.ByName["write"]; read < 0.9 || write < 0.9 || read > 4 || write > 4 {
				t.Errorf("%.2f reads and %.2f writes per message: %+v", read, write, s)
			}
		})
	}
}

func TestWithoutATracerThereIsNoFigureAndTheReason(t *testing.T) {
	server := testServer(t)
	dir := t.TempDir()
	t.Setenv("PATH", dir)
	for _, tt := range []struct {
		script string // of both
		want   []string
	}{
		{"", []string{"perf: exec: ", "; strace: exec: "}},
		{"#!/bin/sh\necho \"nobody may\ntrace $0\" >&2\nexit 1\n", []string{"perf: exit status 1: nobody may trace /", "; strace: it does not attach: nobody may trace /"}},
	} {
		if tt.script != "" {
			for _, name := range []string{"perf", "strace"} {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(tt.script), 0o755); err != nil {
					t.Fatal(err)
				}
			}
		}
		m := measureOnce(t, mustParse(t, "4:32:1"), server.Target("ours", "/echo"), Settings{Trace: short})
		for _, want := range tt.want {
			if m.Syscalls != nil || !strings.Contains(m.Untraced, want) || strings.Contains(m.Untraced, "\n") {
				t.Errorf("%+v, %q, want %q in it", m.Syscalls, m.Untraced, want)
			}
		}
	}
}

func TestWhatTracersPrintIsRead(t *testing.T) {
	calls, err := readPerf(strings.NewReader(`Events enabled
3926;;raw_syscalls:sys_enter;34139122;100.00;;
0;;syscalls:sys_enter_clone;34139122;100.00;;
125;;syscalls:sys_enter_read;34139122;100.00;;
`))
	if err != nil || calls[""] != 3926 || calls["read"] != 125 {
		t.Errorf("%v, %v", calls, err)
	}
	if calls, err := readPerf(strings.NewReader("<not counted>;;raw_syscalls:sys_enter;0;100.00;;\n")); err == nil {
		t.Errorf("not counted: %v", calls)
	}
	calls, err = readStrace(strings.NewReader(`% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 99.00    1.000000           5    200000           sendto
  1.00    0.000010           5    200100       100 recvfrom
------ ----------- ----------- --------- --------- ----------------
100.00    1.000010           5    400100       100 total
`))
	if err != nil || calls[""] != 400100 || calls["recvfrom"] != 200100 || calls["total"] != 0 {
		t.Errorf("%v, %v", calls, err)
	}
	if calls, err := readStrace(strings.NewReader("")); err == nil {
		t.Errorf("nothing: %v", calls)
	}
	if s := syscallsOf("perf", map[string]uint64{"": 300, "read": 100, "rare": 0}, 100); s.PerMessage != 3 || s.ByName["read"] != 1 || len(s.ByName) != 1 {
		t.Errorf("%+v", s)
	}
	if s := syscallsOf("perf", map[string]uint64{"": 300}, 0); s != nil {
		t.Errorf("per message of none: %+v", s)
	}
}
