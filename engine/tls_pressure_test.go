package engine_test

import (
	"context"
	"encoding/binary"
	"sync"
	"testing"
	"time"

	"zeroframe/engine"
	"zeroframe/frame"
	"zeroframe/internal/memconn"
)

// held waits until the connection has output that its socket does not take.
func held(t testing.TB, c *engine.Conn) {
	t.Helper()
	eventually(t, "output is held back", func() bool { return c.Buffered() > 0 })
}

// A peer that reads nothing for a while gets every byte once it reads, in order: of replies, of what other goroutines sent
// meanwhile, and of pongs.
func TestHeldCiphertextArrivesWholeAndInOrder(t *testing.T) {
	onTLS(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithMaxBackpressure(256<<20), engine.WithPingInterval(0))
		h := newOpener()
		s.handle("/", h)
		s.narrow()
		c := s.open("/")
		conn := within(t, h.opened)
		go func() { // more than fits anywhere, so that a part of it waits in ciphertext
			c.write(frame.Binary, pattern(s.glut()))
			c.write(frame.Ping, []byte("in between"))
		}()
		held(t, conn)
		const senders, each = 4, 200
		var all sync.WaitGroup
		for from := range senders {
			all.Go(func() {
				for i := range each {
					m := binary.BigEndian.AppendUint32([]byte{byte(from)}, uint32(i))
					if err := conn.Send(frame.Binary, append(m, pattern(i%100)...)); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		all.Wait()
		var next [senders]uint32
		replied, ponged := false, false
		for n := 0; n < senders*each || !ponged; {
			switch f := c.next(); {
			case f.op == frame.Pong:
				ponged = true
			case len(f.payload) == s.glut():
				if string(f.payload) != string(pattern(s.glut())) || ponged {
					t.Fatalf("the reply is not what was sent, or not where (behind the pong: %v)", ponged)
				}
				replied = true
			default:
				from, i := f.payload[0], binary.BigEndian.Uint32(f.payload[1:])
				if i != next[from] || string(f.payload[5:]) != string(pattern(int(i)%100)) {
					t.Fatalf("message %d of sender %d instead of %d: %v", i, from, next[from], f)
				}
				next[from]++
				n++
			}
		}
		if !replied {
			t.Error("the reply did not come")
		}
		c.echoesOf(10, 1000)
	})
}

// Flush waits for the kernel to have the ciphertext, not for it to be made.
func TestFlushWaitsForTheCiphertext(t *testing.T) {
	onTransports(t, overTLS[2:], func(t *testing.T, start func(...engine.Option) *server) {
		const size, inFlight = 300_000, 4 << 10
		s := start()
		flushed := make(chan error, 1)
		s.session("/", func(ctx context.Context, s *engine.Session) error {
			if err := s.SendBinary(ctx, pattern(size)); err != nil {
				return err
			}
			flushed <- s.Flush(ctx)
			<-ctx.Done()
			return nil
		}, engine.WithMaxBackpressure(2*size))
		s.below = cutTLS(s, memconn.Faults{Buffer: inFlight})
		r := s.tls13()
		c := s.upgrade(r, "/")
		if n := c.r.Buffered(); n != 0 {
			c.r.Discard(n)
		}
		for total := 0; total < size; {
			select {
			case err := <-flushed:
				if total+inFlight < size {
					t.Fatalf("Flush returned %v when %d bytes of %d had been read", err, total, size)
				}
				flushed <- err
			default:
			}
			n, err := r.Read(make([]byte, 16<<10))
			if err != nil {
				t.Fatal(err)
			}
			total += n
		}
		if err := within(t, flushed); err != nil {
			t.Errorf("Flush: %v", err)
		}
	})
}

// Terminate and Close do not wait for a peer that does not read, and leave nothing.
func TestHeldCiphertextIsDroppedWithItsConnection(t *testing.T) {
	onTLS(t, func(t *testing.T, start func(...engine.Option) *server) {
		for name, end := range map[string]func(s *server, conn *engine.Conn, c *client){
			"Terminate":  func(s *server, conn *engine.Conn, c *client) { conn.Terminate() },
			"Close":      func(s *server, conn *engine.Conn, c *client) { s.Close() },
			"peer reset": func(s *server, conn *engine.Conn, c *client) { c.Close() },
			"Shutdown": func(s *server, conn *engine.Conn, c *client) {
				ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
				defer cancel()
				if err := s.Shutdown(ctx); err != context.DeadlineExceeded {
					t.Errorf("Shutdown: %v", err)
				}
			},
		} {
			s := start(engine.WithPingInterval(0), engine.WithCloseTimeout(time.Minute), engine.WithWriteTimeout(time.Minute))
			h := newOpener()
			s.handle("/", h)
			s.narrow()
			c := s.open("/")
			conn := within(t, h.opened)
			conn.Send(frame.Binary, pattern(s.glut()))
			held(t, conn)
			end(s, conn, c)
			if reason := h.wait(t); name == "Terminate" && (reason.Code != frame.CloseAbnormal || reason.Err != nil) {
				t.Errorf("%s: reason %+v", name, reason)
			}
			s.gone()
			expectNothingOut(t)
		}
	})
}

// Reading rests while the reply is held back, and what the peer sends meanwhile, in whatever records, waits with TCP; when it
// reads, all is answered.
func TestAPeerThatDoesNotReadIsPausedOverTLS(t *testing.T) {
	onTLS(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithPingInterval(0), engine.WithMaxBackpressure(1000), engine.WithReadBuffer(4<<10))
		h := newOpener()
		s.handle("/", h)
		s.narrow()
		c := s.open("/")
		conn := within(t, h.opened)
		n := 40
		size := s.glut() / 10
		go func() {
			for i := range n {
				c.write(frame.Binary, pattern(size+i))
			}
		}()
		held(t, conn)
		for i := range n {
			c.expect(frame.Binary, pattern(size+i))
		}
		for range 5 {
			conn.Pause()
			go c.write(frame.Binary, pattern(size))
			conn.Resume()
			c.expect(frame.Binary, pattern(size))
		}
	})
}

// close_notify that finds the socket full leaves when there is room, as what is queued before it does. A unix socket takes
// any piece whole as long as it is not full, so that it can be full exactly then.
func TestCloseNotifyWaitsForRoom(t *testing.T) {
	onTransports(t, []transport{socketTLS("unix")}, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithPingInterval(0), engine.WithCloseTimeout(time.Minute))
		h := newOpener()
		s.handle("/", h)
		// As long as a close frame: what the socket charges for each is the same.
		message := closePayload(1000, "")
		fill := func(conn *engine.Conn, most int) (sent int) {
			for ; sent < most; sent++ {
				conn.Send(frame.Binary, message)
				left := make(chan int)
				conn.Post(func() { conn.Post(func() { left <- conn.Buffered() }) }) // behind the flush
				if within(t, left) != 0 {
					break
				}
			}
			return sent
		}
		c := s.open("/")
		room := fill(within(t, h.opened), 1<<20)
		c.Close()
		h.wait(t)
		for spare := range 4 { // the close frame, close_notify, or nothing finds it full
			c := s.open("/")
			conn := within(t, h.opened)
			if got := fill(conn, room-spare); got != room-spare {
				t.Fatalf("%d messages filled the socket, not %d", got, room)
			}
			conn.Close(1000, "")
			c.write(frame.Close, message)
			eventually(t, "the server has read it", func() bool { return len(h.ending.ch) == 1 })
			h.wait(t)
			for range room - spare {
				c.expect(frame.Binary, message)
			}
			began := time.Now()
			c.expectClose(1000)
			if took := time.Since(began); took > patience/4 {
				t.Errorf("the end came after %v", took)
			}
			c.Close()
			s.gone()
		}
	})
}
