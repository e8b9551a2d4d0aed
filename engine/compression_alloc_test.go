//go:build !race

package engine_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"

	"zeroframe/deflate"
	"zeroframe/engine"
	"zeroframe/frame"
)

// dialOffering is dialRaw with an offer of extensions.
func dialOffering(t testing.TB, addr, offer string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if _, err := c.Write(upgradeRequest("/", extensionsField+offer)); err != nil {
		t.Fatal(err)
	}
	var head [1]byte
	var all []byte
	for !bytes.HasSuffix(all, []byte("\r\n\r\n")) {
		if _, err := io.ReadFull(c, head[:]); err != nil {
			t.Fatal(err)
		}
		all = append(all, head[0])
	}
	if !strings.Contains(string(all), extensionsField+strings.Split(offer, ";")[0]) {
		t.Fatalf("%q was declined:\n%s", offer, all)
	}
	return c
}

// sessionServer is socketServer for a session's handler.
func sessionServer(t testing.TB, h engine.SessionHandler, opts ...engine.Option) string {
	addr, e := socketServer(t, replier{}, opts...)
	if err := e.HandleSession("/{$}", h); err != nil {
		t.Fatal(err)
	}
	return addr
}

type preparedSender struct {
	engine.NopHandler
	m *engine.Prepared
}

func (h preparedSender) OnMessage(c *engine.Conn, _ frame.OpCode, _ []byte) { c.SendPrepared(h.m) }

// Compressing and inflating allocate nothing, on loops and on sessions' goroutines.
func TestCompressedEchoAllocatesNothing(t *testing.T) {
	payload := prose(1000, 1)
	prepared, err := engine.Prepare(frame.Text, payload)
	if err != nil {
		t.Fatal(err)
	}
	for _, z := range []engine.Compression{{}, {TakeoverIn: true, TakeoverOut: true}, {Level: deflate.Stateless}} {
		for name, start := range map[string]func(*testing.T, ...engine.Option) string{
			"reply": func(t *testing.T, o ...engine.Option) string { a, _ := socketServer(t, replier{}, o...); return a },
			"send":  func(t *testing.T, o ...engine.Option) string { a, _ := socketServer(t, sender{}, o...); return a },
			"prepared": func(t *testing.T, o ...engine.Option) string {
				a, _ := socketServer(t, preparedSender{m: prepared}, o...)
				return a
			},
			"session": func(t *testing.T, o ...engine.Option) string { return sessionServer(t, echoSession, o...) },
		} {
			t.Run(fmt.Sprintf("takeover %v, level %d/%s", z.TakeoverIn, z.Level, name), func(t *testing.T) {
				c := dialOffering(t, start(t, engine.WithCompression(z)), offered)
				out := deflater{}
				request := deflated(frame.Text, out.message(payload))
				var head [4]byte
				answer := make([]byte, len(payload))
				expectNoAllocs(t, 500, func() {
					if _, err := c.Write(request); err != nil {
						t.Fatal(err)
					}
					io.ReadFull(c, head[:2])
					n := int(head[1])
					if n == 126 {
						io.ReadFull(c, head[2:])
						n = int(head[2])<<8 | int(head[3])
					}
					if _, err := io.ReadFull(c, answer[:n]); err != nil || head[0]&frame.RSV1 == 0 {
						t.Fatalf("%x, %v", head, err)
					}
				})
			})
		}
	}
}

// Without extensions nothing of theirs is paid for: the frame path is that of the other gates. With one that does
// nothing, a message costs no more than buffers.
func TestConnectionsThatDeclineCompressionAllocateNothing(t *testing.T) {
	addr, _ := socketServer(t, replier{}, engine.WithCompression(full), engine.WithExtensions(sealA))
	c := dialRaw(t, addr)
	request := encode(true, frame.Text, prose(1000, 1))
	answer := make([]byte, len(request)-4)
	expectNoAllocs(t, 500, func() { exchange(t, c, request, answer) })
}

// TestIdleConnectionWithCompressionCostsItsHistoryAlone is a gate on live heap: without takeover a connection costs what
// it costs without compression, and with it the histories, full, and 300 B.
func TestIdleConnectionWithCompressionCostsItsHistoryAlone(t *testing.T) {
	if !alone(t) {
		return
	}
	upToThreeTimes(t, func(t *testing.T, wrong func(string, ...any)) {
		const conns = 1000
		cost := func(offer string, opts ...engine.Option) int {
			addr, e := socketServer(t, replier{}, opts...)
			out := deflater{}
			// More than every history takes.
			request := deflated(frame.Binary, out.message(bytes.Repeat(prose(5000, 1), 1)))
			if offer == "" {
				request = encode(true, frame.Binary, prose(5000, 1))
			}
			dial := func() net.Conn {
				if offer == "" {
					return dialRaw(t, addr)
				}
				return dialOffering(t, addr, offer)
			}
			echo := func(c net.Conn) {
				if _, err := c.Write(request); err != nil {
					t.Fatal(err)
				}
				var head [4]byte
				if _, err := io.ReadFull(c, head[:]); err != nil || head[1] != 126 {
					t.Fatal(head, err)
				}
				if _, err := io.CopyN(io.Discard, c, int64(head[2])<<8|int64(head[3])); err != nil {
					t.Fatal(err)
				}
			}
			echo(dial())
			clients := make([]net.Conn, 0, conns)
			before := liveHeap()
			for range conns {
				c := dial()
				echo(c)
				clients = append(clients, c)
			}
			after := liveHeap()
			if n := e.Stats().Open; n != conns+1 {
				t.Fatalf("%d connections open, want %d", n, conns+1)
			}
			runtime.KeepAlive(clients)
			return (int(after) - int(before)) / conns
		}
		plain := cost("")
		takeover := func(in, out bool, bits int) engine.Option {
			return engine.WithCompression(engine.Compression{TakeoverIn: in, TakeoverOut: out, WindowBitsIn: bits})
		}
		for _, tt := range []struct {
			name    string
			offer   string
			opt     engine.Option
			history int
			more    int
		}{
			{"no takeover", offered, takeover(false, false, 0), 0, 24},
			{"takeover that the peer declines", offeredAlone, takeover(true, true, 0), 0, 24},
			{"takeover out", offered, takeover(false, true, 0), 4 << 10, 300},
			{"takeover in", offered, takeover(true, false, 12), 4 << 10, 304},
			{"takeover", offered, takeover(true, true, 12), 8 << 10, 350},
		} {
			got := cost(tt.offer, tt.opt) - plain
			t.Logf("%s: %d B of live heap more per connection, %d B of it history", tt.name, got, tt.history)
			if got > tt.history+tt.more {
				wrong("%s: %d B of live heap more per connection, at most %d are meant", tt.name, got, tt.history+tt.more)
			}
		}
	})
}
