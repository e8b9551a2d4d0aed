package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"zeroframe/engine"
	"zeroframe/frame"
)

// stop ends a server in order, and fails the test when it had to drop a connection or complained of one.
func stop(t *testing.T, p *process) {
	t.Helper()
	p.Process.Signal(os.Interrupt)
	if code, log := p.exit(), p.errors(); code != exitOK || strings.Contains(log, "WARN") || strings.Contains(log, "ERROR") {
		t.Errorf("exit code %d: %s", code, log)
	}
}

func TestSessionRoutesEcho(t *testing.T) {
	p := start(t, "serve", "--listen", "127.0.0.1:0")
	url := p.line("listening on ")
	for _, path := range []string{"session", "slow/0", "slow/1", "stream"} {
		s := dialSession(t, url+path)
		for _, n := range []int{0, 1, 125, 126, 65535, 65536, 300 << 10} {
			for _, op := range []frame.OpCode{frame.Text, frame.Binary} {
				want := bytes.Repeat([]byte{'x'}, n)
				if err := s.Send(t.Context(), op, want); err != nil {
					t.Fatal(err)
				}
				if m, err := s.Receive(t.Context()); err != nil || m.OpCode != op || !bytes.Equal(m.Payload, want) {
					t.Fatalf("/%s: %v of %d bytes came back as %v of %d, %v", path, op, n, m.OpCode, len(m.Payload), err)
				}
			}
		}
		s.Close(4000, "done")
		if r, err := s.CloseReason(t.Context()); err != nil || r.Code != 4000 {
			t.Errorf("/%s: %+v, %v", path, r, err)
		}
	}
	stop(t, p)
}

func TestSlowRouteSleepsBeforeEachEcho(t *testing.T) {
	s := dialSession(t, start(t, "serve", "--listen", "127.0.0.1:0").line("listening on ")+"slow/100")
	began := time.Now()
	for i := range 3 {
		s.SendText(t.Context(), fmt.Sprint(i))
	}
	for i := range 3 {
		if got := receive(t, s); got != fmt.Sprint(i) {
			t.Errorf("echo %d is %q", i, got)
		}
		if took := time.Since(began); took < time.Duration(i+1)*100*time.Millisecond {
			t.Errorf("echo %d after %v", i, took)
		}
	}
}

// ponged is a client's handler that hears of pongs.
type ponged struct {
	engine.NopHandler
	pongs chan string
}

func (h ponged) OnPong(_ *engine.Conn, payload []byte) { h.pongs <- string(payload) }

// expectPong waits until the server has taken all that was sent to it.
func (h ponged) expectPong(t *testing.T, c *engine.Conn) {
	t.Helper()
	if err := c.Ping([]byte("taken?")); err != nil {
		t.Fatal(err)
	}
	within(t, h.pongs)
}

func TestSlowRouteWakesWhenItsConnectionEnds(t *testing.T) {
	p := start(t, "serve", "--listen", "127.0.0.1:0")
	h := ponged{pongs: make(chan string, 1)}
	c, err := client(t).Dial(t.Context(), fmt.Sprintf("%sslow/%d", p.line("listening on "), maxSlow), nil, h)
	if err != nil {
		t.Fatal(err)
	}
	c.SendText("an hour's rest")
	h.expectPong(t, c)
	stop(t, p) // it waits for the session's goroutine, and says so when it has waited in vain
}

func TestStreamRouteEchoesBeforeTheMessageEnds(t *testing.T) {
	s := dialSession(t, start(t, "serve", "--listen", "127.0.0.1:0").line("listening on ")+"stream",
		engine.WithMaxMessageSize(maxStream), engine.WithMaxFrameSize(maxStream))
	w, err := s.NextWriter(t.Context(), frame.Binary)
	if err != nil {
		t.Fatal(err)
	}
	piece, got := bytes.Repeat([]byte("stream"), 1<<18), make([]byte, 6<<18)
	const pieces = 20 // 30 MiB: more than a message has on the other routes
	var r io.Reader
	for i := range pieces {
		if _, err := w.Write(piece); err != nil {
			t.Fatal(err)
		}
		if r == nil {
			if _, r, err = s.NextReader(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := io.ReadFull(r, got); err != nil || !bytes.Equal(got, piece) {
			t.Fatalf("piece %d: %v", i, err)
		}
	}
	w.Close()
	if rest, err := io.ReadAll(r); err != nil || len(rest) != 0 {
		t.Errorf("%d bytes behind the last piece, %v", len(rest), err)
	}
}

func TestOnlyTheStreamRouteTakesMoreThanTheDefaultLimits(t *testing.T) {
	url := start(t, "serve", "--listen", "127.0.0.1:0").line("listening on ")
	c := openWire(t, url, "/session")
	c.Write(frame.AppendHeader(nil, frame.Header{Fin: true, OpCode: frame.Binary, Length: engine.DefaultMaxFrameSize + 1, Masked: true}))
	if code, _ := c.readClose(); code != frame.CloseMessageTooBig {
		t.Errorf("/session: %v", code)
	}
	s := dialSession(t, url+"stream", engine.WithMaxMessageSize(maxStream), engine.WithReadWhileFull(true))
	message := bytes.Repeat([]byte("one frame "), engine.DefaultMaxFrameSize/10+1)
	if err := s.SendBinary(t.Context(), message); err != nil {
		t.Fatal(err)
	}
	if got := receive(t, s); got != string(message) {
		t.Errorf("/stream: %d bytes came back of %d", len(got), len(message))
	}
}

func TestTheLimitsOfTheCommandLineHoldOnTheStreamRouteToo(t *testing.T) {
	for flag, frames := range map[string][]int{"--max-message": {600, 425}, "--max-frame": {1024, 1025}} {
		c := openWire(t, start(t, "serve", "--listen", "127.0.0.1:0", flag, "1KiB").line("listening on "), "/stream")
		c.send(wireFrame{frame.Binary, false, string(make([]byte, frames[0]))})
		c.send(wireFrame{frame.Continuation, true, string(make([]byte, frames[1]))})
		if code, text := c.readClose(); code != frame.CloseMessageTooBig || !strings.Contains(text, "1025") || !strings.Contains(text, "1024") {
			t.Errorf("%s 1KiB: %v %q", flag, code, text)
		}
	}
}
