package engine_test

import (
	"bytes"
	"testing"

	"zeroframe/engine"
	"zeroframe/frame"
)

func TestSendersRefuseWhatIsNoMessage(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start()
		h := newScript()
		h.onMessage = func(c *engine.Conn, op frame.OpCode, p []byte) {
			for _, bad := range []frame.OpCode{frame.Continuation, frame.Close, frame.Ping, 3, 0xB, 0x10, 0x81} {
				if err := c.Reply(bad, p); err != engine.ErrFragment {
					t.Errorf("Reply(%d): %v", bad, err)
				}
			}
			for _, bad := range []frame.OpCode{frame.Continuation, frame.Close, frame.Ping, frame.Pong, 3, 0x10, 0x81} {
				if err := c.Send(bad, p); err != engine.ErrFragment {
					t.Errorf("Send(%d): %v", bad, err)
				}
				if err := c.SendFragment(bad, p, true); err != engine.ErrFragment {
					t.Errorf("SendFragment(%d): %v", bad, err)
				}
				if _, err := engine.Prepare(bad, p); err != engine.ErrFragment {
					t.Errorf("Prepare(%d): %v", bad, err)
				}
			}
			if err := c.Reply(frame.Pong, pattern(126)); err != engine.ErrMessageTooBig {
				t.Errorf("Reply of a pong of 126 bytes: %v", err)
			}
			if err := c.Ping(pattern(126)); err != engine.ErrMessageTooBig {
				t.Errorf("Ping of 126 bytes: %v", err)
			}
			c.Reply(frame.Pong, p)
			c.Ping(pattern(125))
		}
		s.handle("/", h)
		c := s.open("/")
		c.write(frame.Text, []byte("go"))
		c.expect(frame.Pong, []byte("go"))
		c.expect(frame.Ping, pattern(125))
	})
}

// Between the fragments of a message no other one may begin; control frames may pass (RFC 6455, section 5.4).
func TestSentFragmentsAreNotInterleaved(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start()
		h := newScript()
		prepared, _ := engine.Prepare(frame.Text, []byte("prepared"))
		h.onMessage = func(c *engine.Conn, op frame.OpCode, p []byte) {
			must := func(err error) {
				t.Helper()
				if err != nil {
					t.Error(err)
				}
			}
			if string(p) == "begin" {
				must(c.SendFragment(frame.Text, []byte("one, "), false))
				return
			}
			for name, err := range map[string]error{
				"Send":                    c.Send(frame.Text, p),
				"SendText":                c.SendText("no"),
				"Reply":                   c.Reply(frame.Text, p),
				"Reply, bulky":            c.Reply(frame.Text, bulky),
				"SendPrepared":            c.SendPrepared(prepared),
				"fragment of another op":  c.SendFragment(frame.Binary, p, false),
				"and its last":            c.SendFragment(frame.Binary, p, true),
				"fragment without opcode": c.SendFragment(frame.Continuation, p, true),
			} {
				if err != engine.ErrFragment {
					t.Errorf("%s inside a fragmented message: %v, want ErrFragment", name, err)
				}
			}
			must(c.Reply(frame.Pong, p))
			must(c.Ping([]byte("between")))
			must(c.SendFragment(frame.Text, nil, false))
			must(c.SendFragment(frame.Text, []byte("two"), true))
			must(c.SendPrepared(prepared))
			must(c.SendFragment(frame.Binary, []byte("whole"), true))
			must(c.SendText("text"))
		}
		s.handle("/", h)
		c := s.open("/")
		// The first fragment has left when the others are tried, so that the queue does not keep them off.
		c.write(frame.Text, []byte("begin"))
		if f := c.next(); f.fin || f.op != frame.Text || string(f.payload) != "one, " {
			t.Fatalf("first fragment is %v", f)
		}
		c.write(frame.Text, []byte("go"))
		for i, want := range []wireFrame{
			{true, 0, frame.Pong, []byte("go")},
			{true, 0, frame.Ping, []byte("between")},
			{false, 0, frame.Continuation, nil},
			{true, 0, frame.Continuation, []byte("two")},
			{true, 0, frame.Text, []byte("prepared")},
			{true, 0, frame.Binary, []byte("whole")},
			{true, 0, frame.Text, []byte("text")},
		} {
			if f := c.next(); f.fin != want.fin || f.op != want.op || !bytes.Equal(f.payload, want.payload) {
				t.Fatalf("frame %d is %v, want %v", i, f, want)
			}
		}
		// The close frame may come between fragments too.
		h.onMessageOnLoop(t, within(t, h.opened), func(c *engine.Conn, _ frame.OpCode, p []byte) {
			c.SendFragment(frame.Text, []byte("never ended"), false)
			c.Close(4000, "")
		})
		c.write(frame.Text, nil)
		if f := c.next(); f.fin || string(f.payload) != "never ended" {
			t.Errorf("got %v", f)
		}
		c.expect(frame.Close, closePayload(4000, ""))
	})
}
