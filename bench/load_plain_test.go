package bench

import (
	"net"
	"strings"
	"testing"
	"time"
)

// servePlain echoes what change makes of it, and ends a connection when that is nothing.
func servePlain(t *testing.T, change func(b []byte) []byte) Target {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				b := make([]byte, 32<<10)
				for {
					n, err := c.Read(b)
					if err != nil {
						return
					}
					out := change(b[:n])
					if _, err := c.Write(out); err != nil || len(out) == 0 {
						return
					}
				}
			}()
		}
	}()
	return Target{Name: "plain", URL: "tcp://" + ln.Addr().String()}
}

func same(b []byte) []byte { return b }

func TestPlainTCPIsMeasured(t *testing.T) {
	defer func(d time.Duration) { restStep = d }(restStep)
	restStep = 5 * time.Millisecond
	to := servePlain(t, same)
	for _, spec := range []string{
		"10:32:1", "10:1:1", "10:100:16", "2:300000:3", "3:1000:40,json", "10:32:64,rate=2000", "storm:4:32:1", "storm:4:32:1,rate=200", "idle:100:32:1,from=20",
	} {
		t.Run(spec, func(t *testing.T) {
			s := mustParse(t, spec)
			m := measureOnce(t, s, to, Settings{Duration: short / 2, Loops: 2, Warmup: short / 5})
			if s.Form != Idle && m.Bytes != m.Messages*uint64(s.Payload) {
				t.Errorf("%d bytes in %d messages", m.Bytes, m.Messages)
			}
			if s.Form != Idle {
				checkCurve(t, m)
			}
		})
	}
}

func TestPlainTCPThatIsNoEchoIsCaught(t *testing.T) {
	for name, test := range map[string]struct {
		change func([]byte) []byte
		want   string // "": whatever follows
	}{
		"altered":  {func(b []byte) []byte { b[len(b)-1] ^= 1; return b }, "differs"},
		"ended":    {func([]byte) []byte { return nil }, ""},
		"repeated": {func(b []byte) []byte { return append(b[:len(b):len(b)], b...) }, ""},
	} {
		for _, spec := range []string{"2:100:1", "2:100000:2", "2:100:8,rate=2000", "storm:2:100:1"} {
			m, err := Measure(t.Context(), mustParse(t, spec), servePlain(t, test.change), Settings{Duration: short / 2})
			if err != nil || m.Errors == 0 || !strings.Contains(m.Error, test.want) && !strings.HasPrefix(spec, "storm") {
				t.Errorf("%s, %s: %v, %+v", name, spec, err, m)
			}
		}
	}
}
