// Package peers has the servers that Zeroframe is measured beside, and itself: echo servers on other libraries, plain
// TCP echoes as bounds, and servers that send each message to all connections. Each runs in a process of its own, this
// program again, and any other server joins by its command. What the programs that measure them have in common is here,
// too.
//
// A program that starts servers calls ServeIfChild first of all.
package peers

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
)

// Work is what a server does with a message.
type Work string

const (
	Echo  Work = "echo"  // it goes back
	Topic Work = "topic" // it goes to all connections, the one it came from included
)

// Mode is how a server compresses what it sends. What it receives is compressed without takeover in both of the latter.
type Mode string

const (
	Off        Mode = "off"         // nothing is compressed
	NoTakeover Mode = "no takeover" // each message for itself
	Takeover   Mode = "takeover"    // with what was sent before for context
)

// Options are what is asked of a server.
type Options struct {
	Work Work   // empty: Echo
	Mode Mode   // of compression; empty: Off
	Size int    // bytes of the messages to come, for servers whose buffers should hold one; 0: unknown
	Pair string // a PEM file of the certificate and its key, as NewCertificate makes it; empty: no TLS

	tls *tls.Config // with Pair, in the server's process
}

// Server is one that can be started. Those of this package compress at their fastest level, every message whatever its
// size, and are set up for speed as their documentation recommends.
type Server struct {
	Name string
	// How it is set up, in a sentence: to echo, to send to all (empty: it does not), and what is to be added when it
	// compresses.
	How, Publishing, Compressing string
	Modes                        []Mode // of its echo; nil: Off alone
	TLS                          bool   // it can
	TCP                          bool   // it echoes bytes, and knows nothing of WebSocket

	echo, topic service                // of a server of this package; nil: it does not do that
	program     func() (string, error) // another one of this package's: the file of a program that follows the protocol of ServeIfChild
	others      map[use]*command       // of somebody else's
}

// service is a server: it calls up with the address it listens at, and does not return before it fails.
type service func(o Options, up upFunc) error

// listening is the service of a server that takes a listener.
func listening(serve func(ln net.Listener, o Options) error) service {
	return func(o Options, up upFunc) error {
		ln, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			return err
		}
		up(ln.Addr())
		return serve(ln, o)
	}
}

// Zeroframe is the name of this project's server.
const Zeroframe = "zeroframe"

// The servers of this package.
var (
	// WebSocket servers that echo.
	Servers = []*Server{zeroframe, gwsServer, nbioServer, gobwasServer, coderServer, gorillaServer}
	// Bounds echo bytes, over plain TCP.
	Bounds = []*Server{gnetTCP, netTCP, floorTCP}
	// Floors send each message to all with bare writes.
	Floors = floors
	// Variants are servers of the first list that are set up otherwise.
	Variants = []*Server{zeroframeReleased, nbioPool, nbioBlocking, nbioMixed}
)

// All returns the servers of this package.
func All() []*Server { return slices.Concat(Servers, Bounds, Floors, Variants) }

// Find returns the server of a name.
func Find(servers []*Server, name string) (*Server, error) {
	i := slices.IndexFunc(servers, func(s *Server) bool { return s.Name == name })
	if i < 0 {
		return nil, fmt.Errorf("no server %q", name)
	}
	return servers[i], nil
}

// Can returns nil, or why the server does not do what is asked for: what the report of a race says instead of a figure.
func (s *Server) Can(o Options) error {
	if s.others != nil {
		_, err := s.other(o)
		return err
	}
	topic := cmp.Or(o.Work, Echo) == Topic
	mode := cmp.Or(o.Mode, Off)
	switch {
	case topic && s.topic == nil:
		return errors.New("does not send to all")
	case !topic && s.echo == nil && s.program == nil:
		return errors.New("does not echo")
	case topic && (mode != Off || o.Pair != ""):
		return errors.New("sends to all without TLS and compression here")
	case mode != Off && !slices.Contains(s.Modes, mode):
		return fmt.Errorf("has no compression with %s", mode)
	case o.Pair != "" && !s.TLS:
		return errors.New("has no TLS")
	case s.program != nil:
		_, err := s.program()
		return err
	}
	return nil
}

// Start runs the server in a process of its own on a core, with GOMAXPROCS=1; a negative core: on any. It returns when
// the server listens. The process ends with this one at the latest.
func (s *Server) Start(core int, o Options) (*Process, error) {
	p, err := s.start(core, o)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.Name, err)
	}
	return p, nil
}

func (s *Server) start(core int, o Options) (*Process, error) {
	if err := s.Can(o); err != nil {
		return nil, err
	}
	switch {
	case s.others != nil:
		c, err := s.other(o)
		if err != nil {
			return nil, err
		}
		return c.start(core, s, o)
	case s.program != nil:
		path, err := s.program()
		if err != nil {
			return nil, err
		}
		return startChild(core, s, o, path)
	}
	return startSelf(core, s, o)
}
