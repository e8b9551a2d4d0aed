package bench

import (
	"context"
	"errors"
	"io"
	"net"
	"time"

	"zeroframe/engine"
	"zeroframe/frame"
	"zeroframe/internal/loop"
)

// plainClient is an event loop of plain TCP: the one under the engine, without what makes WebSockets of it. A message is
// its payload and nothing else; where it ends, its length says.
type plainClient struct {
	group   *loop.Group
	address string
	size    int
}

func newPlainClient(address string, size int) (*plainClient, error) {
	group, err := loop.NewGroup(loop.Config{Loops: 1, ReadBuffer: 64 << 10, IdleBuffers: 1 << 20, NoDelay: true})
	return &plainClient{group: group, address: address, size: size}, err
}

func (c *plainClient) dial(ctx context.Context, p *peer) error {
	nc, err := new(net.Dialer).DialContext(ctx, "tcp", c.address)
	if err != nil {
		return err
	}
	s := &stream{peer: p, size: c.size}
	s.conn.Init(s)
	if err := c.group.Adopt(&s.conn, nc, nil); err != nil {
		nc.Close()
		return err
	}
	timer := time.NewTimer(openTime)
	defer timer.Stop()
	select {
	case <-p.opened:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return errors.New("lost right after it was opened")
	}
}

func (c *plainClient) stats() engine.Stats { return engine.Stats{} }

func (c *plainClient) close(context.Context) { c.group.Close() }

// stream is a connection of a plainClient.
type stream struct {
	conn    loop.Conn
	peer    *peer
	size    int
	partial []byte // of the message that is coming, at the capacity of a whole one
}

// Opened tells the peer.
func (s *stream) Opened() { s.peer.open(s) }

// Data cuts the bytes into messages. What is left over waits for the rest in memory of the connection's own, and the rest is
// read right behind it.
func (s *stream) Data(b []byte) {
	if len(s.partial) != 0 { // b stands behind it
		s.partial = s.partial[:len(s.partial)+len(b)]
		if len(s.partial) < s.size {
			return
		}
		whole := s.partial
		s.partial = s.partial[:0]
		s.conn.ReadDirect(false)
		s.peer.answer(frame.Binary, whole)
		return
	}
	for ; len(b) >= s.size && !s.peer.dead.Load(); b = b[s.size:] {
		s.peer.answer(frame.Binary, b[:s.size])
	}
	if len(b) != 0 && !s.peer.dead.Load() {
		if s.partial == nil {
			s.partial = make([]byte, 0, s.size)
		}
		s.partial = append(s.partial, b...)
		s.conn.ReadDirect(true)
	}
}

// Target is what is missing of a message.
func (s *stream) Target() []byte { return s.partial[len(s.partial):s.size] }

// EOF ends the connection: nothing of ours makes the server do that.
func (s *stream) EOF() { s.conn.Close(io.ErrUnexpectedEOF) }

// Written needs nothing.
func (s *stream) Written(int) {}

// Mail is never sent.
func (s *stream) Mail(loop.Mail) {}

// Timeout is never set.
func (s *stream) Timeout() {}

// Closed tells the peer.
func (s *stream) Closed(err error) {
	if err == nil {
		err = net.ErrClosed
	}
	s.peer.end(err)
}

func (s *stream) send(payload []byte) error {
	s.conn.Lock()
	b := s.conn.Append(len(payload))
	copy(b, payload)
	s.conn.Unlock(b != nil)
	if b == nil {
		return net.ErrClosed
	}
	return nil
}

func (s *stream) reply(payload []byte) error {
	if s.conn.WriteInPlace(payload) {
		return nil
	}
	return s.send(payload)
}

func (s *stream) post(f func()) bool { return s.conn.Loop().Do(f) }

func (s *stream) terminate() {
	s.conn.Loop().Do(func() { s.conn.Close(net.ErrClosed) })
}
