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

// flushed compresses the parts of one message and flushes behind each, as a sender does that streams: the bytes of each
// part inflate to that part.
func (d *deflater) flushed(parts ...[]byte) (pieces [][]byte) {
	d.message(nil) // begins where the last message ended
	if !d.takeover {
		d.out.Reset()
		d.w.Reset(&d.out)
	}
	for _, p := range parts {
		d.out.Reset()
		d.w.Write(p)
		d.w.Flush()
		pieces = append(pieces, bytes.Clone(d.out.Bytes()))
	}
	last := &pieces[len(pieces)-1]
	*last = bytes.TrimSuffix(*last, []byte(flushTail))
	return pieces
}

// What has come of a message can be read before the rest is sent.
func TestCompressedMessagesAreInflatedAsTheyCome(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		for _, offer := range []string{offered, offeredAlone} {
			s := start(engine.WithPingInterval(0))
			h := s.handOut("/", engine.WithCompression(full))
			c := s.openDeflate("/", offer)
			session := h.next(t)
			for round := range 3 {
				parts := [][]byte{prose(100, 1), prose(2000, 2), []byte("☃"), prose(100, 1)}
				pieces := c.out.flushed(parts...)
				var r io.Reader
				for i, p := range pieces {
					op := frame.Continuation
					if i == 0 {
						op = frame.Text
					}
					wire := encode(i == len(pieces)-1, op, p)
					if i == 0 {
						wire[0] |= frame.RSV1
					}
					c.send(wire)
					if i == 0 {
						var gotOp frame.OpCode
						var err error
						if gotOp, r, err = session.NextReader(patiently(t)); err != nil || gotOp != frame.Text {
							t.Fatal(gotOp, err)
						}
					}
					if got := readFull(t, r, len(parts[i])); !bytes.Equal(got, parts[i]) {
						t.Fatalf("round %d, part %d: %.50q", round, i, got)
					}
				}
				if n, err := r.Read(make([]byte, 1)); n != 0 || err != io.EOF {
					t.Fatalf("at the end: %d, %v", n, err)
				}
			}
			h.finish(nil)
		}
	})
}

// A reader may be left at any byte, for either call, whether the rest has come or not: the history is right after it.
func TestReadersOfCompressedMessagesMayBeLeft(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		for _, offer := range []string{offered, offeredAlone} {
			s := start(engine.WithPingInterval(0))
			h := s.handOut("/", engine.WithCompression(full))
			c := s.openDeflate("/", offer)
			session := h.next(t)
			random := rand.New(rand.NewPCG(5, 6))
			rounds, most := 40, 100_000
			if s.cut() {
				rounds, most = 20, 3000
			}
			sent := make(chan []byte, rounds)
			sending := later(func() error {
				for i := range rounds {
					p := prose(200+random.IntN(most), uint64(i%3))
					sent <- p
					compressed := c.out.message(p)
					var wire []byte
					switch i % 3 {
					case 0:
						wire = deflated(frame.Text, compressed)
					case 1:
						wire = deflated(frame.Text, compressed, len(compressed)/3, 0, len(compressed)/3)
					default:
						wire = encode(true, frame.Text, p)
						c.out = deflater{takeover: c.out.takeover} // which may be begun anew at any time
					}
					if _, err := c.Write(wire); err != nil {
						return err
					}
				}
				return nil
			})
			choose := rand.New(rand.NewPCG(7, 8))
			for i := range rounds {
				want := within(t, sent)
				if choose.IntN(3) == 0 {
					expectMessage(t, session, frame.Text, want)
					continue
				}
				_, r, err := session.NextReader(patiently(t))
				if err != nil {
					t.Fatal(err)
				}
				n := []int{0, 1, 100, len(want) / 2, len(want)}[choose.IntN(5)]
				if got := readFull(t, r, n); !bytes.Equal(got, want[:n]) {
					t.Fatalf("message %d of %d bytes: the first %d are others: %.50q", i, len(want), n, got)
				}
			}
			if err := within(t, sending); err != nil {
				t.Fatal(err)
			}
			h.finish(nil)
		}
	})
}

// When a context ends inside a compressed message that others may refer to, the connection cannot go on; otherwise it
// does, with the rest of the message or the next one.
func TestContextsThatEndInsideACompressedMessage(t *testing.T) {
	for _, takeover := range []bool{true, false} {
		for _, skipping := range []bool{false, true} {
			t.Run(fmt.Sprintf("takeover %v, skipping %v", takeover, skipping), func(t *testing.T) {
				onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
					s := start(engine.WithPingInterval(0))
					h := s.handOut("/", engine.WithCompression(full))
					offer := offered
					if !takeover {
						offer = offeredAlone
					}
					c := s.openDeflate("/", offer)
					session := h.next(t)
					pieces := c.out.flushed(prose(100, 1), prose(1000, 2))
					first := encode(false, frame.Text, pieces[0])
					first[0] |= frame.RSV1
					c.send(first)
					ctx, cancel := context.WithCancel(context.Background())
					defer cancel()
					_, r, err := session.NextReader(ctx)
					if err != nil {
						t.Fatal(err)
					}
					readFull(t, r, 100)
					var done <-chan error
					if skipping {
						done, cancel = waits(t, context.Background(), func(ctx context.Context) error { _, err := session.Receive(ctx); return err })
						cancel()
					} else {
						done = later(func() error { _, err := r.Read(make([]byte, 1)); return err })
						cancel()
					}
					if err := within(t, done); !errors.Is(err, context.Canceled) {
						t.Fatalf("%v, want the context's error", err)
					}
					if takeover {
						c.answerClose(frame.CloseInternalError, "message given up")
						for range 2 {
							_, err := session.Receive(patiently(t))
							var end *engine.CloseError
							if !errors.As(err, &end) || end.Reason.Code != frame.CloseInternalError || !errors.Is(err, context.Canceled) {
								t.Errorf("Receive: %v, want a CloseError of 1011", err)
							}
						}
						return
					}
					c.send(encode(true, frame.Continuation, pieces[1]))
					c.writeDeflated(frame.Text, prose(300, 3))
					expectMessage(t, session, frame.Text, prose(300, 3))
				})
			})
		}
	}
}

// A message with takeover that a writer has begun belongs to it alone: what others send comes behind it, and refers to it.
func TestOtherMessagesStayOutsideAStreamedOne(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		for _, offer := range []string{offered, offeredAlone} {
			s := start(engine.WithPingInterval(0))
			h := s.handOut("/", engine.WithCompression(full))
			c := s.openDeflate("/", offer)
			session := h.next(t)
			ctx := patiently(t)
			large := append(noise(66_000, 1), prose(66_000, 1)...)
			prepared, _ := engine.Prepare(frame.Text, prose(500, 2))
			for range 2 {
				w, err := session.NextWriter(ctx, frame.Binary)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := w.Write(large[:70_000]); err != nil {
					t.Fatal(err)
				}
				if err := session.Conn().Send(frame.Text, []byte("in the middle")); err != engine.ErrFragment {
					t.Errorf("Conn.Send: %v, want ErrFragment", err)
				}
				if err := session.Conn().SendPrepared(prepared); err != engine.ErrFragment {
					t.Errorf("Conn.SendPrepared: %v, want ErrFragment", err)
				}
				if c.in.takeover { // otherwise it would continue the message, as on a connection without compression
					if err := session.Conn().SendFragment(frame.Binary, []byte("in the middle"), false); err != engine.ErrFragment {
						t.Errorf("Conn.SendFragment: %v, want ErrFragment", err)
					}
				}
				sent, _ := waits(t, ctx, func(ctx context.Context) error { return session.SendPrepared(ctx, prepared) })
				if err := session.Conn().Ping([]byte("may pass")); err != nil {
					t.Error(err)
				}
				go func() { w.Write(large[70_000:]); w.Close() }()
				var got []byte
				for fin := false; !fin; {
					f := c.next()
					if f.op == frame.Ping {
						continue
					}
					if f.op.IsControl() || (got == nil) != (f.op == frame.Binary) || (got == nil) != (f.rsv == frame.RSV1) {
						t.Fatalf("got %v behind %d bytes", f, len(got))
					}
					got, fin = append(got, f.payload...), f.fin
				}
				if got, err = c.in.message(got); err != nil || !bytes.Equal(got, large) {
					t.Fatalf("inflated to %d bytes, %v", len(got), err)
				}
				if err := within(t, sent); err != nil {
					t.Fatal(err)
				}
				c.expectMessage(frame.Text, prose(500, 2))
			}
			h.finish(nil)
		}
	})
}

var errHandler = errors.New("the handler failed")

// A handler that ends inside a compressed message ends its connection; nothing is lost, and nobody hangs.
func TestHandlersMayEndInsideACompressedMessage(t *testing.T) {
	for _, takeover := range []bool{true, false} {
		for _, size := range []int{10, 70_000, 200_000} {
			for what, end := range map[string]func() error{"nil": func() error { return nil }, "an error": func() error { return errHandler }, "a panic": func() error { panic("in the handler") }} {
				t.Run(fmt.Sprintf("takeover %v, %d bytes, %s", takeover, size, what), func(t *testing.T) {
					onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
						s := start(engine.WithPingInterval(0))
						s.session("/", func(ctx context.Context, session *engine.Session) error {
							_, r, err := session.NextReader(ctx)
							if err != nil {
								return err
							}
							r.Read(make([]byte, 10))
							w, err := session.NextWriter(ctx, frame.Binary)
							if err != nil {
								return err
							}
							w.Write(bulk(size))
							return end()
						}, engine.WithCompression(engine.Compression{TakeoverOut: takeover, TakeoverIn: takeover}))
						c := s.openDeflate("/", offered)
						pieces := c.out.flushed(prose(100, 1), prose(100, 2))
						first := encode(false, frame.Text, pieces[0])
						first[0] |= frame.RSV1
						c.send(first)
						f := c.next()
						for f.op != frame.Close {
							if f.fin {
								t.Fatalf("got %v, the end of a message that was not ended", f)
							}
							f = c.next()
						}
						c.write(frame.Close, f.payload)
						c.expectEOF()
						c.Close()
						s.gone()
					})
				})
			}
		}
	}
}

// What waits for a receiver is bounded by the compressed bytes, message by message or piece by piece, and the peer rests
// meanwhile; nothing is lost.
func TestCompressedMessagesRestWhileNobodyReceives(t *testing.T) {
	for _, way := range []string{"Receive", "NextReader", "both"} {
		t.Run(way, func(t *testing.T) {
			onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
				s := start(engine.WithPingInterval(0), engine.WithReadBuffer(1<<10))
				h := s.handOut("/", engine.WithCompression(full), engine.WithSessionQueue(2, 2000))
				c := s.openDeflate("/", offered)
				session := h.next(t)
				var messages [][]byte
				for i := range 12 {
					n := 300 + i*i*300
					if s.cut() {
						n = 300 + i*100
					}
					messages = append(messages, append(prose(n, uint64(i%3)), fmt.Sprintf("%x", noise(n/2, uint64(i)))...))
				}
				sending := later(func() error {
					for _, m := range messages {
						if _, err := c.Write(deflated(frame.Text, c.out.message(m))); err != nil {
							return err
						}
					}
					return nil
				})
				for i, m := range messages {
					if way == "Receive" || way == "both" && i%2 == 0 {
						expectMessage(t, session, frame.Text, m)
						continue
					}
					if got, err := readNext(t, session); err != nil || !bytes.Equal(got, m) {
						t.Fatalf("message %d: %d bytes, want %d; %v", i, len(got), len(m), err)
					}
				}
				if err := within(t, sending); err != nil {
					t.Fatal(err)
				}
			})
		})
	}
}

// A writer's compressed fragments wait for a peer that does not read, like other output.
func TestCompressedWritersWaitForThePeer(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithPingInterval(0), engine.WithMaxBackpressure(1000))
		s.narrow()
		h := s.handOut("/", engine.WithCompression(full))
		c := s.openDeflate("/", offered)
		session := h.next(t)
		payload := noise(2*s.glut()+100_000, 1)
		written, _ := waits(t, context.Background(), func(ctx context.Context) error {
			w, err := session.NextWriter(ctx, frame.Binary)
			if err == nil {
				_, err = w.Write(payload)
			}
			return errors.Join(err, w.Close())
		})
		if op, got, compressed := c.message(); op != frame.Binary || !compressed || !bytes.Equal(got, payload) {
			t.Fatalf("%v of %d bytes, compressed %v", op, len(got), compressed)
		}
		if err := within(t, written); err != nil {
			t.Fatal(err)
		}
		h.finish(nil)
	})
}
