package main

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/term"

	"zeroframe/engine"
	"zeroframe/frame"
)

// shower prints messages. Its methods may be called by several goroutines.
type shower struct {
	out    io.Writer
	json   bool
	binary string // raw, hex or base64

	mu   sync.Mutex
	data bytes.Buffer // of the message
	line bytes.Buffer // what is printed of it, with one call of Write
}

// newShower prints to out; binaryAs is auto for what suits it.
func newShower(out io.Writer, asJSON bool, binaryAs string) *shower {
	s := &shower{out: out, json: asJSON, binary: binaryAs}
	if s.binary == "auto" {
		s.binary = "raw"
		if f, ok := out.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
			s.binary = "hex"
		}
	}
	return s
}

// keepPrinted is the size up to which the memory for a message is kept for the next one.
const keepPrinted = 1 << 20

// message prints a message when it has come to its end. One that the connection's end cuts off is not printed: a part
// of it looks like a whole one.
func (s *shower) message(op frame.OpCode, r io.Reader) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.data.Cap() > keepPrinted {
		s.data = bytes.Buffer{}
	}
	s.data.Reset()
	if _, err := s.data.ReadFrom(r); err != nil {
		return nil // the session's end
	}
	kind := "text"
	if op == frame.Binary {
		kind = "binary"
	}
	return s.print(kind, s.data.Bytes())
}

// control prints a control frame as JSON.
func (s *shower) control(kind string, payload []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.print(kind, payload)
}

// shown is a message as JSON.
type shown struct {
	Type string    `json:"type"`
	Data string    `json:"data"`
	Time time.Time `json:"time"`
}

func (s *shower) print(kind string, data []byte) error {
	if s.line.Cap() > keepPrinted {
		s.line = bytes.Buffer{}
	}
	s.line.Reset()
	switch {
	case s.json:
		event := shown{kind, string(data), time.Now().UTC()}
		if kind != "text" {
			event.Data = base64.StdEncoding.EncodeToString(data)
		}
		encoder := json.NewEncoder(&s.line)
		encoder.SetEscapeHTML(false)
		if err := encoder.Encode(event); err != nil {
			return err
		}
	case kind == "binary" && s.binary == "hex" && len(data) > 0:
		dump := hex.Dumper(&s.line)
		dump.Write(data)
		dump.Close()
	case kind == "binary" && s.binary == "base64":
		s.line.WriteString(base64.StdEncoding.EncodeToString(data))
		s.line.WriteByte('\n')
	default:
		s.line.Write(data)
		s.line.WriteByte('\n')
	}
	_, err := s.out.Write(s.line.Bytes())
	return err
}

// quiet knows for how long nothing has been received or printed.
type quiet struct {
	mu    sync.Mutex
	busy  bool
	since time.Time // the end of the last message
}

func (q *quiet) begin() {
	q.mu.Lock()
	q.busy = true
	q.mu.Unlock()
}

func (q *quiet) end() {
	q.mu.Lock()
	q.busy, q.since = false, time.Now()
	q.mu.Unlock()
}

// left returns how long it must be quiet yet for it to have been so for d.
func (q *quiet) left(d time.Duration) time.Duration {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.busy {
		return max(d, 50*time.Millisecond) // to ask again
	}
	return d - time.Since(q.since)
}

// controls print the pings and pongs that come, on a goroutine of their own: they are told of on the loop, which must
// not wait for a reader of what is printed.
type controls struct {
	show   *shower
	notes  io.Writer // where they go unless it is JSON that is printed; standard error
	seen   chan control
	served chan struct{}
}

type control struct {
	kind    string
	payload []byte
}

// maxControls is how many wait to be printed; more are not.
const maxControls = 64

func newControls(show *shower, notes io.Writer) *controls {
	c := &controls{show: show, notes: notes, seen: make(chan control, maxControls), served: make(chan struct{})}
	go c.run()
	return c
}

func (c *controls) run() {
	defer close(c.served)
	for f := range c.seen {
		if c.show.json {
			c.show.control(f.kind, f.payload)
		} else {
			fmt.Fprintf(c.notes, "%s %q\n", f.kind, f.payload)
		}
	}
}

// stop prints what is left, unless nobody reads it. Nothing may come any more.
func (c *controls) stop() {
	close(c.seen)
	select {
	case <-c.served:
	case <-time.After(time.Second):
	}
}

// note returns what the engine tells of the frames of a kind.
func (c *controls) note(kind string) func(*engine.Conn, []byte) {
	return func(_ *engine.Conn, payload []byte) {
		select {
		case c.seen <- control{kind, bytes.Clone(payload)}:
		default:
		}
	}
}
