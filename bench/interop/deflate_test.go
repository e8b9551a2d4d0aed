package interop

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
	"time"
	"unicode/utf8"

	"zeroframe/deflate"
	"zeroframe/engine"
	"zeroframe/frame"
)

// lasting bounds a whole exchange, for libraries that have one deadline for a connection.
const lasting = 6 * patience

// agreements are the terms of permessage-deflate on which the engine serves and dials.
var agreements = []struct {
	name string
	c    engine.Compression
}{
	{"nothing taken over", engine.Compression{Threshold: -1}},
	{"takeover", engine.Compression{Threshold: -1, TakeoverOut: true, TakeoverIn: true, HistoryOut: 32 << 10}},
	{"windows of 4 KiB", engine.Compression{Threshold: 100, TakeoverOut: true, TakeoverIn: true, WindowBitsOut: 12, WindowBitsIn: 12, Level: deflate.BestLevel}},
	{"windows of 512 B", engine.Compression{Threshold: -1, TakeoverOut: true, TakeoverIn: true, WindowBitsOut: 9, WindowBitsIn: 9}},
	{"windows of 256 B", engine.Compression{Threshold: -1, TakeoverOut: true, TakeoverIn: true, WindowBitsOut: 8, WindowBitsIn: 8}},
}

// Answers to an offer. The windows are those of the agreements, in their order.
const (
	pmd     = "permessage-deflate"
	noneOut = "; server_no_context_takeover"
	noneIn  = "; client_no_context_takeover"
	none    = pmd + noneOut + noneIn
)

// echoRoutes are the layers that answer a message with the same.
var echoRoutes = []string{"/reply", "/session", "/stream"}

// serveDeflate starts an engine with the echo routes, and /scripted, which obeys.
func serveDeflate(t *testing.T, c engine.Compression, opts ...engine.Option) (*engine.Engine, *served) {
	t.Helper()
	e, err := engine.New(append(opts, engine.WithLoops(1), engine.WithCompression(c), engine.WithTLSConfig(secured().server))...)
	if err != nil {
		t.Fatal(err)
	}
	s := &served{closed: make(chan engine.CloseReason, 100), pongs: make(chan string, 100)}
	h := echo{served: s}
	for _, err := range []error{
		e.Handle("/reply", h), e.Handle("/scripted", scripted{h}),
		e.HandleSession("/session", echoSession), e.HandleSession("/stream", streamSession),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	s.listen(t, e)
	return e, s
}

func echoSession(ctx context.Context, s *engine.Session) error {
	for m, err := range s.Messages(ctx) {
		if err != nil {
			return err
		}
		if err := s.Send(ctx, m.OpCode, m.Payload); err != nil {
			return err
		}
	}
	return nil
}

// streamSession inflates while a message comes, and compresses what it sends back, which large leaves in fragments.
func streamSession(ctx context.Context, s *engine.Session) error {
	for {
		op, r, err := s.NextReader(ctx)
		if errors.Is(err, engine.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		w, err := s.NextWriter(ctx, op)
		if err != nil {
			return err
		}
		if _, err := io.Copy(w, r); err != nil {
			return err
		}
		if err := w.Close(); err != nil {
			return err
		}
	}
}

// prose is n bytes of text that compress well and differ with seed.
func prose(n int, seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, 7))
	var b []byte
	for len(b) < n {
		b = fmt.Appendf(b, `{"id":%d,"name":"üser %d","tags":["a%d","☃"],"score":%d.5},`, r.IntN(1e6), r.IntN(1000), r.IntN(10), r.IntN(100))
	}
	for b = b[:n]; !utf8.Valid(b); {
		n--
		b = append(b[:n], "    "[:len(b)-n]...)
	}
	return b
}

// noise is n bytes that do not compress.
func noise(n int, seed byte) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{seed}).Read(b)
	return b
}

// unlike is text of unlikeSize bytes in which nothing repeats itself. Sent again it compresses by much, but only with what
// was taken over; the smallest window holds it.
func unlike(seed byte) []byte { return []byte(hex.EncodeToString(noise(unlikeSize/2, seed))) }

const unlikeSize = 128

// talker is the part of a peer that exchanges messages.
type talker interface {
	send(text bool, payload []byte) error
	sendFragments(text bool, parts ...[]byte) error
	receive() (text bool, payload []byte, err error)
}

func expect(t *testing.T, p talker, text bool, want []byte) {
	t.Helper()
	gotText, got, err := p.receive()
	if err != nil || gotText != text || !bytes.Equal(got, want) {
		t.Fatalf("text %v, %d bytes, %v; want text %v, %d bytes", gotText, len(got), err, text, len(want))
	}
}

// exchange has messages of many kinds and sizes echoed. Large ones take their time under the race detector.
func exchange(t *testing.T, p talker, large bool) {
	t.Helper()
	send := func(text bool, want []byte) {
		t.Helper()
		if err := p.send(text, want); err != nil {
			t.Fatal(err)
		}
		expect(t, p, text, want)
	}
	for i, n := range []int{0, 1, 2, 125, 126, 600, 4096} {
		send(true, prose(n, uint64(i)))
		send(false, noise(n, byte(i)))
		send(false, prose(n, uint64(i)))
	}
	if large {
		send(true, prose(65_536, 9))
		send(true, prose(200_000, 10))
		send(false, noise(70_000, 11))
	}
	for i, parts := range [][][]byte{
		{prose(3000, 1), nil, prose(1, 2), prose(20_000, 4)},
		{prose(3000, 1), noise(500, 3), prose(40, 5)},
		{unlike(1), unlike(2), unlike(1)},
	} {
		if err := p.sendFragments(i != 1, parts...); err != nil {
			t.Fatal(err)
		}
		expect(t, p, i != 1, bytes.Join(parts, nil))
	}
	const several = 20
	for i := range several { // under way at once
		if err := p.send(true, prose(50+20*i, uint64(i/3))); err != nil {
			t.Fatal(err)
		}
	}
	for i := range several {
		expect(t, p, true, prose(50+20*i, uint64(i/3)))
	}
}

// repeats has one message echoed many times, and checks by the bytes on the wire that each direction refers to the
// messages before exactly when its context is taken over. w is on the way.
func repeats(t *testing.T, w *tap, p talker, takesToServer, takesToPeer bool) {
	t.Helper()
	const times = 20
	toServer, toPeer := w.toServer.Load(), w.toPeer.Load()
	for range times {
		if err := p.send(true, unlike(9)); err != nil {
			t.Fatal(err)
		}
		expect(t, p, true, unlike(9))
	}
	check := func(direction string, wire int64, takes bool) {
		if took := wire < times*unlikeSize/3; took != takes || !took && wire < times*unlikeSize/2 {
			t.Errorf("%s: %d bytes became %d; takeover is %v", direction, times*unlikeSize, wire, takes)
		}
	}
	check("to the server", w.toServer.Load()-toServer, takesToServer)
	check("to the client", w.toPeer.Load()-toPeer, takesToPeer)
}

// compressed checks that something was compressed in both directions.
func compressed(t *testing.T, e *engine.Engine) {
	t.Helper()
	if n := e.Stats(); n.DeflatedWire == 0 || n.DeflatedWire > n.Deflated*2/3 || n.InflatedWire == 0 || n.InflatedWire > n.Inflated*4/5 {
		t.Errorf("deflated %d to %d, inflated %d from %d", n.Deflated, n.DeflatedWire, n.Inflated, n.InflatedWire)
	}
}

// ourSession is a client of the engine that waits for its messages.
type ourSession struct{ *engine.Session }

func opCode(text bool) frame.OpCode {
	if text {
		return frame.Text
	}
	return frame.Binary
}

func (c ourSession) send(text bool, payload []byte) error {
	ctx, cancel := bounded()
	defer cancel()
	return c.Send(ctx, opCode(text), payload)
}

func (c ourSession) sendFragments(text bool, parts ...[]byte) error {
	ctx, cancel := bounded()
	defer cancel()
	w, err := c.NextWriter(ctx, opCode(text))
	if err != nil {
		return err
	}
	for _, p := range parts {
		if _, err := w.Write(p); err != nil {
			return err
		}
	}
	return w.Close()
}

func (c ourSession) receive() (bool, []byte, error) {
	ctx, cancel := bounded()
	defer cancel()
	m, err := c.Receive(ctx)
	return m.OpCode == frame.Text, m.Payload, err
}

// ourConn is a client of the engine with callbacks.
type ourConn struct {
	*engine.Conn
	messages chan ourMessage
	closed   chan engine.CloseReason
}

type ourMessage struct {
	op      frame.OpCode
	payload []byte
}

// recorder is ourConn's handler.
type recorder struct {
	engine.NopHandler
	ourConn
}

func (h recorder) OnMessage(_ *engine.Conn, op frame.OpCode, p []byte) {
	h.messages <- ourMessage{op, bytes.Clone(p)}
}

func (h recorder) OnClose(_ *engine.Conn, r engine.CloseReason) { h.closed <- r }

func (c ourConn) send(text bool, payload []byte) error { return c.Send(opCode(text), payload) }

// sendFragments: what is sent in pieces by callbacks is not compressed.
func (c ourConn) sendFragments(text bool, parts ...[]byte) error {
	for i, p := range parts {
		if err := c.SendFragment(opCode(text), p, i == len(parts)-1); err != nil {
			return err
		}
	}
	return nil
}

func (c ourConn) receive() (bool, []byte, error) {
	select {
	case m := <-c.messages:
		return m.op == frame.Text, m.payload, nil
	case r := <-c.closed:
		return false, nil, fmt.Errorf("closed: %+v", r)
	case <-time.After(patience):
		return false, nil, errNothing
	}
}
