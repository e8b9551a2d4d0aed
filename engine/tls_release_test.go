package engine_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"zeroframe/engine"
	"zeroframe/frame"
)

// withAndWithoutRelease runs f with connections that keep crypto/tls's buffers and with such that do not, on read buffers
// that hold a record and on the smallest, under both versions of TLS.
func withAndWithoutRelease(t *testing.T, f func(t *testing.T, client *tls.Config, opts ...engine.Option)) {
	for _, release := range []bool{false, true} {
		for _, buffer := range []int{512, engine.DefaultReadBuffer} {
			for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
				t.Run(fmt.Sprintf("%v, %d, %s", release, buffer, tls.VersionName(version)), func(t *testing.T) {
					client := trusting()
					client.MaxVersion = version
					f(t, client, engine.WithLoops(1), engine.WithTLSBufferRelease(release), engine.WithReadBuffer(buffer))
				})
			}
		}
	}
}

// valve is a connection that, while it is shut, holds what it is given until it is told to write it.
type valve struct {
	net.Conn
	shut bool
	held []byte
}

func (v *valve) Write(p []byte) (int, error) {
	if v.shut {
		v.held = append(v.held, p...)
		return len(p), nil
	}
	return v.Conn.Write(p)
}

// let writes the next n bytes.
func (v *valve) let(t testing.TB, n int) {
	t.Helper()
	v.SetWriteDeadline(time.Now().Add(patience)) // which tls has moved to the past behind close_notify
	if _, err := v.Conn.Write(v.held[:n]); err != nil {
		t.Fatal(err)
	}
	v.held = v.held[n:]
}

// open writes all of it.
func (v *valve) open(t testing.TB) {
	t.Helper()
	v.let(t, len(v.held))
	v.shut = false
}

// dialValve makes a WebSocket at path over TLS, over a valve.
func dialValve(t testing.TB, addr, path string, config *tls.Config) (*client, *valve) {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	v := &valve{Conn: nc}
	s := &server{t: t, dial: func() net.Conn { return tls.Client(v, config) }}
	return s.open(path), v
}

func TestRecordsThatArriveInPartsAreEachConnectionsOwn(t *testing.T) {
	withAndWithoutRelease(t, func(t *testing.T, config *tls.Config, opts ...engine.Option) {
		_, addr := startBoth(t, opts...)
		type peer struct {
			*client
			*valve
			message []byte
		}
		var peers []peer
		for i, size := range []int{1, 100, 700, 5000, 16 << 10, 40_000, 300_000} {
			c, v := dialValve(t, addr, "/echo", config)
			message := bytes.Repeat([]byte{byte('a' + i)}, size)
			peers = append(peers, peer{c, v, message})
		}
		for round := range 3 {
			for _, p := range peers {
				p.shut = true
				p.write(frame.Text, p.message)
				p.let(t, len(p.held)/2)
			}
			for i := range peers { // in another order
				peers[(i*3+round)%len(peers)].valve.open(t)
			}
			for _, p := range peers {
				p.expect(frame.Text, p.message)
			}
		}
	})
}

func TestManySmallRecordsAtOnceAreReadInOrder(t *testing.T) {
	withAndWithoutRelease(t, func(t *testing.T, config *tls.Config, opts ...engine.Option) {
		_, addr := startBoth(t, opts...)
		c, v := dialValve(t, addr, "/echo", config)
		const n = 400
		for round := range 3 {
			v.shut = true
			for i := range n {
				b := encode(true, frame.Text, fmt.Appendf(nil, "%d of %d", i, round))
				c.send(b[:3]) // a record of its own
				c.send(b[3:])
			}
			v.open(t)
			for i := range n {
				c.expect(frame.Text, fmt.Appendf(nil, "%d of %d", i, round))
			}
		}
	})
}

func TestLongRecordTricklesBehindShortOnes(t *testing.T) {
	withAndWithoutRelease(t, func(t *testing.T, config *tls.Config, opts ...engine.Option) {
		_, addr := startBoth(t, opts...)
		c, v := dialValve(t, addr, "/echo", config)
		other, _ := dialValve(t, addr, "/echo", config)
		const short = 20
		long := pattern(15_000)
		for range 3 {
			v.shut = true
			for i := range short {
				c.write(frame.Binary, pattern(50+i))
			}
			sent := len(v.held)
			c.write(frame.Binary, long)
			for i, n := range []int{sent + 1, 1, 2, 3, 100, 2000, 9000} {
				v.let(t, n)
				for j := range short {
					if i == 0 {
						c.expect(frame.Binary, pattern(50+j))
					}
				}
				other.write(frame.Text, nil)
				other.expect(frame.Text, nil) // then the loop has seen the part
			}
			v.open(t)
			c.expect(frame.Binary, long)
		}
	})
}

func TestRecordWithoutDataBeforeAPartOfAnother(t *testing.T) {
	withAndWithoutRelease(t, func(t *testing.T, config *tls.Config, opts ...engine.Option) {
		if config.MaxVersion < tls.VersionTLS13 {
			t.Skip("which knows none that are ignored")
		}
		_, addr := startBoth(t, opts...)
		c, v := dialValve(t, addr, "/echo", config)
		for i := range 10 {
			v.shut = true
			v.held = []byte{20, 3, 3, 0, 1, 1} // change_cipher_spec (RFC 8446, section 5)
			message := pattern(i * 100)
			c.write(frame.Binary, message)
			v.open(t)
			c.expect(frame.Binary, message)
		}
	})
}

// A record may hold more than one read takes: what is left of it belongs to the HTTP server, and then to a loop again.
func TestPlaintextReadAheadMovesWithTheConnection(t *testing.T) {
	withAndWithoutRelease(t, func(t *testing.T, config *tls.Config, opts ...engine.Option) {
		e, addr := startBoth(t, opts...)
		other, _ := dialValve(t, addr, "/echo", config) // the loop goes on
		nc, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		v := &valve{Conn: nc}
		s := &server{Engine: e, t: t, dial: func() net.Conn { return tls.Client(v, config) }}
		c := s.connect()
		for i := range 6 {
			v.shut = i >= 3
			const size = 9000
			post := fmt.Sprintf("POST /form HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s", size, strings.Repeat("x", size))
			c.send([]byte(post + "GET /next HTTP/1.1\r\nHost: localhost\r\n\r\n"))
			other.write(frame.Binary, pattern(20_000))
			other.expect(frame.Binary, pattern(20_000))
			v.open(t)
			for _, want := range []string{"HTTP/1.1 POST /form 9000", "HTTP/1.1 GET /next 0"} {
				response, err := http.ReadResponse(c.r, nil)
				if err != nil {
					t.Fatal(err)
				}
				body, err := io.ReadAll(response.Body)
				if err != nil || string(body) != want {
					t.Fatalf("%q, %v; want %q", body, err, want)
				}
			}
		}
		first, second := pattern(3000), pattern(2000)
		c.send(append(append(upgradeRequest("/echo"), encode(true, frame.Binary, first)...), encode(true, frame.Binary, second)...))
		if status, head := c.readHead(); status != 101 {
			t.Fatalf("%d\n%s", status, head)
		}
		c.expect(frame.Binary, first)
		c.expect(frame.Binary, second)
	})
}

func TestEndOfATLSConnectionIsToldApart(t *testing.T) {
	for name, c := range map[string]struct {
		end  func(c *client, v *valve)
		want error
	}{
		"close_notify behind a message": {func(c *client, v *valve) {
			v.shut = true
			c.write(frame.Text, []byte("the last"))
			c.Conn.(*tls.Conn).CloseWrite()
			v.open(t)
		}, nil},
		"in a record": {func(c *client, v *valve) {
			v.shut = true
			c.write(frame.Text, []byte("never whole"))
			v.let(t, 20)
			v.Conn.(*net.TCPConn).CloseWrite()
		}, io.ErrUnexpectedEOF},
		"in a record's header": {func(_ *client, v *valve) {
			v.Conn.Write([]byte{23, 3, 3})
			v.Conn.(*net.TCPConn).CloseWrite()
		}, io.ErrUnexpectedEOF},
	} {
		t.Run(name, func(t *testing.T) {
			withAndWithoutRelease(t, func(t *testing.T, config *tls.Config, opts ...engine.Option) {
				h := newEcho()
				e, addr := startBoth(t, opts...)
				if err := e.Handle("/ends", h); err != nil {
					t.Fatal(err)
				}
				c.end(dialValve(t, addr, "/ends", config))
				if r := h.wait(t); !errors.Is(r.Err, c.want) || c.want == nil && r.Err != nil && !errors.Is(r.Err, io.EOF) {
					t.Errorf("the connection ended with %v, want %v", r.Err, c.want)
				}
			})
		})
	}
}

func TestRecordThatIsTooLongIsRefusedAtItsHeader(t *testing.T) {
	withAndWithoutRelease(t, func(t *testing.T, config *tls.Config, opts ...engine.Option) {
		_, addr := startBoth(t, opts...)
		c, v := dialValve(t, addr, "/echo", config)
		v.shut = true
		c.write(frame.Text, []byte("whole, and before it"))
		v.held = append(v.held, 23, 3, 3, 0xff, 0xff)
		v.open(t)
		var err error
		for err == nil { // of the message before it
			_, err = c.readFrame()
		}
		if !strings.Contains(err.Error(), "record overflow") {
			t.Errorf("%v, want that alert", err)
		}
	})
}
