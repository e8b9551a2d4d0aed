package natstest

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"zeroframe/backplane/nats"
	"zeroframe/engine"
)

// What the processes are told.
const (
	urlVariable    = "NATSTEST_URL"
	portVariable   = "NATSTEST_PORT"
	binaryVariable = "NATSTEST_BINARY"
)

// engineProcess is an engine on a backplane. It says where it listens, and ends with its standard input.
func engineProcess() {
	b, err := nats.New(os.Getenv(urlVariable), quick("process", nats.WithPresence(10*time.Millisecond, time.Second))...)
	if err != nil {
		panic(err)
	}
	e, err := engine.New(engine.WithBackplane(b), engine.WithLoops(1), engine.WithPingInterval(0))
	if err != nil {
		panic(err)
	}
	if err := e.Handle("/", subscriber{}); err != nil {
		panic(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	go e.Serve(ln)
	fmt.Println(ln.Addr())
	io.Copy(io.Discard, os.Stdin)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := e.Shutdown(ctx); err != nil {
		panic(err)
	}
}

// serverProcess is a NATS server: the embedded one, or one that it starts from a binary and takes along when it ends. It
// says which process is the server.
func serverProcess() {
	pid, port := os.Getpid(), os.Getenv(portVariable)
	if binary := os.Getenv(binaryVariable); binary != "" {
		c := exec.Command(binary, "--addr", "127.0.0.1", "--port", port)
		if err := c.Start(); err != nil {
			panic(err)
		}
		go func() { c.Wait(); os.Exit(1) }()
		defer c.Process.Kill()
		pid = c.Process.Pid
	} else {
		n, _ := strconv.Atoi(port)
		s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: n, NoLog: true, NoSigs: true})
		if err != nil {
			panic(err)
		}
		go s.Start()
	}
	fmt.Println(pid)
	io.Copy(io.Discard, os.Stdin)
}

// process is one of these, started by a test.
type process struct {
	t     *testing.T
	cmd   *exec.Cmd
	stdin io.Closer
	said  string // its first line
}

func startProcess(t *testing.T, role string, variables ...string) *process {
	t.Helper()
	c := exec.Command(os.Args[0])
	c.Env = append(append(os.Environ(), roleVariable+"="+role), variables...)
	c.Stderr = os.Stderr
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	p := &process{t: t, cmd: c, stdin: in}
	t.Cleanup(func() {
		in.Close() // so that a server's keeper takes it along
		late := time.AfterFunc(patience, func() { c.Process.Kill() })
		c.Wait()
		late.Stop()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("%s: %v", role, err)
	}
	p.said = strings.TrimSpace(line)
	return p
}

// kill is kill -9.
func (p *process) kill() {
	p.cmd.Process.Kill()
	p.cmd.Wait()
}

// end lets the process end in order.
func (p *process) end() {
	p.t.Helper()
	p.stdin.Close()
	if err := p.cmd.Wait(); err != nil {
		p.t.Errorf("the process ended with %v", err)
	}
}

// aServer starts a NATS server in a process, on a port of its own, the same each time.
type aServer struct {
	t      *testing.T
	binary string // "" is the embedded one
	port   string
	*process
}

func newServerProcess(t *testing.T, binary string) *aServer {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	return &aServer{t: t, binary: binary, port: port}
}

func (s *aServer) start() {
	s.t.Helper()
	s.process = startProcess(s.t, "server", portVariable+"="+s.port, binaryVariable+"="+s.binary)
}

func (s *aServer) url() string { return "nats://127.0.0.1:" + s.port }

// killServer is kill -9 of the server itself.
func (s *aServer) killServer() {
	s.t.Helper()
	pid, err := strconv.Atoi(s.said)
	if err != nil {
		s.t.Fatal(err)
	}
	p, err := os.FindProcess(pid)
	if err != nil {
		s.t.Fatal(err)
	}
	if err := p.Kill(); err != nil {
		s.t.Fatal(err)
	}
	s.cmd.Wait()
}

// onEachServer runs f with the embedded server and, if there is one, with the system's.
func onEachServer(t *testing.T, f func(t *testing.T, s *aServer)) {
	t.Run("embedded", func(t *testing.T) { f(t, newServerProcess(t, "")) })
	t.Run("binary", func(t *testing.T) {
		binary, err := exec.LookPath("nats-server")
		if err != nil { // not in the path of everyone
			binary, err = exec.LookPath("/usr/sbin/nats-server")
		}
		if err != nil {
			t.Skip("no nats-server: apt-get install nats-server")
		}
		f(t, newServerProcess(t, binary))
	})
}
