package nats

import (
	"context"
	"net"

	natsgo "github.com/nats-io/nats.go"
)

// dialer opens the client's connections, and closes them when its context ends, so that Close need not wait for a server
// that does not answer.
type dialer struct {
	net.Dialer
	ctx context.Context
}

func newDialer(ctx context.Context, o *natsgo.Options) *dialer {
	d := &dialer{ctx: ctx}
	if o.Dialer != nil {
		d.Dialer = *o.Dialer
	}
	if d.Timeout == 0 {
		d.Timeout = o.Timeout
	}
	if o.AllowMultipathTCP != nil {
		d.SetMultipathTCP(*o.AllowMultipathTCP)
	}
	return d
}

// Dial is what the client calls.
func (d *dialer) Dial(network, address string) (net.Conn, error) {
	c, err := d.DialContext(d.ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &boundConn{c, context.AfterFunc(d.ctx, func() { c.Close() })}, nil
}

// boundConn is closed with a context.
type boundConn struct {
	net.Conn
	unbind func() bool
}

func (c *boundConn) Close() error {
	c.unbind()
	return c.Conn.Close()
}
