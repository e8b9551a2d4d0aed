package engine_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"zeroframe/engine"
	"zeroframe/frame"
)

// reply is one way for a handler to answer a message, and what the peer must get then for a payload.
type reply struct {
	name string
	do   func(c *engine.Conn, op frame.OpCode, p []byte) error
	want func(p string) []string
}

// bulky is a payload of the handler's own that is large enough to be written from where it stands.
var bulky = pattern(17 << 10)

// join returns the first error, so that a row of replies reads as a list.
func join(errs ...error) error { return errors.Join(errs...) }

var replies = []reply{
	{"whole", (*engine.Conn).Reply, func(p string) []string { return []string{p} }},
	{"changed in place", func(c *engine.Conn, op frame.OpCode, p []byte) error {
		for i := range p {
			p[i] ^= 1
		}
		return c.Reply(op, p)
	}, func(p string) []string {
		b := []byte(p)
		for i := range b {
			b[i] ^= 1
		}
		return []string{string(b)}
	}},
	{"prefix", func(c *engine.Conn, op frame.OpCode, p []byte) error {
		return c.Reply(op, p[:len(p)/2])
	}, func(p string) []string { return []string{p[:len(p)/2]} }},
	{"prefix with room for more behind it", func(c *engine.Conn, op frame.OpCode, p []byte) error {
		return join(c.Reply(op, p[:len(p)/2:len(p)/2]), c.Reply(op, p[len(p)/2:]))
	}, func(p string) []string { return []string{p[:len(p)/2], p[len(p)/2:]} }},
	{"nothing of it", func(c *engine.Conn, op frame.OpCode, p []byte) error {
		return join(c.Reply(op, p[:0]), c.Reply(op, nil))
	}, func(p string) []string { return []string{"", ""} }},
	{"twice", func(c *engine.Conn, op frame.OpCode, p []byte) error {
		return join(c.Reply(op, p), c.Reply(op, p))
	}, func(p string) []string { return []string{p, p} }},
	{"middle", func(c *engine.Conn, op frame.OpCode, p []byte) error {
		return c.Reply(op, p[len(p)/3:len(p)-1])
	}, func(p string) []string { return []string{p[len(p)/3 : len(p)-1]} }},
	{"middle, then whole, then middle", func(c *engine.Conn, op frame.OpCode, p []byte) error {
		return join(c.Reply(op, p[1:]), c.Reply(op, p), c.Reply(op, p[2:]))
	}, func(p string) []string { return []string{p[1:], p, p[2:]} }},
	{"whole, then middle", func(c *engine.Conn, op frame.OpCode, p []byte) error {
		return join(c.Reply(op, p), c.Reply(op, p[1:]))
	}, func(p string) []string { return []string{p, p[1:]} }},
	{"around Send", func(c *engine.Conn, op frame.OpCode, p []byte) error {
		return join(c.Reply(op, p), c.Send(op, []byte("sent")), c.Reply(op, p))
	}, func(p string) []string { return []string{p, "sent", p} }},
	{"behind Send", func(c *engine.Conn, op frame.OpCode, p []byte) error {
		return join(c.Send(op, p), c.Reply(op, p))
	}, func(p string) []string { return []string{p, p} }},
	{"bulky", func(c *engine.Conn, op frame.OpCode, p []byte) error {
		return c.Reply(op, bytes.Clone(bulky))
	}, func(string) []string { return []string{string(bulky)} }},
	{"bulky twice", func(c *engine.Conn, op frame.OpCode, p []byte) error {
		own := bytes.Clone(bulky)
		return join(c.Reply(op, own), c.Reply(op, own))
	}, func(string) []string { return []string{string(bulky), string(bulky)} }},
	{"bulky between two", func(c *engine.Conn, op frame.OpCode, p []byte) error {
		return join(c.Reply(op, p), c.Reply(op, bytes.Clone(bulky)), c.Reply(op, p))
	}, func(p string) []string { return []string{p, string(bulky), p} }},
	{"bulky, then whole", func(c *engine.Conn, op frame.OpCode, p []byte) error {
		return join(c.Reply(op, bytes.Clone(bulky)), c.Reply(op, p))
	}, func(p string) []string { return []string{string(bulky), p} }},
	{"prepared, text and fragments", func(c *engine.Conn, op frame.OpCode, p []byte) error {
		m, err := engine.Prepare(op, p)
		return join(err, c.Reply(op, p), c.SendPrepared(m), c.SendFragment(op, []byte("only"), true), c.SendPrepared(m))
	}, func(p string) []string { return []string{p, p, "only", p} }},
}

// Each way to reply, to messages that come alone, in pieces, and many in one read.
func TestRepliesKeepPayloadAndOrder(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start()
		long := []int{20_000, 70_000}
		if !overSockets(t) {
			long = []int{300}
		}
		for i, r := range replies {
			h := newScript()
			h.onMessage = func(c *engine.Conn, op frame.OpCode, p []byte) {
				if err := r.do(c, op, p); err != nil {
					t.Errorf("%s: %v", r.name, err)
				}
			}
			path := fmt.Sprintf("/%d", i)
			s.handle(path, h)
			c := s.open(path)
			var wire []byte
			var want []string
			sizes := append([]int{3, 3, 10, 130, 5}, long...)
			if strings.Contains(r.name, "bulky") && !overSockets(t) {
				sizes = []int{5, 5}
			}
			for i, n := range sizes {
				p := string(bytes.Repeat([]byte{byte('a' + i)}, n-1)) + "."
				wire = append(wire, encode(true, frame.Text, []byte(p))...)
				want = append(want, r.want(p)...)
				if n > 200 || i == 0 { // and once more through the assembly buffer
					wire = append(wire, fragment(frame.Text, p[:n/2])...)
					wire = append(wire, encode(true, frame.Continuation, []byte(p[n/2:]))...)
					want = append(want, r.want(p)...)
				}
			}
			go c.Write(wire)
			for j, p := range want {
				if f := c.next(); !f.fin || f.op != frame.Text || string(f.payload) != p {
					t.Fatalf("%s: answer %d is %v, want %d bytes %.40q", r.name, j, f, len(p), p)
				}
			}
			c.Close()
			h.wait(t)
		}
		s.gone()
	})
}

func TestPipelinedMixOfMessagesPingsAndFragmentsKeepsItsOrder(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start()
		s.handle("/", replying())
		c := s.open("/")
		type answer struct {
			op      frame.OpCode
			payload string
		}
		var wire []byte
		var want []answer
		for i := range 60 {
			p := fmt.Sprintf("%d %s", i, pattern(i*7%200))
			switch i % 5 {
			case 0, 1:
				wire = append(wire, encode(true, frame.Text, []byte(p))...)
				want = append(want, answer{frame.Text, p})
			case 2:
				ping := p[:min(len(p), 125)]
				wire = append(wire, encode(true, frame.Ping, []byte(ping))...)
				want = append(want, answer{frame.Pong, ping})
			case 3:
				wire = append(wire, fragment(frame.Binary, p[:1])...)
				wire = append(wire, encode(true, frame.Ping, nil)...)
				wire = append(wire, encode(true, frame.Pong, []byte("unasked"))...)
				wire = append(wire, encode(true, frame.Continuation, []byte(p[1:]))...)
				want = append(want, answer{frame.Pong, ""}, answer{frame.Binary, p})
			case 4:
				wire = append(wire, encode(true, frame.Binary, nil)...)
				want = append(want, answer{frame.Binary, ""})
			}
		}
		go c.Write(wire)
		for _, w := range want {
			c.expect(w.op, []byte(w.payload))
		}
	})
}

func TestReplyInsideOnPingAndOnPongFollowsThePong(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start()
		h := newScript()
		h.onPing = func(c *engine.Conn, p []byte) { c.Reply(frame.Text, p); c.Reply(frame.Binary, p) }
		h.onPong = func(c *engine.Conn, p []byte) { c.Reply(frame.Text, p); c.Reply(frame.Pong, p) }
		s.handle("/", h)
		c := s.open("/")
		for _, n := range []int{0, 1, 50, 125} {
			p := pattern(n)
			c.send(append(encode(true, frame.Ping, p), encode(true, frame.Pong, p)...))
			c.expect(frame.Pong, p)
			c.expect(frame.Text, p)
			c.expect(frame.Binary, p)
			c.expect(frame.Text, p)
			c.expect(frame.Pong, p)
		}
	})
}

// Elsewhere on the loop Reply is Send, to whichever connection it goes.
func TestReplyOutsideItsCallbackIsSend(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithLoops(1))
		h := newScript()
		h.onOpen = func(c *engine.Conn) { c.Reply(frame.Text, bytes.Clone(bulky)) }
		s.handle("/", h)
		first := s.open("/")
		first.expect(frame.Text, bulky)
		one := within(t, h.opened)
		second := s.open("/")
		second.expect(frame.Text, bulky)
		within(t, h.opened)
		h.onMessageOnLoop(t, one, func(c *engine.Conn, op frame.OpCode, p []byte) {
			one.Reply(op, p)                      // a payload of another connection, copied
			c.Reply(op, p)                        // and in place
			one.Reply(op, p)                      // and copied again
			one.Reply(frame.Binary, []byte("no")) // foreign to both
			c.Post(func() { c.Reply(frame.Text, []byte("posted")) })
		})
		second.write(frame.Text, []byte("to both"))
		second.expect(frame.Text, []byte("to both"))
		second.expect(frame.Text, []byte("posted"))
		first.expect(frame.Text, []byte("to both"))
		first.expect(frame.Text, []byte("to both"))
		first.expect(frame.Binary, []byte("no"))
	})
}

// A payload that was replied in place stays what it was until its callback ends, whatever is sent in between: the
// handler may reply with it once more.
func TestReplyInPlaceIsNotMovedWhileItsCallbackRuns(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start()
		h := newScript()
		h.onMessage = func(c *engine.Conn, op frame.OpCode, p []byte) {
			c.Reply(op, p)
			if p[0] == '3' {
				c.Reply(op, bytes.Clone(bulky))
				c.Reply(op, p)
			}
		}
		s.handle("/", h)
		c := s.open("/")
		c.send(bytes.Join([][]byte{
			encode(true, frame.Text, []byte("1 first")),
			encode(true, frame.Text, []byte("2 second")),
			encode(true, frame.Text, []byte("3 third, replied three times")),
			encode(true, frame.Text, []byte("4 fourth")),
		}, nil))
		for _, want := range []string{"1 first", "2 second", "3 third, replied three times", string(bulky),
			"3 third, replied three times", "4 fourth"} {
			c.expect(frame.Text, []byte(want))
		}
	})
}
