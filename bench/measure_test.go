package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"zeroframe/engine"
	"zeroframe/frame"
)

// TestMain is a server to be measured when a test has started it as one.
func TestMain(m *testing.M) {
	if os.Getenv("BENCH_TEST_SERVER") == "" {
		os.Exit(m.Run())
	}
	if err := serveTests(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// serveTests echoes at /echo, sends to all at /topic, and says how it is at another address, until an interrupt.
func serveTests() error {
	e, err := engine.New(engine.WithLoops(1), engine.WithCompression(engine.Compression{Threshold: -1}))
	if err != nil {
		return err
	}
	topic := &topicServer{engine: e}
	if err := errors.Join(e.Handle("/echo", engine.HandlerFunc(echo)), e.Handle("/topic", topic)); err != nil {
		return err
	}
	ln, err := e.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	metrics, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	go http.Serve(metrics, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		json.NewEncoder(w).Encode(TakeSnapshot(e, 1, r.URL.Query().Get("gc") == "1"))
	}))
	fmt.Printf("ws://%v http://%v\n", ln.Addr(), metrics.Addr())
	return e.Serve(ln)
}

// testServer starts it in a process of its own.
func testServer(t *testing.T) *Server {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	s, err := StartServer(t.Context(), []string{self}, []string{"BENCH_TEST_SERVER=1", "GOMAXPROCS=1"}, -1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Stop() })
	return s
}

// measureOnce measures for a moment, and fails the test unless all went well.
func measureOnce(t *testing.T, s Scenario, to Target, settings Settings) *Measurement {
	t.Helper()
	if settings.Duration == 0 {
		settings.Duration = short
	}
	m, err := Measure(t.Context(), s, to, settings)
	for i := 0; i < 3 && err == nil && m.Messages == 0 && m.Errors == 0; i++ { // a busy machine had no time for either side
		settings.Duration *= 4
		m, err = Measure(t.Context(), s, to, settings)
	}
	if err != nil {
		t.Fatalf("%v: %v", &s, err)
	}
	if m.Errors != 0 || m.Messages == 0 || m.Total < m.Messages {
		t.Fatalf("%v: %d messages, %d errors: %s", &s, m.Messages, m.Errors, m.Error)
	}
	return m
}

func mustParse(t *testing.T, spec string) Scenario {
	t.Helper()
	s, err := ParseScenario(spec)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestEveryFormIsMeasured(t *testing.T) {
	server := testServer(t)
	for spec, counted := range map[string]string{
		"20:32:1":                "message",
		"20:32:16":               "message",
		"4:100KiB:2":             "message",
		"20:1KiB:1,text":         "message",
		"20:1KiB:1,text,cjk":     "message",
		"20:1KiB:1,json,deflate": "message",
		"20:32:64,rate=2000":     "message",
		"600:32:1":               "message",
		"fanout:20:32:1":         "delivery",
		"fanout:20:32:8":         "delivery",
		"storm:4:32:1":           "connection",
		"storm:4:32:1,rate=200":  "connection",
		"pings:20:8:1":           "ping",
		"pings:20:8:4,rate=1000": "ping",
	} {
		t.Run(spec, func(t *testing.T) {
			s := mustParse(t, spec)
			path := "/echo"
			if s.Form == FanOut {
				path = "/topic"
			}
			var doing []string
			m := measureOnce(t, s, server.Target("ours", path), Settings{
				Duration: short / 2, Warmup: short / 10, Progress: func(what string, _ func() uint64) { doing = append(doing, what) },
			})
			if m.Counted != counted || m.Target != "ours" || m.Scenario != s || m.Elapsed < short/2 {
				t.Errorf("%+v", m)
			}
			if m.PerSecond <= 0 || m.Client.PerMillion <= 0 || m.Client.Utilisation <= 0 {
				t.Errorf("%v per second, client %v", m.PerSecond, m.Client)
			}
			if m.Server == nil || m.Server.Seconds <= 0 || m.Memory == nil && runtime.GOOS == "linux" || m.Heap == nil || m.IO == nil {
				t.Errorf("server %v, memory %v, heap %v, IO %v", m.Server, m.Memory, m.Heap, m.IO)
			}
			if many := s.Conns >= enoughConns; (m.Heap.LivePerConn != nil) != many || m.Memory != nil && (m.Memory.PerConn != nil) != many {
				t.Errorf("per connection: %+v, %+v", m.Heap, m.Memory)
			}
			if m.Syscalls != nil {
				t.Error("system calls were counted")
			}
			if (m.Pace != nil) != s.OpenLoop() || (m.Compression != nil) != s.Compress {
				t.Errorf("pace %+v, compression %+v", m.Pace, m.Compression)
			}
			checkCurve(t, m)
			if !reflect.DeepEqual(doing, []string{"connecting", "warming up", "measuring"}) && doing[len(doing)-1] != "measuring" {
				t.Errorf("told of %q", doing)
			}
		})
	}
}

func checkCurve(t *testing.T, m *Measurement) {
	t.Helper()
	if len(m.Curve) < 2 || m.Curve[0].Q != 0 || m.Curve[len(m.Curve)-1] != (Quantile{1, m.Latency.Max}) {
		t.Fatalf("%v, latencies %+v", m.Curve, m.Latency)
	}
	for i, at := range m.Curve[1:] {
		if before := m.Curve[i]; at.Q <= before.Q || at.Value < before.Value {
			t.Errorf("%v after %v", at, before)
		}
	}
	if l := m.Latency; l.P50 <= 0 || l.P50 > l.P99 || l.P99 > l.P999 || l.P999 > l.Max {
		t.Errorf("%+v", l)
	}
}

func TestTLSIsMeasured(t *testing.T) {
	url, trust := serveTLS(t, echo)
	to := Target{Name: "ours", URL: url, TLS: trust}
	for _, spec := range []string{"10:32:1,tls", "10:16KiB:1,tls", "storm:4:32:1,tls"} {
		m := measureOnce(t, mustParse(t, spec), to, Settings{})
		if m.TLS == nil || m.TLS.Handshakes == 0 || m.TLS.Version != "TLS 1.3" {
			t.Errorf("%s: %+v", spec, m.TLS)
		}
		if m.Server != nil || m.Memory != nil || m.Heap != nil || m.ClientBound {
			t.Errorf("%s: figures of a server that does not tell: %+v", spec, m)
		}
	}
}

func TestIdleMemoryIsASlope(t *testing.T) {
	defer func(d time.Duration) { restStep = d }(restStep)
	restStep = 5 * time.Millisecond
	server := testServer(t)
	for _, spec := range []string{"idle:600:32:1", "idle:800:32:1,from=100"} {
		s := mustParse(t, spec)
		m := measureOnce(t, s, server.Target("ours", "/echo"), Settings{})
		if want := uint64(s.Conns + s.From); m.Messages < want {
			t.Errorf("%s: %d echoes, want %d at least", spec, m.Messages, want)
		}
		if m.Heap == nil || m.Heap.LivePerConn == nil || *m.Heap.LivePerConn < 100 || *m.Heap.LivePerConn > 2000 {
			t.Errorf("%s: heap %+v", spec, m.Heap)
		}
		if m.Heap.AllocsPerMessage != nil {
			t.Errorf("%s: allocations per message of no run", spec)
		}
		if runtime.GOOS == "linux" && (m.Memory == nil || !m.Memory.Collected || m.Memory.RSS == 0 || m.Memory.PerConn == nil) {
			t.Errorf("%s: memory %+v", spec, m.Memory)
		}
	}
	silent := server.Target("ours", "/echo")
	silent.Snapshot = nil
	if m := measureOnce(t, mustParse(t, "idle:300:32:1"), silent, Settings{}); m.Heap != nil || m.Memory != nil && m.Memory.Collected {
		t.Errorf("heap %+v, memory %+v of a server that does not tell", m.Heap, m.Memory)
	}
}

func TestAnEngineThatCountsOtherwiseIsAnError(t *testing.T) {
	server := testServer(t)
	to := server.Target("ours", "/echo")
	tell, more := to.Snapshot, uint64(0)
	to.Snapshot = func(ctx context.Context, collect bool) (*Snapshot, error) {
		shot, err := tell(ctx, collect)
		if err == nil {
			more++
			shot.Engine.MessagesIn += more
		}
		return shot, err
	}
	m, err := Measure(t.Context(), mustParse(t, "2:32:1"), to, Settings{Duration: short})
	if err != nil || m.Errors != 1 || !strings.Contains(m.Error, "counted") {
		t.Errorf("%v, %+v", err, m)
	}
}

func TestWhatCannotBeMeasuredIsRefused(t *testing.T) {
	for spec, url := range map[string]string{
		"1:32:1,text":    "tcp://127.0.0.1:1",
		"1:0:1":          "tcp://127.0.0.1:1",
		"pings:1:8:1":    "tcp://127.0.0.1:1",
		"fanout:5:32:1":  "tcp://127.0.0.1:1",
		"1:32:1,deflate": "tcp://127.0.0.1:1",
		"1:32:1,tls":     "ws://127.0.0.1:1/",
		"1:32:1":         "wss://127.0.0.1:1/",
	} {
		_, err := Measure(t.Context(), mustParse(t, spec), Target{Name: "x", URL: url}, Settings{Duration: short})
		var unsuitable *UnsuitableError
		if !errors.As(err, &unsuitable) {
			t.Errorf("%s to %s: %v", spec, url, err)
		}
	}
	var config *ConfigError
	if _, err := Measure(t.Context(), mustParse(t, "small"), Target{URL: "ws://127.0.0.1:1/"}, Settings{}); !errors.As(err, &config) || config.Field != "Duration" {
		t.Errorf("without a duration: %v", err)
	}
	if _, err := Measure(t.Context(), mustParse(t, "small"), Target{URL: "http://127.0.0.1:1/"}, Settings{Duration: short}); !errors.As(err, &config) || config.Field != "URL" {
		t.Errorf("http: %v", err)
	}
	if _, err := Measure(t.Context(), mustParse(t, "small"), Target{URL: "ws://127.0.0.1:1/"}, Settings{Duration: short}); err == nil || !strings.Contains(err.Error(), "nobody listens") {
		t.Errorf("nobody: %v", err)
	}
}

func TestAServerThatAltersWhatItEchoesIsCaughtInEveryForm(t *testing.T) {
	n := 0
	url := serve(t, func(c *engine.Conn, op frame.OpCode, p []byte) {
		if n++; n%50 == 0 {
			p[len(p)/2] ^= 1
		}
		c.Reply(op, p)
	})
	for _, spec := range []string{"2:64:1", "2:64:4,text,cjk", "2:64:4,json", "2:64:16,rate=5000", "idle:100:64:1"} {
		m, err := Measure(t.Context(), mustParse(t, spec), Target{URL: url}, Settings{Duration: short})
		if err != nil || m.Errors == 0 || m.Error == "" {
			t.Errorf("%s: %v, %+v", spec, err, m)
		}
	}
}

func TestAPathOfTheScenarioTakesThePlaceOfTheTargets(t *testing.T) {
	for _, test := range [][3]string{
		{"ws://host:1/echo", "/send", "ws://host:1/send"},
		{"ws://host:1", "/a?b", "ws://host:1/a?b"},
		{"ws://host:1/echo", "", "ws://host:1/echo"},
		{"ws+unix:///tmp/s:/echo", "/send", "ws+unix:///tmp/s:/send"},
		{"tcp://host:1", "/send", "tcp://host:1"},
	} {
		to := Target{URL: test[0]}
		if got := to.at(&Scenario{Row: Row{Path: test[1]}}); got != test[2] {
			t.Errorf("%s with %q: %s, want %s", test[0], test[1], got, test[2])
		}
	}
}

func TestMeasurementsAreReadBackFromJSON(t *testing.T) {
	m := measureOnce(t, mustParse(t, "5:32:8,rate=1000"), Target{Name: "ours", URL: serve(t, echo)}, Settings{Duration: 20 * time.Millisecond})
	b, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	var back Measurement
	if err := json.Unmarshal(b, &back); err != nil {
		t.Fatal(err)
	}
	m.Began, back.Began = time.Time{}, time.Time{} // the monotonic part is lost
	if !reflect.DeepEqual(m, &back) {
		t.Errorf("changed on its way through %s", b)
	}
	if strings.Contains(string(b), `"server_cpu"`) || strings.Contains(string(b), `"syscalls"`) {
		t.Errorf("what is not known is there: %s", b)
	}
}
