package engine_test

import (
	"bytes"
	"fmt"
	"testing"

	"zeroframe/engine"
	"zeroframe/frame"
)

// RFC 6455, section 5.5.3, and stricter: every ping has its pong, also where a pong for the last would do.
func TestEveryPingIsAnsweredByOnePongInOrder(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithPingInterval(0))
		s.handle("/", newEcho())
		c := s.open("/")
		var all []byte
		payload := func(i int) []byte { return pattern(i + 1)[1:] }
		for i := range frame.MaxControlPayload + 1 {
			all = append(all, encode(true, frame.Ping, payload(i))...)
		}
		done := make(chan struct{})
		go func() { defer close(done); c.Write(all) }()
		for i := range frame.MaxControlPayload + 1 {
			c.expect(frame.Pong, payload(i))
		}
		<-done
		c.write(frame.Text, []byte("end")) // no pong more
		c.expect(frame.Text, []byte("end"))
		eventually(t, "pings are counted", func() bool { return s.Stats().PingsIn == frame.MaxControlPayload+1 })
	})
}

func TestPingsOfOneReadAreAnsweredWithOneWrite(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		if s := (&server{t: t}); s.cut() {
			t.Skip("there a write takes a few bytes")
		}
		s := start(engine.WithPingInterval(0))
		s.handle("/", newEcho())
		c := s.open("/")
		eventually(t, "the handshake is counted", func() bool { return s.Stats().Handshakes == 1 })
		before := s.Stats()
		const pings = 50
		var all []byte
		for i := range pings {
			all = append(all, encode(true, frame.Ping, fmt.Appendf(nil, "ping %d", i))...)
		}
		c.send(all)
		for i := range pings {
			c.expect(frame.Pong, fmt.Appendf(nil, "ping %d", i))
		}
		eventually(t, "pings are counted", func() bool { return s.Stats().PingsIn == pings })
		after := s.Stats()
		if writes := after.Writes - before.Writes; writes != 1 {
			t.Errorf("%d writes for %d pings in %d reads, want 1", writes, pings, after.Reads-before.Reads)
		}
	})
}

// Pongs overtake no data, and stand between frames only: also inside a fragmented message, where they may.
func TestPongsStandBetweenFrames(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithPingInterval(0), engine.WithMaxBackpressure(64<<20))
		h := newOpener()
		s.handle("/", h)
		s.narrow()
		glut := pattern(s.glut())
		c := s.open("/")
		conn := within(t, h.opened)
		if err := conn.Send(frame.Binary, glut); err != nil { // partly in the kernel
			t.Fatal(err)
		}
		c.write(frame.Ping, []byte("behind a stuck frame"))
		eventually(t, "the ping has come", func() bool { return s.Stats().PingsIn == 1 })
		if err := conn.SendFragment(frame.Text, []byte("first "), false); err != nil {
			t.Fatal(err)
		}
		c.write(frame.Ping, []byte("between fragments"))
		eventually(t, "the ping has come", func() bool { return s.Stats().PingsIn == 2 })
		if err := conn.SendFragment(frame.Text, []byte("last"), true); err != nil {
			t.Fatal(err)
		}
		for _, want := range []wireFrame{
			{fin: true, op: frame.Binary, payload: glut},
			{fin: true, op: frame.Pong, payload: []byte("behind a stuck frame")},
			{fin: false, op: frame.Text, payload: []byte("first ")},
			{fin: true, op: frame.Pong, payload: []byte("between fragments")},
			{fin: true, op: frame.Continuation, payload: []byte("last")},
		} {
			if f := c.next(); f.fin != want.fin || f.op != want.op || !bytes.Equal(f.payload, want.payload) {
				t.Fatalf("got %v, want %v", f, want)
			}
		}
	})
}
