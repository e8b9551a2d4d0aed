// Package peers has echo servers, Zeroframe's and those of other libraries, runs each in a process of its own, and has
// what the reports of the programs that measure them have in common.
package peers

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"slices"
	"sync"

	coder "github.com/coder/websocket"
	gorilla "github.com/gorilla/websocket"
	"github.com/lxzan/gws"

	"zeroframe/engine"
	"zeroframe/frame"
)

// Mode is how a server compresses what it sends. What it receives is compressed without takeover in both of the latter.
type Mode string

const (
	Off        Mode = "off"
	NoTakeover Mode = "no takeover"
	Takeover   Mode = "takeover"
)

// Options are what is asked of a server.
type Options struct {
	Mode Mode        // of compression
	Size int         // bytes of the messages to come
	TLS  *tls.Config // nil: none
}

// Server is an echo server. Serve does not return before it fails. All compress at their fastest level, every message
// whatever its size, and take what else their documentation recommends.
type Server struct {
	Name  string
	Modes []Mode // that it has
	Serve func(ln net.Listener, o Options) error
	How   string // it is set up
	// Compressing is what is to be known of it when it compresses.
	Compressing string
}

// Zeroframe is the name of this project's server.
const Zeroframe = "zeroframe"

// Servers are those of this package.
var Servers = []Server{
	{Zeroframe, []Mode{Off, NoTakeover, Takeover}, ServeZeroframe(),
		"one loop, Reply, text checked", "takeover with the default history of 4 KiB"},
	{"gws", []Mode{Off, NoTakeover, Takeover}, serveGWS,
		"gws.NewServer, WriteMessage in OnMessage, text not checked",
		"PoolSize 1 (its default of 32 is slower on one core); takeover with its default window of 4 KiB"},
	{"coder", []Mode{Off, NoTakeover, Takeover}, serveCoder,
		"Reader into a buffer of the connection's, Write; text not checked", "takeover with its window of 32 KiB"},
	{"gorilla", []Mode{Off, NoTakeover}, serveGorilla,
		"NextReader into a buffer of the connection's, WriteMessage, write buffers of a message in a pool; text not checked", "no takeover"},
}

// Find returns the server of a name.
func Find(servers []Server, name string) (*Server, error) {
	i := slices.IndexFunc(servers, func(s Server) bool { return s.Name == name })
	if i < 0 {
		return nil, fmt.Errorf("no server %q", name)
	}
	return &servers[i], nil
}

// ServeZeroframe returns the Serve of this project's server with more options.
func ServeZeroframe(more ...engine.Option) func(ln net.Listener, o Options) error {
	return func(ln net.Listener, o Options) error { return serveZeroframe(ln, o, more) }
}

func serveZeroframe(ln net.Listener, o Options, more []engine.Option) error {
	options := append([]engine.Option{engine.WithLoops(1), engine.WithPingInterval(0)}, more...)
	if o.Mode != Off {
		options = append(options, engine.WithCompression(engine.Compression{TakeoverOut: o.Mode == Takeover, Threshold: -1}))
	}
	if o.TLS != nil {
		options = append(options, engine.WithTLSConfig(o.TLS))
	}
	e, err := engine.New(options...)
	if err != nil {
		return err
	}
	echo := engine.HandlerFunc(func(c *engine.Conn, op frame.OpCode, payload []byte) { c.Reply(op, payload) })
	if err := e.Handle("/", echo); err != nil {
		return err
	}
	if o.TLS != nil {
		return e.ServeTLS(ln, "", "")
	}
	return e.Serve(ln)
}

// gwsEcho is the library's own example of an echo.
type gwsEcho struct{ gws.BuiltinEventHandler }

func (gwsEcho) OnMessage(c *gws.Conn, m *gws.Message) {
	defer m.Close()
	c.WriteMessage(m.Opcode, m.Bytes())
}

func serveGWS(ln net.Listener, o Options) error {
	s := gws.NewServer(gwsEcho{}, &gws.ServerOption{
		// A pool of one compressor for the one core: in turn through the 32 of its default, each cold, it takes twice the time.
		PermessageDeflate: gws.PermessageDeflate{Enabled: o.Mode != Off, ServerContextTakeover: o.Mode == Takeover, Threshold: 1, PoolSize: 1},
	})
	s.OnError = func(net.Conn, error) {}
	return s.RunListener(o.listener(ln)) // as its RunTLS does
}

func serveCoder(ln net.Listener, o Options) error {
	options := &coder.AcceptOptions{CompressionThreshold: 1, CompressionMode: map[Mode]coder.CompressionMode{
		Off: coder.CompressionDisabled, NoTakeover: coder.CompressionNoContextTakeover, Takeover: coder.CompressionContextTakeover,
	}[o.Mode]}
	return o.serveHTTP(ln, func(w http.ResponseWriter, r *http.Request) {
		c, err := coder.Accept(w, r, options)
		if err != nil {
			return
		}
		defer c.CloseNow()
		c.SetReadLimit(-1)
		ctx := context.Background()
		var message bytes.Buffer
		for {
			kind, in, err := c.Reader(ctx)
			if err != nil {
				return
			}
			message.Reset()
			if _, err := message.ReadFrom(in); err != nil {
				return
			}
			if err := c.Write(ctx, kind, message.Bytes()); err != nil {
				return
			}
		}
	})
}

func serveGorilla(ln net.Listener, o Options) error {
	upgrader := gorilla.Upgrader{
		EnableCompression: o.Mode != Off,
		// A write buffer that holds a message, or it leaves in several frames. Long ones are not compressed here.
		WriteBufferSize: min(max(4096, o.Size+512), 64<<10),
		WriteBufferPool: new(sync.Pool),
	}
	return o.serveHTTP(ln, func(w http.ResponseWriter, r *http.Request) {
		c, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer c.Close()
		var message bytes.Buffer
		for {
			kind, in, err := c.NextReader()
			if err != nil {
				return
			}
			message.Reset()
			if _, err := message.ReadFrom(in); err != nil {
				return
			}
			if err := c.WriteMessage(kind, message.Bytes()); err != nil {
				return
			}
		}
	})
}

// listener is ln, over TLS if that is asked for.
func (o Options) listener(ln net.Listener) net.Listener {
	if o.TLS == nil {
		return ln
	}
	return tls.NewListener(ln, o.TLS)
}

func (o Options) serveHTTP(ln net.Listener, h http.HandlerFunc) error {
	server := http.Server{Handler: h, ErrorLog: log.New(io.Discard, "", 0)}
	return server.Serve(o.listener(ln))
}
