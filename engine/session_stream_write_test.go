package engine_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"zeroframe/engine"
	"zeroframe/frame"
)

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
