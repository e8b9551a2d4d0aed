package engine_test

import (
	"errors"
	"io"
	"net"
	"slices"
	"syscall"
	"testing"
	"time"

	"zeroframe/engine"
	"zeroframe/frame"
)

// closedByPeer is a way for a client to go.
type closedByPeer struct {
	name  string
	leave func(r *tls13)
	err   func(err error) bool // whether that is what OnClose is told
}

var goneWays = []closedByPeer{
	{"close_notify", func(r *tls13) { r.Conn.Write(r.closeNotify()) }, isNil},
	{"close_notify and FIN", func(r *tls13) { r.Conn.Write(r.closeNotify()); halfClose(r) }, isNil},
	{"close_notify byte by byte", func(r *tls13) { trickle{r.Conn}.Write(r.closeNotify()) }, isNil},
	{"data behind close_notify", func(r *tls13) {
		r.Conn.Write(append(r.closeNotify(), r.seal(dataRecord, encode(true, frame.Text, []byte("too late")), 0)...))
	}, isNil},
	{"FIN without close_notify", halfClose, isNil}, // as with TCP: the close handshake tells what is lost
	{"FIN inside a record's header", func(r *tls13) {
		r.Conn.Write(r.closeNotify()[:3])
		halfClose(r)
	}, isUnexpectedEOF},
	{"FIN inside a record", func(r *tls13) {
		r.Conn.Write(r.seal(dataRecord, pattern(100), 0)[:50])
		halfClose(r)
	}, isUnexpectedEOF},
	{"reset", func(r *tls13) {
		if tcp, ok := r.Conn.(*net.TCPConn); ok {
			tcp.SetLinger(0)
		}
		r.Conn.Close()
	}, func(err error) bool {
		return err == nil || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, io.ErrClosedPipe)
	}},
}

func isNil(err error) bool { return err == nil }

func isUnexpectedEOF(err error) bool { return err == io.ErrUnexpectedEOF }

func halfClose(r *tls13) { r.Conn.(interface{ CloseWrite() error }).CloseWrite() }

// However a client goes, and whatever it was at, the connection ends at once, once, and for the right reason.
func TestClientsMayEndTLSAtEveryMoment(t *testing.T) {
	big := encode(true, frame.Binary, pattern(5000))
	moments := []struct {
		name  string
		reach func(s *server, r *tls13) *client
		code  frame.CloseCode // 0: OnClose is not called
	}{
		{"before the request", func(s *server, r *tls13) *client { return s.over(r) }, 0},
		{"inside the request", func(s *server, r *tls13) *client {
			c := s.over(r)
			c.send(upgradeRequest("/")[:40])
			return c
		}, 0},
		{"open", func(s *server, r *tls13) *client { return s.upgrade(r, "/") }, frame.CloseAbnormal},
		{"after messages", func(s *server, r *tls13) *client {
			c := s.upgrade(r, "/")
			c.echoesOf(0, 1000, 50_000)
			return c
		}, frame.CloseAbnormal},
		{"inside a frame's header", func(s *server, r *tls13) *client {
			c := s.upgrade(r, "/")
			c.send(big[:3])
			return c
		}, frame.CloseAbnormal},
		{"inside a frame", func(s *server, r *tls13) *client {
			c := s.upgrade(r, "/")
			c.send(big[:3000])
			return c
		}, frame.CloseAbnormal},
		{"inside a large frame", func(s *server, r *tls13) *client {
			c := s.upgrade(r, "/")
			c.send(encode(true, frame.Binary, pattern(1<<20))[:1<<19])
			return c
		}, frame.CloseAbnormal},
		{"between fragments", func(s *server, r *tls13) *client {
			c := s.upgrade(r, "/")
			c.send(encode(false, frame.Binary, pattern(3000)))
			return c
		}, frame.CloseAbnormal},
		{"after its close frame", func(s *server, r *tls13) *client {
			c := s.upgrade(r, "/")
			c.write(frame.Close, closePayload(3000, "bye"))
			return c
		}, 3000},
		{"after both close frames", func(s *server, r *tls13) *client {
			c := s.upgrade(r, "/")
			c.write(frame.Close, closePayload(3000, "bye"))
			if f := c.next(); f.op != frame.Close {
				s.t.Errorf("%v", f)
			}
			return c
		}, 3000},
		{"after an error", func(s *server, r *tls13) *client {
			c := s.upgrade(r, "/")
			c.send([]byte{0xFF, 0xFF})
			return c
		}, frame.CloseProtocolError},
	}
	onTLS(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithHandshakeTimeout(time.Minute), engine.WithCloseTimeout(time.Minute), engine.WithPingInterval(0))
		h := newEcho()
		s.handle("/", h)
		for _, moment := range moments {
			for _, way := range goneWays {
				r := s.tls13()
				c := moment.reach(s, r)
				way.leave(r)
				s.gone()
				if moment.code != 0 {
					reason := h.wait(t)
					if reason.Code != moment.code || moment.code == frame.CloseAbnormal && !way.err(reason.Err) {
						t.Errorf("%s, %s: reason %+v", moment.name, way.name, reason)
					}
				}
				if len(h.ending.ch) != 0 {
					t.Errorf("%s, %s: OnClose for another time, with %+v", moment.name, way.name, <-h.ending.ch)
				}
				c.Close()
				expectNothingOut(t)
			}
		}
	})
}

// What a client sent before it ended its direction is answered, as far as the socket takes it at once.
func TestMessagesBeforeCloseNotifyAreAnswered(t *testing.T) {
	onTLSSockets(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start()
		h := newEcho()
		s.handle("/", h)
		for _, together := range []bool{true, false} {
			r := s.tls13()
			c := s.upgrade(r, "/")
			wire := r.seal(dataRecord, encode(true, frame.Text, []byte("last words")), 0)
			if !together {
				r.Conn.Write(wire)
				wire = nil
			}
			r.Conn.Write(slices.Concat(wire, r.closeNotify()))
			c.expect(frame.Text, []byte("last words"))
			if _, err := c.readFrame(); err != io.ErrUnexpectedEOF && err != io.EOF {
				t.Errorf("and then %v", err)
			}
			if reason := h.wait(t); reason.Code != frame.CloseAbnormal || reason.Err != nil {
				t.Errorf("reason %+v", reason)
			}
		}
	})
}

// A connection that ends as it should ends with close_notify, which tells the client that nothing was cut off.
func TestTheServerEndsWithCloseNotify(t *testing.T) {
	onTLS(t, func(t *testing.T, start func(...engine.Option) *server) {
		for name, end := range map[string]func(s *server, h *opener, c *client){
			"the client closes": func(s *server, h *opener, c *client) {
				c.write(frame.Close, closePayload(1000, ""))
			},
			"the server closes": func(s *server, h *opener, c *client) {
				within(t, h.opened).Close(1000, "")
				if f := c.next(); f.op != frame.Close {
					t.Errorf("%v", f)
				}
				c.write(frame.Close, closePayload(1000, ""))
			},
			"the client breaks a rule": func(s *server, h *opener, c *client) { c.send([]byte{0xFF, 0xFF}) },
			"behind a large message": func(s *server, h *opener, c *client) {
				within(t, h.opened).Send(frame.Binary, pattern(200_000))
				c.write(frame.Close, closePayload(1000, ""))
			},
			"a request is refused": nil,
			"the engine goes down": func(s *server, h *opener, c *client) {
				down := make(chan error, 1)
				go func() { down <- s.shutdown() }()
				t.Cleanup(func() { within(t, down) })
				if f := c.next(); f.op != frame.Close {
					t.Errorf("%v", f)
				}
				c.write(frame.Close, closePayload(1001, ""))
			},
		} {
			s := start()
			h := newOpener()
			s.handle("/", h)
			r := s.tls13()
			var err error
			if end == nil {
				c := s.over(r)
				c.send([]byte("GET /nowhere HTTP/1.1\r\nHost: example.test\r\n\r\n"))
				_, err = io.Copy(io.Discard, c.r)
			} else {
				c := s.upgrade(r, "/")
				end(s, h, c)
				_, err = io.Copy(io.Discard, c.r)
			}
			if err != nil {
				t.Errorf("%s: the client read to %v", name, err)
			}
			r.Close()
			s.gone()
		}
	})
}

// After our close_notify the peer's data is dropped, and its end awaited, as with TCP.
func TestDataAfterOurCloseNotifyIsDropped(t *testing.T) {
	onTLS(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithCloseTimeout(time.Minute))
		h := newEcho()
		s.handle("/", h)
		r := s.tls13()
		c := s.upgrade(r, "/")
		c.write(frame.Close, closePayload(1000, ""))
		if f := c.next(); f.op != frame.Close {
			t.Fatalf("%v", f)
		}
		if _, err := c.r.ReadByte(); err != io.EOF {
			t.Errorf("after the close frames: %v", err)
		}
		for range 10 {
			c.write(frame.Binary, pattern(20_000))
			r.Conn.Write(r.keyUpdate(false))
		}
		if n := s.Stats().Conns; n != 1 {
			t.Errorf("%d connections", n)
		}
		r.Conn.Write(r.closeNotify())
		s.gone()
	})
}
