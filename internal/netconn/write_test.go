package netconn

import (
	"bytes"
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"zeroframe/internal/loop"
)

func TestWritesAreTakenUpToTheBoundAndNotBeyond(t *testing.T) {
	settled(t, func(t *testing.T) {
		nc, peer := net.Pipe()
		s, told := over(nc)
		want := numbered(150_000)
		sent := 0
		for _, row := range []struct{ size, taken int }{{10, 10}, {1000, 1000}, {0, 0}, {100_000, maxPending - 1010}, {1, 0}} {
			n, err := s.Write(want[sent : sent+row.size])
			if n != row.taken || (err == loop.ErrAgain) != (n < row.size) {
				t.Fatalf("%d of %d bytes are taken, want %d: %v", n, row.size, row.taken, err)
			}
			sent += n
			synctest.Wait()
		}
		got := make([]byte, 0, len(want))
		for len(got) < len(want) {
			_, before := told.counts()
			n, err := peer.Read(got[len(got):min(len(got)+10_000, cap(got))])
			if err != nil {
				t.Fatal(err)
			}
			got = got[:len(got)+n]
			synctest.Wait()
			if _, after := told.counts(); after == before {
				continue
			}
			for sent < len(want) {
				n, err := s.Write(want[sent:min(sent+5000, len(want))])
				sent += n
				if err != nil {
					break
				}
			}
			if sent-len(got) > maxPending {
				t.Fatalf("%d bytes are pending", sent-len(got))
			}
		}
		if !bytes.Equal(got, want) {
			t.Error("not the same bytes")
		}
		if _, n := told.counts(); n < len(want)/maxPending || n > len(want)/1000 {
			t.Errorf("told of room %d times", n)
		}
		closeIt(s, peer)
	})
}

func TestAConnectionThatIsWrittenToHoldsNothingAfterwards(t *testing.T) {
	settled(t, func(t *testing.T) {
		nc, peer := net.Pipe()
		s, told := over(nc)
		for range 3 {
			s.Write([]byte("hello"))
			b := make([]byte, 10)
			if n, err := peer.Read(b); string(b[:n]) != "hello" || err != nil {
				t.Fatalf("%q %v", b[:n], err)
			}
			synctest.Wait()
			if !s.resting() {
				t.Error("the writer or its buffer is still there")
			}
		}
		if r, w := told.counts(); r != 0 || w != 0 {
			t.Error("told of something nobody waits for")
		}
		closeIt(s, peer)
	})
}

// The loop hears of an error that only its next call can return, whatever it waits for, and even if for nothing.
func TestAFailedWriteEndsBothDirections(t *testing.T) {
	broken := errors.New("broken")
	for name, write := range map[string]func([]byte) (int, error){
		"error": func(b []byte) (int, error) { return len(b) / 2, broken },
		"short": func(b []byte) (int, error) { return len(b) - 1, nil },
	} {
		t.Run(name, func(t *testing.T) {
			settled(t, func(t *testing.T) {
				want := broken
				if name == "short" {
					want = io.ErrShortWrite
				}
				nc := newScripted()
				nc.write = write
				s, told := over(nc)
				readNow(s, 1)
				if n, err := s.Write(numbered(maxPending + 1)); n != maxPending || err != loop.ErrAgain {
					t.Fatal(n, err)
				}
				synctest.Wait()
				if r, w := told.counts(); r != 1 || w < 1 {
					t.Errorf("told %d times to read and %d times to write", r, w)
				}
				for range 2 {
					if n, err := s.Write([]byte("x")); n != 0 || err != want {
						t.Error(n, err)
					}
					if n, err := s.Read(make([]byte, 1)); n != 0 || err != want {
						t.Error(n, err)
					}
				}
				closeIt(s, nc)
			})
		})
	}
}

func TestTheEndOfTheStreamComesBehindWhatIsPending(t *testing.T) {
	failed := errors.New("failed")
	for name, failure := range map[string]error{"done": nil, "failed": failed} {
		t.Run(name, func(t *testing.T) {
			settled(t, func(t *testing.T) {
				nc, peer := net.Pipe()
				s, told := over(half{nc, failure})
				s.Write([]byte("one "))
				s.Write([]byte("two "))
				s.CloseWrite()
				if n, err := s.Write([]byte("three")); n != 0 || err != io.ErrClosedPipe {
					t.Errorf("a write behind the end: %d %v", n, err)
				}
				readNow(s, 1)
				b := make([]byte, len("one two <end>"))
				if _, err := io.ReadFull(peer, b); string(b) != "one two <end>" || err != nil {
					t.Fatalf("%q %v", b, err)
				}
				synctest.Wait()
				if r, _ := told.counts(); (r != 0) != (failure != nil) {
					t.Errorf("told %d times to read, with %v", r, failure)
				}
				if failure != nil {
					if _, err := s.Read(b); err != failure {
						t.Error(err)
					}
				} else {
					go peer.Write([]byte("still here")) // the other direction lives
					if got, err := readNow(s, 20); got != "still here" || err != nil {
						t.Errorf("%q %v", got, err)
					}
				}
				closeIt(s, peer)
			})
		})
	}
}

// A connection that can only be closed whole ends half a second after the last word, or when the peer goes.
func TestAConnectionWithoutHalfCloseEndsSoonAfterTheLastWord(t *testing.T) {
	for _, goes := range []bool{false, true} {
		settled(t, func(t *testing.T) {
			nc, peer := net.Pipe()
			s, _ := over(nc)
			s.Write([]byte("bye"))
			s.CloseWrite()
			readNow(s, 1)
			time.Sleep(3 * lingering) // the word has not been read: the clock does not run yet
			if _, err := readNow(s, 1); err != loop.ErrAgain {
				t.Error(err)
			}
			began := time.Now()
			b := make([]byte, 10)
			if n, err := peer.Read(b); string(b[:n]) != "bye" || err != nil {
				t.Fatalf("%q %v", b[:n], err)
			}
			if goes {
				time.Sleep(lingering / 2)
				peer.Close()
				if _, err := readNow(s, 1); err != io.EOF || time.Since(began) != lingering/2 {
					t.Error(err, time.Since(began))
				}
			} else {
				time.Sleep(lingering - 1)
				go peer.Write([]byte("what?"))
				if got, err := readNow(s, 10); got != "what?" || err != nil {
					t.Error(got, err)
				}
				if _, err := readNow(s, 10); err != loop.ErrAgain {
					t.Error(err)
				}
				time.Sleep(time.Nanosecond)
				if _, err := readNow(s, 10); err != io.EOF {
					t.Error(err)
				}
			}
			closeIt(s, peer)
		})
	}
}

func TestCloseWritesWhatIsPendingFirst(t *testing.T) {
	settled(t, func(t *testing.T) {
		nc, peer := net.Pipe()
		s, _ := over(nc)
		want := numbered(40_000)
		s.Write(want)
		synctest.Wait()
		began := time.Now()
		s.Close()
		if n, err := s.Write([]byte("x")); n != 0 || err != io.ErrClosedPipe {
			t.Errorf("a write behind the end: %d %v", n, err)
		}
		got, err := io.ReadAll(peer)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
		if time.Since(began) != 0 {
			t.Error("closed by its timer")
		}
	})
}

// Close does not wait for a peer that never reads, nor for one that stalls whatever the connection does to close.
func TestCloseEndsWithinItsBound(t *testing.T) {
	settled(t, func(t *testing.T) {
		nc, peer := net.Pipe()
		s, told := over(nc)
		s.Read(make([]byte, 1))
		s.Write(numbered(maxPending + 1))
		synctest.Wait()
		began := time.Now()
		s.Close()
		if time.Since(began) != 0 {
			t.Error("Close waits")
		}
		time.Sleep(closeWithin - 1)
		synctest.Wait()
		if s.dropped() {
			t.Error("closed too early")
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		if n, err := peer.Read(make([]byte, 1)); n != 0 || err != io.EOF {
			t.Errorf("the peer of a closed connection reads %d, %v", n, err)
		}
		if r, w := told.counts(); r != 0 || w != 0 {
			t.Error("told of something after Close")
		}
	})
	settled(t, func(t *testing.T) {
		nc := newScripted()
		nc.closeHangs = make(chan struct{})
		s, _ := over(nc)
		s.Read(make([]byte, 1))
		s.Close() // returns, or the test would end for want of progress
		close(nc.closeHangs)
		synctest.Wait()
		if n := nc.closed(); n != 1 {
			t.Errorf("closed %d times", n)
		}
	})
}

func TestAConnectionIsClosedOnce(t *testing.T) {
	for name, before := range map[string]func(s *Stream, nc *scripted){
		"idle":    func(*Stream, *scripted) {},
		"reading": func(s *Stream, _ *scripted) { s.Read(make([]byte, 1)) },
		"stuck":   func(s *Stream, _ *scripted) { s.Write([]byte("x")) },
		"ended":   func(s *Stream, _ *scripted) { s.CloseWrite() },
		"failed": func(s *Stream, nc *scripted) {
			nc.write = func([]byte) (int, error) { return 0, errors.New("broken") }
			s.Write([]byte("x"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			settled(t, func(t *testing.T) {
				nc := newScripted()
				s, _ := over(nc)
				before(s, nc)
				synctest.Wait()
				s.Close()
				time.Sleep(2 * closeWithin)
				if n := nc.closed(); n != 1 {
					t.Errorf("closed %d times", n)
				}
			})
		})
	}
}

func TestAddressesAreThoseOfTheConnection(t *testing.T) {
	s := New(newScripted())
	if s.RemoteAddr().String() != "theirs" || s.LocalAddr().String() != "ours" {
		t.Error(s.RemoteAddr(), s.LocalAddr())
	}
}
