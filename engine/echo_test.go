package engine_test

import (
	"bytes"
	"fmt"
	"testing"

	"zeroframe/engine"
	"zeroframe/frame"
)

func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte('a' + (i*7+i>>8)%26)
	}
	return b
}

func TestEchoReturnsEverySizeClass(t *testing.T) {
	onGoroutinesToo(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start()
		s.handle("/echo", newEcho())
		c := s.open("/echo")
		for _, n := range []int{0, 1, 2, 125, 126, 127, 4000, 65535, 65536, 65537, 200_000} {
			for _, op := range []frame.OpCode{frame.Text, frame.Binary} {
				want := pattern(n)
				done := make(chan struct{})
				go func() { defer close(done); c.Write(encode(true, op, want)) }()
				c.expect(op, want)
				<-done
			}
		}
	})
}

func TestEchoOfPipelinedMessagesKeepsTheirOrder(t *testing.T) {
	onGoroutinesToo(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start()
		s.handle("/echo", newEcho())
		c := s.open("/echo")
		const rounds = 300
		var all []byte
		for i := range rounds {
			all = append(all, encode(true, frame.Text, fmt.Appendf(nil, "message %d %s", i, pattern(i*13%5000)))...)
		}
		go c.Write(all)
		for i := range rounds {
			c.expect(frame.Text, fmt.Appendf(nil, "message %d %s", i, pattern(i*13%5000)))
		}
	})
}

func TestFragmentsAreJoinedAroundControlFrames(t *testing.T) {
	onGoroutinesToo(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start()
		s.handle("/echo", newEcho())
		c := s.open("/echo")
		for _, pieces := range [][]int{{0, 0}, {1, 1}, {0, 5}, {5, 0}, {3, 0, 4}, {70_000, 70_000}, {100, 70_000, 1}} {
			var all, want []byte
			for i, n := range pieces {
				op := frame.Continuation
				if i == 0 {
					op = frame.Binary
				}
				p := bytes.Repeat([]byte{byte('A' + i)}, n)
				want = append(want, p...)
				all = append(all, encode(i == len(pieces)-1, op, p)...)
				if i < len(pieces)-1 {
					all = append(all, encode(true, frame.Ping, []byte{byte(i)})...)
				}
			}
			go c.Write(all)
			for i := range pieces[1:] {
				c.expect(frame.Pong, []byte{byte(i)})
			}
			c.expect(frame.Binary, want)
		}
	})
}
