package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"

	"zeroframe/bench"
	"zeroframe/engine"
	"zeroframe/frame"
)

// input is what is read from standard input, and becomes messages.
type input struct {
	session *engine.Session
	lines   *lines
	note    io.Writer // where wrong commands are told; standard error

	binary, slash, json bool
}

// run sends until the end of input and returns when all of it has been given to the kernel, or when the connection is
// closing. An error is that of reading, or names a line that cannot be sent.
func (in *input) run() error {
	for in.lines.next() {
		err := in.take(in.lines.text)
		if errors.Is(err, engine.ErrClosed) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("line %d: %w", in.lines.number, err)
		}
	}
	if in.lines.err != nil {
		return in.lines.err
	}
	in.session.Flush(context.Background()) // it fails when the connection ends, of which others tell
	return nil
}

// take does what a line says.
func (in *input) take(line []byte) error {
	if in.json {
		return in.takeObject(line)
	}
	if in.slash && bytes.HasPrefix(line, []byte("/")) {
		if !bytes.HasPrefix(line, []byte("//")) {
			return in.command(string(line))
		}
		line = line[1:]
	}
	op := frame.Text
	if in.binary {
		op = frame.Binary
	} else {
		line = bytes.TrimSuffix(line, []byte("\r"))
	}
	return in.send(op, line)
}

var errNotText = errors.New("it is not UTF-8; --binary sends any bytes")

func (in *input) send(op frame.OpCode, payload []byte) error {
	if op == frame.Text && !utf8.Valid(payload) {
		return errNotText
	}
	return in.session.Send(context.Background(), op, payload)
}

// command does what a line with a slash says. What is wrong with one is told, and no reason to end: somebody is typing.
func (in *input) command(line string) error {
	name, rest, _ := strings.Cut(strings.TrimRight(line, " \r"), " ")
	var err error
	switch name {
	case "/ping":
		err = in.session.Conn().Ping([]byte(rest))
	case "/close":
		code, text := frame.CloseNormal, ""
		if rest != "" {
			var digits string
			digits, text, _ = strings.Cut(rest, " ")
			n, parse := strconv.ParseUint(digits, 10, 16)
			if parse != nil {
				err = engine.ErrCloseCode
				break
			}
			code = frame.CloseCode(n)
		}
		err = in.session.Close(code, text)
	default:
		err = errors.New("there are /ping [TEXT], /close [CODE [TEXT]], and //TEXT for what is no command")
	}
	if err == nil || errors.Is(err, engine.ErrClosed) {
		return err
	}
	fmt.Fprintf(in.note, "%s: %v\n", name, err)
	return nil
}

// object is a line of --json-input. What --json prints is one.
type inputObject struct {
	Type   string          `json:"type"`
	Data   string          `json:"data"`
	Code   frame.CloseCode `json:"code"`
	Reason string          `json:"reason"`
	Time   any             `json:"time"`
}

// takeObject does what an object says.
func (in *input) takeObject(line []byte) error {
	if len(bytes.TrimSpace(line)) == 0 {
		return nil
	}
	o := inputObject{Code: frame.CloseNormal}
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(&o); err != nil {
		return err
	}
	if d.More() {
		return errors.New("there is more than one object")
	}
	if o.Type == "text" {
		return in.send(frame.Text, []byte(o.Data))
	}
	data, err := base64.StdEncoding.DecodeString(o.Data)
	if err != nil {
		return fmt.Errorf("the data of type %q: %w", o.Type, err)
	}
	switch o.Type {
	case "binary":
		return in.send(frame.Binary, data)
	case "ping":
		return in.session.Conn().Ping(data)
	case "close":
		return in.session.Close(o.Code, o.Reason)
	}
	return fmt.Errorf("the type %q is not text, binary, ping or close", o.Type)
}

// lines reads lines of bounded length.
type lines struct {
	scanner *bufio.Scanner
	limit   int
	number  int
	text    []byte // of the line, without its newline; valid until the next one
	err     error  // what ended the lines before their end
}

func newLines(r io.Reader, limit int) *lines {
	l := &lines{scanner: bufio.NewScanner(r), limit: limit}
	const ends = 2 // \r\n
	l.scanner.Buffer(make([]byte, 0, min(64<<10, limit+ends)), limit+ends)
	l.scanner.Split(splitLines)
	return l
}

// next reads a line; false at the end, or when err is set.
func (l *lines) next() bool {
	if !l.scanner.Scan() {
		if l.err = l.scanner.Err(); errors.Is(l.err, bufio.ErrTooLong) {
			l.number++
			l.err = l.tooLong()
		} else if l.err != nil {
			l.err = fmt.Errorf("standard input: %w", l.err)
		}
		return false
	}
	l.number++
	l.text = l.scanner.Bytes()
	if len(bytes.TrimSuffix(l.text, []byte("\r"))) > l.limit {
		l.err = l.tooLong()
		return false
	}
	return true
}

func (l *lines) tooLong() error {
	return fmt.Errorf("line %d is longer than --max-message, %s", l.number, bench.FormatSize(int64(l.limit)))
}

// splitLines is bufio.ScanLines for lines whose last \r may be data.
func splitLines(b []byte, atEOF bool) (advance int, token []byte, err error) {
	if i := bytes.IndexByte(b, '\n'); i >= 0 {
		return i + 1, b[:i], nil
	}
	if atEOF && len(b) > 0 {
		return len(b), b, nil
	}
	return 0, nil, nil
}
