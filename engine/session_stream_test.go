package engine_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"zeroframe/engine"
	"zeroframe/frame"
)

// inTime is a context for what must happen soon.
func inTime(t testing.TB) context.Context {
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
func readFull(t testing.TB, r io.Reader, n int) []byte {
	t.Helper()
	b := make([]byte, n)
	if n, err := io.ReadFull(r, b); err != nil {
		t.Fatalf("%d bytes and %v, want %d", n, err, len(b))
	}
	return b
}

// expectBroken requires that r fails with the end of the connection, not with the end of the message.
func expectBroken(t testing.TB, r io.Reader, code frame.CloseCode, cause error) {
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
