package engine_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"

	"zeroframe/deflate"
	"zeroframe/engine"
	"zeroframe/frame"
)

// prose is n bytes of text that compress well and differ with seed.
func prose(n int, seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, 7))
	var b bytes.Buffer
	for b.Len() < n {
		fmt.Fprintf(&b, `{"id":%d,"name":"user %d","tags":["a%d","b","☃"],"score":%d.5},`, r.IntN(1e6), r.IntN(1000), r.IntN(10), r.IntN(100))
	}
	return []byte(string(bytes.ToValidUTF8(b.Bytes()[:n], nil)))
}

// compressions are the ways to agree on permessage-deflate.
var compressions = []struct {
	name string
	c    engine.Compression
}{
	{"no takeover", engine.Compression{Threshold: -1}},
	{"takeover", engine.Compression{Threshold: -1, TakeoverOut: true, TakeoverIn: true}},
	{"takeover in, window of 512 B", engine.Compression{TakeoverIn: true, WindowBitsIn: 9, WindowBitsOut: 9}},
	{"takeover out, stateless", engine.Compression{Threshold: -1, TakeoverOut: true, HistoryOut: 32 << 10, Level: deflate.Stateless}},
	{"level 9, threshold", engine.Compression{Level: deflate.BestLevel, Threshold: 1000}},
}

// layers answer each message with the same.
var layers = []struct {
	name  string
	start func(s *server, opts ...engine.RouteOption)
}{
	{"reply", func(s *server, opts ...engine.RouteOption) { s.handle("/", newEcho(), opts...) }},
	{"send", func(s *server, opts ...engine.RouteOption) {
		s.handle("/", engine.HandlerFunc(func(c *engine.Conn, op frame.OpCode, p []byte) { c.Send(op, p) }), opts...)
	}},
	{"prepared", func(s *server, opts ...engine.RouteOption) {
		s.handle("/", engine.HandlerFunc(func(c *engine.Conn, op frame.OpCode, p []byte) {
			m, _ := engine.Prepare(op, p)
			c.SendPrepared(m)
		}), opts...)
	}},
	{"session", func(s *server, opts ...engine.RouteOption) { s.session("/", echoSession, opts...) }},
	{"stream", func(s *server, opts ...engine.RouteOption) { s.session("/", streamSession, opts...) }},
	{"raw", func(s *server, opts ...engine.RouteOption) {
		if err := s.HandleRaw("/", rawEcho{}, opts...); err != nil {
			s.t.Fatal(err)
		}
	}},
}

type rawEcho struct{ engine.NopHandler }

func (rawEcho) OnFrame(c *engine.Conn, f engine.Frame) { c.ReplyFrame(f) }

func TestCompressedMessagesAreEchoedByEveryLayer(t *testing.T) {
	for _, z := range compressions {
		for _, layer := range layers {
			t.Run(z.name+"/"+layer.name, func(t *testing.T) {
				onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
					s := start(engine.WithPingInterval(0))
					layer.start(s, engine.WithCompression(z.c))
					for _, streamed := range []bool{false, true} {
						c := s.dialSession(engine.WithCompression(z.c))
						if got := c.Conn().Extensions(); len(got) != 1 || got[0] != deflate.Name {
							t.Fatalf("extensions %v", got)
						}
						var want [][]byte
						sizes := []int{0, 1, 2, 511, 512, 3000, 200_000, 5000, 5000}
						if strings.HasSuffix(t.Name(), "cut") {
							sizes = []int{0, 1, 2, 511, 512, 3000, 3000}
						}
						for i, n := range sizes {
							want = append(want, prose(n, uint64(i/2)))
						}
						want = append(want, pattern(2000))
						sent := make(chan error, 1)
						go func() {
							for i, p := range want {
								op := frame.Text
								if i == len(want)-1 {
									op = frame.Binary
								}
								if !streamed {
									if err := c.Send(context.Background(), op, p); err != nil {
										sent <- err
										return
									}
									continue
								}
								w, err := c.NextWriter(context.Background(), op)
								if err != nil {
									sent <- err
									return
								}
								w.Write(p[:len(p)/2])
								w.Write(p[len(p)/2:])
								if err := w.Close(); err != nil {
									sent <- err
									return
								}
							}
							sent <- nil
						}()
						for i, p := range want {
							var got []byte
							if streamed && i%2 == 1 {
								_, r, err := c.NextReader(context.Background())
								if err == nil {
									got, err = io.ReadAll(r)
								}
								if err != nil {
									t.Fatalf("message %d of %d bytes, streamed: %v", i, len(p), err)
								}
							} else {
								m, err := c.Receive(context.Background())
								if err != nil {
									t.Fatalf("message %d of %d bytes: %v", i, len(p), err)
								}
								got = m.Payload
							}
							if !bytes.Equal(got, p) {
								t.Fatalf("message %d: got %d bytes %.60q, want %d", i, len(got), got, len(p))
							}
						}
						if err := within(t, sent); err != nil {
							t.Fatal(err)
						}
						n := s.Stats()
						if n.Deflated == 0 || n.DeflatedWire > n.Deflated/2 || n.Inflated == 0 || n.InflatedWire > n.Inflated/2 {
							t.Errorf("deflated %d to %d, inflated %d from %d", n.Deflated, n.DeflatedWire, n.Inflated, n.InflatedWire)
						}
						c.Receive(canceled()) // gives back the last payload
						c.Terminate()
						<-c.Context().Done()
					}
				})
			})
		}
	}
}

// canceled is a context that has ended.
func canceled() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// dialSession connects as a client of the same engine.
func (s *server) dialSession(opts ...engine.RouteOption) *engine.Session {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := s.DialSession(ctx, s.url()+"/", nil, opts...)
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}

// url returns the address of a listener that passes connections on to the server, over whatever transport it has.
func (s *server) url() string {
	s.t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.t.Fatal(err)
	}
	var copies sync.WaitGroup
	s.t.Cleanup(func() { ln.Close(); copies.Wait() })
	copies.Go(func() {
		for {
			near, err := ln.Accept()
			if err != nil {
				return
			}
			far := s.dial()
			pass := func(to, from net.Conn) {
				io.Copy(to, from)
				to.Close()
				from.Close()
			}
			copies.Go(func() { pass(near, far) })
			copies.Go(func() { pass(far, near) })
		}
	})
	return "ws://" + ln.Addr().String()
}
