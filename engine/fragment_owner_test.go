package engine_test

import (
	"bytes"
	"io"
	"testing"

	"zeroframe/engine"
	"zeroframe/frame"
)

// owners are the ways a connection may have agreed on compression when a writer and fragments meet.
var owners = []struct {
	name  string
	c     *engine.Compression
	offer string
}{
	{"uncompressed", nil, offered},
	{"no takeover", &engine.Compression{Threshold: -1}, offered},
	{"takeover", &full, offered},
}

// lendDeflated is lend to a client that may agree on compression.
func (s *server) lendDeflated(z *engine.Compression, offer string) (*deflateClient, *engine.Session) {
	s.t.Helper()
	var opts []engine.RouteOption
	if z != nil {
		opts = append(opts, engine.WithCompression(*z))
	}
	h := s.handOut("/", opts...)
	c := &deflateClient{client: s.connect()}
	c.upgrade("/", extensionsField+offer)
	c.in.takeover, c.out.takeover = true, true
	return c, h.next(s.t)
}

// A writer's message belongs to its writer: fragments of Conn's neither continue nor end it, however it is compressed.
func TestFragmentsStayOutOfAWritersMessage(t *testing.T) {
	for _, way := range owners {
		t.Run(way.name, func(t *testing.T) {
			onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
				s := start(engine.WithPingInterval(0))
				c, session := s.lendDeflated(way.c, way.offer)
				conn := session.Conn()
				want := append(noise(70_000, 1), prose(10_000, 1)...)
				for range 2 {
					w, err := session.NextWriter(patiently(t), frame.Text)
					if err != nil {
						t.Fatal(err)
					}
					if _, err := w.Write(want[:70_000]); err != nil { // of which a fragment has left
						t.Fatal(err)
					}
					for what, err := range map[string]error{
						"SendFragment":                      conn.SendFragment(frame.Text, []byte("in the middle"), false),
						"SendFragment, the last":            conn.SendFragment(frame.Text, []byte("in the middle"), true),
						"SendFragment of another type":      conn.SendFragment(frame.Binary, []byte("in the middle"), false),
						"SendFrame":                         conn.SendFrame(engine.Frame{OpCode: frame.Text, Payload: []byte("in the middle")}),
						"SendFrame of a continuation":       conn.SendFrame(engine.Frame{OpCode: frame.Continuation, Payload: []byte("in the middle")}),
						"SendFrame of a continuation, last": conn.SendFrame(engine.Frame{OpCode: frame.Continuation, Fin: true}),
					} {
						if err != engine.ErrFragment {
							t.Errorf("%s: %v, want ErrFragment", what, err)
						}
					}
					sent := later(func() error {
						_, err := w.Write(want[70_000:])
						if err == nil {
							err = w.Close()
						}
						return err
					})
					if compressed := c.expectMessage(frame.Text, want); compressed != (way.c != nil) {
						t.Errorf("compressed %v", compressed)
					}
					if err := within(t, sent); err != nil {
						t.Fatal(err)
					}
				}
				if err := conn.SendFragment(frame.Binary, []byte("by itself"), true); err != nil {
					t.Fatal(err)
				}
				c.expectMessage(frame.Binary, []byte("by itself"))
			})
		})
	}
}

// The reverse: a message in fragments of Conn's is not continued by a writer, which fails at once rather than wait for
// what may never come, whether it was there first or not. Then both may send again.
func TestWritersStayOutOfAMessageInFragments(t *testing.T) {
	fragment := map[string]func(c *engine.Conn, p string, first, fin bool) error{
		"SendFragment": func(c *engine.Conn, p string, _, fin bool) error { return c.SendFragment(frame.Binary, []byte(p), fin) },
		"SendFrame": func(c *engine.Conn, p string, first, fin bool) error {
			f := engine.Frame{OpCode: frame.Continuation, Fin: fin, Payload: []byte(p)}
			if first {
				f.OpCode = frame.Binary
			}
			return c.SendFrame(f)
		},
	}
	for _, way := range owners {
		for name, send := range fragment {
			t.Run(way.name+"/"+name, func(t *testing.T) {
				onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
					s := start(engine.WithPingInterval(0))
					c, session := s.lendDeflated(way.c, way.offer)
					conn := session.Conn()
					w, err := session.NextWriter(patiently(t), frame.Binary) // of the same type
					if err != nil {
						t.Fatal(err)
					}
					if _, err := io.WriteString(w, "small: leaves on Close"); err != nil {
						t.Fatal(err)
					}
					if err := send(conn, "one ", true, false); err != nil {
						t.Fatal(err)
					}
					if err := within(t, later(w.Close)); err != engine.ErrFragment {
						t.Errorf("Close of a writer that was there first: %v, want ErrFragment", err)
					}
					if _, err := session.NextWriter(patiently(t), frame.Binary); err != engine.ErrFragment {
						t.Errorf("NextWriter: %v, want ErrFragment", err)
					}
					if err := session.SendText(patiently(t), "in the middle"); err != engine.ErrFragment {
						t.Errorf("Send: %v, want ErrFragment", err)
					}
					if err := send(conn, "message", false, true); err != nil {
						t.Fatal(err)
					}
					c.expectMessage(frame.Binary, []byte("one message"))
					text := prose(500, 1)
					for range 2 {
						if err := session.Send(patiently(t), frame.Text, text); err != nil {
							t.Fatal(err)
						}
						c.expectMessage(frame.Text, text)
						w, err := session.NextWriter(patiently(t), frame.Text)
						if err != nil {
							t.Fatal(err)
						}
						w.Write(text)
						if err := w.Close(); err != nil {
							t.Fatal(err)
						}
						c.expectMessage(frame.Text, text)
					}
				})
			})
		}
	}
}

// A fragment that comes while another goroutine's message is being compressed must not get between its admission and its
// place in the queue: the message would fail with its bytes in the history, and later ones refer to them.
func TestFragmentsDoNotMakeAMessageFailThatIsBeingCompressed(t *testing.T) {
	for name, send := range map[string]func(*engine.Conn) error{
		"SendFragment": func(c *engine.Conn) error { return c.SendFragment(frame.Binary, []byte("a"), false) },
		"SendFrame": func(c *engine.Conn) error {
			return c.SendFrame(engine.Frame{OpCode: frame.Binary, Payload: []byte("a")})
		},
	} {
		t.Run(name, func(t *testing.T) {
			onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
				s := start(engine.WithPingInterval(0))
				h := newScript()
				meanwhile, result := make(chan func() error, 1), make(chan error, 1)
				agreed := full
				agreed.CompressIf = func(frame.OpCode, int) bool {
					select {
					case f := <-meanwhile:
						result <- within(t, later(f)) // it does not wait for us
					default:
					}
					return true
				}
				s.handle("/", h, engine.WithCompression(agreed))
				c := s.openDeflate("/", offered)
				conn := within(t, h.opened)
				text := bytes.Clone(prose(3000, 5))
				meanwhile <- func() error { return send(conn) }
				if err := conn.Send(frame.Text, text); err != nil {
					t.Fatalf("Send: %v", err)
				}
				if err := within(t, result); err != engine.ErrFragment {
					t.Fatalf("the fragment: %v, want ErrFragment", err)
				}
				for range 2 {
					if !c.expectMessage(frame.Text, text) {
						t.Error("not compressed")
					}
					if err := conn.Send(frame.Text, text); err != nil {
						t.Fatal(err)
					}
				}
				c.expectMessage(frame.Text, text)
				if err := send(conn); err != nil {
					t.Errorf("the fragment, when nothing is in its way: %v", err)
				}
			})
		})
	}
}
