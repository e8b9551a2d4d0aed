package natstest

import (
	"sync/atomic"
	"testing"
	"time"

	"zeroframe/backplane/nats"
	"zeroframe/engine"
	"zeroframe/frame"
)

// What Engine.Publish costs its caller: without a backplane, with one that is connected, and with one that is not and has
// its buffer full. The topic has no members here.
func BenchmarkPublish(b *testing.B) {
	url := newServer(b).url()
	for _, c := range []struct{ name, url string }{{"without", ""}, {"connected", url}, {"away", "nats://127.0.0.1:1"}} {
		b.Run(c.name, func(b *testing.B) {
			opts := []engine.Option{engine.WithLoops(1)}
			if c.url != "" {
				p, err := nats.New(c.url, nats.WithBuffer(64<<20))
				if err != nil {
					b.Fatal(err)
				}
				opts = append(opts, engine.WithBackplane(p))
			}
			e, err := engine.New(opts...)
			if err != nil {
				b.Fatal(err)
			}
			defer e.Close()
			for c.name == "connected" && !e.Stats().Backplane.Connected {
				time.Sleep(time.Millisecond)
			}
			payload := make([]byte, 100)
			if c.name == "away" {
				for e.Publish("room/42", frame.Text, payload) == nil {
				}
			}
			b.ReportAllocs()
			b.SetBytes(int64(len(payload)))
			b.ResetTimer()
			for n := 0; n < b.N; {
				for range min(1000, b.N-n) {
					if err := e.Publish("room/42", frame.Text, payload); err != nil && c.name != "away" {
						b.Fatal(err)
					}
					n++
				}
				b.StopTimer()
				for c.name == "connected" && e.Stats().Backplane.Sent < uint64(n) {
					time.Sleep(100 * time.Microsecond)
				}
				b.StartTimer()
			}
		})
	}
}

// From Publish on one side to deliver on the other, through the embedded server, in this process.
func BenchmarkAcross(b *testing.B) {
	url := newServer(b).url()
	var got atomic.Int64
	to := bare(b, url, func(string, frame.OpCode, []byte) { got.Add(1) })
	from := bare(b, url, ignore)
	to.Subscribe("room/42")
	to.Count("room/42", 1)
	for from.Elsewhere("room/42") == 0 {
		time.Sleep(time.Millisecond)
	}
	payload := make([]byte, 100)
	b.ReportAllocs()
	b.SetBytes(int64(len(payload)))
	b.ResetTimer()
	for n := 0; n < b.N; n++ {
		for int64(n)-got.Load() > 4000 {
			time.Sleep(50 * time.Microsecond)
		}
		if err := from.Publish("room/42", frame.Text, payload); err != nil {
			b.Fatal(err)
		}
	}
	for got.Load() < int64(b.N) {
		time.Sleep(50 * time.Microsecond)
	}
}

// How long one message takes there and back, alone.
func BenchmarkRoundTrip(b *testing.B) {
	url := newServer(b).url()
	back := make(chan struct{}, 1)
	here := bare(b, url, func(string, frame.OpCode, []byte) { back <- struct{}{} })
	answer := make(chan *nats.Backplane, 1)
	there := bare(b, url, func(_ string, op frame.OpCode, payload []byte) {
		p := <-answer
		answer <- p
		p.Publish("back", op, payload)
	})
	answer <- there
	here.Subscribe("back")
	here.Count("back", 1)
	there.Subscribe("there")
	there.Count("there", 1)
	for here.Elsewhere("there") == 0 || there.Elsewhere("back") == 0 {
		time.Sleep(time.Millisecond)
	}
	payload := make([]byte, 100)
	b.ResetTimer()
	for range b.N {
		here.Publish("there", frame.Text, payload)
		<-back
	}
}
