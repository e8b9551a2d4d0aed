//go:build !race

package engine_test

import (
	"bytes"
	"fmt"
	"testing"

	"zeroframe/frame"
)

// BenchmarkSessionEcho is BenchmarkEcho with a goroutine per connection in Receive and Send: what a session costs beyond
// a callback is the hand-over to that goroutine, and back.
func BenchmarkSessionEcho(b *testing.B) {
	for _, size := range []int{32, 1 << 10} {
		for _, batch := range []int{1, 16} {
			b.Run(fmt.Sprintf("%dx%d", size, batch), func(b *testing.B) {
				addr, _ := socketSessions(b, echoSession)
				c := dialAt(b, addr, "/session")
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
