package loop

import "net"

// NetConn makes a connection of the net package out of a descriptor that Detach returned, with the socket options of
// the group's connections. fd is closed in any case; when it cannot be done, because descriptors ran out, the peer is
// sent refusal first, as far as its buffer takes it. It makes some 20 system calls and is better not called on a loop.
// Any goroutine may call it.
func (g *Group) NetConn(fd int, refusal []byte) (net.Conn, error) {
	nc, err := netConn(fd, refusal)
	if err != nil {
		return nil, err
	}
	if tcp, ok := nc.(*net.TCPConn); ok { // the net package has set its own defaults
		if !g.cfg.NoDelay {
			tcp.SetNoDelay(false)
		}
		if raw, err := tcp.SyscallConn(); err == nil {
			raw.Control(func(fd uintptr) { tuneTCP(int(fd), g.cfg.NoDelay, g.cfg.KeepAlive, g.cfg.UserTimeout) })
		}
	}
	return nc, nil
}

// Refuse tells the peer of a descriptor that Detach returned why it is not served, as far as its buffer takes it, and
// closes the descriptor. Any goroutine may call it.
func (g *Group) Refuse(fd int, refusal []byte) {
	refuse(fd, refusal, make([]byte, 4<<10))
	closeFD(fd)
}

// CountOutside adds n to Len, for connections that left the loops by Detach and still count for MaxConns; a negative n
// takes them off again. Any goroutine may call it.
func (g *Group) CountOutside(n int) { g.outside.Add(int64(n)) }

// Outside returns what CountOutside has added up to.
func (g *Group) Outside() int { return int(g.outside.Load()) }
