package engine_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"zeroframe/deflate"
	"zeroframe/engine"
	"zeroframe/frame"
)

// RFC 6455, section 9.1: the order of the answer is the order of the operations.
func TestExtensionsTransformFramesOnEveryLayer(t *testing.T) {
	all := append(slices.Clip(layers), struct {
		name  string
		start func(s *server, opts ...engine.RouteOption)
	}{"fragments", func(s *server, opts ...engine.RouteOption) {
		s.handle("/", engine.HandlerFunc(func(c *engine.Conn, op frame.OpCode, p []byte) {
			c.SendFragment(op, p[:len(p)/2], false)
			c.SendFragment(op, nil, false)
			c.SendFragment(op, p[len(p)/2:], true)
		}), opts...)
	}})
	for _, way := range installations {
		for _, layer := range all {
			t.Run(way.name+"/"+layer.name, func(t *testing.T) {
				onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
					s := start(engine.WithPingInterval(0))
					layer.start(s, way.opts...)
					c := s.openSealed("/", way.offer)
					if c.answer != way.answer {
						t.Fatalf("answered %q, want %q", c.answer, way.answer)
					}
					sizes := []int{0, 1, 99, 600, 600, 2000}
					if !s.cut() {
						sizes = append(sizes, 70_000)
					}
					for i, n := range sizes {
						op, payload := frame.Text, prose(n, uint64(i/3))
						if i%2 == 1 {
							op = frame.Binary
						}
						for _, cut := range []int{-1, 0, n / 3} {
							if cut != n/3 && n > 600 {
								continue
							}
							go c.Write(c.encode(op, payload, cut))
							c.expectMessage(op, payload)
						}
					}
				})
			})
		}
	}
}

func TestDialedConnectionsUseExtensions(t *testing.T) {
	for _, way := range installations[:len(installations)-1] {
		t.Run(way.name, func(t *testing.T) {
			onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
				s := start(engine.WithPingInterval(0))
				s.session("/", echoSession, way.opts...)
				c := s.dialSession(way.opts...)
				if got := c.Conn().Extensions(); !slices.Equal(got, way.names) {
					t.Errorf("Extensions: %q, want %q", got, way.names)
				}
				for i, n := range []int{0, 10, 600, 600, 3000} {
					payload := prose(n, uint64(i/2))
					if err := c.Send(patiently(t), frame.Text, payload); err != nil {
						t.Fatal(err)
					}
					expectMessage(t, c, frame.Text, payload)
				}
				c.Receive(canceled())
				c.Terminate()
				within(t, c.Context().Done())
			})
		})
	}
}

func TestExtensionsAreNegotiated(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithExtensions(sealA, sealB), engine.WithPingInterval(0))
		h := newScript()
		s.handle("/", h)
		raw := newRawScript()
		s.raw("/raw", raw)
		s.raw("/raw/own", raw, engine.WithExtensions(sealB))
		s.handle("/none", h, engine.WithExtensions())
		for _, tt := range []struct {
			path, offer, answer string
			names               []string
		}{
			{"/", "x-a", "x-a", []string{"x-a"}},
			{"/", "x-b; v=1, x-a; v=1", "x-a; v=1, x-b; v=1", []string{"x-a", "x-b"}},
			{"/", "x-a; v=2, x-a; v=1, x-a", "x-a; v=1", []string{"x-a"}},
			{"/", "x-a; v=2", "", nil},
			{"/", "x-a; v=2, x-b", "x-b", []string{"x-b"}},
			{"/", "X-A", "", nil},
			{"/", "permessage-deflate", "", nil},
			{"/", "x-a;", "", nil},
			{"/none", "x-a", "", nil},
			{"/raw", "x-a", "", nil},
			{"/raw/own", "x-a, x-b", "x-b", []string{"x-b"}},
		} {
			c := s.connect()
			if got := c.upgrade(tt.path, extensionsField+tt.offer); got != tt.answer {
				t.Errorf("%s, %q: answered %q, want %q", tt.path, tt.offer, got, tt.answer)
			}
			opened := h.opened
			if strings.HasPrefix(tt.path, "/raw") {
				opened = raw.opened
			}
			if got := within(t, opened).Extensions(); !slices.Equal(got, tt.names) {
				t.Errorf("%s, %q: Extensions %q, want %q", tt.path, tt.offer, got, tt.names)
			}
		}
		c := s.connect()
		c.send(upgradeRequest("/", extensionsField+"x-a; panic"))
		if status, _ := c.readHead(); status != 500 {
			t.Errorf("a panic in Negotiate: %d, want 500", status)
		}
		s.openSealed("/", "x-a")
	})
}

func TestDialRefusesAnswersThatExtensionsRefuse(t *testing.T) {
	for answer, refused := range map[string]string{
		"x-a; v=1":           "",
		"x-a; v=1, x-b; v=1": "",
		"x-a; v=2":           "does not know",
		"x-a":                "does not know",
		"x-c":                "not offered",
		"x-a; v=1, x-a; v=1": "twice",
	} {
		s, p := bare(t), newPeer(t)
		go func() {
			if c, _ := p.accept(switching + extensionsField + answer + "\r\n\r\n"); c != nil {
				c.t.Cleanup(func() { c.Close() })
			}
		}()
		c, err := s.DialSession(patiently(t), p.url("/"), nil, engine.WithExtensions(sealA, sealB))
		var he *engine.HandshakeError
		switch {
		case refused == "" && err != nil, refused != "" && (!errors.As(err, &he) || !strings.Contains(he.Reason, refused)):
			t.Errorf("%q: %v, want %q", answer, err, refused)
		case err == nil:
			c.Terminate()
			within(t, c.Context().Done())
		}
	}
}

func TestExtensionsThatCannotWorkTogetherAreRefused(t *testing.T) {
	z := engine.WithCompression(full)
	for name, tt := range map[string]struct {
		opts   []engine.Setting
		option string
	}{
		"one name twice":                 {[]engine.Setting{engine.WithExtensions(sealA, sealing{"x-a", frame.RSV3, 0})}, "WithExtensions"},
		"one bit twice":                  {[]engine.Setting{engine.WithExtensions(sealA, sealing{"x-c", frame.RSV2 | frame.RSV3, 0})}, "WithExtensions"},
		"the bit of compression":         {[]engine.Setting{z, engine.WithExtensions(sealing{"x-c", frame.RSV1, 0})}, "WithExtensions"},
		"the bit of compression, before": {[]engine.Setting{engine.WithExtensions(sealing{"x-c", frame.RSV1, 0}), z}, "WithExtensions"},
		"the name of compression":        {[]engine.Setting{z, engine.WithExtensions(sealing{deflate.Name, frame.RSV2, 0})}, "WithExtensions"},
		"not a token":                    {[]engine.Setting{engine.WithExtensions(sealing{"x a", frame.RSV2, 0})}, "WithExtensions"},
		"no name":                        {[]engine.Setting{engine.WithExtensions(sealing{"", frame.RSV2, 0})}, "WithExtensions"},
		"a bit that is not reserved":     {[]engine.Setting{engine.WithExtensions(sealing{"x-c", 0x80, 0})}, "WithExtensions"},
		"nil":                            {[]engine.Setting{engine.WithExtensions(nil)}, "WithExtensions"},
	} {
		t.Run(name, func(t *testing.T) {
			var asOptions []engine.Option
			var asRoute []engine.RouteOption
			for _, o := range tt.opts {
				asOptions, asRoute = append(asOptions, o), append(asRoute, o)
			}
			s := bare(t)
			e, errNew := engine.New(asOptions...)
			if e != nil {
				e.Close()
			}
			_, errDial := s.Dial(canceled(), "ws://127.0.0.1:1/", nil, newEcho(), asRoute...)
			for what, err := range map[string]error{
				"New": errNew, "Dial": errDial, "Handle": s.Handle("/", newEcho(), asRoute...),
				"HandleSession": s.HandleSession("/", echoSession, asRoute...), "HandleRaw": s.HandleRaw("/", rawEcho{}, asRoute...),
			} {
				var oe *engine.OptionError
				if !errors.As(err, &oe) || oe.Option != tt.option {
					t.Errorf("%s: %v, want an OptionError of %s", what, err, tt.option)
				}
			}
		})
	}
	s := bare(t)
	var oe *engine.OptionError
	if err := s.HandleRaw("/", rawEcho{}, z, engine.WithReservedBits(frame.RSV1)); !errors.As(err, &oe) || oe.Option != "WithReservedBits" {
		t.Errorf("a raw route with compression and RSV1 for itself: %v", err)
	}
	if err := s.HandleRaw("/", rawEcho{}, engine.WithExtensions(sealA), engine.WithReservedBits(frame.RSV2)); !errors.As(err, &oe) {
		t.Errorf("a raw route that wants its extension's bit: %v", err)
	}
	one, err := engine.New(engine.WithExtensions(sealA), z)
	if err != nil {
		t.Fatal(err)
	}
	defer one.Close()
	if err := one.Handle("/", newEcho(), engine.WithExtensions(sealing{"x-c", frame.RSV1, 0})); !errors.As(err, &oe) || oe.Option != "WithExtensions" {
		t.Errorf("a route's extension with the bit of the engine's compression: %v", err)
	}
	if err := one.Handle("/", newEcho(), engine.WithoutCompression(), engine.WithExtensions(sealing{"x-c", frame.RSV1, 0})); err != nil {
		t.Errorf("RSV1 on a route without compression: %v", err)
	}
	// The engine's compression is not the raw route's.
	if err := one.HandleRaw("/raw", rawEcho{}, engine.WithReservedBits(frame.RSV1|frame.RSV2)); err != nil {
		t.Errorf("reserved bits on a raw route: %v", err)
	}
}

// A raw handler with extensions speaks in frames as without: fragments continue, and what does not is refused.
func TestFramesOfRawRoutesWithExtensionsAreJudgedAsEver(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithPingInterval(0))
		h := newRawScript()
		s.raw("/", h, engine.WithExtensions(sealA), engine.WithReservedBits(frame.RSV3))
		c := s.openSealed("/", "x-a")
		conn := within(t, h.opened)
		for i, step := range []struct {
			f   engine.Frame
			err error
		}{
			{engine.Frame{OpCode: frame.Continuation, Payload: []byte("stray")}, engine.ErrFragment},
			{engine.Frame{OpCode: frame.Continuation, Fin: true, Payload: []byte("stray")}, engine.ErrFragment},
			{engine.Frame{OpCode: frame.Text, Payload: []byte("one ")}, nil},
			{engine.Frame{OpCode: frame.Text, Payload: []byte("another")}, engine.ErrFragment},
			{engine.Frame{OpCode: frame.Text, Fin: true, Payload: []byte("another")}, engine.ErrFragment},
			{engine.Frame{OpCode: frame.Continuation, Payload: []byte("two ")}, nil},
			{engine.Frame{OpCode: frame.Ping, Fin: true}, nil},
			{engine.Frame{OpCode: frame.Continuation, Fin: true, Payload: []byte("three")}, nil},
			{engine.Frame{OpCode: frame.Text, Fin: true, RSV: frame.RSV2}, engine.ErrFrame},
		} {
			if err := conn.SendFrame(step.f); err != step.err {
				t.Errorf("step %d: %v, want %v", i, err, step.err)
			}
		}
		c.expectMessage(frame.Text, []byte("one two three"))
		if err := conn.SendFrame(engine.Frame{OpCode: frame.Binary, RSV: frame.RSV3}); err != nil {
			t.Fatal(err)
		}
		if f := c.next(); f.rsv != frame.RSV2|frame.RSV3 || f.fin {
			t.Errorf("got %v, want the handler's bit and the extension's", f)
		}
	})
}

// Replies are not bounded by MaxBackpressure, on raw routes with extensions neither: the peer that reads nothing is not
// read, and loses nothing.
func TestRepliesOfRawRoutesWithExtensionsAreNotBounded(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithPingInterval(0), engine.WithMaxBackpressure(500))
		h := newRawScript()
		errs := make(chan error, 100)
		h.onFrame = func(c *engine.Conn, f engine.Frame) { errs <- c.ReplyFrame(f) }
		s.raw("/", h, engine.WithExtensions(sealA))
		c := s.openSealed("/", "x-a")
		var wire []byte
		for i := range 20 {
			wire = append(wire, c.encode(frame.Binary, prose(300, uint64(i)), -1)...)
		}
		c.send(wire)
		for i := range 20 {
			if err := within(t, errs); err != nil {
				t.Errorf("reply %d: %v", i, err)
			}
			c.expectMessage(frame.Binary, prose(300, uint64(i)))
		}
	})
}

// A fragment is never dropped behind its sender's back: the others would make another message.
func TestFragmentsOfExtendedConnectionsAreRefusedNotDropped(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithPingInterval(0), engine.WithMaxBackpressure(100), engine.WithBackpressurePolicy(engine.PolicyDrop))
		s.narrow()
		h := newScript()
		s.handle("/", h, engine.WithExtensions(sealA))
		c := s.openSealed("/", "x-a")
		conn := within(t, h.opened)
		s.until("the answer has left the queue", func() bool { return conn.Buffered() == 0 })
		want := bytes.Clone(bulk(s.glut()))
		if err := conn.SendFragment(frame.Binary, want, false); err != nil {
			t.Fatal(err)
		}
		for _, fin := range []bool{false, true} {
			if err := conn.SendFragment(frame.Binary, []byte("more than there is room for: "+strings.Repeat("x", 100)), fin); err != engine.ErrBackpressure {
				t.Errorf("fin %v: %v, want ErrBackpressure", fin, err)
			}
		}
		if _, err := c.readFrame(); err != nil {
			t.Fatal(err)
		}
		s.until("the queue is empty", func() bool { return conn.Buffered() == 0 })
		if err := conn.SendFragment(frame.Binary, []byte("the end"), true); err != nil {
			t.Fatal(err)
		}
		if f := c.next(); f.op != frame.Continuation || !f.fin || len(f.payload) != len("the end")+2 {
			t.Errorf("got %v, want the last fragment", f)
		}
	})
}

func TestSettersWorkBesideExtensions(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithPingInterval(0))
		h := replying()
		s.handle("/", h, engine.WithExtensions(sealA), engine.WithCompression(full))
		c := s.openSealed("/", "x-a, permessage-deflate")
		conn := within(t, h.opened)
		conn.SetMaxFrameSize(300)
		applied := make(chan bool)
		conn.Post(func() { close(applied) })
		within(t, applied)
		c.send(c.encode(frame.Text, prose(500, 1), -1)) // less when compressed
		c.expectMessage(frame.Text, prose(500, 1))
		c.send(c.encode(frame.Binary, noise(301, 1), -1))
		c.expectClose(frame.CloseMessageTooBig)
	})
}

// Many goroutines send on one connection: the transformers see one frame at a time, in the order they leave.
func TestManyGoroutinesSendThroughExtensions(t *testing.T) {
	for _, way := range installations {
		t.Run(way.name, func(t *testing.T) {
			onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
				s := start(engine.WithPingInterval(0))
				c, session, _ := s.lendSealed(way.offer, way.opts...)
				const senders, each = 8, 10
				prepared, _ := engine.Prepare(frame.Text, []byte("0 prepared "+string(prose(200, 1))))
				var all sync.WaitGroup
				for i := range senders {
					all.Go(func() {
						for j := range each {
							var err error
							switch text := fmt.Sprintf("%d %d %s", i, j, prose(200, uint64(j))); {
							case i == 0:
								err = session.SendPrepared(context.Background(), prepared)
							case i == 1:
								w, e := session.NextWriter(context.Background(), frame.Text)
								if err = e; err == nil {
									w.Write([]byte(text))
									err = w.Close()
								}
							default:
								err = session.SendText(context.Background(), text)
							}
							if err != nil {
								t.Error(err)
							}
						}
					})
				}
				var next [senders]int
				for range senders * each {
					_, got := c.message()
					var i, j int
					if bytes.HasPrefix(got, []byte("0 prepared")) {
						continue
					}
					if n, _ := fmt.Sscanf(string(got), "%d %d", &i, &j); n != 2 || next[i] != j {
						t.Fatalf("message %d of sender %d, want %d: %.40q", j, i, next[i], got)
					}
					next[i]++
				}
				all.Wait()
			})
		})
	}
}
