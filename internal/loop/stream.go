package loop

import "io"

var errEOF = io.EOF

// NewStreamConn gives c, on which Init was called, to a loop of the group with s in the place of a descriptor. Any
// goroutine may call it. Readiness announced by s before is not needed: the loop reads once to begin with.
func (g *Group) NewStreamConn(c *Conn, s Stream) error {
	if g.cfg.MaxConns > 0 && g.Len() >= g.cfg.MaxConns {
		return ErrClosed
	}
	c.stream = s
	c.loop = g.quietest()
	s.Attach(c)
	return g.give(c)
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
