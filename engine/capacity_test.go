package engine_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"zeroframe/engine"
	"zeroframe/frame"
)

// An accept hook can bound the connections of one address.
func TestAcceptHookRefusesByAddress(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		if s := (&server{t: t}); s.cut() {
			t.Skip("there nothing is accepted")
		}
		barred := netip.MustParseAddr("127.0.0.2")
		s := start(engine.WithAcceptHook(func(remote netip.AddrPort) (func(), bool) { return nil, remote.Addr() != barred }))
		s.handle("/", newEcho())
		good := s.open("/")
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: barred.AsSlice()}}
		nc, err := d.Dial("tcp", good.RemoteAddr().String())
		if err != nil {
			t.Skip("no second loopback address:", err)
		}
		bad := &client{Conn: nc, t: t, r: bufio.NewReader(nc)}
		defer bad.Close()
		bad.SetDeadline(time.Now().Add(patience))
		nc.Write(upgradeRequest("/"))
		resp, _ := bad.expectRefusal(http.StatusServiceUnavailable)
		if date := resp.Header["Date"]; date != nil {
			t.Error("an answer that was made when the engine was has a date:", date)
		}
		good.write(frame.Text, []byte("served"))
		good.expect(frame.Text, []byte("served"))
		eventually(t, "the refusal is counted", func() bool { return s.Stats().RefusedByHook == 1 })
	})
}

// childLimit in the environment makes TestOutOfDescriptors the server in a process that may have so many files.
const childLimit = "ZEROFRAME_TEST_NOFILE"

// Out of descriptors, those who are connected are served as ever, whoever comes is refused or waits, and when
// descriptors return, so do clients.
func TestOutOfDescriptors(t *testing.T) {
	if os.Getenv(childLimit) != "" {
		serveWithFewDescriptors(t)
		return
	}
	const clients, limit = 400, 128
	exe, err := os.Executable()
	if err != nil {
		t.Skip(err)
	}
	cmd := exec.Command(exe, "-test.run=^TestOutOfDescriptors$", "-test.timeout=60s")
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d", childLimit, limit))
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		stdin.Close() // ends the child
		if err := cmd.Wait(); err != nil {
			t.Errorf("the server ended with %v", err)
		}
	}()
	lines := bufio.NewReader(stdout)
	addr, err := lines.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	go io.Copy(io.Discard, lines)
	addr = strings.TrimSpace(addr)

	type result struct {
		c  *client
		ok bool
	}
	visit := func(wait time.Duration) result {
		nc, err := net.Dial("tcp", addr)
		if err != nil {
			return result{}
		}
		c := &client{Conn: nc, t: t, r: bufio.NewReader(nc)}
		c.SetDeadline(time.Now().Add(wait))
		nc.Write(upgradeRequest("/"))
		resp, err := http.ReadResponse(c.r, nil)
		switch {
		case err != nil: // it waits in the backlog, or was dropped
		case resp.StatusCode == http.StatusSwitchingProtocols:
			c.SetDeadline(time.Now().Add(patience))
			return result{c, true}
		case resp.StatusCode != http.StatusServiceUnavailable:
			t.Errorf("status %d", resp.StatusCode)
		}
		nc.Close()
		return result{}
	}
	served := func(list []*client) {
		t.Helper()
		for i, c := range list {
			want := fmt.Appendf(nil, "message %d", i)
			c.write(frame.Text, want)
			c.expect(frame.Text, want)
		}
	}
	var all sync.WaitGroup
	results := make(chan result, clients)
	for range clients {
		all.Go(func() { results <- visit(3 * time.Second) })
	}
	all.Wait()
	close(results)
	var in []*client
	for r := range results {
		if r.ok {
			in = append(in, r.c)
		}
	}
	defer func() {
		for _, c := range in {
			c.Close()
		}
	}()
	if len(in) < limit/2 || len(in) >= limit {
		t.Fatalf("%d of %d clients were let in by a server of %d descriptors", len(in), clients, limit)
	}
	served(in)
	served(in)
	// One goes, another comes: again and again.
	for range 2 {
		in[0].Close()
		in = in[1:]
		for end := time.Now().Add(patience); ; {
			if r := visit(3 * time.Second); r.ok {
				in = append(in, r.c)
				break
			}
			if time.Now().After(end) {
				t.Fatal("nobody is let in though descriptors have returned")
			}
		}
	}
	served(in)
}

func serveWithFewDescriptors(t testing.TB) {
	var n int
	fmt.Sscan(os.Getenv(childLimit), &n)
	limitDescriptors(t, n)
	e, err := engine.New(engine.WithLoops(2), engine.WithMaxConns(0))
	if err != nil {
		t.Fatal(err)
	}
	echo := func(c *engine.Conn, op frame.OpCode, payload []byte) { c.Reply(op, payload) }
	if err := e.Handle("/", engine.HandlerFunc(echo)); err != nil {
		t.Fatal(err)
	}
	ln, err := e.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- e.Serve(ln) }()
	fmt.Println(ln.Addr())
	io.Copy(io.Discard, os.Stdin)
	select {
	case err := <-served:
		t.Errorf("Serve ended by itself: %v", err)
	default:
	}
	if s := e.Stats(); s.RefusedNoFile == 0 {
		t.Errorf("no refusal for want of descriptors is counted: %+v", s)
	}
	e.Close()
	if err := <-served; !errors.Is(err, engine.ErrServerClosed) {
		t.Errorf("Serve: %v", err)
	}
}

// Clients that fall silent, wherever they stand, cost nothing once the timeouts have passed: the engine, still running,
// has the descriptors, buffers and goroutines it had before.
func TestSilentClientsLeaveNothing(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithPingInterval(0), engine.WithIdleTimeout(150*time.Millisecond), engine.WithCloseTimeout(50*time.Millisecond),
			engine.WithWriteTimeout(150*time.Millisecond), engine.WithHandshakeTimeout(150*time.Millisecond), engine.WithMaxBackpressure(1000))
		h := newPauser()
		s.handle("/", h)
		s.narrow()
		glut := pattern(s.glut())
		stages := map[string]func(c *client){
			"before the request":    func(*client) {},
			"inside the request":    func(c *client) { c.send(upgradeRequest("/")[:60]) },
			"after the handshake":   func(c *client) { c.send(upgradeRequest("/")) },
			"inside a frame header": func(c *client) { c.send(append(upgradeRequest("/"), encode(true, frame.Text, glut[:1000])[:3]...)) },
			"inside a message": func(c *client) {
				c.send(append(upgradeRequest("/"), encode(false, frame.Text, glut[:500])...))
			},
			"inside a large frame": func(c *client) {
				c.send(append(upgradeRequest("/"), encode(true, frame.Text, glut[:5000])[:900]...))
			},
			"inside a ping":    func(c *client) { c.send(append(upgradeRequest("/"), encode(true, frame.Ping, glut[:100])[:50]...)) },
			"after its close":  func(c *client) { c.send(append(upgradeRequest("/"), encode(true, frame.Close, nil)...)) },
			"after an error":   func(c *client) { c.send(append(upgradeRequest("/"), 0xFF, 0xFF)) },
			"reading nothing":  func(c *client) { c.send(append(upgradeRequest("/"), encode(true, frame.Text, []byte("glut"))...)) },
			"after a bad head": func(c *client) { c.send([]byte("\r\r\r\n\r\n\r\n")) },
		}
		flood := &flooder{pauser: h, glut: glut}
		s.handle("/flood", flood)
		run := func() {
			var clients []*client
			for _, stage := range stages {
				c := s.connect()
				stage(c)
				clients = append(clients, c)
			}
			c := s.connect()
			c.send(append(upgradeRequest("/flood"), encode(true, frame.Text, []byte("go"))...))
			eventually(t, "the engine has dropped all", func() bool { return s.Stats().Conns == 0 })
			for _, c := range append(clients, c) {
				c.Close()
			}
		}
		run() // what is opened once is open now
		files, goroutines := descriptors(), runtime.NumGoroutine()
		for range 3 {
			run()
			expectNothingOut(t)
		}
		eventually(t, fmt.Sprintf("descriptors are %d again", files), func() bool { return descriptors() <= files })
		eventually(t, fmt.Sprintf("goroutines are %d again", goroutines), func() bool { return runtime.NumGoroutine() <= goroutines })
		eventually(t, "none counts as open", func() bool { return s.Stats().Open == 0 })
	})
}

// flooder answers every message with more than the peer's side takes.
type flooder struct {
	*pauser
	glut []byte
}

func (h *flooder) OnMessage(c *engine.Conn, _ frame.OpCode, _ []byte) { c.Send(frame.Binary, h.glut) }
