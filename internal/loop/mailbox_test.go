//go:build unix

package loop_test

import (
	"sync"
	"testing"
	"time"

	"zeroframe/internal/loop"
	"zeroframe/internal/memconn"
)

// hold keeps the loop busy until the function it returns is called.
func hold(t *testing.T, l *loop.Loop) (release func()) {
	t.Helper()
	held, free := make(chan struct{}), make(chan struct{})
	l.Do(func() { close(held); <-free })
	within(t, held)
	return func() { close(free) }
}

func TestManyPostsAreOneCall(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		p := newProbe(t)
		calls := make(chan loop.Mail, 10_000)
		p.onMail = func(bits loop.Mail) { calls <- bits }
		w.connect(p)
		within(t, p.opened)
		release := hold(t, p.Loop())
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				for i := range 1000 {
					p.Notify(loop.MailUser << (i % 3))
				}
			})
		}
		all.Wait()
		release()
		if bits := within(t, calls); bits != loop.MailUser*7 {
			t.Errorf("bits %x", bits)
		}
		p.onLoop(func() {})
		if n := len(calls); n != 0 {
			t.Errorf("%d calls more", n)
		}
	})
}

// A post that comes when the loop has looked into its mailbox for the last time, and is about to sleep, wakes it.
func TestAPostBeforeTheLoopSleepsIsNotLost(t *testing.T) {
	var onLastLook func() // of the loop
	w := start(t, loop.Config{Turn: func(_ *loop.Loop, idle bool) {
		if f := onLastLook; idle && f != nil {
			onLastLook = nil
			f()
		}
	}})
	p := newProbe(t)
	calls := make(chan loop.Mail, 1)
	p.onMail = func(bits loop.Mail) { calls <- bits }
	posts := make(chan func(), 1)
	p.onData = func([]byte) { onLastLook = <-posts }
	c := w.connect(p)
	within(t, p.opened)
	late := map[string]func(){
		"Notify": func() { p.Notify(loop.MailUser) },
		"Do":     func() { p.Loop().Do(func() { calls <- loop.MailUser }) },
	}
	for name, post := range late {
		posts <- func() {
			done := make(chan struct{})
			go func() { defer close(done); post() }()
			<-done
		}
		c.Write([]byte("x"))
		if bits := within(t, calls); bits != loop.MailUser {
			t.Errorf("%s: bits %x", name, bits)
		}
	}
}

func TestEveryPostIsFollowedByACall(t *testing.T) {
	w := start(t, loop.Config{})
	p := newProbe(t)
	calls := make(chan loop.Mail)
	p.onMail = func(bits loop.Mail) { calls <- bits }
	w.connect(p)
	within(t, p.opened)
	for range 5000 {
		p.Notify(loop.MailUser)
		within(t, calls)
	}
}

func TestAConnectionThatPostsToItselfStarvesNobody(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		busy := newProbe(t)
		turns := 0
		busy.onMail = func(loop.Mail) { turns++; busy.Notify(loop.MailUser) }
		w.connect(busy)
		within(t, busy.opened)
		busy.Notify(loop.MailUser)

		p := newProbe(t)
		late := make(chan struct{})
		p.onOpened = func() { p.SetTimer(p.Loop().Now() + 20*time.Millisecond) }
		p.onTimeout = func() { close(late) }
		p.onData = func(b []byte) { p.send(b) }
		c := w.connect(p)
		for range 5 {
			if _, err := c.Write([]byte("ping")); err != nil {
				t.Fatal(err)
			}
			expect(t, c, []byte("ping"))
		}
		within(t, late)
		busy.onLoop(func() {
			if turns < 5 {
				t.Errorf("%d turns of the busy connection", turns)
			}
		})
	})
}

// A great number of connections with mail, such as the members of a topic after a message, do not hold up one that is
// readable.
func TestMuchMailLetsReadsGoOn(t *testing.T) {
	const many = 5000
	w := start(t, loop.Config{})
	reader := newProbe(t)
	handled, seen := 0, make(chan int, 1) // mail, as the loop counts it
	reader.onData = func([]byte) { seen <- handled }
	c := w.connect(reader)
	within(t, reader.opened)
	done := make(chan struct{})
	probes, connect := make([]*probe, many), w.overStream(memconn.Faults{})
	for i := range probes {
		p := newProbe(t)
		p.onMail = func(loop.Mail) {
			if handled++; handled == 1 {
				c.Write([]byte("x")) // which is there before it returns
			}
			if handled == many {
				close(done)
			}
		}
		connect(p)
		within(t, p.opened)
		probes[i] = p
	}
	release := hold(t, reader.Loop())
	for _, p := range probes {
		p.Notify(loop.MailUser)
	}
	release()
	if n := within(t, seen); n > many/2 {
		t.Errorf("%d of %d connections had their mail before another was read", n, many)
	}
	within(t, done)
}

func TestPostsDuringServiceAreDeliveredAfterIt(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		p := newProbe(t)
		calls := make(chan loop.Mail, 10)
		inside := false
		p.onData = func(b []byte) {
			inside = true
			p.Notify(loop.MailUser)
			done := make(chan struct{})
			go func() { defer close(done); p.Notify(loop.MailUser << 1); p.send([]byte("from outside")) }()
			<-done
			inside = false
		}
		p.onMail = func(bits loop.Mail) {
			if inside {
				t.Error("mail inside Data")
			}
			calls <- bits
		}
		c := w.connect(p)
		if _, err := c.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if bits := within(t, calls); bits != loop.MailUser*3 {
			t.Errorf("bits %x", bits)
		}
		expect(t, c, []byte("from outside"))
	})
}

func TestPostsAfterTheEndDoNothing(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		p := newProbe(t) // reports calls after Closed
		p.onOpened = func() { p.Notify(loop.MailUser); p.Close(nil) }
		p.onMail = func(loop.Mail) { t.Error("mail") }
		w.connect(p)
		within(t, p.closed)
		p.Notify(loop.MailUser)
		p.StreamReadable()
		p.StreamWritable()
		p.onLoop(func() { p.Notify(loop.MailUser) })
		p.onLoop(func() {})
		w.Group.Close()
		p.Notify(loop.MailUser)
	})
}

// What is queued from outside while the loop writes, too late for that write, is written by a turn of its own.
func TestOutputQueuedAtTheEndOfAFlushLeaves(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		p := newProbe(t)
		first := true
		p.onData = func(b []byte) { p.send([]byte("first")) }
		p.onWritten = func(queued int) {
			if queued == 0 && first {
				first = false
				done := make(chan struct{})
				go func() { defer close(done); p.send([]byte("second")) }()
				<-done
			}
		}
		c := w.connect(p)
		c.Write([]byte("x"))
		expect(t, c, []byte("firstsecond"))
	})
}

// Mail bits are set while the loop is corking and uncorking: nothing queued at any moment may stay behind.
func TestOutputQueuedAtAnyMomentOfServiceLeaves(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		p := newProbe(t)
		p.onData = func(b []byte) { p.send(b) }
		c := w.connect(p)
		within(t, p.opened)
		const n = 1000
		go func() {
			for range n {
				p.send([]byte{1})
			}
		}()
		go func() {
			for range n {
				c.Write([]byte{2})
			}
		}()
		var got [3]int
		buf := make([]byte, 100)
		for got[1]+got[2] < 2*n {
			m, err := c.Read(buf)
			if err != nil {
				t.Fatalf("%v with %d of ours and %d echoed of %d", err, got[1], got[2], n)
			}
			for _, b := range buf[:m] {
				got[b]++
			}
		}
		if got[1] != n || got[2] != n {
			t.Errorf("%v", got)
		}
	})
}

func TestFunctionsRunInTheirOrderUntilTheEnd(t *testing.T) {
	w := start(t, loop.Config{})
	l := w.Loops()[0]
	const senders, each = 4, 500
	var next [senders]int
	var all sync.WaitGroup
	for s := range senders {
		all.Go(func() {
			for i := range each {
				if !l.Do(func() {
					if next[s] != i {
						t.Errorf("sender %d: function %d at place %d", s, i, next[s])
					}
					next[s]++
				}) {
					t.Error("refused")
				}
			}
		})
	}
	all.Wait()
	nested := make(chan struct{})
	l.Do(func() { l.Do(func() { close(nested) }) })
	within(t, nested)
	w.Group.Close()
	for s, n := range next {
		if n != each {
			t.Errorf("sender %d: %d functions ran", s, n)
		}
	}
	if l.Do(func() { t.Error("ran after the end") }) {
		t.Error("taken after the end")
	}
}

// Do either refuses a function or runs it, also while the loop is ending.
func TestFunctionsGivenDuringTheEndRunOrAreRefused(t *testing.T) {
	for range 50 {
		g, err := loop.NewGroup(loop.Config{Loops: 1, ReadBuffer: 1024})
		if err != nil {
			t.Fatal(err)
		}
		l := g.Loops()[0]
		var taken, ran int // ran: on the loop, or under Close, which follows it
		var giver sync.WaitGroup
		giver.Go(func() {
			for l.Do(func() { ran++ }) {
				taken++
			}
		})
		g.Close()
		giver.Wait()
		if ran != taken {
			t.Fatalf("%d functions taken, %d ran", taken, ran)
		}
	}
}
