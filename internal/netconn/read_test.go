package netconn

import (
	"bytes"
	"errors"
	"io"
	"net"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"zeroframe/internal/loop"
	"zeroframe/pool"
)

func TestTheLoopIsToldWhenThereIsSomethingToRead(t *testing.T) {
	settled(t, func(t *testing.T) {
		nc, peer := net.Pipe()
		s, told := over(nc)
		if got, err := readNow(s, 10); got != "" || err != loop.ErrAgain {
			t.Fatalf("nothing there: %q %v", got, err)
		}
		go peer.Write([]byte("hello, "))
		if got, err := readNow(s, 5); got != "hello" || err != nil {
			t.Fatalf("%q %v", got, err)
		}
		if got, err := readNow(s, 5); got != ", " || err != nil {
			t.Fatalf("%q %v", got, err)
		}
		if got, err := readNow(s, 5); got != "" || err != loop.ErrAgain {
			t.Fatalf("%q %v", got, err)
		}
		go peer.Write([]byte("world"))
		if got, err := readNow(s, 10); got != "world" || err != nil {
			t.Fatalf("%q %v", got, err)
		}
		if n, _ := told.counts(); n != 2 {
			t.Errorf("told %d times, want once for each time nothing was there", n)
		}
		closeIt(s, peer)
	})
}

// Until the loop reads there is no goroutine, so that a connection no loop takes leaves none.
func TestNothingIsReadBeforeTheLoopAsks(t *testing.T) {
	settled(t, func(t *testing.T) {
		nc := newScripted()
		nc.read = func([]byte) (int, error) { t.Error("read"); return 0, io.EOF }
		s := New(nc)
		s.Attach(nil)
		synctest.Wait()
		if len(nc.deadlines) != 1 || !nc.deadlines[0].IsZero() {
			t.Errorf("deadlines set: %v, want those there were taken off", nc.deadlines)
		}
		if nc.closed() != 0 {
			t.Error("closed")
		}
	})
}

// A connection that is not read from takes one buffer from its peer, whose writes then block.
func TestOneBufferIsReadAhead(t *testing.T) {
	settled(t, func(t *testing.T) {
		nc, peer := net.Pipe()
		s, _ := over(nc)
		want := numbered(300_000)
		written := 0
		go func() {
			for len(want[written:]) > 0 {
				n, err := peer.Write(want[written:min(written+100, len(want))])
				written += n
				if err != nil {
					return
				}
			}
		}()
		var got []byte
		b := make([]byte, 997)
		for len(got) < len(want) {
			synctest.Wait()
			n, err := s.Read(b)
			if err != nil && err != loop.ErrAgain {
				t.Fatal(err)
			}
			got = append(got, b[:n]...)
			synctest.Wait()
			if ahead := written - len(got); ahead > idleRead {
				t.Fatalf("%d bytes are read ahead", ahead)
			}
		}
		if !bytes.Equal(got, want) {
			t.Error("not the same bytes")
		}
		closeIt(s, peer)
	})
}

// The reader's buffers grow while they are filled, and it waits with a small one.
func TestBuffersFollowWhatComes(t *testing.T) {
	settled(t, func(t *testing.T) {
		var sizes []int
		nc := newScripted()
		come := make(chan int)
		left := 0
		nc.read = func(b []byte) (int, error) {
			sizes = append(sizes, len(b))
			for left == 0 {
				select {
				case left = <-come:
				case <-nc.shut:
					return 0, net.ErrClosed
				}
			}
			n := min(left, len(b))
			left -= n
			return n, nil
		}
		s, _ := over(nc)
		take := func() (total int) {
			b := make([]byte, 64<<10)
			for {
				synctest.Wait()
				n, err := s.Read(b)
				if total += n; err == loop.ErrAgain {
					synctest.Wait()
					return total
				} else if err != nil {
					t.Fatal(err)
				}
			}
		}
		take()
		for _, row := range []struct {
			name string
			come int
			want []int // sizes of the buffers, the last one to wait in
		}{
			{"little", 10, []int{512}},
			{"as much as there is room for", 512, []int{4096}},
			{"more", 1000, []int{2048}},
			{"as much again", 1000, []int{1024}},
			{"a lot", 200_000, []int{8192, 64 << 10, 64 << 10, 64 << 10, 4096}},
			{"little again", 1, []int{512}},
		} {
			sizes = nil
			come <- row.come
			if n := take(); n != row.come || !slices.Equal(sizes, row.want) {
				t.Errorf("%s: %d of %d bytes, buffers %v, want %v", row.name, n, row.come, sizes, row.want)
			}
		}
		if out := pool.Outstanding(); len(out) != 0 {
			t.Errorf("a connection that waits for a first message holds %v", out)
		}
		closeIt(s, nc)
	})
}

func TestReadErrorsComeBehindTheBytes(t *testing.T) {
	broken := errors.New("broken")
	for _, want := range []error{io.EOF, io.ErrUnexpectedEOF, broken} {
		for _, together := range []bool{false, true} { // with the last bytes, as Readers may
			settled(t, func(t *testing.T) {
				nc := newScripted()
				calls := 0
				nc.read = func(b []byte) (int, error) {
					if calls++; calls > 1 {
						return 0, want
					}
					if together {
						return copy(b, "last"), want
					}
					return copy(b, "last"), nil
				}
				s, _ := over(nc)
				readNow(s, 10)
				if got, err := readNow(s, 10); got != "last" || err != nil {
					t.Errorf("%q %v", got, err)
				}
				readNow(s, 10)
				for range 2 {
					if got, err := readNow(s, 10); got != "" || err != want {
						t.Errorf("%q %v, want %v", got, err, want)
					}
				}
				closeIt(s, nc)
			})
		}
	}
}

func TestAConnectionThatReadsNothingAtAllEnds(t *testing.T) {
	settled(t, func(t *testing.T) {
		nc := newScripted()
		nc.read = func([]byte) (int, error) { return 0, nil }
		s, told := over(nc)
		readNow(s, 10)
		if _, err := readNow(s, 10); err != io.ErrNoProgress {
			t.Error(err)
		}
		if n, _ := told.counts(); n != 1 {
			t.Errorf("told %d times", n)
		}
		closeIt(s, nc)
	})
}

// A reader that waits for its buffer to be taken ends with the connection, and what it has read is dropped.
func TestCloseEndsAReaderInEveryPlace(t *testing.T) {
	for name, place := range map[string]func(s *Stream, peer net.Conn){
		"not begun":     func(*Stream, net.Conn) {},
		"in the middle": func(s *Stream, _ net.Conn) { readNow(s, 1) },
		"with a buffer": func(s *Stream, peer net.Conn) { readNow(s, 1); go peer.Write(numbered(300)) },
		"with a pooled buffer": func(s *Stream, peer net.Conn) {
			readNow(s, 1)
			go peer.Write(numbered(5000))
			readNow(s, 1000)
		},
		"at the end": func(s *Stream, peer net.Conn) { readNow(s, 1); peer.Close(); readNow(s, 1) },
	} {
		t.Run(name, func(t *testing.T) {
			settled(t, func(t *testing.T) {
				nc, peer := net.Pipe()
				s, _ := over(nc)
				place(s, peer)
				synctest.Wait()
				began := time.Now()
				closeIt(s, peer)
				if time.Since(began) != 0 {
					t.Error("it took until a timeout")
				}
			})
		})
	}
}
