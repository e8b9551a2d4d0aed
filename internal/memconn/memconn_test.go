package memconn

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"zeroframe/internal/loop"
)

// patience bounds a wait; none lasts that long unless the test fails.
const patience = time.Minute

// signals stands for the loop's connection: it records what it is told.
type signals struct{ readable, writable int }

func (s *signals) StreamReadable() { s.readable++ }
func (s *signals) StreamWritable() { s.writable++ }

// pair is Pipe with signals in place of a loop.
func pair(f Faults) (*Stream, *Conn, *signals) {
	s, c := Pipe(f)
	told := new(signals)
	s.p.ready = told
	return s, c, told
}

func TestBytesCrossBothWays(t *testing.T) {
	s, c, _ := pair(Faults{})
	if n, err := c.Write([]byte("ping")); n != 4 || err != nil {
		t.Fatal(n, err)
	}
	buf := make([]byte, 10)
	if n, err := s.Read(buf); err != nil || string(buf[:n]) != "ping" {
		t.Fatalf("%q %v", buf[:n], err)
	}
	if n, err := s.Write([]byte("pong")); n != 4 || err != nil {
		t.Fatal(n, err)
	}
	if n, err := c.Read(buf); err != nil || string(buf[:n]) != "pong" {
		t.Fatalf("%q %v", buf[:n], err)
	}
}

func TestTheLoopsEndNeverBlocks(t *testing.T) {
	s, c, told := pair(Faults{Buffer: 4})
	if n, err := s.Read(make([]byte, 8)); n != 0 || err != loop.ErrAgain {
		t.Fatalf("nothing there: %d %v", n, err)
	}
	c.Write([]byte("x"))
	c.Write([]byte("y"))
	if told.readable != 1 {
		t.Errorf("told %d times that it may read, want once for what it missed", told.readable)
	}
	if n, err := s.Write([]byte("123456")); n != 4 || err != loop.ErrAgain {
		t.Fatalf("a write that fits in part: %d %v", n, err)
	}
	if n, err := s.Write([]byte("56")); n != 0 || err != loop.ErrAgain || told.writable != 0 {
		t.Fatalf("a write into a full pipe: %d %v, told %d", n, err, told.writable)
	}
	c.Read(make([]byte, 2))
	if told.writable != 1 {
		t.Errorf("told %d times that it may write", told.writable)
	}
}

// Whatever is cut, and however often it would block, the bytes and their order stay; and the loop is told each time.
func TestFaultsLoseNothing(t *testing.T) {
	want := make([]byte, 5000)
	for i := range want {
		want[i] = byte(i * 31)
	}
	for seed := range uint64(10) {
		s, c, told := pair(Faults{Seed: seed, Cut: 7, Again: 0.3, Buffer: 64})
		go c.Write(want)
		var got []byte
		again := 0
		for buf := make([]byte, 100); len(got) < len(want); {
			n, err := s.Read(buf)
			switch {
			case err == loop.ErrAgain:
				again++
			case err != nil || n == 0 || n > 7:
				t.Fatalf("read %d, %v", n, err)
			}
			got = append(got, buf[:n]...)
		}
		if !bytes.Equal(got, want) || again < 100 {
			t.Errorf("seed %d: towards the loop, with %d times nothing: not the same bytes", seed, again)
		}
		echoed := make(chan []byte)
		go func() { b, _ := io.ReadAll(c); echoed <- b }()
		for rest := want; len(rest) > 0; {
			n, err := s.Write(rest[:min(10, len(rest))])
			if n > 7 || err != nil && err != loop.ErrAgain {
				t.Fatalf("wrote %d, %v", n, err)
			}
			rest = rest[n:]
		}
		s.CloseWrite()
		if !bytes.Equal(<-echoed, want) || told.writable < 100 {
			t.Errorf("seed %d: from the loop, told %d times: not the same bytes", seed, told.writable)
		}
	}
}

func TestTheSameSeedMakesTheSameFaults(t *testing.T) {
	run := func() (sizes []int) {
		s, c, _ := pair(Faults{Seed: 7, Cut: 7, Again: 0.3})
		c.Write(make([]byte, 500))
		for total := 0; total < 500; {
			n, _ := s.Read(make([]byte, 100))
			total += n
			sizes = append(sizes, n)
		}
		return sizes
	}
	a, b := run(), run()
	if len(a) != len(b) {
		t.Fatal("different runs")
	}
	for i := range a {
		if a[i] != b[i] {
			t.Fatalf("read %d moved %d bytes, then %d", i, a[i], b[i])
		}
	}
}

func TestTheEndOfAStreamComesBehindItsBytes(t *testing.T) {
	s, c, told := pair(Faults{})
	s.Read(make([]byte, 1))
	c.Write([]byte("last"))
	c.CloseWrite()
	buf := make([]byte, 10)
	if n, err := s.Read(buf); n != 4 || err != nil || told.readable == 0 {
		t.Fatal(n, err)
	}
	if n, err := s.Read(buf); n != 0 || err != io.EOF {
		t.Fatal(n, err)
	}
	if _, err := c.Write([]byte("x")); err == nil {
		t.Error("a write behind the end was taken")
	}
	if n, err := s.Write([]byte("still")); n != 5 || err != nil { // the other direction lives
		t.Fatal(n, err)
	}
	s.CloseWrite()
	if b, err := io.ReadAll(c); string(b) != "still" || err != nil {
		t.Fatalf("%q %v", b, err)
	}
}

// A socket that is closed with unread input sends a reset, and the reset drops what the peer has not read yet.
func TestAnEndClosedWithUnreadInputLosesItsLastWords(t *testing.T) {
	for _, unread := range []bool{false, true} {
		s, c, _ := pair(Faults{})
		c.Write([]byte("request"))
		if !unread {
			s.Read(make([]byte, 100))
		}
		s.Write([]byte("last words"))
		s.Close()
		b, _ := io.ReadAll(c)
		if got := string(b) == "last words"; got == unread {
			t.Errorf("unread input: %v, and the client got %q", unread, b)
		}
		if _, err := c.Write([]byte("x")); err == nil {
			t.Error("a write to a closed end was taken")
		}
	}
}

func TestTheClientsCloseEndsTheLoopsEnd(t *testing.T) {
	s, c, told := pair(Faults{Buffer: 1})
	s.Read(make([]byte, 1))
	s.Write([]byte("ab"))
	c.Close()
	if told.readable != 1 || told.writable != 1 {
		t.Errorf("told %+v", told)
	}
	if _, err := s.Read(make([]byte, 1)); err != io.EOF {
		t.Error(err)
	}
	if _, err := s.Write([]byte("x")); err == nil || err == loop.ErrAgain {
		t.Error(err)
	}
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("read on a closed connection")
	}
}

// errorOf calls f in a goroutine and returns its error, or fails the test.
func errorOf(t *testing.T, f func() error) error {
	t.Helper()
	ch := make(chan error, 1)
	go func() { ch <- f() }()
	select {
	case err := <-ch:
		return err
	case <-time.After(patience):
		t.Fatal("still blocked")
		return nil
	}
}

func TestTheClientsEndBlocksUntilItsDeadline(t *testing.T) {
	_, c, _ := pair(Faults{Buffer: 4})
	var nc net.Conn = c
	nc.SetDeadline(time.Now().Add(20 * time.Millisecond))
	if err := errorOf(t, func() error { _, err := nc.Read(make([]byte, 1)); return err }); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error(err)
	}
	if err := errorOf(t, func() error { _, err := nc.Write(make([]byte, 5)); return err }); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error(err)
	}
	nc.SetReadDeadline(time.Unix(1, 0)) // passed already
	if err := errorOf(t, func() error { _, err := nc.Read(make([]byte, 1)); return err }); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error(err)
	}
}

func TestABlockedClientIsWokenByTheOtherEnd(t *testing.T) {
	s, c, _ := pair(Faults{Buffer: 4})
	if err := errorOf(t, func() error {
		go s.Write([]byte("x"))
		_, err := c.Read(make([]byte, 1))
		return err
	}); err != nil {
		t.Error(err)
	}
	if err := errorOf(t, func() error {
		go func() {
			for total := 0; total < 9; {
				n, _ := s.Read(make([]byte, 9))
				total += n
			}
		}()
		_, err := c.Write(make([]byte, 9))
		return err
	}); err != nil {
		t.Error(err)
	}
	if err := errorOf(t, func() error {
		go s.Close()
		_, err := c.Read(make([]byte, 1))
		return err
	}); err != io.EOF {
		t.Error(err)
	}
}
