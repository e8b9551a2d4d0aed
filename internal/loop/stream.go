package loop

// NewStreamConn gives c, on which Init was called, to a loop of the group with s in the place of a descriptor. Any
// goroutine may call it. Readiness announced by s before is not needed: the loop reads once to begin with.
func (g *Group) NewStreamConn(c *Conn, s Stream) error {
	g.place(c, s)
	return g.give(c)
}

// place puts s, unless it is nil, between a new connection and its descriptor, or in the place of one.
func (g *Group) place(c *Conn, s Stream) {
	if s == nil {
		return
	}
	c.loop = g.quietest()
	c.stream = s
	s.Attach(c)
}

// A VectorWriter is a Stream that takes all that a connection has to say in one call, as Write otherwise.
type VectorWriter interface {
	// WriteVector writes a prefix of the concatenation of v and returns its length, with ErrAgain when that is short.
	WriteVector(v [][]byte) (n int, err error)
}

// A Holder is a Stream that keeps bytes back which no event of the connection's descriptor announces: one that stands on
// the descriptor has taken more from it than it has returned, or has something to say that the descriptor did not take.
// Write with an empty slice makes it try that again.
type Holder interface {
	// Holds says whether there are bytes that Read would return, and bytes that are still to be written.
	Holds() (input, output bool)
}

// holds asks the stream what it keeps back.
func (c *Conn) holds() (input, output bool) {
	if c.stream == nil {
		return false, false
	}
	return c.streamHolds()
}

func (c *Conn) streamHolds() (input, output bool) {
	if h, ok := c.stream.(Holder); ok {
		return h.Holds()
	}
	return false, false
}

// Stream returns the stream that the connection's bytes come from, nil when that is its descriptor. Loop only, until the
// endpoint is open; it stays the same from then on.
func (c *Conn) Stream() Stream { return c.stream }

// SetStream puts s in the place of the connection's stream, which called it: nil leaves the descriptor alone. Loop only,
// before the endpoint is open.
func (c *Conn) SetStream(s Stream) {
	c.stream = s
	if s != nil {
		s.Attach(c)
	}
}

// WriteFD writes a prefix of p to the connection's descriptor and returns its length, with ErrAgain when that is short.
// Loop only.
func (c *Conn) WriteFD(p []byte) (int, error) {
	n, err := send(int(c.fd), p, c.sendFlags())
	if n < len(p) {
		return n, orAgain(err)
	}
	return n, nil
}

// CloseWriteFD ends the outgoing direction of the connection's descriptor. Loop only.
func (c *Conn) CloseWriteFD() error { return shutdownWrite(int(c.fd)) }

// Scratch is memory of a loop for the streams of its connections: whoever is called on the loop may use it until the call
// returns.
type Scratch struct {
	In  [65 << 10]byte // what a descriptor had
	Out []byte         // what it is to get; kept at the capacity it has grown to
	Sum []byte         // pieces put together
	Err error          // why nothing more will come, while a stream tells that those above it
}

// Scratch returns the loop's. Loop only.
func (l *Loop) Scratch() *Scratch {
	if l.scratch == nil {
		l.scratch = new(Scratch)
	}
	return l.scratch
}

func streamRead(s Stream, p []byte) (int, error) {
	n, err := s.Read(p)
	if n > 0 {
		return n, nil
	}
	if err == nil {
		return 0, ErrAgain
	}
	return 0, err
}

func streamWrite(s Stream, p []byte) (int, error) {
	n, err := s.Write(p)
	if n == len(p) {
		return n, nil
	}
	return n, orAgain(err)
}
