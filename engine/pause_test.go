package engine_test

import (
	"bytes"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"zeroframe/engine"
	"zeroframe/frame"
)

// pauser echoes, and pauses on the message "pause".
type pauser struct {
	*opener
	paused chan *engine.Conn
}

func newPauser() *pauser { return &pauser{newOpener(), make(chan *engine.Conn, 1000)} }

func (h *pauser) OnMessage(c *engine.Conn, op frame.OpCode, payload []byte) {
	if string(payload) == "pause" {
		c.Pause()
		h.paused <- c
		return
	}
	h.opener.OnMessage(c, op, payload)
}

// What was read together with the message that paused is delivered by Resume, without anything new from the peer; and so
// again when that pauses, too.
func TestResumeDeliversWhatWasReadBeforeInOrder(t *testing.T) {
	onGoroutinesToo(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithPingInterval(0))
		h := newPauser()
		s.handle("/", h)
		c := s.open("/")
		var batch []byte
		const pauses = 4
		for i := range pauses {
			batch = append(batch, encode(true, frame.Text, fmt.Appendf(nil, "before %d", i))...)
			batch = append(batch, encode(true, frame.Text, []byte("pause"))...)
			batch = append(batch, encode(false, frame.Text, fmt.Appendf(nil, "after %d", i))...)
			batch = append(batch, encode(true, frame.Continuation, []byte(", joined"))...)
			batch = append(batch, encode(true, frame.Ping, fmt.Appendf(nil, "ping %d", i))...)
		}
		batch = append(batch, encode(true, frame.Binary, pattern(300))...)
		c.send(batch)
		for i := range pauses {
			c.expect(frame.Text, fmt.Appendf(nil, "before %d", i))
			conn := within(t, h.paused)
			c.quiet(20 * time.Millisecond)
			conn.Resume()
			c.expect(frame.Text, fmt.Appendf(nil, "after %d, joined", i))
			c.expect(frame.Pong, fmt.Appendf(nil, "ping %d", i))
		}
		c.expect(frame.Binary, pattern(300))
		conn := within(t, h.opened)
		eventually(t, "every byte is counted once", func() bool {
			return s.Stats().BytesIn == uint64(len(upgradeRequest("/"))+len(batch))
		})
		if n := conn.Buffered(); n != 0 {
			t.Errorf("%d bytes buffered in the end", n)
		}
	})
}

// A pause inside a large frame, which is read straight into the message's buffer.
func TestPauseInsideALargeFrame(t *testing.T) {
	onGoroutinesToo(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithPingInterval(0), engine.WithReadBuffer(1024))
		h := newPauser()
		s.handle("/", h)
		c := s.open("/")
		conn := within(t, h.opened)
		want := pattern(20_000)
		all := encode(true, frame.Binary, want)
		for i := 0; i < len(all); i += 5000 {
			c.send(all[i:min(i+5000, len(all))])
			conn.Pause()
			opposite := make(chan struct{})
			conn.Post(func() { close(opposite) })
			within(t, opposite)
			conn.Resume()
		}
		c.expect(frame.Binary, want)
	})
}

// TCP pushes back on the peer while the connection is paused: its input is not gathered in memory.
func TestPauseStopsReading(t *testing.T) {
	onGoroutinesToo(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithPingInterval(0), engine.WithWriteTimeout(0))
		h := newPauser()
		s.handle("/", h)
		s.narrow()
		c := s.open("/")
		c.write(frame.Text, []byte("pause"))
		conn := within(t, h.paused)
		size := 1 << 20
		if s.cut() {
			size = 200
		}
		message := encode(true, frame.Binary, pattern(size))
		count := 4*s.glut()/size + 1
		done := make(chan error, 1)
		go func() {
			for range count {
				if _, err := c.Write(message); err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
		read := s.Stats().BytesIn
		select {
		case err := <-done:
			t.Fatalf("all was taken from the peer: %v", err)
		case <-time.After(100 * time.Millisecond):
		}
		if n := s.Stats().BytesIn - read; n > 128<<10 {
			t.Errorf("%d bytes were read", n)
		}
		conn.Resume()
		for range count {
			c.expect(frame.Binary, pattern(size))
		}
		if err := within(t, done); err != nil {
			t.Error(err)
		}
	})
}

// Any goroutine may pause and resume; whatever the moment, the order of the stream is kept.
func TestPauseAndResumeFromManyGoroutinesKeepTheOrder(t *testing.T) {
	onGoroutinesToo(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithPingInterval(0))
		h := newOpener()
		s.handle("/", h)
		c := s.open("/")
		conn := within(t, h.opened)
		stop := make(chan struct{})
		var others sync.WaitGroup
		defer others.Wait()
		end := sync.OnceFunc(func() { close(stop) })
		defer end()
		for range 4 {
			others.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
						conn.Pause()
						conn.Resume()
						runtime.Gosched() // or these four take the processors for 10 ms at a time
					}
				}
			})
		}
		count, pieces := 4000, 5
		if s.cut() {
			count, pieces = 150, 1
		}
		message := func(i int) []byte { return fmt.Appendf(nil, "%d %s", i, pattern(i%90)) }
		go func() {
			for i := 0; i < count; i += pieces {
				var b []byte
				for j := range pieces {
					b = append(b, encode(true, frame.Text, message(i+j))...)
				}
				if _, err := c.Write(b); err != nil {
					return
				}
			}
		}()
		for i := range count {
			c.expect(frame.Text, message(i))
		}
		end()
		others.Wait()
		conn.Resume()
		c.write(frame.Text, []byte("last"))
		c.expect(frame.Text, []byte("last"))
	})
}

// The peer's answer to our close frame, and a close frame of its own, are seen though they were read while paused.
func TestCloseOfAPausedConnectionSeesThePeersClose(t *testing.T) {
	onGoroutinesToo(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithPingInterval(0), engine.WithCloseTimeout(patience))
		h := newPauser()
		s.handle("/", h)
		c := s.open("/")
		// The stash ends inside a message: what comes after it must be understood all the same.
		rest := encode(true, frame.Text, bytes.Repeat([]byte{0x88}, 500))
		c.send(append(encode(true, frame.Text, []byte("pause")), rest[:100]...))
		conn := within(t, h.paused)
		conn.Close(frame.CloseNormal, "ours")
		c.send(rest[100:])
		c.answerClose(frame.CloseNormal, "ours")
		if r := h.wait(t); r.Code != frame.CloseNormal || r.Text != "ours" || r.Remote || r.Err != nil {
			t.Errorf("reason %+v", r)
		}

		c = s.open("/")
		c.send(append(encode(true, frame.Text, []byte("pause")), encode(true, frame.Close, closePayload(4001, "theirs"))...))
		conn = within(t, h.paused)
		c.quiet(20 * time.Millisecond)
		conn.Close(frame.CloseNormal, "ours")
		c.expectClose(frame.CloseNormal)
		if r := h.wait(t); r.Code != frame.CloseNormal || r.Err != nil {
			t.Errorf("reason %+v", r)
		}
	})
}

// A large frame is read straight into its message's buffer; when its end is the end of a read, nothing is left there to
// read into.
func TestPauseAtTheEndOfALargeFrame(t *testing.T) {
	onGoroutinesToo(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithPingInterval(0), engine.WithReadBuffer(1024))
		h := newSizePauser()
		s.handle("/", h)
		c := s.open("/")
		for range 2 {
			go c.Write(encode(true, frame.Binary, pattern(20_000)))
			conn := within(t, h.paused)
			c.quiet(20 * time.Millisecond)
			conn.Resume()
			c.write(frame.Text, []byte("next"))
			c.expect(frame.Text, []byte("next"))
		}
	})
}

// sizePauser echoes small messages and pauses on large ones.
type sizePauser struct{ *pauser }

func newSizePauser() *sizePauser { return &sizePauser{newPauser()} }

func (h *sizePauser) OnMessage(c *engine.Conn, op frame.OpCode, payload []byte) {
	if len(payload) > 10_000 {
		payload = []byte("pause")
	}
	h.pauser.OnMessage(c, op, payload)
}

func TestTerminateOfAPausedConnection(t *testing.T) {
	onGoroutinesToo(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithPingInterval(0))
		h := newPauser()
		s.handle("/", h)
		c := s.open("/")
		c.send(bytes.Repeat(encode(true, frame.Text, []byte("pause")), 5))
		within(t, h.paused).Terminate()
		expectReason(t, h.wait(t), frame.CloseAbnormal, nil)
	})
}

func TestPostRunsOnTheLoopInOrder(t *testing.T) {
	onGoroutinesToo(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithPingInterval(0))
		h := newOpener()
		s.handle("/", h)
		c := s.open("/")
		conn := within(t, h.opened)
		var order []int // touched by the loop alone, as the race detector sees
		const count = 200
		done := make(chan struct{})
		for i := range count {
			if !conn.Post(func() {
				order = append(order, i)
				if i == count-1 {
					conn.Post(func() { close(done) }) // from the loop itself
				}
			}) {
				t.Fatal("Post refused on an open connection")
			}
		}
		within(t, done)
		for i, got := range order {
			if i != got {
				t.Fatalf("function %d ran at place %d", got, i)
			}
		}
		if len(order) != count {
			t.Errorf("%d functions ran, want %d", len(order), count)
		}
		// What a posted function sends is written like the rest.
		conn.Post(func() { conn.Send(frame.Text, []byte("posted")) })
		c.expect(frame.Text, []byte("posted"))
		c.write(frame.Close, nil)
		c.expectClose(frame.CloseNoStatus)
		h.wait(t)
		if conn.Post(func() { t.Error("ran after the end") }) {
			t.Error("Post accepted after the end")
		}
	})
}

// OnClose is the last call: what was posted before and has not run by then does not run.
func TestPostedFunctionsDoNotRunAfterOnClose(t *testing.T) {
	onGoroutinesToo(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithPingInterval(0))
		h := newOpener()
		s.handle("/", h)
		c := s.open("/")
		conn := within(t, h.opened)
		conn.Post(func() {
			conn.Post(func() { panic("first") })
			conn.Post(func() { t.Error("ran after OnClose") })
		})
		c.expectClose(frame.CloseInternalError)
		var panicked *engine.PanicError
		if r := h.wait(t); r.Code != frame.CloseInternalError || !asError(r.Err, &panicked) {
			t.Errorf("reason %+v", r)
		}
	})
}
