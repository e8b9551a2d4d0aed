package loop

import (
	"fmt"
	"net"
	"syscall"
	"time"
)

// Adopt takes over nc, a connection of the net package, for c, on which Init was called: its descriptor is duplicated
// and nc closed, so that nothing of the runtime's poller is left on it. Bytes already read from nc are the endpoint's
// affair. s, which may be nil, is a stream that stands on the descriptor. Any goroutine may call it. On error nc is the
// caller's to close; after ErrClosed it is closed already.
func (g *Group) Adopt(c *Conn, nc net.Conn, s Stream) error {
	sc, ok := nc.(syscall.Conn)
	if !ok {
		return fmt.Errorf("loop: %T has no descriptor to adopt", nc)
	}
	nc.SetDeadline(time.Time{})
	fd, err := dupConn(sc)
	if err != nil {
		return err
	}
	nc.Close()
	c.fd = int32(fd)
	if readsStop(fd) {
		c.flags |= flagStops
	}
	g.place(c, s)
	return g.give(c)
}

// RemoteAddr asks the kernel for the peer's address; nil when the connection has ended. A stream that has a RemoteAddr
// method is asked first. Any goroutine may call it.
func (c *Conn) RemoteAddr() net.Addr {
	if a, ok := c.stream.(interface{ RemoteAddr() net.Addr }); ok {
		if addr := a.RemoteAddr(); addr != nil {
			return addr
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fd < 0 {
		return nil
	}
	return peerAddr(int(c.fd))
}

// LocalAddr is RemoteAddr for our end. Any goroutine may call it.
func (c *Conn) LocalAddr() net.Addr {
	if a, ok := c.stream.(interface{ LocalAddr() net.Addr }); ok {
		if addr := a.LocalAddr(); addr != nil {
			return addr
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fd < 0 {
		return nil
	}
	return localAddr(int(c.fd))
}
