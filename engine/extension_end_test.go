package engine_test

import (
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"testing"

	"zeroframe/deflate"
	"zeroframe/engine"
	"zeroframe/frame"
)

// closing is a sealing whose transformers count how often they are closed.
type closing struct {
	sealing
	made, closed atomic.Int32
}

type closingSeal struct {
	*seal
	of *closing
}

func (s closingSeal) Close() error {
	s.of.closed.Add(1)
	return io.ErrClosedPipe // nobody asks
}

func (x *closing) Negotiate(offer []deflate.Param) ([]deflate.Param, engine.FrameTransformer) {
	params, t := x.sealing.Negotiate(offer)
	if t == nil {
		return nil, nil
	}
	x.made.Add(1)
	return params, closingSeal{t.(*seal), x}
}

func (x *closing) Accept(answer []deflate.Param) (engine.FrameTransformer, error) {
	t, err := x.sealing.Accept(answer)
	if err != nil {
		return nil, err
	}
	x.made.Add(1)
	return closingSeal{t.(*seal), x}, nil
}

// expectClosed waits until as many transformers were closed as were made, which must be n.
func (x *closing) expectClosed(t testing.TB, n int32) {
	t.Helper()
	eventually(t, fmt.Sprintf("%d transformers are closed", n), func() bool { return x.closed.Load() >= n })
	if made, closed := x.made.Load(), x.closed.Load(); made != n || closed != n {
		t.Errorf("%d transformers were made, and closed %d times, want %d", made, closed, n)
	}
}

// However a connection ends, a transformer that is an io.Closer is closed once, at its end and not before.
func TestTransformersAreClosedOnceWithTheirConnection(t *testing.T) {
	for name, end := range map[string]func(*server, *sealedClient, *engine.Conn){
		"our close": func(_ *server, c *sealedClient, conn *engine.Conn) {
			conn.Close(frame.CloseNormal, "")
			c.answerClose(frame.CloseNormal, "")
		},
		"the peer's close": func(_ *server, c *sealedClient, _ *engine.Conn) {
			c.write(frame.Close, closePayload(frame.CloseNormal, ""))
			c.expectClose(frame.CloseNormal)
		},
		"a peer that vanishes": func(_ *server, c *sealedClient, _ *engine.Conn) { c.Close() },
		"Terminate":            func(_ *server, _ *sealedClient, conn *engine.Conn) { conn.Terminate() },
		"the engine's end":     func(s *server, _ *sealedClient, _ *engine.Conn) { s.Engine.Close() },
		"a breach": func(_ *server, c *sealedClient, _ *engine.Conn) {
			c.write(frame.Text, []byte("not sealed"))
			c.expectClose(frame.CloseProtocolError)
		},
	} {
		t.Run(name, func(t *testing.T) {
			onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
				s := start(engine.WithPingInterval(0))
				h := replying()
				x := &closing{sealing: sealA}
				s.handle("/", h, engine.WithExtensions(x), engine.WithCompression(full))
				c := s.openSealed("/", "x-a, permessage-deflate")
				conn := within(t, h.opened)
				c.send(c.encode(frame.Text, []byte("still at work"), -1))
				c.expectMessage(frame.Text, []byte("still at work"))
				if n := x.closed.Load(); n != 0 {
					t.Errorf("closed %d times while it is at work", n)
				}
				end(s, c, conn)
				c.Close()
				s.gone()
				x.expectClosed(t, 1)
			})
		})
	}
}

// The handshake may still fail when an extension has agreed.
func TestTransformersAreClosedWhenTheHandshakeFails(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithPingInterval(0))
		x := &closing{sealing: sealA}
		s.handle("/", newEcho(), engine.WithExtensions(x, sealB))
		c := s.connect()
		c.send(upgradeRequest("/", extensionsField+"x-a, x-b; panic"))
		if status, _ := c.readHead(); status != 500 {
			t.Errorf("status %d, want 500", status)
		}
		c.Close()
		s.gone()
		x.expectClosed(t, 1)
	})
}

// A client's, too, when it does not take the rest of the server's answer.
func TestTransformersAreClosedWhenTheAnswerIsRefused(t *testing.T) {
	for name, fields := range map[string]string{
		"another extension refuses": extensionsField + "x-a; v=1, x-b; v=2\r\n",
		"one that was not offered":  extensionsField + "x-a; v=1, x-c\r\n",
		"named twice":               extensionsField + "x-a; v=1, x-a; v=1\r\n",
		"a subprotocol of its own":  extensionsField + "x-a; v=1\r\nSec-WebSocket-Protocol: other\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			s, p := bare(t), newPeer(t)
			go func() {
				if c, _ := p.accept(switching + fields + "\r\n"); c != nil {
					c.t.Cleanup(func() { c.Close() })
				}
			}()
			x := &closing{sealing: sealA}
			_, err := s.DialSession(patiently(t), p.url("/"), nil, engine.WithExtensions(x, sealB), engine.Subprotocols("one"))
			var he *engine.HandshakeError
			if !errors.As(err, &he) {
				t.Fatalf("DialSession: %v, want a HandshakeError", err)
			}
			x.expectClosed(t, 1)
		})
	}
}

// A client offers extensions in the order in which its messages pass them (RFC 6455, section 9.1).
func TestClientsOfferExtensionsInTheirOrder(t *testing.T) {
	const z = "permessage-deflate"
	for _, tt := range []struct {
		opts []engine.RouteOption
		want []string
	}{
		{[]engine.RouteOption{engine.WithExtensions(sealB, sealA)}, []string{"x-b", "x-a"}},
		{[]engine.RouteOption{engine.WithCompression(full), engine.WithExtensions(sealB, sealA)}, []string{z, "x-b", "x-a"}},
		{[]engine.RouteOption{engine.WithExtensions(sealA, sealB), engine.WithCompression(full)}, []string{"x-a", "x-b", z}},
		{[]engine.RouteOption{engine.WithCompression(full)}, []string{z}},
		{nil, nil},
	} {
		s, p := bare(t), newPeer(t)
		offers := make(chan []deflate.Offer, 1)
		go func() {
			c, req := p.accept("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
			list, err := deflate.ParseOffers(req.Header.Values("Sec-WebSocket-Extensions")...)
			if err != nil {
				t.Error(err)
			}
			offers <- list
			c.Close()
		}()
		if _, err := s.DialSession(patiently(t), p.url("/"), nil, tt.opts...); err == nil {
			t.Error("dialled, though the answer is 404")
		}
		var got []string
		for _, o := range within(t, offers) {
			got = append(got, o.Name)
		}
		if fmt.Sprint(got) != fmt.Sprint(tt.want) {
			t.Errorf("offered %q, want %q", got, tt.want)
		}
	}
}

// Behind compression with takeover a message is in the history when a transformer panics over it. The sender has the
// panic, on whatever goroutine; the connection, which cannot go on, ends.
func TestAPanicOfOutgoingBehindCompressionEndsTheConnection(t *testing.T) {
	for _, z := range []engine.Compression{full, {Threshold: -1}} {
		t.Run(fmt.Sprintf("takeover %v", z.TakeoverOut), func(t *testing.T) {
			onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
				s := start(engine.WithPingInterval(0))
				h := newScript()
				panics := true // under the one call at a time that Outgoing is
				x := &stubborn{sealing: sealing{"x-s", 0, 0}, outgoing: func(*engine.Frame) error {
					if panics {
						panics = false
						panic("in Outgoing")
					}
					return nil
				}}
				s.handle("/", h, engine.WithCompression(z), engine.WithExtensions(x))
				c := s.openDeflate("/", offered+", x-s")
				conn := within(t, h.opened)
				text := prose(600, 1)
				recovered := make(chan any, 1)
				go func() {
					defer func() { recovered <- recover() }()
					conn.Send(frame.Text, text)
				}()
				if v := within(t, recovered); v != "in Outgoing" {
					t.Errorf("the sender recovered %v", v)
				}
				if z.TakeoverOut {
					if err := conn.Send(frame.Text, text); err != engine.ErrClosed {
						t.Errorf("another Send: %v, want ErrClosed", err)
					}
					c.answerClose(frame.CloseInternalError, "message given up")
					return
				}
				if err := conn.Send(frame.Text, text); err != nil { // nothing is locked
					t.Fatal(err)
				}
				c.expectMessage(frame.Text, text)
			})
		})
	}
}
