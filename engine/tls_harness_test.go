package engine_test

import (
	"crypto/tls"
	"errors"
	"net"
	"path/filepath"
	"testing"

	"zeroframe/engine"
	"zeroframe/frame"
)

// overTLS are the ways to an engine that serves TLS: sockets of both kinds, the stream that cuts, and the same with
// WithTLSBufferRelease, which reads records another way.
var overTLS = []transport{
	socketTLS("tcp"), socketTLS("unix"), transports[2],
	{releasing + "tcp", socketTLS("tcp").start}, {releasing + "tls", transports[2].start},
}

// releasing begins the names of transports with WithTLSBufferRelease.
const releasing = "releasing/"

// onTLS runs f over each of them, as onEachTransport does.
func onTLS(t *testing.T, f func(t *testing.T, start func(...engine.Option) *server)) {
	onTransports(t, overTLS, f)
}

// onTLSSockets leaves the stream out, where the engine's own TLS configuration or the kernel matters.
func onTLSSockets(t *testing.T, f func(t *testing.T, start func(...engine.Option) *server)) {
	onTransports(t, overTLS[:2], f)
}

func socketTLS(network string) transport {
	return transport{network, func(t testing.TB, s *server) { s.serveTLS(network, "", "") }}
}

// serveTLS makes the server listen, with certificates from files if these are named.
func (s *server) serveTLS(network, certFile, keyFile string) {
	addr := "127.0.0.1:0"
	if network == "unix" {
		addr = filepath.Join(s.t.TempDir(), "socket")
	}
	ln, err := s.Listen(network, addr)
	if err != nil {
		s.t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.ServeTLS(ln, certFile, keyFile) }()
	s.t.Cleanup(func() {
		if err := <-served; !errors.Is(err, engine.ErrServerClosed) {
			s.t.Errorf("ServeTLS returned %v", err)
		}
	})
	s.below = func() net.Conn {
		c, err := net.Dial(network, ln.Addr().String())
		if err != nil {
			s.t.Fatal(err)
		}
		return c
	}
	s.dial = s.dialTLS
}

// dialTLS is the dial of a server with TLS.
func (s *server) dialTLS() net.Conn {
	s.t.Helper()
	c, err := s.shakeHands(trusting())
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}

// shakeHands returns a connection whose handshake is over on the client's side, or the error of that.
func (s *server) shakeHands(config *tls.Config) (*tls.Conn, error) {
	c := tls.Client(s.below(), config)
	s.t.Cleanup(func() { c.Close() })
	return c, c.Handshake()
}

// over returns a client on a connection that is there already.
func (s *server) over(nc net.Conn) *client {
	return (&server{Engine: s.Engine, t: s.t, dial: func() net.Conn { return nc }}).connect()
}

// upgrade is open on a connection that is there already.
func (s *server) upgrade(nc net.Conn, path string) *client {
	s.t.Helper()
	return (&server{Engine: s.Engine, t: s.t, dial: func() net.Conn { return nc }}).open(path)
}

// echoing echoes and keeps no books, for many connections.
var echoing = engine.HandlerFunc(func(c *engine.Conn, op frame.OpCode, payload []byte) { c.Reply(op, payload) })
