//go:build unix

package loop_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"zeroframe/internal/loop"
)

// meter is a stream that takes as many bytes as it is granted and counts them.
type meter struct {
	mu      sync.Mutex
	conn    *loop.Conn
	granted int
	taken   []byte
	cut     int    // bytes of one write; 0: what is granted
	during  func() // called once, inside the next write that takes something
}

func (m *meter) Attach(c *loop.Conn) { m.conn = c }

func (m *meter) Read([]byte) (int, error) { return 0, loop.ErrAgain }

func (m *meter) Write(p []byte) (int, error) {
	m.mu.Lock()
	n := min(len(p), m.granted)
	if m.cut > 0 {
		n = min(n, m.cut)
	}
	m.granted -= n
	m.taken = append(m.taken, p[:n]...)
	more := m.granted > 0
	f := m.during
	if n == 0 {
		f = nil
	} else {
		m.during = nil
	}
	m.mu.Unlock()
	if f != nil {
		f()
	}
	if n == len(p) {
		return n, nil
	}
	if more {
		m.conn.StreamWritable()
	}
	return n, loop.ErrAgain
}

func (m *meter) CloseWrite() error { return nil }
func (m *meter) Close() error      { return nil }

// grant lets n bytes more through.
func (m *meter) grant(n int) {
	m.mu.Lock()
	m.granted += n
	m.mu.Unlock()
	m.conn.StreamWritable()
}

func (m *meter) count() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.taken)
}

// metered connects a probe to a meter.
func metered(t *testing.T, w *world, p *probe, m *meter) {
	t.Helper()
	if err := w.NewStreamConn(&p.Conn, m); err != nil {
		t.Fatal(err)
	}
	within(t, p.opened)
}

// passage is how a mark was passed.
type passage struct {
	mark    int
	written bool
	taken   int // bytes that the stream had by then
}

// numberedMark tells the number of the mark and what the stream has when it is passed.
type numberedMark struct {
	number int
	stream *meter // nil: a socket
	passed chan<- passage
}

func (m numberedMark) Passed(written bool) {
	taken := 0
	if m.stream != nil {
		taken = m.stream.count()
	}
	m.passed <- passage{m.number, written, taken}
}

// mark puts a mark behind what is queued, which must be something.
func (p *probe) mark(m numberedMark) {
	p.t.Helper()
	if queued, err := p.MarkOutput(m); !queued || err != nil {
		p.t.Errorf("MarkOutput with %d bytes queued: %v, %v", p.Queued(), queued, err)
	}
}

func TestAMarkIsPassedByExactlyTheBytesBeforeIt(t *testing.T) {
	w := start(t, loop.Config{})
	p, m := newProbe(t), new(meter)
	metered(t, w, p, m)
	passed := make(chan passage, 10)
	all := numbered(60)
	p.send(all[:10])
	p.mark(numberedMark{1, m, passed})
	p.mark(numberedMark{2, m, passed})
	p.Lock()
	p.AppendShared(all[10:30])
	p.Unlock(true)
	p.mark(numberedMark{3, m, passed})
	p.send(all[30:60])
	p.mark(numberedMark{4, m, passed})

	m.grant(9)
	p.onLoop(func() {})
	p.onLoop(func() {})
	if len(passed) != 0 {
		t.Fatalf("after 9 bytes of 10: %+v", <-passed)
	}
	for _, step := range []struct{ grant, total, mark int }{{1, 10, 1}, {0, 10, 2}, {20, 30, 3}, {30, 60, 4}} {
		if step.grant > 0 {
			m.grant(step.grant)
		}
		if got := within(t, passed); got != (passage{step.mark, true, step.total}) {
			t.Fatalf("%+v, want mark %d after %d bytes", got, step.mark, step.total)
		}
	}
	if !bytes.Equal(m.taken, all) {
		t.Error("the bytes around the marks are not those that were queued")
	}
	if queued, err := p.MarkOutput(numberedMark{5, m, passed}); queued || err != nil {
		t.Errorf("MarkOutput on an empty queue: %v, %v", queued, err)
	}
}

// What is corked leaves before what is queued behind it, and so before the marks there, whether the kernel takes it at
// once or it has to go to the front of the queue first.
func TestCorkedPartsLeaveBeforeTheMarksBehindThem(t *testing.T) {
	for _, granted := range []int{0, 1, 100, 150, 170, 1000} {
		t.Run(fmt.Sprint(granted), func(t *testing.T) {
			w := start(t, loop.Config{})
			p, m := newProbe(t), &meter{granted: granted}
			passed := make(chan passage, 10)
			all := numbered(300)
			p.onOpened = func() {
				if !p.WriteInPlace(all[:100]) || !p.WriteBorrowed(all[100:120], all[120:150]) {
					t.Error("not corked")
				}
				p.send(all[150:200])
				p.mark(numberedMark{1, m, passed})
				p.Lock()
				p.AppendShared(all[200:])
				p.Unlock(true)
				p.mark(numberedMark{2, m, passed})
			}
			metered(t, w, p, m)
			for m.count() < 200 {
				m.grant(1)
				p.onLoop(func() {})
			}
			// The marks are told after the write, which may have taken all that was granted.
			if got := within(t, passed); got.mark != 1 || !got.written || got.taken < 200 || granted < 200 && got.taken != 200 {
				t.Fatalf("first %+v, want mark 1 after 200 bytes", got)
			}
			m.grant(1000)
			if got := within(t, passed); got != (passage{2, true, 300}) {
				t.Fatalf("then %+v, want mark 2 after 300 bytes", got)
			}
			if !bytes.Equal(m.taken, all) {
				t.Error("the bytes around the marks are not those that were queued")
			}
		})
	}
}

// What is appended while a write is under way may stand in the segment that is being written: a mark behind it waits for
// it, a mark before it does not.
func TestMarksSetDuringAWriteKnowWhatIsBeforeThem(t *testing.T) {
	for _, cut := range []int{0, 1, 7} {
		w := start(t, loop.Config{})
		p, m := newProbe(t), &meter{cut: cut}
		metered(t, w, p, m)
		passed := make(chan passage, 10)
		all := numbered(50)
		m.during = func() {
			p.mark(numberedMark{1, m, passed})
			p.send(all[20:50])
			p.mark(numberedMark{2, m, passed})
		}
		p.send(all[:20])
		m.grant(49)
		if got := within(t, passed); got.mark != 1 || !got.written || got.taken < 20 {
			t.Fatalf("cut %d: first %+v, want mark 1 after 20 bytes", cut, got)
		}
		for m.count() < 49 {
			p.onLoop(func() {})
		}
		p.onLoop(func() {})
		if len(passed) != 0 {
			t.Fatalf("cut %d: one byte too early: %+v", cut, <-passed)
		}
		m.grant(1)
		if got := within(t, passed); got != (passage{2, true, 50}) {
			t.Fatalf("cut %d: then %+v, want mark 2 after 50 bytes", cut, got)
		}
	}
}

// More marks than one vector has elements stand between bytes, and behind the last.
func TestAnyNumberOfMarksStandsBetweenBytes(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		p := newProbe(t)
		c := w.connect(p)
		within(t, p.opened)
		const groups, marks = 5, 150
		passed := make(chan passage, groups*marks)
		all := numbered(groups * 40)
		told := 0
		p.onLoop(func() { // nothing is written before all of it is queued
			for g := range groups {
				p.Lock()
				copy(p.Append(25), all[g*40:])
				p.AppendShared(all[g*40+25 : g*40+40])
				p.Unlock(true)
				for i := range marks {
					p.mark(numberedMark{g*marks + i, nil, passed})
				}
			}
		})
		expect(t, c, all)
		for ; told < groups*marks; told++ {
			if got := within(t, passed); got.mark != told || !got.written {
				t.Fatalf("%+v, want mark %d", got, told)
			}
		}
	})
}

func TestMarksOfAConnectionThatEndsAreToldSo(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		const size = 16 << 20 // more than sockets hold
		all := make([]byte, size)
		p := newProbe(t)
		c := w.connect(p)
		within(t, p.opened)
		passed := make(chan passage, 3)
		p.onLoop(func() {
			p.send([]byte("first"))
			p.mark(numberedMark{0, nil, passed})
			p.Lock()
			p.AppendShared(all)
			p.Unlock(true)
			p.mark(numberedMark{1, nil, passed})
			p.mark(numberedMark{2, nil, passed})
		})
		expect(t, c, []byte("first"))
		if got := within(t, passed); got.mark != 0 || !got.written {
			t.Fatalf("%+v, want mark 0 to be reached", got)
		}
		p.onLoop(func() { p.Close(nil) })
		within(t, p.closed)
		for i := range 2 {
			if got := within(t, passed); got.mark != 1+i || got.written {
				t.Fatalf("%+v, want mark %d, not reached", got, 1+i)
			}
		}
		if queued, err := p.MarkOutput(numberedMark{4, nil, passed}); queued || err != loop.ErrClosed {
			t.Errorf("MarkOutput after an end that lost output: %v, %v", queued, err)
		}

		orderly := newProbe(t)
		c = w.connect(orderly)
		within(t, orderly.opened)
		orderly.send([]byte("whole"))
		if queued, _ := orderly.MarkOutput(numberedMark{0, nil, passed}); queued && !within(t, passed).written {
			t.Error("the mark was not reached")
		}
		expect(t, c, []byte("whole"))
		orderly.onLoop(func() { orderly.Close(nil) })
		within(t, orderly.closed)
		if queued, err := orderly.MarkOutput(numberedMark{1, nil, passed}); queued || err != nil {
			t.Errorf("MarkOutput after an end with everything written: %v, %v", queued, err)
		}
	})
}

// Random runs of copied and shared output and marks, on the loop and off it, against the plain rule: a mark is passed
// once, in order, when the stream has what was queued before it.
func TestMarksFollowTheBytesInRandomRuns(t *testing.T) {
	for seed := range uint64(30) {
		random := rand.New(rand.NewPCG(seed, 3))
		w := start(t, loop.Config{})
		p, m := newProbe(t), &meter{cut: 1 + random.IntN(40)}
		metered(t, w, p, m)
		all := numbered(1 << 14)
		at := 0
		var places []int
		passed := make(chan passage, 1000)
		for step := 0; at < 6000; step++ {
			act := func() {
				n := 1 + random.IntN(90)
				switch random.IntN(4) {
				case 0:
					p.send(all[at : at+n])
					at += n
				case 1:
					p.Lock()
					p.AppendShared(all[at : at+n])
					p.Unlock(true)
					at += n
				case 2:
					if queued, err := p.MarkOutput(numberedMark{len(places), m, passed}); err != nil {
						t.Errorf("MarkOutput: %v", err)
					} else if queued {
						places = append(places, at)
					} else if m.count() != at {
						t.Errorf("nothing is queued, but only %d of %d bytes were taken", m.count(), at)
					}
				default:
					m.grant(random.IntN(200))
				}
			}
			if random.IntN(3) == 0 {
				p.onLoop(act)
			} else {
				act()
			}
		}
		m.grant(1 << 20)
		for i, place := range places {
			got := within(t, passed)
			if got.mark != i || !got.written || got.taken < place {
				t.Fatalf("seed %d: %+v, want mark %d after %d bytes", seed, got, i, place)
			}
		}
		for m.count() < at {
			p.onLoop(func() {})
		}
		if !bytes.Equal(m.taken, all[:at]) {
			t.Fatalf("seed %d: the bytes differ", seed)
		}
	}
}

// Marks of many goroutines, between their own bytes, over real sockets and cut streams: each is passed, once.
func TestMarksOfManyGoroutinesAreAllPassed(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		p := newProbe(t)
		c := w.connect(p)
		within(t, p.opened)
		const senders, each = 8, 50
		var all sync.WaitGroup
		for range senders {
			all.Go(func() {
				passed := make(chan passage, 1)
				for i := range each {
					p.send(make([]byte, 20))
					queued, err := p.MarkOutput(numberedMark{i, nil, passed})
					if err != nil {
						t.Errorf("MarkOutput: %v", err)
						return
					}
					if queued {
						if got := <-passed; got.mark != i || !got.written {
							t.Errorf("%+v, want mark %d", got, i)
						}
					}
				}
			})
		}
		expect(t, c, make([]byte, senders*each*20))
		all.Wait()
	})
}
