package deflate

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"
	"time"
)

func TestReaderInflatesEverySize(t *testing.T) {
	c := new(Compressor)
	text := varied(newRand(1), 70000)
	sent, received := NewHistory(DefaultHistory), NewHistory(maxWindow)
	for n := range sizes(600, 1999) {
		m := text[70000-n:]
		out := c.Compress(nil, m, Setting{}, nil)
		if got, err := io.ReadAll(NewReader(iotest.HalfReader(bytes.NewReader(out)), n, nil)); err != nil || !bytes.Equal(got, m) {
			t.Fatalf("%d bytes: %v", n, err)
		}
		out = c.Compress(nil, m, Setting{}, sent)
		if got, err := io.ReadAll(NewReader(iotest.OneByteReader(bytes.NewReader(out)), n, received)); err != nil || !bytes.Equal(got, m) {
			t.Fatalf("%d bytes, with history: %v", n, err)
		}
	}
}

// What has been flushed can be read before the message goes on.
func TestReaderReturnsWhatTheSenderFlushed(t *testing.T) {
	pr, pw := io.Pipe()
	defer pr.Close()
	w := NewWriter(func(piece []byte, _ bool) error { _, err := pw.Write(piece); return err }, Setting{}, nil)
	r := NewReader(pr, 1<<20, nil)
	turn := make(chan error)
	done := make(chan error, 1)
	go func() {
		for _, part := range []string{"first ", "second ", "third"} {
			if err := <-turn; err != nil {
				return
			}
			if _, err := w.Write([]byte(part)); err != nil {
				done <- err
				return
			}
			if err := w.Flush(); err != nil {
				done <- err
				return
			}
		}
		err := w.Close()
		pw.Close()
		done <- err
	}()
	b := make([]byte, 100)
	for _, part := range []string{"first ", "second ", "third"} {
		select {
		case turn <- nil: // only now is it written
		case <-time.After(10 * time.Second):
			t.Fatal("the writer is stuck")
		}
		if n, err := io.ReadFull(r, b[:len(part)]); err != nil || string(b[:n]) != part {
			t.Fatalf("%q, %v", b[:n], err)
		}
	}
	if n, err := r.Read(b); n != 0 || err != io.EOF {
		t.Errorf("%d, %v", n, err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestReaderPassesErrorsOfItsSourceOn(t *testing.T) {
	fault := errors.New("fault")
	whole := stdDeflate(varied(newRand(2), 100000), 6)
	for _, n := range []int{0, 1, 100, 5000, len(whole) - 1, len(whole)} {
		for _, err := range []error{fault, io.ErrUnexpectedEOF} {
			r := NewReader(io.MultiReader(bytes.NewReader(whole[:n]), iotest.ErrReader(err)), 1<<20, nil)
			for range 2 { // and again
				if _, got := io.ReadAll(r); got != err {
					t.Errorf("after %d bytes: %v, want %v", n, got, err)
				}
			}
		}
	}
}

func TestReaderHoldsNothingAfterItsEnd(t *testing.T) {
	for name, end := range map[string]func(*Reader){
		"read to the end": func(r *Reader) { io.Copy(io.Discard, r) },
		"closed":          func(r *Reader) { r.Close() },
		"closed twice":    func(r *Reader) { r.Close(); r.Close() },
		"too big":         func(r *Reader) { r.limit = 2; io.Copy(io.Discard, r) },
	} {
		r := NewReader(bytes.NewReader(unhex("f2 48 cd c9 c9 07 00")), 100, nil)
		end(r)
		if r.streaming != nil || r.h != nil {
			t.Errorf("%s: still holds what it borrowed", name)
		}
		if n, err := r.Read(make([]byte, 10)); n != 0 || err == nil {
			t.Errorf("%s: read goes on: %d, %v", name, n, err)
		}
	}
}

// The window of a stream without history is borrowed as well.
func TestReaderKeepsNothingOfAnotherMessage(t *testing.T) {
	for range 20 {
		if _, err := io.ReadAll(NewReader(bytes.NewReader(stdDeflate(varied(newRand(3), 40000), 6)), 1<<20, nil)); err != nil {
			t.Fatal(err)
		}
		// A final block, so that the window has to go on, and a reference.
		if got, err := io.ReadAll(NewReader(bytes.NewReader(unhex("03 00 f2 00 11 00 00")), 100, nil)); err != ErrCorrupt {
			t.Fatalf("%q, %v", got, err)
		}
	}
}
