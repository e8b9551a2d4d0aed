package bench

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// Server is a `zeroframe serve` in a child process.
type Server struct {
	command *exec.Cmd
	url     string // ws://host:port, without a path
	metrics string // http://host:port
	client  *http.Client
	errors  *tail
	exited  chan struct{}
	err     error // of the process, once exited is closed
}

const (
	startTime = 10 * time.Second
	stopTime  = 10 * time.Second
)

// StartServer runs a command that prints, as `zeroframe serve --metrics` does, where it listens and where its metrics
// are. env is added to the environment. core is the processor to keep it on; negative: any.
func StartServer(ctx context.Context, command, env []string, core int) (*Server, error) {
	s := &Server{
		command: exec.Command(command[0], command[1:]...),
		client:  &http.Client{Timeout: 30 * time.Second},
		errors:  new(tail),
		exited:  make(chan struct{}),
	}
	s.command.Env = append(os.Environ(), env...)
	s.command.SysProcAttr = ChildAttr()
	s.command.Stderr = s.errors
	out, in, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	s.command.Stdout = in
	err = OnCore(core, s.command.Start)
	in.Close()
	if err != nil {
		out.Close()
		return nil, fmt.Errorf("start the server: %w", err)
	}
	go func() {
		s.err = s.command.Wait()
		close(s.exited)
	}()
	ready := make(chan struct{})
	go s.readAddresses(out, ready)
	timer := time.NewTimer(startTime)
	defer timer.Stop()
	select {
	case <-ready:
		return s, nil
	case <-s.exited:
		err = fmt.Errorf("the server ended at once: %w%s", errors.Join(s.err), s.errors)
	case <-timer.C:
		err = fmt.Errorf("the server does not say where it listens after %v%s", startTime, s.errors)
	case <-ctx.Done():
		err = ctx.Err()
	}
	s.Stop()
	return nil, err
}

// readAddresses looks for both addresses in what the server prints, and then drops the rest.
func (s *Server) readAddresses(out *os.File, ready chan<- struct{}) {
	defer out.Close()
	lines := bufio.NewScanner(out)
	for (s.url == "" || s.metrics == "") && lines.Scan() {
		for _, word := range strings.Fields(lines.Text()) {
			word = strings.TrimSuffix(word, "/")
			switch {
			case strings.HasPrefix(word, "ws://"):
				s.url = word
			case strings.HasPrefix(word, "http://"):
				s.metrics = word
			}
		}
	}
	if s.url != "" && s.metrics != "" {
		close(ready)
	}
	io.Copy(io.Discard, out)
}

// URL returns the URL of a path on the server.
func (s *Server) URL(path string) string { return s.url + path }

// PID returns the process's number.
func (s *Server) PID() int { return s.command.Process.Pid }

// Target is the server at a path, to be measured.
func (s *Server) Target(name, path string) Target {
	return Target{Name: name, URL: s.URL(path), PID: s.PID(), Snapshot: s.Snapshot}
}

// Snapshot asks the server for its counts; collect makes it collect garbage first.
func (s *Server) Snapshot(ctx context.Context, collect bool) (*Snapshot, error) {
	url := s.metrics + "/stats"
	if collect {
		url += "?gc=1"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	res, err := s.client.Do(req)
	if err != nil {
		select {
		case <-s.exited:
			return nil, fmt.Errorf("the server has ended: %w%s", errors.Join(s.err), s.errors)
		default:
		}
		return nil, fmt.Errorf("ask the server for its counts: %w", err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("ask the server for its counts: %s: %s", res.Status, bytes.TrimSpace(body))
	}
	shot := new(Snapshot)
	if err := json.Unmarshal(body, shot); err != nil {
		return nil, fmt.Errorf("the server's counts: %w", err)
	}
	return shot, nil
}

// Profile has the server record its CPU profile for d, a second at least, in whole seconds, and writes it to a file.
func (s *Server) Profile(ctx context.Context, d time.Duration, file string) (err error) {
	seconds := max((d+time.Second-1)/time.Second, 1)
	url := fmt.Sprintf("%s/debug/pprof/profile?seconds=%d", s.metrics, seconds)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	res, err := (&http.Client{Transport: s.client.Transport, Timeout: s.client.Timeout + seconds*time.Second}).Do(req)
	if err != nil {
		return fmt.Errorf("ask the server for a profile: %w", err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("ask the server for a profile: %s", res.Status)
	}
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, res.Body)
	return errors.Join(err, f.Close())
}

// Stop asks the server to shut down and waits for it. A server that does not is killed, and the error says so, as it
// does when the server ended otherwise than with success.
func (s *Server) Stop() error {
	defer s.client.CloseIdleConnections()
	s.command.Process.Signal(os.Interrupt)
	timer := time.NewTimer(stopTime)
	defer timer.Stop()
	select {
	case <-s.exited:
	case <-timer.C:
		s.command.Process.Kill()
		<-s.exited
		return fmt.Errorf("the server did not shut down within %v and was killed%s", stopTime, s.errors)
	}
	if s.err != nil {
		return fmt.Errorf("the server ended with %w%s", s.err, s.errors)
	}
	return nil
}

// tail keeps the last that was written to it.
type tail struct {
	sync.Mutex
	b []byte
}

const tailSize = 4 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.Lock()
	defer t.Unlock()
	t.b = append(t.b, p...)
	if len(t.b) > tailSize {
		t.b = append(t.b[:0], t.b[len(t.b)-tailSize:]...)
	}
	return len(p), nil
}

// String returns it as the end of a message.
func (t *tail) String() string {
	t.Lock()
	defer t.Unlock()
	if s := strings.TrimSpace(string(t.b)); s != "" {
		return "; it printed:\n" + s
	}
	return ""
}
