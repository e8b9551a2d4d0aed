package engine_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"

	"zeroframe/engine"
	"zeroframe/frame"
)

// recipient carries out what a random script says with a session, and compares all that it gets with the messages that
// were sent, by the plain rules: a message begins when Receive or NextReader has returned it, what is left of it is
// skipped, and what ended with its context has changed nothing.
type recipient struct {
	t       testing.TB
	session *engine.Session
	sent    []engine.Message
	next    int // the message that begins next

	reader io.Reader // of the message before next; nil: none
	at     int       // in that message
	stale  io.Reader

	// deliver sends so many bytes more, at most to the end of that message, and waits until they have come. It reports
	// whether there were any. nil: all comes by itself.
	deliver func(n, message int) bool
	retract func() bool // what waits now is given up
}

// try runs f, whose wait is ended by its context if the script says so. It reports whether f was not ended so.
func (r *recipient) try(cancel func(), ctx noticed, f func() error) bool {
	r.t.Helper()
	done := later(f)
	var err error
	select {
	case err = <-done:
	case <-ctx.waiting:
		if r.retract() {
			cancel()
		} else if r.deliver != nil {
			r.deliver(1<<30, r.next)
		}
		err = within(r.t, done)
	}
	if errors.Is(err, context.Canceled) {
		return false
	}
	if err != nil {
		r.t.Fatalf("message %d: %v", r.next, err)
	}
	return true
}

func (r *recipient) step(random *rand.Rand) {
	t := r.t
	t.Helper()
	ended, cancel := context.WithCancel(context.Background())
	ctx := notice(ended)
	if r.reader != nil && random.IntN(3) != 0 {
		r.read(random)
		cancel()
		return
	}
	r.stale, r.reader = r.reader, nil
	if random.IntN(2) == 0 {
		defer cancel()
		var m engine.Message
		if r.try(cancel, ctx, func() (err error) { m, err = r.session.Receive(ctx); return }) {
			if want := r.sent[r.next]; m.OpCode != want.OpCode || !bytes.Equal(m.Payload, want.Payload) {
				t.Fatalf("message %d: received %v of %d bytes, want %v of %d", r.next, m.OpCode, len(m.Payload), want.OpCode, len(want.Payload))
			}
			r.next++
		}
	} else {
		t.Cleanup(cancel) // the reader waits for the same context
		var op frame.OpCode
		var reader io.Reader
		if r.try(cancel, ctx, func() (err error) { op, reader, err = r.session.NextReader(ctx); return }) {
			if want := r.sent[r.next]; op != want.OpCode {
				t.Fatalf("message %d: a reader of %v, want %v", r.next, op, want.OpCode)
			}
			r.reader, r.at = reader, 0
			r.next++
		}
	}
	if r.stale != nil {
		if _, err := r.stale.Read(make([]byte, 1)); err == nil || err == io.EOF {
			t.Fatalf("a reader that was left: %v", err)
		}
	}
}

// read reads a part of the reader's message.
func (r *recipient) read(random *rand.Rand) {
	r.t.Helper()
	want := r.sent[r.next-1].Payload[r.at:]
	type result struct {
		b   []byte
		end bool
		err error
	}
	b := make([]byte, 1+random.IntN(600))
	read := func() result {
		n, err := r.reader.Read(b)
		return result{b[:n], err == io.EOF, err}
	}
	if random.IntN(4) == 0 {
		w := &limited{left: random.IntN(len(want) + 2)}
		read = func() result {
			n, err := r.reader.(io.WriterTo).WriteTo(w)
			if int(n) != w.Len() {
				r.t.Errorf("WriteTo returned %d for %d bytes", n, w.Len())
			}
			return result{w.Bytes(), err == nil, err}
		}
	}
	ch := make(chan result, 1)
	go func() { ch <- read() }()
	for r.deliver != nil && len(ch) == 0 && r.deliver(1+random.IntN(30+len(want)/10), r.next-1) {
	}
	got := within(r.t, ch)
	if got.err == errFull || got.err == context.Canceled { // by an earlier step: it still yields what is there
		got.err = nil
	}
	if !bytes.HasPrefix(want, got.b) || got.end && len(got.b) != len(want) || !got.end && got.err != nil {
		r.t.Fatalf("message %d at %d of %d: read %d bytes, end %v, %v",
			r.next-1, r.at, r.at+len(want), len(got.b), got.end, got.err)
	}
	r.at += len(got.b)
}

var errFull = errors.New("full")

// limited takes so many bytes.
type limited struct {
	bytes.Buffer
	left int
}

func (l *limited) Write(p []byte) (int, error) {
	n, _ := l.Buffer.Write(p[:min(l.left, len(p))])
	l.left -= n
	if n < len(p) {
		return n, errFull
	}
	return n, nil
}

// randomMessage returns a message and its wire form: in random fragments, with empty ones and pings between.
func randomMessage(random *rand.Rand, most int) (m engine.Message, wire []byte) {
	size := 0
	switch random.IntN(4) {
	case 0:
		size = random.IntN(4)
	case 1, 2:
		size = random.IntN(200)
	default:
		size = random.IntN(most)
	}
	m.OpCode = frame.Binary
	for range size {
		m.Payload = append(m.Payload, byte(random.Uint32()))
	}
	if random.IntN(2) == 0 {
		m.OpCode = frame.Text
		m.Payload = nil
		for len(m.Payload) < size {
			m.Payload = append(m.Payload, []string{"a", "ñ", "☃", "😀"}[random.IntN(4)]...)
		}
	}
	op, rest := m.OpCode, m.Payload
	for random.IntN(4) != 0 {
		n := min(random.IntN(len(rest)+1), random.IntN(most))
		if random.IntN(3) == 0 {
			n = min(n, 1)
		}
		wire = append(wire, encode(false, op, rest[:n])...)
		if random.IntN(3) == 0 {
			wire = append(wire, encode(true, frame.Ping, []byte("between"))...)
		}
		rest, op = rest[n:], frame.Continuation
	}
	return m, append(wire, encode(true, op, rest)...)
}

// The bytes come at any pace, in any cut, and Receive and NextReader are called, given up and called again at every
// point of them.
func TestReceiversOfRandomScriptsGetWhatWasSent(t *testing.T) {
	for _, pace := range []string{"when something waits", "by themselves"} {
		t.Run(pace, func(t *testing.T) {
			onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
				seeds, most := uint64(15), 60_000
				if s := (&server{t: t}); s.cut() {
					seeds, most = 6, 700
				}
				for seed := range seeds {
					t.Run(fmt.Sprint(seed), func(t *testing.T) {
						receiveAtRandom(t, start, seed, most, pace == "by themselves")
					})
				}
			})
		})
	}
}

func receiveAtRandom(t testing.TB, start func(...engine.Option) *server, seed uint64, most int, byThemselves bool) {
	random, chance := rand.New(rand.NewPCG(seed, 5)), rand.New(rand.NewPCG(seed, 6))
	var queue []engine.RouteOption
	if byThemselves {
		queue = append(queue, engine.WithSessionQueue(1+random.IntN(3), 1+random.IntN(2000)))
	} else {
		queue = append(queue, engine.WithSessionQueue(1000, 1<<30)) // it does not stop the peer
	}
	s := start(engine.WithPingInterval(0), engine.WithReadBuffer(4<<10))
	s.t = t
	c, session, _ := s.lend(queue...)
	r := &recipient{t: t, session: session}
	var wire []byte
	var ends []int
	for range 25 {
		m, w := randomMessage(random, most)
		r.sent = append(r.sent, m)
		wire = append(wire, w...)
		ends = append(ends, len(wire))
	}
	if byThemselves {
		go c.Write(wire)
		r.retract = func() bool { return chance.IntN(3) == 0 }
	} else {
		c.write(frame.Ping, nil)
		s.until("the ping was counted", func() bool { return s.Stats().PingsIn == 1 })
		before, at := s.Stats().BytesIn, 0
		r.deliver = func(n, message int) bool {
			n = min(n, ends[message]-at)
			if n <= 0 {
				return false
			}
			c.send(wire[at : at+n])
			at += n
			s.until("what was sent has come", func() bool { return s.Stats().BytesIn-before >= uint64(at) })
			return true
		}
		r.retract = func() bool {
			r.deliver(chance.IntN(60), min(r.next+1, len(ends)-1))
			return chance.IntN(2) == 0
		}
	}
	for r.next < len(r.sent) {
		r.step(random)
	}
}
