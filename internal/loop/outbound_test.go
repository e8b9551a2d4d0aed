//go:build unix

package loop_test

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"

	"zeroframe/internal/loop"
	"zeroframe/internal/memconn"
	"zeroframe/pool"
)

func TestQueuedOutputKeepsItsOrderOverPartialWrites(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		p := newProbe(t)
		c := w.connect(p)
		within(t, p.opened)
		random := rand.New(rand.NewPCG(1, 2))
		all := numbered(20_000)
		go func() {
			for rest := all; len(rest) > 0; {
				n := min(1+random.IntN(900), len(rest))
				p.send(rest[:n])
				rest = rest[n:]
			}
		}()
		expect(t, c, all)
	})
}

func TestSharedAndCopiedOutputKeepTheirOrder(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		p := newProbe(t)
		c := w.connect(p)
		shared := bytes.Repeat([]byte("shared"), 20)
		before := bytes.Clone(shared)
		within(t, p.opened)
		var want []byte
		for i := range 100 { // more segments than one vector takes
			own := numbered(i)
			p.Lock()
			copy(p.Append(len(own)), own)
			ok := p.AppendShared(shared)
			p.Unlock(true)
			if !ok {
				t.Fatal("refused")
			}
			want = append(append(want, own...), shared...)
		}
		expect(t, c, want)
		if !bytes.Equal(shared, before) {
			t.Error("shared memory was changed")
		}
	})
}

// A backlog larger than one turn may write must go on by itself: over a stream, and with an edge-triggered poller,
// nothing announces that there is still room.
func TestABacklogLargerThanOneTurnIsWrittenToTheEnd(t *testing.T) {
	const size, piece = 5 << 20, 256 << 10
	all := numbered(size)
	for _, name := range []string{"socket", "stream"} {
		t.Run(name, func(t *testing.T) {
			w := start(t, loop.Config{})
			if name == "stream" {
				w.connect = w.overStream(memconn.Faults{Buffer: 2 * size})
			}
			p := newProbe(t)
			p.onOpened = func() {
				p.Lock()
				for at := 0; at < size; at += piece {
					p.AppendShared(all[at : at+piece])
				}
				p.Unlock(true)
			}
			expect(t, w.connect(p), all)
		})
	}
}

func TestOutputAppendedDuringAFlushStandsBehindIt(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		p := newProbe(t)
		const senders, each = 4, 40
		c := w.connect(p)
		within(t, p.opened)
		var all sync.WaitGroup
		for s := range senders {
			all.Go(func() {
				for i := range each {
					p.send(append([]byte{byte(s), byte(i)}, bytes.Repeat([]byte{byte(s)}, 30)...))
				}
			})
		}
		var next [senders]byte
		record := make([]byte, 32)
		for range senders * each {
			if _, err := io.ReadFull(c, record); err != nil {
				t.Fatal(err)
			}
			s := record[0]
			if int(s) >= senders || record[1] != next[s] || !bytes.Equal(record[2:], bytes.Repeat([]byte{s}, 30)) {
				t.Fatalf("record % x, want number %v", record, next)
			}
			next[s]++
		}
		all.Wait()
	})
}

// echoOf lets the endpoint answer what comes in pieces, each from where it stands, leaving a gap of 4 bytes before each
// as a client's masking key does.
func echoOf(p *probe, piece int, sent *[]byte) func([]byte) {
	return func(b []byte) {
		for len(b) > 4 {
			n := min(piece, len(b)-4)
			part := b[4 : 4+n]
			*sent = append(*sent, part...)
			if !p.WriteInPlace(part) {
				p.send(part)
			}
			b = b[4+n:]
		}
	}
}

func TestAnswersInPlaceLeaveInOrderWithOneWrite(t *testing.T) {
	for _, piece := range []int{1, 10, 2000, 3000} { // below and above the size that is moved together
		w := start(t, loop.Config{})
		p := newProbe(t)
		var sent []byte
		p.onData = echoOf(p, piece, &sent)
		c := w.connect(p)
		within(t, p.opened)
		in := numbered(20_000)
		if _, err := c.Write(in); err != nil {
			t.Fatal(err)
		}
		c.(*net.TCPConn).CloseWrite()
		got, err := io.ReadAll(c)
		if err != nil {
			t.Fatal(err)
		}
		within(t, p.closed)
		if !bytes.Equal(got, sent) {
			t.Fatalf("pieces of %d: %d bytes came back, not the %d that were sent", piece, len(got), len(sent))
		}
		onLoop(t, w.Loops()[0], func() {
			if s := w.Loops()[0].Stats(); s.Writes > s.Reads+4 {
				t.Errorf("pieces of %d: %d writes for %d reads", piece, s.Writes, s.Reads)
			}
		})
	}
}

// The kernel takes a little of the answers at a time: what is left goes to the front of the queue, before what was
// queued behind the answers in the same callback, and the read buffer is reused at once.
func TestAnswersThatDoNotFitGoToTheFrontOfTheQueue(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		for _, piece := range []int{3, 500, 3000} { // 500 needs no more than 64 parts, 3 more
			p := newProbe(t)
			var sent []byte
			echo := echoOf(p, piece, &sent)
			p.onData = func(b []byte) {
				echo(b)
				behind := []byte("<behind>")
				sent = append(sent, behind...)
				p.send(behind)
				if p.WriteInPlace(behind) {
					t.Error("written in place before what is queued")
				}
			}
			ended := false
			p.onEOF = func() { ended = true; p.LastOutput(true) }
			p.onWritten = func(queued int) {
				if ended && queued == 0 {
					p.Close(nil)
				}
			}
			c := w.connect(p)
			go func() {
				c.Write(numbered(6000))
				c.(interface{ CloseWrite() error }).CloseWrite()
			}()
			got, err := io.ReadAll(c)
			if err != nil {
				t.Fatal(err)
			}
			within(t, p.closed)
			if !bytes.Equal(got, sent) {
				t.Fatalf("pieces of %d: %d bytes came back, not the %d that were sent", piece, len(got), len(sent))
			}
		}
	})
}

func TestMoreThan64PartsAreRefusedNotLost(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		p := newProbe(t)
		words := make([][]byte, 200)
		var want []byte
		for i := range words {
			words[i] = bytes.Repeat([]byte{byte(i)}, 20) // memory of its own each, so none can be joined
			want = append(want, words[i]...)
		}
		p.onOpened = func() {
			taken := 0
			for _, word := range words {
				if taken == 63 && p.WriteBorrowed(words[63], words[64]) {
					t.Error("65 parts taken")
				}
				if p.WriteInPlace(word) {
					taken++
				} else {
					p.send(word)
				}
			}
			if taken != 64 {
				t.Errorf("%d parts taken, want 64", taken)
			}
		}
		expect(t, w.connect(p), want)
	})
}

// WriteBuffer gives the buffer away: it must come back to the pool whether it is written at once, in pieces, or dropped
// with the connection. The world's end checks that none is out.
func TestBuffersGivenAwayComeBack(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		var want []byte
		give := func(p *probe) {
			for i := range 5 {
				buf := p.Loop().Buffers().Get(1000)
				buf.B = append(buf.B, numbered(1000-i)...)
				middle := buf.B[i:900]
				if !p.WriteBuffer(middle, buf) {
					t.Error("refused")
					p.Loop().Buffers().Put(buf)
				}
				want = append(want, middle...)
			}
		}
		p := newProbe(t)
		p.onOpened = func() { give(p); p.send([]byte("behind")) }
		c := w.connect(p)
		within(t, p.opened)
		expect(t, c, append(want, "behind"...))

		closing := newProbe(t)
		closing.onOpened = func() { give(closing); closing.Close(nil) }
		w.connect(closing)
		within(t, closing.closed)

		stuck := newProbe(t) // dies with its queue full
		stuck.onOpened = func() { give(stuck); stuck.send(numbered(8 << 20)) }
		w.connect(stuck)
		within(t, stuck.opened)
		stuck.onLoop(func() { stuck.Close(nil) })
		within(t, stuck.closed)
		if stuck.Queued() != 0 || stuck.send([]byte("late")) {
			t.Error("a closed connection keeps or takes output")
		}
		stuck.Lock()
		if stuck.AppendShared([]byte("late")) {
			t.Error("a closed connection takes shared output")
		}
		stuck.Unlock(false)
	})
}

// WriteOut gives memory back to its owner before the callback ends.
func TestWriteOutLetsGoOfTheCallersMemory(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		p := newProbe(t)
		p.onOpened = func() {
			own := numbered(3000)
			p.WriteBorrowed(own[:10], own[10:])
			p.WriteOut()
			clear(own)
			p.send([]byte("more"))
			p.WriteOut() // nothing of it is corked
		}
		expect(t, w.connect(p), append(numbered(3000), "more"...))
	})
}

func TestWrittenReportsTheBacklogAndItsProgress(t *testing.T) {
	w := start(t, loop.Config{})
	w.connect = w.overStream(memconn.Faults{Buffer: 1000})
	p := newProbe(t)
	type report struct {
		queued     int
		progressed bool
	}
	reports := make(chan report, 100)
	p.onWritten = func(queued int) { reports <- report{queued, p.Progressed()} }
	p.onOpened = func() { p.send(numbered(2500)) }
	c := w.connect(p)
	if r := within(t, reports); r != (report{1500, true}) {
		t.Fatalf("first %v", r)
	}
	expect(t, c, numbered(2500))
	last := within(t, reports)
	for last.queued != 0 {
		last = within(t, reports)
	}
	if p.Queued() != 0 {
		t.Errorf("%d queued", p.Queued())
	}
	// Without a backlog there is nothing to report, unless it is asked for.
	p.onLoop(func() { p.LastOutput(true) })
	p.Notify(loop.MailUser)
	if r := within(t, reports); r.queued != 0 || r.progressed {
		t.Fatalf("asked for: %v", r)
	}
	p.onLoop(func() { p.LastOutput(false) })
	p.Notify(loop.MailUser)
	p.onLoop(func() {})
	if len(reports) != 0 {
		t.Errorf("not asked for: %v", <-reports)
	}
}

// A stream that takes everything, and calls during for its first write.
type takingStream struct {
	during func()
	some   bool
}

func (s *takingStream) Attach(*loop.Conn) {}
func (s *takingStream) Read(p []byte) (int, error) {
	if s.some {
		return 0, loop.ErrAgain
	}
	s.some = true
	return copy(p, "hello"), nil
}
func (s *takingStream) Write(p []byte) (int, error) {
	if f := s.during; f != nil {
		s.during = nil
		f()
	}
	return len(p), nil
}
func (s *takingStream) CloseWrite() error { return nil }
func (s *takingStream) Close() error      { return nil }

// Whoever was refused for a backlog counts on hearing that it is gone, also when it came and went within one flush.
func TestABacklogThatCameDuringAFlushIsReportedToo(t *testing.T) {
	w := start(t, loop.Config{})
	p := newProbe(t)
	p.onData = func(b []byte) {
		if !p.WriteInPlace(b) {
			t.Error("not taken in place")
		}
	}
	reports := make(chan bool, 10)
	p.onWritten = func(queued int) { reports <- queued == 0 && p.Progressed() }
	s := &takingStream{during: func() { p.send([]byte("meanwhile")) }}
	if err := w.NewStreamConn(&p.Conn, s); err != nil {
		t.Fatal(err)
	}
	if !within(t, reports) {
		t.Error("the report is not of a queue that was emptied")
	}
}

// While nothing is queued a connection holds no buffer.
func TestAnIdleConnectionHoldsNoBuffer(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		p := newProbe(t)
		c := w.connect(p)
		within(t, p.opened)
		for range 3 {
			p.send(numbered(2000))
			expect(t, c, numbered(2000))
		}
		if !soon(func() bool { return len(pool.Outstanding()) == 0 }) {
			t.Errorf("still out: %v", pool.Outstanding())
		}
	})
}
