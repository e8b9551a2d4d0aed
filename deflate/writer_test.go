package deflate

import (
	"bytes"
	"errors"
	"testing"
)

// collect is an emit function's other end.
type collect struct {
	t      testing.TB
	pieces [][]byte
	fin    bool
}

func (c *collect) emit(piece []byte, fin bool) error {
	if c.fin {
		c.t.Error("a piece behind the last one")
	}
	if len(piece) > pieceSize+len(tail) {
		c.t.Errorf("a piece of %d bytes", len(piece))
	}
	c.pieces = append(c.pieces, bytes.Clone(piece))
	c.fin = fin
	return nil
}

func (c *collect) message() []byte {
	if !c.fin {
		c.t.Error("no last piece")
	}
	return bytes.Join(c.pieces, nil)
}

func TestWrittenMessagesRoundTrip(t *testing.T) {
	z := newZlibPeer(t)
	for _, level := range levels {
		for _, bits := range []int{8, 10, 15} {
			for _, flush := range []bool{false, true} {
				for _, h := range []*History{nil, NewHistory(1 << bits)} {
					z.must('d', 0, bits, nil)
					for i, m := range append(conversation(1), noise(newRand(2), 100000)) {
						if h == nil {
							z.must('d', 0, bits, nil)
						}
						got := &collect{t: t}
						w := NewWriter(got.emit, Setting{level, bits}, h)
						for rest := m; len(rest) > 0; {
							n := min(len(rest), 1+i*700)
							if _, err := w.Write(rest[:n]); err != nil {
								t.Fatal(err)
							}
							rest = rest[n:]
							if flush {
								if err := w.Flush(); err != nil {
									t.Fatal(err)
								}
							}
						}
						if err := w.Close(); err != nil {
							t.Fatal(err)
						}
						if back := z.must('i', 0, 0, got.message()); !bytes.Equal(back, m) {
							t.Fatalf("level %d, bits %d, flush %v, message %d of %d bytes", level, bits, flush, i, len(m))
						}
					}
				}
			}
		}
		if raceEnabled && level > 0 {
			break
		}
	}
}

func TestWrittenMessagesEnterTheHistory(t *testing.T) {
	h := NewHistory(maxWindow)
	text := varied(newRand(5), 3000)
	var lengths []int
	for range 2 {
		got := &collect{t: t}
		w := NewWriter(got.emit, Setting{}, h)
		w.Write(text[:1000])
		w.Write(text[1000:])
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		lengths = append(lengths, len(got.message()))
	}
	if got := h.newest(nil, maxWindow); !bytes.Equal(got, append(bytes.Clone(text), text...)) {
		t.Errorf("the history has %d bytes", len(got))
	}
	if lengths[1] > lengths[0]/10 {
		t.Errorf("the same again: %d bytes, then %d", lengths[0], lengths[1])
	}
}

func TestEmptyWrittenMessageIsOneZeroByte(t *testing.T) {
	for _, level := range levels {
		got := &collect{t: t}
		w := NewWriter(got.emit, Setting{Level: level}, nil)
		if err := w.Close(); err != nil || string(got.message()) != "\x00" {
			t.Errorf("level %d: % x, %v", level, got.message(), err)
		}
	}
}

// As of a Compressor: the writers are shared by all connections.
func TestNoWrittenMessageRefersToAnotherConnection(t *testing.T) {
	m := varied(newRand(3), 2000)
	for _, level := range levels {
		write := func(h *History) []byte {
			got := &collect{t: t}
			w := NewWriter(got.emit, Setting{Level: level}, h)
			w.Write(m)
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			return got.message()
		}
		for range 5 {
			h := NewHistory(maxWindow)
			write(h)
			write(h)
			if back := stdInflate(t, write(nil), nil); !bytes.Equal(back, m) {
				t.Fatalf("level %d: does not inflate alone", level)
			}
		}
	}
}

func TestWriterFailsWithItsEmitter(t *testing.T) {
	fault := errors.New("fault")
	for _, n := range []int{0, 10, 1 << 20} {
		w := NewWriter(func([]byte, bool) error { return fault }, Setting{}, nil)
		_, err := w.Write(noise(newRand(4), n))
		if n > 1<<16 && err != fault {
			t.Errorf("%d bytes: Write: %v", n, err)
		}
		if n == 10 {
			if err := w.Flush(); err != fault {
				t.Errorf("Flush: %v", err)
			}
			if _, err := w.Write([]byte("more")); err != fault {
				t.Errorf("Write after a failed Flush: %v", err)
			}
		}
		if err := w.Close(); err != fault {
			t.Errorf("%d bytes: Close: %v", n, err)
		}
	}
	// Nothing of it stays with the writer that was borrowed.
	got := &collect{t: t}
	w := NewWriter(got.emit, Setting{}, nil)
	w.Write([]byte("Hello"))
	if err := w.Close(); err != nil || string(stdInflate(t, got.message(), nil)) != "Hello" {
		t.Errorf("% x, %v", got.message(), err)
	}
}

func TestClosedWriterTakesNothing(t *testing.T) {
	got := &collect{t: t}
	w := NewWriter(got.emit, Setting{}, nil)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte("x")); err == nil {
		t.Error("Write after Close")
	}
	if w.Flush() == nil || w.Close() == nil {
		t.Error("Flush or Close after Close")
	}
}
