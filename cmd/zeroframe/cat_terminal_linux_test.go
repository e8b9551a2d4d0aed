package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// terminal is a pseudo-terminal, from the side of who sits before it.
type terminal struct {
	*os.File
	t    *testing.T
	seen strings.Builder
}

// atTerminal starts the command on a terminal of its own.
func atTerminal(t *testing.T, args ...string) (*terminal, chan int) {
	t.Helper()
	screen, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Skip(err) // not every system has them
	}
	t.Cleanup(func() { screen.Close() })
	raw, err := screen.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var number int
	raw.Control(func(fd uintptr) {
		if err = unix.IoctlSetPointerInt(int(fd), unix.TIOCSPTLCK, 0); err == nil {
			number, err = unix.IoctlGetInt(int(fd), unix.TIOCGPTN)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	line, err := os.OpenFile(fmt.Sprint("/dev/pts/", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer line.Close()
	c := command(args...)
	c.Stdin, c.Stdout, c.Stderr = line, line, line
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan int, 1)
	go func() {
		c.Wait()
		exited <- c.ProcessState.ExitCode()
	}()
	t.Cleanup(func() { c.Process.Kill() })
	return &terminal{File: screen, t: t}, exited
}

// expect reads until this was shown.
func (s *terminal) expect(text string) {
	s.t.Helper()
	shown := make(chan error, 1)
	go func() {
		b := make([]byte, 1)
		for !strings.HasSuffix(s.seen.String(), text) {
			if _, err := io.ReadFull(s, b); err != nil {
				shown <- err
				return
			}
			s.seen.Write(b)
		}
		shown <- nil
	}()
	if err := within(s.t, shown); err != nil {
		s.t.Fatalf("%v before %q was shown: %q", err, text, s.seen.String())
	}
}

func (s *terminal) typeIn(text string) {
	s.t.Helper()
	if _, err := s.WriteString(text); err != nil {
		s.t.Fatal(err)
	}
}

func TestCatAtATerminalShowsBinaryMessagesAsAHexDumpAndEndsAtItsKeys(t *testing.T) {
	t.Parallel()
	url, _ := serveHere(t)
	for key, name := range map[string]string{"\x03": "interrupt", "\x04": "end of input"} {
		s, exited := atTerminal(t, "cat", url+"/echo", "--binary", soon)
		s.expect("connected to " + url + "/echo\r\n")
		s.typeIn("hello\n")
		s.expect("hello\r\n") // the terminal's echo
		s.expect("00000000  68 65 6c 6c 6f                                    |hello|\r\n")
		s.typeIn(key)
		s.expect("closed: 1000 (normal closure)\r\n")
		if code := within(t, exited); code != exitOK {
			t.Errorf("%s: exit code %d", name, code)
		}
	}
}
