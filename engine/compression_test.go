package engine_test

import (
	"bytes"
	"compress/flate"
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

// deflater compresses messages as a peer does that shares no code with the engine: by compress/flate.
type deflater struct {
	takeover bool
	w        *flate.Writer
	out      bytes.Buffer
}

// flushTail ends what is flushed, and is left out of messages (RFC 7692, section 7.2.1).
const flushTail = "\x00\x00\xff\xff"

func (d *deflater) message(p []byte) []byte {
	d.out.Reset()
	if d.w == nil {
		d.w, _ = flate.NewWriter(&d.out, 6)
	} else if !d.takeover {
		d.w.Reset(&d.out)
	}
	d.w.Write(p)
	d.w.Flush()
	return bytes.TrimSuffix(bytes.Clone(d.out.Bytes()), []byte(flushTail))
}

// inflater is the other end of a stream. It has no byte in its window but those of its own messages, so that a message
// that refers to anything else does not inflate.
type inflater struct {
	takeover bool
	window   []byte
}

func (d *inflater) message(p []byte) ([]byte, error) {
	whole := io.MultiReader(bytes.NewReader(p), strings.NewReader(flushTail+"\x01\x00\x00\xff\xff"))
	out, err := io.ReadAll(flate.NewReaderDict(whole, d.window))
	if d.takeover {
		d.window = append(d.window, out...)
		d.window = d.window[max(0, len(d.window)-32<<10):]
	}
	return out, err
}

// deflateClient is a client that speaks permessage-deflate by hand.
type deflateClient struct {
	*client
	answer string // what the server agreed on
	out    deflater
	in     inflater
}

const (
	offered         = "permessage-deflate; client_max_window_bits"
	offeredAlone    = "permessage-deflate; client_no_context_takeover; server_no_context_takeover"
	serverAlone     = "server_no_context_takeover"
	clientAlone     = "client_no_context_takeover"
	extensionsField = "Sec-WebSocket-Extensions: "
)

// openDeflate returns a connection upgraded at path with that offer, which must be accepted.
func (s *server) openDeflate(path, offer string) *deflateClient {
	s.t.Helper()
	c := &deflateClient{client: s.connect()}
	c.answer = c.upgrade(path, extensionsField+offer)
	if !strings.HasPrefix(c.answer, deflate.Name) {
		s.t.Fatalf("the answer to %q is %q", offer, c.answer)
	}
	c.out.takeover = !strings.Contains(c.answer, clientAlone)
	c.in.takeover = !strings.Contains(c.answer, serverAlone)
	return c
}

// upgrade makes the handshake and returns the extensions that the server agreed on, "" without the field.
func (c *client) upgrade(path string, headers ...string) (extensions string) {
	c.t.Helper()
	c.send(upgradeRequest(path, headers...))
	status, head := c.readHead()
	if status != 101 {
		c.t.Fatalf("upgrade at %s: %d\n%s", path, status, head)
	}
	if n := strings.Count(head, extensionsField[:len(extensionsField)-2]); n > 1 {
		c.t.Fatalf("%d fields of extensions:\n%s", n, head)
	}
	_, rest, found := strings.Cut(head, "\r\n"+extensionsField)
	extensions, _, _ = strings.Cut(rest, "\r\n")
	if found && extensions == "" {
		c.t.Fatalf("an empty field of extensions:\n%s", head)
	}
	return extensions
}

// deflated is a compressed message as a client sends it, in fragments of the given lengths and a last one.
func deflated(op frame.OpCode, compressed []byte, lengths ...int) []byte {
	wire := fragments(op, compressed, lengths...)
	wire[0] |= frame.RSV1
	return wire
}

// writeDeflated compresses and sends a message.
func (c *deflateClient) writeDeflated(op frame.OpCode, payload []byte) {
	c.t.Helper()
	c.send(deflated(op, c.out.message(payload)))
}

// message reads a message in any number of fragments, and inflates it if it is compressed.
func (c *deflateClient) message() (op frame.OpCode, payload []byte, compressed bool) {
	c.t.Helper()
	f := c.next()
	op, payload, compressed = f.op, f.payload, f.rsv == frame.RSV1
	if f.rsv&^frame.RSV1 != 0 || !op.IsData() {
		c.t.Fatalf("got %v, want the beginning of a message", f)
	}
	for !f.fin {
		if f = c.next(); f.op != frame.Continuation || f.rsv != 0 {
			c.t.Fatalf("got %v inside a message", f)
		}
		payload = append(payload, f.payload...)
	}
	if compressed {
		got, err := c.in.message(payload)
		if err != nil {
			c.t.Fatalf("the message does not inflate: %v after %d bytes %.60q", err, len(got), got)
		}
		payload = got
	}
	return op, payload, compressed
}

// expectMessage reads a message, compares it, and reports whether it was compressed.
func (c *deflateClient) expectMessage(op frame.OpCode, payload []byte) (compressed bool) {
	c.t.Helper()
	gotOp, got, compressed := c.message()
	if gotOp != op || !bytes.Equal(got, payload) {
		c.t.Fatalf("got %v of %d bytes %.60q, want %v of %d bytes %.60q", gotOp, len(got), got, op, len(payload), payload)
	}
	return compressed
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
	messages := func(sizes ...int) (list [][]byte) {
		for i, n := range sizes {
			list = append(list, prose(n, uint64(i/2)))
		}
		return append(list, pattern(2000))
	}
	large, small := messages(0, 1, 2, 511, 512, 3000, 150_000, 5000, 5000), messages(0, 1, 2, 511, 512, 3000, 3000)
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
						want := large
						if s.cut() {
							want = small
						}
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
