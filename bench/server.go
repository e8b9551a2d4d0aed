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
	"strings"
	"time"
)

// Server is a `zeroframe serve` in a child process.
type Server struct {
	child
	url     string // ws://host:port, without a path
	metrics string // http://host:port
	client  *http.Client
}

const (
	startTime = 10 * time.Second
	stopTime  = 10 * time.Second
)

// StartServer runs a command that prints, as `zeroframe serve --metrics` does, where it listens and where its metrics
// are. env is added to the environment. core is the processor to keep it on; negative: any.
func StartServer(ctx context.Context, command, env []string, core int) (*Server, error) {
	s := &Server{child: newChild(command), client: &http.Client{Timeout: 30 * time.Second}}
	s.command.Env = append(os.Environ(), env...)
	out, err := s.start(core)
	if err != nil {
		return nil, fmt.Errorf("start the server: %w", err)
	}
	go s.reap()
	ready := make(chan struct{})
	go s.readAddresses(out, ready)
	timer := time.NewTimer(startTime)
	defer timer.Stop()
	select {
	case <-ready:
		return s, nil
	case <-s.exited:
		err = fmt.Errorf("the server %w", s.ended())
	case <-timer.C:
		err = fmt.Errorf("the server does not say where it listens after %v%v", startTime, &s.printed)
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
			return nil, fmt.Errorf("the server %w", s.ended())
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
	return s.wait("the server", stopTime)
}
