//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"

	coder "github.com/coder/websocket"
	gorilla "github.com/gorilla/websocket"
	"github.com/lxzan/gws"

	"zeroframe/engine"
	"zeroframe/frame"
)

// mode is how a server compresses what it sends. What it receives is compressed without takeover in both of the latter.
type mode string

const (
	off        mode = "off"
	noTakeover mode = "no takeover"
	takeover   mode = "takeover"
)

const zeroframe = "zeroframe"

// server is an echo server. serve does not return before it fails. All compress at their fastest level, every message
// whatever its size, and take what else their documentation recommends.
type server struct {
	name  string
	modes []mode
	serve func(ln net.Listener, m mode, size int) error
	how   string
}

var servers = []server{
	{zeroframe, []mode{off, noTakeover, takeover}, serveZeroframe,
		"one loop, Reply, text checked; takeover with the default history of 4 KiB"},
	{"gws", []mode{off, noTakeover, takeover}, serveGWS,
		"gws.NewServer, WriteMessage in OnMessage, text not checked, PoolSize 1 (its default of 32 is slower on one core); takeover with its default window of 4 KiB"},
	{"coder", []mode{off, noTakeover, takeover}, serveCoder,
		"Reader into a buffer of the connection's, Write; text not checked"},
	{"gorilla", []mode{off, noTakeover}, serveGorilla,
		"NextReader into a buffer of the connection's, WriteMessage, write buffers of a message in a pool; text not checked; no takeover"},
}

// serveChild is the process of one server. It prints its address, lives until its standard input ends, and for each line
// there collects garbage, gives what is free back to the system, and says so.
func serveChild(args []string) error {
	var name, m string
	var size int
	flags := flag.NewFlagSet("serve", flag.ContinueOnError)
	flags.StringVar(&name, "server", "", "")
	flags.StringVar(&m, "mode", "", "")
	flags.IntVar(&size, "size", 0, "")
	if err := flags.Parse(args); err != nil {
		return err
	}
	i := slices.IndexFunc(servers, func(s server) bool { return s.name == name })
	if i < 0 {
		return fmt.Errorf("no server %q", name)
	}
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(ln.Addr())
	go func() {
		for orders := bufio.NewScanner(os.Stdin); orders.Scan(); {
			runtime.GC() // twice, for what sync.Pools hold
			debug.FreeOSMemory()
			fmt.Println("collected")
		}
		os.Exit(0)
	}()
	return servers[i].serve(ln, mode(m), size)
}

func serveZeroframe(ln net.Listener, m mode, _ int) error {
	options := []engine.Option{engine.WithLoops(1), engine.WithPingInterval(0)}
	if m != off {
		options = append(options, engine.WithCompression(engine.Compression{TakeoverOut: m == takeover, Threshold: -1}))
	}
	e, err := engine.New(options...)
	if err != nil {
		return err
	}
	echo := engine.HandlerFunc(func(c *engine.Conn, op frame.OpCode, payload []byte) { c.Reply(op, payload) })
	if err := e.Handle("/", echo); err != nil {
		return err
	}
	return e.Serve(ln)
}

// gwsEcho is the library's own example of an echo.
type gwsEcho struct{ gws.BuiltinEventHandler }

func (gwsEcho) OnMessage(c *gws.Conn, m *gws.Message) {
	defer m.Close()
	c.WriteMessage(m.Opcode, m.Bytes())
}

func serveGWS(ln net.Listener, m mode, _ int) error {
	s := gws.NewServer(gwsEcho{}, &gws.ServerOption{
		// A pool of one compressor for the one core: in turn through the 32 of its default, each cold, it takes twice the time.
		PermessageDeflate: gws.PermessageDeflate{Enabled: m != off, ServerContextTakeover: m == takeover, Threshold: 1, PoolSize: 1},
	})
	s.OnError = func(net.Conn, error) {}
	return s.RunListener(ln)
}

func serveCoder(ln net.Listener, m mode, _ int) error {
	options := &coder.AcceptOptions{CompressionThreshold: 1, CompressionMode: map[mode]coder.CompressionMode{
		off: coder.CompressionDisabled, noTakeover: coder.CompressionNoContextTakeover, takeover: coder.CompressionContextTakeover,
	}[m]}
	return http.Serve(ln, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
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
	}))
}

func serveGorilla(ln net.Listener, m mode, size int) error {
	upgrader := gorilla.Upgrader{
		EnableCompression: m != off,
		// A write buffer that holds a message, or it leaves in several frames.
		WriteBufferSize: max(4096, size+512),
		WriteBufferPool: new(sync.Pool),
	}
	return http.Serve(ln, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
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
	}))
}
