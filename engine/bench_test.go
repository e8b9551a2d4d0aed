//go:build !race

package engine_test

import (
	"bytes"
	"fmt"
	"io"
	"testing"

	"zeroframe/engine"
	"zeroframe/frame"
)

// BenchmarkEcho is a round trip over a TCP connection on loopback, client and server in one process: system calls are
// most of it. It is for comparing two versions of the engine, in pairs.
func BenchmarkEcho(b *testing.B) {
	for _, size := range []int{32, 1 << 10, 16 << 10} {
		for _, batch := range []int{1, 16} {
			if size*batch > 64<<10 {
				continue // a client that writes more than the sockets hold before it reads measures their windows
			}
			b.Run(fmt.Sprintf("%dx%d", size, batch), func(b *testing.B) {
				addr, _ := socketServer(b, replier{})
				c := dialRaw(b, addr)
				one := encode(true, frame.Binary, bytes.Repeat([]byte("x"), size))
				request := bytes.Repeat(one, batch)
				answer := make([]byte, (len(one)-4)*batch)
				b.SetBytes(int64(size * batch))
				b.ReportAllocs()
				for b.Loop() {
					exchange(b, c, request, answer)
				}
			})
		}
	}
}

// BenchmarkSend is Send from a goroutine of the user's, and the frame's way to the client.
func BenchmarkSend(b *testing.B) {
	h := capturer{conns: make(chan *engine.Conn, 1)}
	addr, _ := socketServer(b, h)
	c := dialRaw(b, addr)
	conn := within(b, h.conns)
	payload := bytes.Repeat([]byte("x"), 32)
	answer := make([]byte, len(payload)+2)
	b.SetBytes(int64(len(payload)))
	b.ReportAllocs()
	for b.Loop() {
		conn.Send(frame.Binary, payload)
		io.ReadFull(c, answer)
	}
}

// BenchmarkPing is a client's ping and the pong that answers it.
func BenchmarkPing(b *testing.B) {
	addr, _ := socketServer(b, replier{})
	c := dialRaw(b, addr)
	request := encode(true, frame.Ping, []byte("12345678"))
	answer := make([]byte, 10)
	b.ReportAllocs()
	for b.Loop() {
		exchange(b, c, request, answer)
	}
}
