package memconn

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/url"
	"sync"

	"zeroframe/frame"
	"zeroframe/internal/handshake"
	"zeroframe/internal/loop"
)

// A Swarm is many WebSocket clients in memory, for more connections than a process may have files. A client is no
// goroutine and has no buffer: it is what Stream.Write does with the bytes that the server's loop hands it, and what it has
// to say is there for the loop's next Read. Of a client that is open and has nothing in flight 24 bytes are kept.
//
// Everything about a client happens on the loop of its connection.
type Swarm struct {
	url     *url.URL
	peer    Peer
	members []member

	mu    sync.Mutex
	lanes []*lane // one for each loop that has connections of the swarm
}

// Peer is told what the clients of a swarm see, each on the loop of its connection; it must not block. Payloads are valid
// until the call returns.
type Peer interface {
	// Opened: the server's answer to client i's request was verified.
	Opened(i int)
	// Pinged: a ping came, which is answered with a pong if the return value says so.
	Pinged(i int) (answer bool)
	// Message: a message came, in one frame.
	Message(i int, op frame.OpCode, payload []byte)
	// Ended is the last call. err says how: a *CloseError, io.EOF when the server closed without a close frame, or what
	// the server did wrong.
	Ended(i int, err error)
}

// CloseError is how a client ends that got a close frame.
type CloseError struct {
	Code frame.CloseCode
	Text string
}

// Error returns the code and the text.
func (e *CloseError) Error() string { return fmt.Sprintf("close %v %q", e.Code, e.Text) }

// NewSwarm makes n clients, each of which will ask the server for u once it has been given its Stream.
func NewSwarm(n int, u *url.URL, p Peer) *Swarm {
	s := &Swarm{url: u, peer: p, members: make([]member, n)}
	nowhere := &lane{swarm: s}
	for i := range s.members {
		s.members[i] = member{lane: nowhere, index: uint32(i), flight: asking}
	}
	return s
}

// Stream returns the server's end of client i, to be given to a loop once.
func (s *Swarm) Stream(i int) loop.Stream { return &s.members[i] }

// Send makes client i, which must be open, send a binary message, which is copied. It reports false when the connection
// has ended. Any goroutine may call it.
func (s *Swarm) Send(i int, payload []byte) bool {
	return s.do(i, frame.Binary, append([]byte(nil), payload...))
}

// Close makes client i, which must be open, begin the closing handshake. It reports false when the connection has ended.
// Any goroutine may call it.
func (s *Swarm) Close(i int, code frame.CloseCode) bool {
	return s.do(i, frame.Close, binary.BigEndian.AppendUint16(nil, uint16(code)))
}

func (s *Swarm) do(i int, op frame.OpCode, payload []byte) bool {
	m := &s.members[i]
	return m.conn.Loop().Do(func() {
		if m.flight != ended {
			m.say(op, payload)
		}
	})
}

// lane is what the clients on one loop share; it belongs to that loop.
type lane struct {
	swarm   *Swarm
	loop    *loop.Loop // nil of the lane where clients are before they have a connection
	random  *rand.Rand // of masking keys
	flights []flight   // by number, from 1
	free    []uint32
}

// laneOf returns the lane of a loop. Any goroutine may call it.
func (s *Swarm) laneOf(l *loop.Loop) *lane {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, ln := range s.lanes {
		if ln.loop == l {
			return ln
		}
	}
	ln := &lane{
		swarm:   s,
		loop:    l,
		random:  rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())),
		flights: make([]flight, 1),
	}
	s.lanes = append(s.lanes, ln)
	return ln
}

// member is one client.
type member struct {
	conn   *loop.Conn
	lane   *lane
	index  uint32
	flight uint32 // the number of its flight in the lane, 0: open with nothing in flight, or one of those below
}

const (
	asking = ^uint32(0) - 1 // the request is to be made
	ended  = ^uint32(0)
)

// flight is what a client needs between two bytes: those on their way, and what they are a part of.
type flight struct {
	out     []byte // to the server
	in      []byte // of a frame or answer that came in part
	unread  int    // where in out the server reads on
	closed  error  // the server's close frame
	waiting bool   // for the answer to the request
	eof     bool   // nothing follows out
	fault   error  // what the server did wrong
}

// kept is the most a flight keeps of its buffers for the next.
const kept = 512

// use returns the member's flight, with a number of its own from now on.
func (m *member) use() *flight {
	ln := m.lane
	if m.flight == 0 || m.flight == asking {
		if n := len(ln.free); n > 0 {
			m.flight, ln.free = ln.free[n-1], ln.free[:n-1]
		} else {
			m.flight = uint32(len(ln.flights))
			ln.flights = append(ln.flights, flight{})
		}
	}
	return &ln.flights[m.flight]
}

// rest gives the flight back when nothing is in it.
func (m *member) rest(f *flight) {
	if f.unread == len(f.out) && len(f.in) == 0 && !f.waiting && !f.eof && f.closed == nil && f.fault == nil {
		m.drop(f)
		m.flight = 0
	}
}

func (m *member) drop(f *flight) {
	out, in := f.out[:0], f.in[:0]
	if cap(out) > kept {
		out = nil
	}
	if cap(in) > kept {
		in = nil
	}
	*f = flight{out: out, in: in}
	m.lane.free = append(m.lane.free, m.flight)
}

// Attach is the first call, and the only one off the loop.
func (m *member) Attach(c *loop.Conn) {
	m.conn = c
	m.lane = m.lane.swarm.laneOf(c.Loop())
}

// key is the Sec-WebSocket-Key of client i: made again when the answer comes, instead of being stored. It is a nonce in
// form only, which is all that a server can see.
func key(i uint32) string {
	var nonce [16]byte
	binary.LittleEndian.PutUint32(nonce[:], i)
	binary.LittleEndian.PutUint64(nonce[8:], uint64(i)*0x9E3779B97F4A7C15)
	return base64.StdEncoding.EncodeToString(nonce[:])
}

// Read gives the loop what the client has to say.
func (m *member) Read(p []byte) (int, error) {
	if m.flight == 0 || m.flight == ended {
		return 0, loop.ErrAgain
	}
	ask := m.flight == asking
	f := m.use()
	if ask {
		f.out = handshake.AppendRequest(f.out[:0], m.lane.swarm.url, key(m.index), nil, nil)
		f.waiting = true
	}
	if f.unread == len(f.out) {
		if f.eof {
			return 0, io.EOF
		}
		return 0, loop.ErrAgain
	}
	n := copy(p, f.out[f.unread:])
	if f.unread += n; f.unread == len(f.out) {
		f.out, f.unread = f.out[:0], 0
	}
	m.rest(f)
	return n, nil
}

// Write is the client: it acts on what the server says.
func (m *member) Write(b []byte) (int, error) {
	if m.flight == ended {
		return 0, io.ErrClosedPipe
	}
	if m.flight != 0 {
		f := m.use()
		if f.fault != nil {
			return 0, f.fault
		}
		if len(f.in) > 0 || f.waiting {
			return m.goOn(f, b)
		}
	}
	if rest, err := m.frames(b); err != nil {
		m.fail(err)
	} else if len(rest) > 0 {
		f := m.use()
		f.in = append(f.in, rest...)
	}
	return len(b), nil
}

// goOn is Write for bytes behind others that could not be acted upon alone.
func (m *member) goOn(f *flight, b []byte) (int, error) {
	f.in = append(f.in, b...)
	in := f.in
	f.in = nil // callbacks may use the flight, or move it
	if f.waiting {
		n, _, err := handshake.VerifyResponse(in, key(m.index))
		if err != nil {
			m.fail(err)
			return len(b), nil
		}
		if n == 0 {
			f.in = in
			return len(b), nil
		}
		f.waiting = false
		m.lane.swarm.peer.Opened(int(m.index))
		in = in[n:]
	}
	rest, err := m.frames(in)
	f = m.use()
	f.in = append(in[:0], rest...)
	if err != nil {
		m.fail(err)
		return len(b), nil
	}
	m.rest(f)
	return len(b), nil
}

// fail makes the client go away over what the server did.
func (m *member) fail(err error) {
	f := m.use()
	f.fault, f.eof = err, true
	m.conn.StreamReadable()
}

// rules are those of a client without extensions, which takes what fits into memory without a thought.
var rules = frame.Rules{Role: frame.Client, MaxFrame: 1 << 20}

var errFragment = errors.New("memconn: a message came in fragments")

// frames acts on the whole frames at the start of b and returns what is left.
func (m *member) frames(b []byte) (rest []byte, err error) {
	for len(b) > 0 {
		var p frame.Parser
		var ch frame.Chunk
		n, err := p.Next(b, &rules, &ch)
		switch {
		case err != nil:
			return nil, err
		case !ch.Last:
			return b, nil
		case !ch.Header.Fin:
			return nil, errFragment
		}
		m.frame(ch.Header.OpCode, ch.Payload)
		b = b[n:]
	}
	return nil, nil
}

func (m *member) frame(op frame.OpCode, payload []byte) {
	peer := m.lane.swarm.peer
	switch op {
	case frame.Ping:
		if peer.Pinged(int(m.index)) {
			m.say(frame.Pong, payload)
		}
	case frame.Pong:
	case frame.Close:
		closed := &CloseError{Code: frame.CloseNoStatus}
		if len(payload) >= 2 {
			closed.Code, closed.Text = frame.CloseCode(binary.BigEndian.Uint16(payload)), string(payload[2:])
		}
		f := m.use()
		began := f.closed != nil // by us
		f.closed = closed
		if !began {
			m.say(frame.Close, payload)
		}
	default:
		peer.Message(int(m.index), op, payload)
	}
}

// errClosing stands for the server's close frame until it comes to a client that closed first.
var errClosing = errors.New("memconn: no close frame came in answer to the client's")

// say sends a frame, masked as a client must (RFC 6455, section 5.3). Loop only.
func (m *member) say(op frame.OpCode, payload []byte) {
	f := m.use()
	if f.eof {
		return
	}
	if op == frame.Close && f.closed == nil {
		f.closed = errClosing
	}
	h := frame.Header{Fin: true, OpCode: op, Masked: true, Key: m.lane.random.Uint32()}
	f.out = frame.AppendFrame(f.out, h, payload)
	m.conn.StreamReadable()
}

// CloseWrite is the server's last word; the client has none of its own behind what it has said.
func (m *member) CloseWrite() error {
	if m.flight != ended {
		m.use().eof = true
		m.conn.StreamReadable()
	}
	return nil
}

// Close ends the client.
func (m *member) Close() error {
	if m.flight == ended {
		return nil
	}
	err := error(io.EOF)
	if m.flight != 0 && m.flight != asking {
		f := m.use()
		if f.closed != nil {
			err = f.closed
		}
		if f.fault != nil {
			err = f.fault
		}
		m.drop(f)
	}
	m.flight = ended
	m.lane.swarm.peer.Ended(int(m.index), err)
	return nil
}

// RemoteAddr returns a placeholder.
func (m *member) RemoteAddr() net.Addr { return addr{} }
