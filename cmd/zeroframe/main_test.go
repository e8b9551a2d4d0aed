package main

import (
	"bufio"
	"bytes"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
)

// beMain makes this test binary the command itself: what tests start, and what `bench` starts in turn, is then built
// with the same flags as the tests.
const beMain = "ZEROFRAME_TEST_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(beMain) != "" {
		main()
		panic("main returned")
	}
	os.Exit(m.Run())
}

// patience is how long a test waits for what must happen.
const patience = time.Minute

// process is the command, running.
type process struct {
	t *testing.T
	*exec.Cmd
	lines  chan string // of standard output
	exited chan struct{}
	mu     sync.Mutex
	stderr bytes.Buffer
}

// Write takes standard error.
func (p *process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stderr.Write(b)
}

func (p *process) errors() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stderr.String()
}

// command is the command, not started yet.
func command(args ...string) *exec.Cmd {
	c := exec.Command(os.Args[0], args...)
	c.Env = append(os.Environ(), beMain+"=1", "GORACE=atexit_sleep_ms=0")
	return c
}

func start(t *testing.T, args ...string) *process {
	t.Helper()
	return startReading(t, nil, args...)
}

// startReading starts the command with in for its standard input; nil: none.
func startReading(t *testing.T, in *os.File, args ...string) *process {
	t.Helper()
	p := &process{t: t, Cmd: command(args...), lines: make(chan string, 1000), exited: make(chan struct{})}
	if in != nil {
		p.Stdin = in
	}
	p.Stderr = p
	out, err := p.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		for s := bufio.NewScanner(out); s.Scan(); {
			p.lines <- s.Text()
		}
		close(p.lines)
		p.Wait()
		close(p.exited)
	}()
	t.Cleanup(func() {
		p.Process.Kill()
		<-p.exited
	})
	return p
}

// line waits for a line of output that begins with prefix, and returns the rest of it.
func (p *process) line(prefix string) string {
	p.t.Helper()
	timeout := time.After(patience)
	for {
		select {
		case s, ok := <-p.lines:
			if !ok {
				p.t.Fatalf("no line %q; standard error: %s", prefix, p.errors())
			}
			if rest, found := strings.CutPrefix(s, prefix); found {
				return rest
			}
		case <-timeout:
			p.t.Fatalf("no line %q within %v; standard error: %s", prefix, patience, p.errors())
		}
	}
}

// exit waits for the end and returns the exit code.
func (p *process) exit() int {
	p.t.Helper()
	select {
	case <-p.exited:
	case <-time.After(patience):
		p.t.Fatalf("still running after %v; standard error: %s", patience, p.errors())
	}
	return p.ProcessState.ExitCode()
}

func TestWrongCommandLinesNameTheFlagAndExitWith2(t *testing.T) {
	for args, want := range map[string]string{
		"":                                                 "expected one of",
		"fly":                                              "fly",
		"serve --frobnicate":                               "--frobnicate",
		"serve --listen=":                                  "--listen",
		"serve --listen unix:":                             "--listen",
		"serve --loops x":                                  "--loops",
		"serve --loops 0":                                  "--loops: 0 is not between",
		"serve --max-message 1e6":                          "--max-message",
		"serve --max-message 0":                            "--max-message: 0 is not between",
		"serve --max-frame 2TiB":                           "--max-frame",
		"serve --read-buffer 1":                            "--read-buffer: 1 is not between",
		"serve --ping-timeout 0":                           "--ping-timeout",
		"serve --ping-interval x":                          "--ping-interval",
		"serve --idle-timeout -1s":                         "--idle-timeout",
		"serve --handshake-timeout 0s":                     "--handshake-timeout",
		"serve --close-timeout 0s":                         "--close-timeout",
		"serve --write-timeout -1s":                        "--write-timeout",
		"serve --lifetime -1s":                             "--lifetime",
		"serve --ping-policy lax":                          "--ping-policy",
		"serve --max-conns -1":                             "--max-conns",
		"serve --max-backpressure 0":                       "--max-backpressure",
		"serve --backpressure-policy x":                    "--backpressure-policy",
		"serve --overflow drop":                            "--overflow",
		"serve --subprotocols a,b/c":                       "--subprotocols",
		"serve --session-queue-messages 0":                 "--session-queue-messages",
		"serve --session-queue-bytes 0":                    "--session-queue-bytes",
		"serve --session-queue-bytes 2TiB":                 "--session-queue-bytes",
		"serve --log-level loud":                           "--log-level",
		"serve --compress on":                              "--compress",
		"serve --compress-level 10":                        `--compress-level: "10" is not 1 to 9`,
		"serve --compress-level best":                      "--compress-level",
		"serve --compress-threshold -1":                    "--compress-threshold",
		"serve --window-bits 7":                            "--window-bits: 7 is not between 8 and 15",
		"serve --window-bits 16":                           "--window-bits: 16 is not between 8 and 15",
		"serve --tls-cert x":                               "--tls-cert: --tls-key is missing",
		"serve --tls-key x":                                "--tls-key: --tls-cert is missing",
		"serve --tls-cert x --tls-key x --tls-self-signed": "--tls-self-signed: --tls-cert",
		"serve --proxy-protocol localhost":                 `--proxy-protocol: "localhost" is neither an address nor ADDRESS/BITS`,
		"serve --proxy-protocol ::ffff:10.0.0.0/95":        "--proxy-protocol",
		"serve --proxy-protocol 10.0.0.0/33":               "--proxy-protocol",
		"serve --proxy-protocol ::1,fe80::1%lo":            `"fe80::1%lo" is neither`,
		"serve --proxy-protocol=":                          "--proxy-protocol",
		"serve --max-upload -1":                            "--max-upload",
		"serve --shutdown-delay -1s":                       "--shutdown-delay",
		"serve --backplane redis://h":                      `--backplane: nats: scheme "redis"`,
		"serve --backplane ,":                              "--backplane: nats: no URL",
		"cat":                                              "<url>",
		"cat http://localhost/":                            "ws://host",
		"cat localhost:9001":                               "ws://host",
		"cat ws://u:secret@h:x/":                           "port",
		"cat ws://h --header X":                            `--header: "X" is not NAME:VALUE`,
		"cat ws://h -H X/Y:1":                              "--header",
		"cat ws://h -H :authority:1":                       "--header",
		"cat ws://h -H X:\x01":                             "--header: the value of X has control characters",
		"cat ws://h -H host:x":                             "--header: Host is the handshake's own",
		"cat ws://h -H sec-websocket-protocol:x":           "--subprotocol",
		"cat ws://h -s a/b":                                "--subprotocols",
		"cat ws://h --max-message 0":                       "--max-message",
		"cat ws://h --ping-interval 1ns":                   "--ping-interval",
		"cat ws://h --ping-timeout 0s":                     "--ping-timeout",
		"cat ws://h --handshake-timeout 0s":                "--handshake-timeout",
		"cat ws://h --close-timeout 0s":                    "--close-timeout",
		"cat ws://h --linger -1s":                          "--linger: -1s is below 0",
		"cat ws://h --binary-as octal":                     "--binary-as",
		"cat ws://h --binary-as raw --json":                "--binary-as: --json",
		"cat ws://h --json-input -b":                       "--json-input: --binary",
		"cat ws://h --json-input --slash":                  "--json-input: --slash",
		"load --url http://localhost/":                     "--url",
		"load --conns 0":                                   "--conns: 0 is not between",
		"load --payload 1GiB":                              "--payload",
		"load --inflight 0":                                "--inflight",
		"load --duration 0s":                               "--duration",
		"load --warmup -1s":                                "--warmup",
		"load --loops -1":                                  "--loops",
		"load --server-pid -1":                             "--server-pid",
		"load --mode flood":                                "--mode",
		"load --mode fanout --subscribers 0":               "--subscribers: 0 is not between",
		"load --mode fanout --publishers 0":                "--publishers: 0 is not between",
		"load --mode fanout --payload 10":                  "--payload: 10 is not between 11",
		"load --mode fanout --not-reading 1000":            "--not-reading: 1000 is not between 0 and 999",
		"load --mode fanout --compress":                    "--compress: not with --mode fanout",
		"load --mode fanout --conns 10":                    "--conns: not with --mode fanout",
		"load --subscribers 10":                            "--subscribers: only with --mode fanout",
		"load --publishers 1":                              "--publishers: only with --mode fanout",
		"load --not-reading 0":                             "--not-reading: only with --mode fanout",
		"load --payload-kind xml":                          `--payload-kind: "xml" is none of random, json, cjk`,
		"bench --payload-kind xml":                         "--payload-kind",
		"bench --compress on":                              "--compress",
		"bench --duration 0s":                              "--duration",
		"bench --row 100":                                  "--row",
		"soak --conns 0":                                   "--conns: 0 is not between",
		"soak --mute 10001":                                "--mute: 10001 is not between 0 and 10000",
		"soak --memory --ping-interval 0s":                 "--ping-interval: 0s is not between",
		"soak --ping-timeout 0s":                           "--ping-timeout",
		"soak --tolerance 0s":                              "--tolerance",
		"soak --duration 49h":                              "--duration",
		"soak --echoes -1":                                 "--echoes",
		"soak --loops -1":                                  "--loops",
		"soak --gogc -1":                                   "--gogc",
		"soak --processes -1":                              "--processes",
		"soak --memory --processes 2":                      "--processes: with --memory there is one",
	} {
		var out, errOut bytes.Buffer
		args = strings.Replace(args, " -1", "=-1", 1) // a value that begins with a dash
		if code := run(strings.Fields(args), &out, &errOut); code != exitUsage {
			t.Errorf("%q: exit code %d, want %d: %s", args, code, exitUsage, &errOut)
		}
		if !strings.Contains(errOut.String(), want) {
			t.Errorf("%q: %s\nwant %q in it", args, &errOut, want)
		}
	}
}

func TestHelpShowsTheDefaultsOfTheEngine(t *testing.T) {
	var out, errOut bytes.Buffer
	if code := run([]string{"serve", "--help"}, &out, &errOut); code != exitOK {
		t.Fatalf("exit code %d: %s", code, &errOut)
	}
	for _, want := range []string{
		"--max-message=16MiB", "--max-frame=16MiB", "--read-buffer=64KiB", "--max-backpressure=1MiB", "--ping-interval=30s",
		"--ping-timeout=15s", "--handshake-timeout=10s", "--close-timeout=5s", "--idle-timeout=0s", `--backpressure-policy="refuse"`,
		"--write-timeout=30s", "--lifetime=0s", `--ping-policy="strict"`, "--session-queue-messages=8",
		"--session-queue-bytes=1MiB", `--overflow="suspend"`, `--compress="off"`, "--compress-level=1",
		"--compress-threshold=512B", "--window-bits=15",
		"--max-upload=0", "--backplane=nats://", "--shutdown-delay=0s", "--tls-self-signed",
		"/flood/{bytes}", "/session", "/slow/{ms}", "/json", "/stream", "/topic/{name}", "/raw", "/healthz", "/upload",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in:\n%s", want, &out)
		}
	}
}

func TestWhatFailsLaterExitsWith1AndSaysWhy(t *testing.T) {
	p := start(t, "serve", "--listen", "127.0.0.1:0")
	addr := strings.TrimSuffix(strings.TrimPrefix(p.line("listening on "), "ws://"), "/")
	for args, want := range map[string]string{
		"serve --listen " + addr:                         "--listen " + addr,
		"serve --listen 127.0.0.1:0 --metrics " + addr:   "--metrics " + addr,
		"load --url ws://" + addr + "/none":              "404",
		"bench --duration 50ms --json /no/such/dir/file": "--json",
		"soak --memory --json /no/such/dir/file":         "--json",
	} {
		var out, errOut bytes.Buffer
		if code := run(strings.Fields(args), &out, &errOut); code != exitFailed || !strings.Contains(errOut.String(), want) {
			t.Errorf("%q: exit code %d: %s\nwant %q in it", args, code, &errOut, want)
		}
	}
}
