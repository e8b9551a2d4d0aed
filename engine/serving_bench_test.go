//go:build !race

package engine_test

import (
	"bytes"
	"fmt"
	"io"
	"sync/atomic"
	"testing"

	"zeroframe/engine"
	"zeroframe/frame"
	"zeroframe/internal/bridge"
	"zeroframe/internal/loop"
)

// BenchmarkServing is an echo without the kernel, and so all that the engine itself has to do for one: 64 connections of one
// loop, each of which always has the next messages, in one read, and takes what is written.
func BenchmarkServing(b *testing.B) {
	for _, size := range []int{32, 1 << 10} {
		for _, batch := range []int{1, 16} {
			b.Run(fmt.Sprintf("%dx%d", size, batch), func(b *testing.B) {
				e, err := engine.New(engine.WithLoops(1), engine.WithPingInterval(0))
				if err != nil {
					b.Fatal(err)
				}
				defer e.Close()
				if err := e.Handle("/", replier{}); err != nil {
					b.Fatal(err)
				}
				one := encode(true, frame.Binary, bytes.Repeat([]byte("x"), size))
				p := &producer{request: bytes.Repeat(one, batch), done: make(chan struct{})}
				b.SetBytes(int64(size))
				b.ReportAllocs()
				b.ResetTimer()
				p.left.Store(int64(b.N/batch + 1))
				for range producers {
					if err := bridge.ServeStream(e, &production{producer: p}); err != nil {
						b.Fatal(err)
					}
				}
				<-p.done
				b.StopTimer()
				if want := int64(len(one)-4) * int64(batch) * int64(b.N/batch+1); p.written != want {
					b.Fatalf("%d bytes of echoes, not %d", p.written, want)
				}
			})
		}
	}
}

const producers = 64

// producer makes messages until enough of them have been read. Its loop's alone but for left.
type producer struct {
	request []byte
	left    atomic.Int64 // reads to come
	written int64
	done    chan struct{}
}

// production is one connection to it.
type production struct {
	*producer
	asked bool
}

func (p *production) Attach(*loop.Conn) {}

func (p *production) Read(b []byte) (int, error) {
	if !p.asked {
		p.asked = true
		return copy(b, upgradeRequest("/")), nil
	}
	if n := p.left.Add(-1); n < 0 {
		if n == -producers { // everybody has been told, and so everything has been answered
			close(p.done)
		}
		return 0, io.EOF
	}
	return copy(b, p.request), nil
}

func (p *production) Write(b []byte) (int, error) {
	if b[0] == 'H' { // HTTP/1.1 101
		return len(b), nil
	}
	if b[0] == 0x82 {
		p.written += int64(len(b))
	}
	return len(b), nil
}

func (p *production) CloseWrite() error { return nil }
func (p *production) Close() error      { return nil }
