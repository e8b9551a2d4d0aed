package engine_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"zeroframe/engine"
	"zeroframe/frame"
)

// inTime is a context for what must happen soon.
func inTime(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// fragments encodes a message in fragments of the given lengths and a last one of what is left.
func fragments(op frame.OpCode, payload []byte, lengths ...int) (wire []byte) {
	for _, n := range lengths {
		wire = append(wire, encode(false, op, payload[:n])...)
		payload, op = payload[n:], frame.Continuation
	}
	return append(wire, encode(true, op, payload)...)
}

// smallReads reads as somebody with a buffer of n bytes does; it is no WriterTo.
type smallReads struct {
	r io.Reader
	n int
}

func (s smallReads) Read(p []byte) (int, error) { return s.r.Read(p[:min(len(p), s.n)]) }

func TestReadersYieldMessagesHoweverTheyAreCut(t *testing.T) {
	onGoroutinesToo(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithPingInterval(0), engine.WithReadBuffer(4<<10))
		c, session, _ := s.lend(engine.WithSessionQueue(2, 3000))
		ctx := inTime(t)
		large := 500_000
		if s.cut() {
			large = 9_000
		}
		text := []byte(strings.Repeat("añ☃😀", 70))
		ones := slices.Repeat([]int{1}, 600)
		messages := []struct {
			op      frame.OpCode
			payload []byte
			lengths []int
		}{
			{frame.Binary, nil, nil},
			{frame.Text, nil, []int{0, 0}},
			{frame.Binary, pattern(1), nil},
			{frame.Binary, pattern(1), []int{0, 1, 0}},
			{frame.Binary, pattern(700), ones},
			{frame.Text, text, ones},
			{frame.Text, text, []int{0, 2, 0, 3, 0, 1, 100}},
			{frame.Text, text, nil},
			{frame.Binary, pattern(large), nil},
			{frame.Binary, pattern(large), []int{1, large / 2, 0, large/4 + 1}},
			{frame.Binary, pattern(16 << 10), []int{16 << 10}},
		}
		ways := map[string]func(io.Reader) ([]byte, error){
			"ReadAll": io.ReadAll,
			"WriterTo": func(r io.Reader) ([]byte, error) {
				var b bytes.Buffer
				n, err := io.Copy(&b, r)
				if n != int64(b.Len()) {
					t.Errorf("WriteTo returned %d for %d bytes", n, b.Len())
				}
				return b.Bytes(), err
			},
			"Read of 7": func(r io.Reader) ([]byte, error) { return io.ReadAll(smallReads{r, 7}) },
			"Read of 1 and the rest": func(r io.Reader) ([]byte, error) {
				one, err := io.ReadAll(io.LimitReader(r, 1))
				if err != nil {
					return one, err
				}
				rest, err := io.ReadAll(r)
				return append(one, rest...), err
			},
		}
		for name, read := range ways {
			go func() {
				for _, m := range messages {
					c.Write(fragments(m.op, m.payload, m.lengths...))
				}
			}()
			for i, m := range messages {
				op, r, err := session.NextReader(ctx)
				if err != nil {
					t.Fatal(err)
				}
				if n, err := r.Read(nil); n != 0 || err != nil {
					t.Errorf("Read of nothing: %d, %v", n, err)
				}
				got, err := read(r)
				if op != m.op || err != nil || !bytes.Equal(got, m.payload) {
					t.Fatalf("%s: message %d: %v of %d bytes, want %v of %d; %v", name, i, op, len(got), m.op, len(m.payload), err)
				}
				for range 2 {
					if n, err := r.Read(make([]byte, 5)); n != 0 || err != io.EOF {
						t.Fatalf("%s: message %d: after the end %d, %v", name, i, n, err)
					}
				}
			}
		}
	})
}

// readFull reads n bytes that have been sent.
func readFull(t *testing.T, r io.Reader, n int) []byte {
	t.Helper()
	b := make([]byte, n)
	if n, err := io.ReadFull(r, b); err != nil {
		t.Fatalf("%d bytes and %v, want %d", n, err, len(b))
	}
	return b
}

// expectBroken requires that r fails with the end of the connection, not with the end of the message.
func expectBroken(t *testing.T, r io.Reader, code frame.CloseCode, cause error) {
	t.Helper()
	for range 2 {
		n, err := r.Read(make([]byte, 100))
		var e *engine.CloseError
		if n != 0 || !errors.As(err, &e) || e.Reason.Code != code || cause != nil && !errors.Is(err, cause) {
			t.Errorf("the reader read %d bytes and %v, want a CloseError of %d", n, err, code)
		}
	}
	if _, err := r.(io.WriterTo).WriteTo(io.Discard); !errors.Is(err, engine.ErrClosed) {
		t.Errorf("WriteTo: %v, want a CloseError", err)
	}
}

// The peer breaks a rule in the middle of a message: what came before can be read, and the answer goes out at the byte
// that breaks it.
func TestBreachesInsideAStreamedMessageEndItAtOnce(t *testing.T) {
	for _, test := range []struct {
		name   string
		op     frame.OpCode
		before string // a first fragment
		breach []byte
		code   frame.CloseCode
		cause  error
	}{
		{"a byte that no UTF-8 has", frame.Text, "fine ☃", announce(false, frame.Continuation, "\xff", 100), frame.CloseInvalidPayload, nil},
		{"a rune that goes on wrongly", frame.Text, "fine \xe2", announce(true, frame.Continuation, "A", 100), frame.CloseInvalidPayload, nil},
		{"a text that ends inside a rune", frame.Text, "fine \xe2\x98", encode(true, frame.Continuation, nil), frame.CloseInvalidPayload, nil},
		{"a message above the limit", frame.Binary, "600 bytes" + strings.Repeat(".", 591), header(false, frame.Continuation, 401), frame.CloseMessageTooBig, engine.ErrMessageTooBig},
		{"a frame above the limit", frame.Binary, "x", header(true, frame.Continuation, 801), frame.CloseMessageTooBig, engine.ErrMessageTooBig},
		{"another message inside it", frame.Binary, "x", encode(true, frame.Text, nil), frame.CloseProtocolError, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
				s := start(engine.WithPingInterval(0))
				c, session, _ := s.lend(engine.WithMaxMessageSize(1000), engine.WithMaxFrameSize(800))
				c.send(encode(false, test.op, []byte(test.before)))
				_, r, err := session.NextReader(inTime(t))
				if err != nil {
					t.Fatal(err)
				}
				if got := readFull(t, r, len(test.before)); string(got) != test.before {
					t.Fatalf("read %.40q", got)
				}
				c.send(test.breach)
				expectBroken(t, r, test.code, test.cause)
				if _, err := session.Receive(inTime(t)); !errors.Is(err, engine.ErrClosed) {
					t.Errorf("Receive: %v", err)
				}
				c.expectClose(test.code)
			})
		})
	}
}

// Equality is allowed, and what was read already counts.
func TestLimitsCountWhatAReaderHasTaken(t *testing.T) {
	onGoroutinesToo(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithPingInterval(0))
		c, session, _ := s.lend(engine.WithMaxMessageSize(1000))
		ctx := inTime(t)
		for range 2 { // the second message begins to count anew
			c.send(encode(false, frame.Binary, pattern(600)))
			_, r, err := session.NextReader(ctx)
			if err != nil {
				t.Fatal(err)
			}
			readFull(t, r, 600)
			c.send(encode(true, frame.Continuation, pattern(400)))
			if got, err := io.ReadAll(r); len(got) != 400 || err != nil {
				t.Fatalf("%d bytes and %v", len(got), err)
			}
		}
	})
}

func TestConnectionsThatEndInsideAMessageBreakItsReader(t *testing.T) {
	for _, end := range []struct {
		name string
		code frame.CloseCode
		do   func(*server, *client, *engine.Session)
	}{
		{"the peer's close", frame.CloseNormal, func(_ *server, c *client, _ *engine.Session) {
			c.write(frame.Close, closePayload(frame.CloseNormal, ""))
		}},
		{"the end of the stream", frame.CloseAbnormal, func(_ *server, c *client, _ *engine.Session) {
			c.Conn.(interface{ CloseWrite() error }).CloseWrite()
		}},
		{"a peer that vanishes", frame.CloseAbnormal, func(_ *server, c *client, _ *engine.Session) { c.Conn.Close() }},
		{"our close", 4000, func(_ *server, _ *client, s *engine.Session) { s.Close(4000, "") }},
		{"Terminate", frame.CloseAbnormal, func(_ *server, _ *client, s *engine.Session) { s.Terminate() }},
	} {
		t.Run(end.name, func(t *testing.T) {
			onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
				s := start(engine.WithPingInterval(0))
				c, session, _ := s.lend()
				c.send(encode(false, frame.Text, []byte("the beginning")))
				_, r, err := session.NextReader(inTime(t))
				if err != nil {
					t.Fatal(err)
				}
				c.send(encode(false, frame.Continuation, []byte(" and more")))
				c.write(frame.Ping, nil) // it is answered when what came before it has been handed over
				c.expect(frame.Pong, nil)
				end.do(s, c, session)
				if got := readFull(t, r, 22); string(got) != "the beginning and more" {
					t.Errorf("what came before the end: %q", got)
				}
				expectBroken(t, r, end.code, nil)
				if _, _, err := session.NextReader(inTime(t)); !errors.Is(err, engine.ErrClosed) {
					t.Errorf("NextReader: %v", err)
				}
			})
		})
	}
}

// A reader that stops reading stops its peer: what is kept meanwhile is what the queue may hold, a read and a piece.
func TestAReaderThatRestsStopsItsPeer(t *testing.T) {
	onGoroutinesToo(t, func(t *testing.T, start func(...engine.Option) *server) {
		size, queue, readBuffer := 16<<20, 100_000, 32<<10
		if s := (&server{t: t}); s.cut() {
			size, queue, readBuffer = 20_000, 1000, 4<<10
		}
		s := start(engine.WithPingInterval(0), engine.WithMaxFrameSize(1<<30), engine.WithMaxMessageSize(1<<30),
			engine.WithReadBuffer(readBuffer))
		s.narrow()
		c, session, _ := s.lend(engine.WithSessionQueue(8, queue))
		payload := bulk(size)
		var wrote atomic.Int64
		done := later(func() error {
			wire := encode(true, frame.Binary, payload)
			for len(wire) > 0 {
				n, err := c.Write(wire[:min(len(wire), 500+len(wire)/1000)])
				if err != nil {
					return err
				}
				wrote.Add(int64(n))
				wire = wire[n:]
			}
			return nil
		})
		_, r, err := session.NextReader(inTime(t))
		if err != nil {
			t.Fatal(err)
		}
		readFull(t, r, 1)
		for last := int64(-1); last != wrote.Load(); <-time.After(50 * time.Millisecond) {
			last = wrote.Load()
		}
		if wrote.Load() == int64(size)+14 || len(done) != 0 {
			t.Fatal("the peer was not stopped")
		}
		if n, bound := s.Stats().BytesIn, uint64(queue+2*readBuffer+(64<<10)+1000); n > bound {
			t.Errorf("%d bytes were taken for a reader that rests, at most %d are meant", n, bound)
		}
		rest, err := io.ReadAll(r)
		if err != nil || !bytes.Equal(rest, payload[1:]) {
			t.Fatalf("then %d bytes of %d came, %v", len(rest), size-1, err)
		}
		if err := within(t, done); err != nil {
			t.Fatal(err)
		}
	})
}

func TestAReaderEndsWithTheNextReceive(t *testing.T) {
	onGoroutinesToo(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithPingInterval(0))
		c, session, _ := s.lend()
		ctx := inTime(t)
		stale := func(r io.Reader) {
			t.Helper()
			if n, err := r.Read(make([]byte, 10)); n != 0 || err == nil || err == io.EOF {
				t.Errorf("a reader that was left read %d bytes, %v", n, err)
			}
			if n, err := r.(io.WriterTo).WriteTo(io.Discard); n != 0 || err == nil {
				t.Errorf("a reader that was left wrote %d bytes, %v", n, err)
			}
		}
		for range 3 {
			c.send(fragments(frame.Text, []byte("first"), 2, 1))
			c.send(fragments(frame.Text, []byte("second"), 3))
			c.send(fragments(frame.Binary, []byte("third"), 1))
			c.send(encode(false, frame.Binary, []byte("fourth, without an end")))
			_, first, err := session.NextReader(ctx)
			if err != nil {
				t.Fatal(err)
			}
			readFull(t, first, 1)
			op, second, err := session.NextReader(ctx)
			if err != nil || op != frame.Text {
				t.Fatal(op, err)
			}
			stale(first)
			if got := readFull(t, second, 2); string(got) != "se" {
				t.Fatalf("of the second: %q", got)
			}
			m, err := session.Receive(ctx)
			if err != nil || m.OpCode != frame.Binary || string(m.Payload) != "third" {
				t.Fatalf("third: %v %q, %v", m.OpCode, m.Payload, err)
			}
			stale(second)
			_, fourth, err := session.NextReader(ctx)
			if err != nil {
				t.Fatal(err)
			}
			readFull(t, fourth, 3)
			done, cancel := waits(t, ctx, func(ctx context.Context) error { _, err := session.Receive(ctx); return err })
			cancel()
			if err := within(t, done); err != context.Canceled {
				t.Fatal(err)
			}
			stale(fourth)
			c.send(encode(true, frame.Continuation, nil))
		}
	})
}

// recipient carries out what a random script says with a session, and compares all that it gets with the messages that
// were sent, by the plain rules: a message begins when Receive or NextReader has returned it, what is left of it is
// skipped, and what ended with its context has changed nothing.
type recipient struct {
	t       *testing.T
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

func receiveAtRandom(t *testing.T, start func(...engine.Option) *server, seed uint64, most int, byThemselves bool) {
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

// pieces reads the frames of one message.
func (c *client) pieces() (list []wireFrame) {
	c.t.Helper()
	for {
		f := c.next()
		if len(list) > 0 && f.op != frame.Continuation {
			c.t.Fatalf("%v inside a message", f)
		}
		list = append(list, f)
		if f.fin {
			return list
		}
	}
}

func TestWritersGatherSmallWritesAndCutLargeOnes(t *testing.T) {
	onGoroutinesToo(t, func(t *testing.T, start func(...engine.Option) *server) {
		const piece = 64 << 10
		s := start(engine.WithPingInterval(0))
		c, session, _ := s.lend()
		ctx := inTime(t)
		tests := []struct {
			total, write int // bytes of the message, and of each write
			frames       int
		}{
			{0, 1, 1}, {1, 1, 1}, {1000, 1, 1}, {piece - 1, 999, 1}, {piece - 1, piece, 1}, {piece, piece, 2}, {piece, 100, 2},
			{piece + 1, piece + 1, 2}, {100_000, 777, 2},
		}
		if !s.cut() {
			tests = append(tests, []struct{ total, write, frames int }{
				{10 * piece, 10 * piece, 11}, {10*piece + 5, 3*piece + 1, 11}, {1_000_000, 33_333, 16}, {1_000_000, 7, 16},
				{3_000_000, 100_000, 46},
			}...)
		}
		for _, test := range tests {
			payload := pattern(test.total)
			done := later(func() error {
				w, err := session.NextWriter(ctx, frame.Binary)
				if err != nil {
					return err
				}
				scratch := make([]byte, test.write)
				for rest := payload; len(rest) > 0; {
					n := copy(scratch, rest)
					if m, err := w.Write(scratch[:n]); m != n || err != nil {
						return fmt.Errorf("Write of %d: %d, %v", n, m, err)
					}
					clear(scratch) // it was copied
					rest = rest[n:]
				}
				return w.Close()
			})
			var got []byte
			list := c.pieces()
			for i, f := range list {
				if want := frame.Continuation; (f.op != want) != (i == 0) || i == 0 && f.op != frame.Binary {
					t.Errorf("frame %d is %v", i, f)
				}
				if len(f.payload) > piece {
					t.Errorf("a fragment of %d bytes", len(f.payload))
				}
				got = append(got, f.payload...)
			}
			if err := within(t, done); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, payload) {
				t.Fatalf("%d bytes written by %d: %d others came", test.total, test.write, len(got))
			}
			if len(list) > test.frames {
				t.Errorf("%d bytes written by %d left in %d frames, %d would do", test.total, test.write, len(list), test.frames)
			}
		}
	})
}

func TestAWriterThatWasClosedIsClosed(t *testing.T) {
	onGoroutinesToo(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithPingInterval(0))
		c, session, _ := s.lend()
		ctx := inTime(t)
		var before io.WriteCloser
		for range 3 {
			w, err := session.NextWriter(ctx, frame.Text)
			if err != nil {
				t.Fatal(err)
			}
			if before != nil {
				if err := before.Close(); err == nil { // it must not end this writer's message
					t.Error("an earlier writer was closed once more")
				}
			}
			before = w
			io.WriteString(w, "once")
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			if err := w.Close(); err == nil {
				t.Error("closed twice")
			}
			if n, err := io.WriteString(w, "more"); n != 0 || err == nil {
				t.Errorf("%d bytes written after Close, %v", n, err)
			}
			if n, err := w.Write(bulk(200_000)); n != 0 || err == nil {
				t.Errorf("%d bytes written after Close, %v", n, err)
			}
			c.expect(frame.Text, []byte("once"))
		}
	})
}

// Between the first fragment of a streamed message and its end control frames pass, messages and other writers do not.
func TestOnlyControlFramesPassInsideAStreamedMessage(t *testing.T) {
	onGoroutinesToo(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithPingInterval(0))
		c, session, _ := s.lend()
		ctx := inTime(t)
		w, err := session.NextWriter(ctx, frame.Binary)
		if err != nil {
			t.Fatal(err)
		}
		if err := session.SendText(ctx, "before the first fragment"); err != nil {
			t.Fatal(err)
		}
		c.expect(frame.Text, []byte("before the first fragment"))
		first := bulk(64 << 10)
		if _, err := w.Write(first); err != nil {
			t.Fatal(err)
		}
		io.WriteString(w, "the end")
		prepared, err := engine.Prepare(frame.Text, []byte("sent"))
		if err != nil {
			t.Fatal(err)
		}
		var waiting []<-chan error
		for _, send := range []func(context.Context) error{
			func(ctx context.Context) error { return session.SendText(ctx, "sent") },
			func(ctx context.Context) error { return session.SendPrepared(ctx, prepared) },
		} {
			done, _ := waits(t, ctx, send)
			waiting = append(waiting, done)
		}
		second, _ := waits(t, ctx, func(ctx context.Context) error {
			w, err := session.NextWriter(ctx, frame.Text)
			if err != nil {
				return err
			}
			io.WriteString(w, "sent")
			return w.Close()
		})
		waiting = append(waiting, second)
		given, cancel := waits(t, ctx, func(ctx context.Context) error { _, err := session.NextWriter(ctx, frame.Text); return err })
		cancel()
		if err := within(t, given); err != context.Canceled {
			t.Errorf("a writer that was given up: %v", err)
		}
		if err := session.Conn().SendText("refused"); err != engine.ErrFragment {
			t.Errorf("Conn.Send: %v, want ErrFragment", err)
		}
		if f := c.next(); f.fin || f.op != frame.Binary || !bytes.Equal(f.payload, first) {
			t.Fatalf("first %v", f)
		}
		c.write(frame.Ping, []byte("the peer's"))
		c.expect(frame.Pong, []byte("the peer's"))
		if err := session.Conn().Ping([]byte("ours")); err != nil {
			t.Fatal(err)
		}
		c.expect(frame.Ping, []byte("ours"))
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if f := c.next(); !f.fin || f.op != frame.Continuation || string(f.payload) != "the end" {
			t.Fatalf("then %v", f)
		}
		for _, done := range waiting {
			c.expect(frame.Text, []byte("sent"))
			if err := within(t, done); err != nil {
				t.Error(err)
			}
		}
	})
}

// A message that was given up in the middle is never continued by another: only control frames, and Close, are sent
// behind it.
func TestAMessageThatWasGivenUpIsNotContinued(t *testing.T) {
	onGoroutinesToo(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithPingInterval(0))
		c, session, _ := s.lend()
		ctx, cancel := context.WithCancel(inTime(t))
		w, err := session.NextWriter(ctx, frame.Binary)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(bulk(64 << 10)); err != nil {
			t.Fatal(err)
		}
		cancel()
		if n, err := w.Write(bulk(64 << 10)); n != 0 || err != context.Canceled {
			t.Errorf("Write with an ended context: %d, %v", n, err)
		}
		if err := w.Close(); err != context.Canceled {
			t.Errorf("Close: %v, want the error of the Write", err)
		}
		for name, send := range ways(t) {
			if err := send(inTime(t), session, []byte("more")); err != engine.ErrFragment {
				t.Errorf("%s: %v, want ErrFragment", name, err)
			}
		}
		session.Close(frame.CloseInternalError, "given up")
		c.next()
		c.answerClose(frame.CloseInternalError, "given up")
	})
}

// A writer that has sent nothing can be given up without harm.
func TestAWriterWhoseContextEndedFirstSendsNothing(t *testing.T) {
	onGoroutinesToo(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithPingInterval(0))
		c, session, _ := s.lend()
		ctx, cancel := context.WithCancel(inTime(t))
		w, err := session.NextWriter(ctx, frame.Binary)
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(w, "kept")
		cancel()
		if err := w.Close(); err != context.Canceled {
			t.Errorf("Close: %v", err)
		}
		for name, send := range ways(t) {
			if err := send(inTime(t), session, []byte("fine")); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if f := c.next(); string(f.payload) != "fine" || !f.fin {
				t.Errorf("%s: %v came", name, f)
			}
		}
	})
}

// The handler ends with a writer, or a reader, in the middle of a message: their buffers come back, the peer gets the
// close frame, and what it still sends is dropped.
func TestHandlersMayEndWithReadersAndWritersOpen(t *testing.T) {
	for _, size := range []int{0, 10, 100_000} {
		for name, code := range map[string]frame.CloseCode{"return": frame.CloseNormal, "panic": frame.CloseInternalError} {
			t.Run(fmt.Sprintf("%s, %d bytes written", name, size), func(t *testing.T) {
				onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
					s := start(engine.WithPingInterval(0))
					writers := make(chan io.WriteCloser, 1)
					s.session("/", func(ctx context.Context, session *engine.Session) error {
						_, r, err := session.NextReader(ctx)
						if err != nil {
							return err
						}
						r.Read(make([]byte, 3))
						w, err := session.NextWriter(ctx, frame.Binary)
						if err != nil {
							return err
						}
						w.Write(bulk(size))
						writers <- w
						if name == "panic" {
							panic("on purpose")
						}
						return nil
					})
					c := s.open("/")
					c.send(encode(false, frame.Binary, pattern(1000)))
					w := within(t, writers)
					c.send(encode(false, frame.Continuation, pattern(1000)))
					c.send(encode(true, frame.Continuation, pattern(1000)))
					if size > 64<<10 {
						if f := c.next(); f.fin || f.op != frame.Binary {
							t.Errorf("first %v", f)
						}
					}
					c.answerClose(code, "")
					c.Close()
					s.gone()
					if n, err := w.Write(bulk(size + 1)); n != 0 || err == nil {
						t.Errorf("%d bytes written after the handler's end, %v", n, err)
					}
					if err := w.Close(); err == nil {
						t.Error("the message was ended after the handler")
					}
				})
			})
		}
	}
}

// Senders wait while a streamed message is under way, and its end may come at any point of their attempts: they must
// neither miss it nor take it for a fragment of somebody's own.
func TestSendersAndWritersTakeTurns(t *testing.T) {
	onGoroutinesToo(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithPingInterval(0))
		c, session, _ := s.lend()
		ctx := context.Background()
		const writers, senders = 2, 3
		streamed := 100
		if s.cut() {
			streamed = 1
		}
		fragment := bulk(64 << 10)
		var writing, sending sync.WaitGroup
		for range writers {
			writing.Go(func() {
				for range streamed {
					w, err := session.NextWriter(ctx, frame.Binary)
					if err != nil {
						t.Error(err)
						return
					}
					if n, err := w.Write(fragment); n != len(fragment) || err != nil {
						t.Errorf("Write: %d, %v", n, err)
					}
					runtime.Gosched() // senders try meanwhile
					if err := w.Close(); err != nil {
						t.Error(err)
					}
				}
			})
		}
		var written atomic.Bool
		var sent atomic.Int64
		for range senders {
			sending.Go(func() {
				for !written.Load() {
					if err := session.SendText(ctx, "short"); err != nil {
						t.Error(err)
						return
					}
					sent.Add(1)
				}
			})
		}
		go func() {
			writing.Wait()
			written.Store(true)
			sending.Wait()
			session.Close(frame.CloseNormal, "")
		}()
		long, short := 0, 0
		for done := false; !done; {
			switch op, p := c.nextMessage(); {
			case op == frame.Close:
				done = true
			case op == frame.Binary && bytes.Equal(p, fragment):
				long++
			case op == frame.Text && string(p) == "short":
				short++
			default:
				t.Fatalf("%v of %d bytes", op, len(p))
			}
		}
		if n := int(sent.Load()); long != writers*streamed || short != n {
			t.Errorf("%d streamed messages and %d others came, want %d and %d", long, short, writers*streamed, n)
		}
	})
}
