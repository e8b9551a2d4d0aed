package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"zeroframe/engine"
)

// catResult is what came of a cat that ran to its end.
type catResult struct {
	out, errors string
	code        int
}

// cat runs the command with this input.
func cat(t *testing.T, input string, args ...string) catResult {
	t.Helper()
	var out, errOut bytes.Buffer
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c := command(append([]string{"cat"}, args...)...)
	c.Stdin, c.Stdout, c.Stderr = strings.NewReader(input), &out, &errOut
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer context.AfterFunc(ctx, func() { c.Process.Kill() })()
	err := c.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if ctx.Err() != nil {
		t.Fatalf("cat %q did not end: %s", args, &errOut)
	}
	return catResult{out.String(), errOut.String(), c.ProcessState.ExitCode()}
}

// expect looks for this output and an orderly end.
func (r catResult) expect(t *testing.T, out string) {
	t.Helper()
	if r.out != out || r.code != exitOK || r.errors != "closed: 1000 (normal closure)\n" {
		t.Errorf("exit code %d, printed %.200q, want %.200q; standard error: %s", r.code, r.out, out, r.errors)
	}
}

// expectFailure looks for a message on standard error.
func (r catResult) expectFailure(t *testing.T, message string) {
	t.Helper()
	if r.code != exitFailed || !strings.Contains(r.errors, message) {
		t.Errorf("exit code %d, standard error %q, want %q in it", r.code, r.errors, message)
	}
}

// catting is a cat that somebody types to.
type catting struct {
	*process
	in *os.File
}

func startCat(t *testing.T, args ...string) catting {
	t.Helper()
	in, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	p := startReading(t, in, append([]string{"cat"}, args...)...)
	in.Close()
	return catting{p, w}
}

func (c catting) write(line string) {
	c.t.Helper()
	if _, err := io.WriteString(c.in, line+"\n"); err != nil {
		c.t.Fatal(err)
	}
}

// expectEnd waits for the end, with standard input open.
func (c catting) expectEnd(code int, message string) {
	c.t.Helper()
	if got := c.exit(); got != code || !strings.Contains(c.errors(), message) {
		c.t.Errorf("exit code %d, standard error %q; want %d, %q", got, c.errors(), code, message)
	}
}

// sessionsHere serves a handler at every path, and hands out how its connections end.
func sessionsHere(t *testing.T, h engine.SessionHandler, opts ...engine.RouteOption) (url string, ends chan engine.CloseReason) {
	t.Helper()
	ends = make(chan engine.CloseReason, 10)
	url, _ = serveRoutes(t, func(e *engine.Engine) error {
		return e.HandleSession("/", func(ctx context.Context, s *engine.Session) error {
			err := h(ctx, s)
			go func() {
				r, _ := s.CloseReason(context.Background())
				ends <- r
			}()
			return err
		}, opts...)
	})
	return url, ends
}

// tellTypes answers each message with its type and payload.
func tellTypes(ctx context.Context, s *engine.Session) error {
	for m, err := range s.Messages(ctx) {
		if err != nil {
			return err
		}
		if err := s.SendText(ctx, fmt.Sprintf("%v %q", m.OpCode, m.Payload)); err != nil {
			return err
		}
	}
	return nil
}

// hold waits for the end of the connection.
func hold(ctx context.Context, s *engine.Session) error {
	_, err := s.Receive(ctx)
	if errors.Is(err, engine.ErrClosed) {
		return nil
	}
	return fmt.Errorf("something came, or %w", err)
}

const soon = "--linger=500ms" // enough for what this machine sends itself

// jsonLines reads what --json printed; times must be of now.
func jsonLines(t *testing.T, out string) (objects []shown) {
	t.Helper()
	for line := range strings.Lines(out) {
		var o shown
		d := json.NewDecoder(strings.NewReader(line))
		d.DisallowUnknownFields()
		if err := d.Decode(&o); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if age := time.Since(o.Time); age < 0 || age > patience {
			t.Errorf("%q: the time is not when it came", line)
		}
		objects = append(objects, shown{Type: o.Type, Data: o.Data})
	}
	return objects
}

// silent answers nothing: no ping and no close frame.
type silent struct{}

func (silent) OnOpen(*engine.Conn)                      {}
func (silent) OnFrame(*engine.Conn, engine.Frame)       {}
func (silent) OnClose(*engine.Conn, engine.CloseReason) {}

func silentHere(t *testing.T) string {
	t.Helper()
	url, _ := serveRoutes(t, func(e *engine.Engine) error { return e.HandleRaw("/", silent{}) })
	return url
}

// noticing is silent that tells of frames.
type noticing struct{ frames chan struct{} }

func (noticing) OnOpen(*engine.Conn)                      {}
func (n noticing) OnFrame(_ *engine.Conn, _ engine.Frame) { n.frames <- struct{}{} }
func (noticing) OnClose(*engine.Conn, engine.CloseReason) {}
