package bench

import (
	"context"
	"fmt"

	"zeroframe/engine"
	"zeroframe/frame"
)

// socketClient is an event loop of WebSockets: an engine of one loop.
type socketClient struct {
	engine *engine.Engine
	url    string
	pings  bool
}

func newSocketClient(l *Load) (*socketClient, error) {
	options := clientOptions(l.config.Payload, l.config.InFlight, engine.WithClientTLS(l.tls.counting(l.config.TLS)))
	if l.config.Compress {
		options = append(options, engine.WithCompression(engine.Compression{TakeoverIn: true, TakeoverOut: true, Threshold: -1}))
	}
	e, err := engine.New(options...)
	return &socketClient{engine: e, url: l.config.URL, pings: l.config.Pings}, err
}

func (c *socketClient) dial(ctx context.Context, p *peer) error {
	return dial(ctx, c.engine, c.url, &socket{peer: p, op: p.lane.load.op}, p.opened)
}

func (c *socketClient) stats() engine.Stats { return c.engine.Stats() }

func (c *socketClient) close(ctx context.Context) {
	if c.engine.Shutdown(ctx) != nil {
		c.engine.Close()
	}
}

// socket is a connection of a socketClient: a peer whose echoes are messages, or pongs when op is that of pings.
type socket struct {
	engine.NopHandler
	peer *peer
	conn *engine.Conn
	op   frame.OpCode
}

// OnOpen tells the peer.
func (s *socket) OnOpen(c *engine.Conn) {
	s.conn = c
	s.peer.open(s)
}

// OnMessage hands an echo over.
func (s *socket) OnMessage(_ *engine.Conn, op frame.OpCode, payload []byte) {
	s.peer.answer(op, payload)
}

// OnPong hands over what answers a ping. The payload stays as it is: it is copied.
func (s *socket) OnPong(_ *engine.Conn, payload []byte) {
	if s.op != frame.Ping {
		return
	}
	var own [frame.MaxControlPayload]byte
	s.peer.answer(frame.Ping, own[:copy(own[:], payload)])
}

// OnClose: nothing of ours ends a connection that is running.
func (s *socket) OnClose(_ *engine.Conn, reason engine.CloseReason) { s.peer.end(ended(reason)) }

func (s *socket) send(payload []byte) error {
	if s.op == frame.Ping {
		return s.conn.Ping(payload)
	}
	return s.conn.Send(s.op, payload)
}

func (s *socket) reply(payload []byte) error {
	if s.op == frame.Ping {
		return s.conn.Ping(payload)
	}
	return s.conn.Reply(s.op, payload)
}

func (s *socket) post(f func()) bool { return s.conn.Post(f) }

func (s *socket) terminate() { s.conn.Terminate() }

// ended says how a connection ended.
func ended(reason engine.CloseReason) error {
	what := "without a close frame"
	if reason.Code != frame.CloseAbnormal {
		what = fmt.Sprintf("with close %v %q", reason.Code, reason.Text)
	}
	err := fmt.Errorf("connection ended %s", what)
	if reason.Err != nil {
		err = fmt.Errorf("%w: %w", err, reason.Err)
	}
	return err
}
