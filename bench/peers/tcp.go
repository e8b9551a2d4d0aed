package peers

import (
	"net"

	"github.com/panjf2000/gnet/v2"
)

var gnetTCP = &Server{
	Name: "tcp-gnet", TCP: true, How: "plain TCP on gnet 2.9: one event loop, Write of what Next returns",
	echo: func(_ Options, up upFunc) error { return runGnet(&gnetEcho{gnetServer{up: up}}) },
}

type gnetEcho struct{ gnetServer }

// OnTraffic is called when bytes have come.
func (*gnetEcho) OnTraffic(c gnet.Conn) gnet.Action {
	in, err := c.Next(-1)
	if err != nil {
		return gnet.Close
	}
	if _, err := c.Write(in); err != nil {
		return gnet.Close
	}
	return gnet.None
}

var netTCP = &Server{
	Name: "tcp-net", TCP: true, How: "plain TCP on package net: a goroutine for each connection, Read and Write, a buffer that grows to 64 KiB " +
		"while reads fill it",
	echo: listening(serveNet),
}

const (
	leastBuffer = 2 << 10
	mostBuffer  = 64 << 10
)

func serveNet(ln net.Listener, _ Options) error {
	for {
		c, err := ln.Accept()
		if err != nil {
			return err
		}
		go echoNet(c)
	}
}

func echoNet(c net.Conn) {
	defer c.Close()
	buf := make([]byte, leastBuffer)
	for {
		n, err := c.Read(buf)
		if _, writeErr := c.Write(buf[:n]); err != nil || writeErr != nil {
			return
		}
		if n == len(buf) && n < mostBuffer {
			buf = make([]byte, 4*n)
		}
	}
}
