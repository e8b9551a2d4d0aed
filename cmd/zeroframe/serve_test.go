package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"zeroframe/bench"
	"zeroframe/engine"
	"zeroframe/frame"
)

// client is an engine for connections to what is tested.
func client(t *testing.T) *engine.Engine {
	t.Helper()
	e, err := engine.New(engine.WithLoops(1), engine.WithPingInterval(0))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

// heard is a client's handler that passes on what it hears.
type heard struct {
	messages chan string
	closes   chan engine.CloseReason
}

func newHeard() *heard {
	return &heard{make(chan string, 100), make(chan engine.CloseReason, 1)}
}

func (h *heard) OnOpen(*engine.Conn) {}
func (h *heard) OnMessage(_ *engine.Conn, op frame.OpCode, p []byte) {
	h.messages <- fmt.Sprint(op, " ", string(p))
}
func (h *heard) OnClose(_ *engine.Conn, r engine.CloseReason) { h.closes <- r }

func within[T any](t *testing.T, c <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(patience):
		t.Fatalf("nothing within %v", patience)
	}
	return v
}

// dialAndSend connects, sends a message as soon as that is possible, and returns what is heard.
func dialAndSend(t *testing.T, e *engine.Engine, url, message string) (*heard, *engine.Conn) {
	t.Helper()
	h := newHeard()
	open := &opener{heard: h, message: message}
	c, err := e.Dial(t.Context(), url, nil, open)
	if err != nil {
		t.Fatal(err)
	}
	return h, c
}

type opener struct {
	*heard
	message string
}

func (o *opener) OnOpen(c *engine.Conn) { c.SendText(o.message) }

func TestServeEchoesOnItsRoutes(t *testing.T) {
	p := start(t, "serve", "--listen", "127.0.0.1:0", "--subprotocols", "a,b")
	url := p.line("listening on ")
	if !strings.HasPrefix(url, "ws://127.0.0.1:") || !strings.HasSuffix(url, "/") {
		t.Fatalf("listening on %q", url)
	}
	e := client(t)
	for _, path := range []string{"", "echo", "send", "session", "slow/0", "stream", "raw"} {
		h, c := dialAndSend(t, e, url+path, "hello")
		if got := within(t, h.messages); got != fmt.Sprint(frame.Text, " hello") {
			t.Errorf("/%s: %q", path, got)
		}
		c.Close(frame.CloseNormal, "")
		if r := within(t, h.closes); r.Code != frame.CloseNormal {
			t.Errorf("/%s: %+v", path, r)
		}
	}
	for path, want := range map[string]int{
		"other": 404, "echo/": 404, "flood/0": 400, "flood/x": 400, "flood/-1": 400, "flood/1e3": 400,
		fmt.Sprintf("flood/%d", int64(maxFlood)+1): 400, "flood/99999999999999999999": 400,
		"slow/x": 400, "slow/-1": 400, "slow/": 404, "slow/1.5": 400, fmt.Sprintf("slow/%d", maxSlow+1): 400,
	} {
		_, err := e.Dial(t.Context(), url+path, nil, engine.NopHandler{})
		var refused *engine.HandshakeError
		if !errors.As(err, &refused) || refused.Status != want {
			t.Errorf("/%s: %v, want %d", path, err, want)
		}
	}
}

func TestASignalClosesWith1001AndExitsWith0(t *testing.T) {
	for _, signal := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		t.Run(signal.String(), func(t *testing.T) {
			p := start(t, "serve", "--listen", "127.0.0.1:0")
			h, _ := dialAndSend(t, client(t), p.line("listening on "), "hello")
			within(t, h.messages)
			p.Process.Signal(signal)
			if r := within(t, h.closes); r.Code != frame.CloseGoingAway || r.Text != "Server is going down" || !r.Remote {
				t.Errorf("%+v", r)
			}
			if code := p.exit(); code != 0 {
				t.Errorf("exit code %d: %s", code, p.errors())
			}
		})
	}
}

// upgrade makes the handshake on a connection by hand.
func upgrade(t *testing.T, c net.Conn, path string) *bufio.Reader {
	t.Helper()
	c.SetDeadline(time.Now().Add(patience))
	fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n", path)
	r := bufio.NewReader(c)
	res, err := http.ReadResponse(r, nil)
	if err != nil || res.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("%v %v", res, err)
	}
	return r
}

func TestASecondSignalEndsTheServerAtOnce(t *testing.T) {
	p := start(t, "serve", "--listen", "127.0.0.1:0", "--close-timeout", "1h")
	addr := strings.TrimSuffix(strings.TrimPrefix(p.line("listening on "), "ws://"), "/")
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	r := upgrade(t, c, "/echo")
	p.Process.Signal(os.Interrupt)
	head := make([]byte, 4)
	if _, err := io.ReadFull(r, head); err != nil || !bytes.Equal(head[2:], []byte{1001 >> 8, 1001 & 0xFF}) {
		t.Fatalf("%x %v: no close frame with 1001", head, err)
	}
	p.Process.Signal(os.Interrupt) // the close frame is not answered
	if code := p.exit(); code != exitFailed {
		t.Errorf("exit code %d", code)
	}
}

func TestServeListensOnAUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	for _, round := range []string{"the first", "after a kill", "after a clean end"} {
		p := start(t, "serve", "--listen", "unix:"+path)
		if got := p.line("listening on "); got != "unix:"+path {
			t.Fatalf("%s: listening on %q", round, got)
		}
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatalf("%s: %v", round, err)
		}
		upgrade(t, c, "/echo")
		c.Close()
		if round == "the first" {
			if other := start(t, "serve", "--listen", "unix:"+path); other.exit() != exitFailed || !strings.Contains(other.errors(), "--listen") {
				t.Errorf("a second server on the same socket: %s", other.errors())
			}
			p.Process.Kill() // leaves the socket behind
		} else {
			p.Process.Signal(os.Interrupt)
		}
		p.exit()
	}
}

// snapshotWhen asks a server for its counts until they are as they must get to be; loops publish them when they rest.
func snapshotWhen(t *testing.T, metrics string, ok func(bench.Snapshot) bool) (shot bench.Snapshot) {
	t.Helper()
	for end := time.Now().Add(patience); shot.Engine == nil || !ok(shot); {
		res, err := http.Get(metrics + "stats?gc=1")
		if err != nil {
			t.Fatal(err)
		}
		err = json.NewDecoder(res.Body).Decode(&shot)
		res.Body.Close()
		if err != nil || time.Now().After(end) {
			t.Fatal(err, shot)
		}
	}
	return shot
}

func TestServeTellsItsCounts(t *testing.T) {
	p := start(t, "serve", "--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0", "--loops", "3")
	metrics, url := p.line("metrics on "), p.line("listening on ")
	h, _ := dialAndSend(t, client(t), url, "hello")
	within(t, h.messages)
	shot := snapshotWhen(t, metrics, func(s bench.Snapshot) bool { return s.Engine.MessagesIn != 0 })
	if shot.Engine.Open != 1 || shot.Engine.MessagesIn != 1 || shot.Loops != 3 || shot.Process.PID != p.Process.Pid {
		t.Errorf("%+v", shot)
	}
	if shot.Process.LiveHeap == 0 || shot.Process.Allocs == 0 || shot.Process.GCCycles < 3 || shot.Process.CPUSeconds <= 0 {
		t.Errorf("%+v", shot.Process)
	}
	for _, path := range []string{"debug/pprof/", "debug/pprof/heap", "debug/pprof/cmdline"} {
		res, err := http.Get(metrics + path)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != http.StatusOK {
			t.Errorf("%s: %s", path, res.Status)
		}
	}
}

// flooded counts what a flood brings.
type flooded struct {
	engine.NopHandler
	want, got int64
	largest   int
	done      chan struct{}
}

func (f *flooded) OnOpen(c *engine.Conn) { c.SendText("go") }

func (f *flooded) OnMessage(_ *engine.Conn, _ frame.OpCode, p []byte) {
	f.largest = max(f.largest, len(p))
	if f.got += int64(len(p)); f.got >= f.want {
		close(f.done)
	}
}

func TestFloodSendsAllItsBytesHoweverTheServerTreatsSlowPeers(t *testing.T) {
	for _, policy := range []string{"refuse", "drop", "close"} {
		for _, bytes := range []int64{1, floodMessage, 20<<20 + 7} {
			p := start(t, "serve", "--listen", "127.0.0.1:0", "--backpressure-policy", policy, "--max-backpressure", "100KiB")
			f := &flooded{want: bytes, done: make(chan struct{})}
			if _, err := client(t).Dial(t.Context(), fmt.Sprintf("%sflood/%d", p.line("listening on "), bytes), nil, f); err != nil {
				t.Fatal(err)
			}
			within(t, f.done)
			if f.got != bytes || f.largest != int(min(bytes, floodMessage)) {
				t.Errorf("%s: %d bytes in messages of at most %d, want %d", policy, f.got, f.largest, bytes)
			}
		}
	}
}

func TestBenchRunsEndToEnd(t *testing.T) {
	file := filepath.Join(t.TempDir(), "report.json")
	profiles := t.TempDir()
	p := start(t, "bench", "--duration", "400ms", "--warmup", "100ms", "--json", file, "--profile", profiles,
		"--row", "500:32:1", "--row", "20:32:16:/send", "--row", "2:1MiB:1", "--row", "20:32:16:/session")
	out := []string{}
	for s := range p.lines {
		out = append(out, s)
	}
	if code := p.exit(); code != 0 {
		t.Fatalf("exit code %d: %s\n%s", code, p.errors(), strings.Join(out, "\n"))
	}
	if last := out[len(out)-1]; !strings.Contains(last, " messages per second") {
		t.Errorf("the last line is %q", last)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var r bench.Report
	if err := json.Unmarshal(b, &r); err != nil {
		t.Fatal(err)
	}
	if !r.OK() || len(r.Rows) != 4 || r.Server.GOMAXPROCS != 1 || r.Server.Loops != 1 || r.Server.GoVersion == "" {
		t.Fatalf("%s", b)
	}
	for _, row := range r.Rows {
		if row.Messages == 0 || row.Errors != 0 || row.Latency.P50 == 0 || row.Server == nil || row.Server.PerMillion <= 0 || row.IO.Writes == 0 {
			t.Errorf("%+v", row)
		}
	}
	for i := range r.Rows {
		packed, err := os.Open(filepath.Join(profiles, fmt.Sprintf("row-%d.pprof", i+1)))
		if err != nil {
			t.Fatal(err)
		}
		defer packed.Close()
		z, err := gzip.NewReader(packed)
		if err != nil {
			t.Fatal(err)
		}
		if profile, err := io.ReadAll(z); err != nil || !bytes.Contains(profile, []byte("zeroframe/internal/loop.(*Conn)")) {
			t.Errorf("row %d: no profile of a server at work: %v", i+1, err)
		}
	}
	if heap := r.Rows[0].Heap.LivePerConn; heap == nil || *heap < 100 || *heap > 2000 {
		t.Errorf("%v bytes of live heap per connection", heap)
	}
}

func TestBenchReportsCompression(t *testing.T) {
	for mode, agreed := range map[string]string{"no-takeover": "20", "takeover": "20", "off": ""} {
		var out bytes.Buffer
		p := start(t, "bench", "--duration", "50ms", "--warmup", "0s", "--row", "20:1KiB:1:/session", "--compress", mode, "--payload-kind", "json")
		for s := range p.lines {
			fmt.Fprintln(&out, s)
		}
		if code := p.exit(); code != exitOK {
			t.Fatalf("%s: exit code %d: %s\n%s", mode, code, p.errors(), &out)
		}
		_, table, there := strings.Cut(out.String(), "agreed")
		if there != (agreed != "") || there && !strings.Contains(table, "/session      "+agreed+" ") {
			t.Errorf("%s: %s", mode, &out)
		}
	}
}

func TestLoadSaysWhatCompressionCameTo(t *testing.T) {
	p := start(t, "serve", "--listen", "127.0.0.1:0", "--compress", "takeover")
	url := p.line("listening on ")
	var out, errOut bytes.Buffer
	args := []string{"load", "--url", url + "echo", "--conns", "5", "--payload", "1KiB", "--duration", "50ms", "--warmup", "20ms",
		"--payload-kind", "json", "--compress"}
	if code := run(append(args, "--json"), &out, &errOut); code != exitOK {
		t.Fatalf("exit code %d: %s", code, &errOut)
	}
	var r loadReport
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		t.Fatal(err)
	}
	if c := r.Compression; r.Kind != bench.JSON || c == nil || c.Agreed != 5 || c.Sent != 1024*r.Total || c.SentRatio < 2 || c.EchoedRatio < 2 {
		t.Errorf("%s", &out)
	}
	out.Reset()
	if code := run(args, &out, &errOut); code != exitOK || !strings.Contains(out.String(), "permessage-deflate on 5 connections") {
		t.Errorf("exit code %d: %s", code, &out)
	}
}

func TestLoadPrintsJSON(t *testing.T) {
	p := start(t, "serve", "--listen", "127.0.0.1:0")
	url := p.line("listening on ")
	var out, errOut bytes.Buffer
	args := []string{"load", "--url", url + "echo", "--conns", "5", "--payload", "1KiB", "--inflight", "2", "--duration", "50ms",
		"--warmup", "20ms", "--loops", "1", "--text", "--json", "--server-pid", fmt.Sprint(p.Process.Pid)}
	if code := run(args, &out, &errOut); code != exitOK {
		t.Fatalf("exit code %d: %s", code, &errOut)
	}
	var r loadReport
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		t.Fatal(err)
	}
	if r.Messages == 0 || r.Errors != 0 || r.Conns != 5 || r.Payload != 1024 || r.InFlight != 2 || !r.Text || r.Bytes != 1024*r.Messages {
		t.Errorf("%s", &out)
	}
	if errOut.Len() != 0 {
		t.Errorf("a progress line without a terminal: %q", &errOut)
	}
}

func TestLoadOverTLS(t *testing.T) {
	p := start(t, "serve", "--listen", "127.0.0.1:0", "--tls-self-signed")
	url := p.line("listening on ")
	var out, errOut bytes.Buffer
	args := []string{"load", "--url", url + "echo", "--conns", "5", "--duration", "50ms", "--warmup", "20ms"}
	if code := run(args, &out, &errOut); code != exitFailed || !strings.Contains(errOut.String(), "--insecure takes any certificate") {
		t.Errorf("exit code %d: %s", code, &errOut)
	}
	args = append(args, "--insecure")
	if code := run(args, &out, &errOut); code != exitOK || !strings.Contains(out.String(), "5 handshakes in") {
		t.Errorf("exit code %d: %s%s", code, &out, &errOut)
	}
	out.Reset()
	if code := run(append(args, "--json"), &out, &errOut); code != exitOK {
		t.Fatalf("exit code %d: %s", code, &errOut)
	}
	var r loadReport
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		t.Fatal(err)
	}
	if r.Messages == 0 || r.Errors != 0 || r.TLS == nil || r.TLS.Handshakes != 5 || r.TLS.Resumed != 0 {
		t.Errorf("%s", &out)
	}
}

func TestAnInterruptedLoadReportsWhatItFoundAndFails(t *testing.T) {
	for mode, path := range map[string]string{"echo": "/echo", "fanout": "/topic/load"} {
		url, e := serveHere(t)
		p := start(t, "load", "--mode", mode, "--url", url+path, "--warmup", "0s", "--duration", "1h", "--json")
		for end := time.Now().Add(patience); e.Stats().MessagesIn == 0; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%s: no message came: %s", mode, p.errors())
			}
		}
		p.Process.Signal(os.Interrupt)
		p.line(`  "interrupted": true,`)
		if code := p.exit(); code != exitFailed || p.errors() != "zeroframe: error: interrupted: what had been measured is reported\n" {
			t.Errorf("%s: exit code %d: %s", mode, code, p.errors())
		}
	}
}
