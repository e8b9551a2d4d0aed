package engine_test

import (
	"bytes"
	"context"
	"testing"
	"time"

	"zeroframe/engine"
	"zeroframe/frame"
)

// Two sessions that send each other far more than MaxBackpressure at once, each receiving only after that, would wait for
// each other if either stopped reading because its output is full.
func TestSessionsThatSendEachOtherLargeMessagesAtOnceDoNotWaitForEachOther(t *testing.T) {
	const size = 32 << 20
	s := onSocket(t, engine.WithMaxBackpressure(64<<10), engine.WithWriteTimeout(5*time.Second),
		engine.WithMaxMessageSize(size), engine.WithMaxFrameSize(size))
	exchange := func(ctx context.Context, c *engine.Session, fill byte) error {
		if err := c.Send(ctx, frame.Binary, bytes.Repeat([]byte{fill}, size)); err != nil {
			return err
		}
		m, err := c.Receive(ctx)
		if err == nil && len(m.Payload) != size {
			t.Errorf("got %d bytes", len(m.Payload))
		}
		return err
	}
	done := make(chan error, 2)
	s.session("/", func(ctx context.Context, c *engine.Session) error {
		done <- exchange(ctx, c, 'a')
		return nil
	})
	c := s.dialSession()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	go func() { done <- exchange(ctx, c, 'b') }()
	for range 2 {
		if err := within(t, done); err != nil {
			t.Error(err)
		}
	}
	c.Receive(ctx) // gives back the payload, and waits for the close
}

// A peer that pings without reading is not read any more when the pongs have filled its queue.
func TestASessionsPeerThatPingsAndDoesNotReadIsPushedBack(t *testing.T) {
	s := onSocket(t, engine.WithMaxBackpressure(64<<10), engine.WithPingInterval(0), engine.WithWriteTimeout(patience))
	conns := make(chan *engine.Conn, 1)
	s.session("/", func(ctx context.Context, c *engine.Session) error {
		conns <- c.Conn()
		<-ctx.Done()
		return nil
	})
	c := s.open("/")
	conn := within(t, conns)
	pings := bytes.Repeat(encode(true, frame.Ping, make([]byte, 100)), 1000)
	c.SetWriteDeadline(time.Now().Add(patience))
	stuck := make(chan struct{})
	go func() {
		defer close(stuck)
		for {
			if _, err := c.Write(pings); err != nil {
				return
			}
		}
	}()
	eventually(t, "reading rests", func() bool { return s.Stats().Stalls > 0 })
	most := conn.Buffered()
	if most > 1<<20 {
		t.Errorf("%d bytes are queued", most)
	}
	c.Close()
	within(t, stuck)
}

// A session that does not receive makes its peer rest, which is counted once for each time, and not as full output.
func TestStatsCountSessionsThatDoNotReceive(t *testing.T) {
	onGoroutinesToo(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithPingInterval(0))
		h := s.handOut("/", engine.WithSessionQueue(2, 1<<20))
		c := s.open("/")
		session := h.next(t)
		for times := range uint64(3) {
			if n := s.Stats().SessionStalls; n != times {
				t.Fatalf("%d stalls, want %d", n, times)
			}
			for range 2 {
				c.write(frame.Text, []byte("m"))
			}
			s.until("it rests", func() bool { return s.Stats().SessionStalls == times+1 })
			for range 2 {
				expectMessage(t, session, frame.Text, []byte("m"))
			}
		}
		if n := s.Stats().Stalls; n != 0 {
			t.Errorf("%d stalls of output", n)
		}
	})
}
