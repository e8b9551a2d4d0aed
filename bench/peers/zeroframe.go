package peers

import (
	"net"
	"slices"

	"zeroframe/engine"
	"zeroframe/frame"
)

var zeroframe = &Server{
	Name: Zeroframe, Modes: []Mode{Off, NoTakeover, Takeover}, TLS: true,
	How:         "one loop, Reply, text checked",
	Compressing: "takeover with the default history of 4 KiB",
	Publishing: "one loop, one topic, Engine.Publish in OnMessage; MaxBackpressure of 1 MiB, above which a message is dropped for " +
		"that member",
	echo:  serveZeroframe(),
	topic: publishZeroframe,
}

var zeroframeReleased = &Server{
	Name: "zeroframe-released", TLS: true, How: "as zeroframe, with WithTLSBufferRelease(true)",
	echo: serveZeroframe(engine.WithTLSBufferRelease(true)),
}

func serveZeroframe(more ...engine.Option) service {
	return func(o Options, up upFunc) error {
		options := slices.Clone(more)
		if o.Mode == NoTakeover || o.Mode == Takeover {
			options = append(options, engine.WithCompression(engine.Compression{TakeoverOut: o.Mode == Takeover, Threshold: -1}))
		}
		if o.tls != nil {
			options = append(options, engine.WithTLSConfig(o.tls))
		}
		return runZeroframe(o, up, func(*engine.Engine) engine.Handler {
			return engine.HandlerFunc(func(c *engine.Conn, op frame.OpCode, payload []byte) { c.Reply(op, payload) })
		}, options...)
	}
}

func publishZeroframe(o Options, up upFunc) error {
	return runZeroframe(o, up, func(e *engine.Engine) engine.Handler { return &zeroframeTopic{engine: e} })
}

// runZeroframe serves with one loop.
func runZeroframe(o Options, up upFunc, handler func(*engine.Engine) engine.Handler, options ...engine.Option) error {
	e, err := engine.New(append(options, engine.WithLoops(1), engine.WithPingInterval(0))...)
	if err != nil {
		return err
	}
	if err := e.Handle("/", handler(e)); err != nil {
		return err
	}
	ownEngine = e
	return listening(func(ln net.Listener, o Options) error {
		if o.tls != nil {
			return e.ServeTLS(ln, "", "")
		}
		return e.Serve(ln)
	})(o, up)
}

type zeroframeTopic struct {
	engine.NopHandler
	engine *engine.Engine
}

func (t *zeroframeTopic) OnOpen(c *engine.Conn) { c.Subscribe("all") }

func (t *zeroframeTopic) OnMessage(_ *engine.Conn, op frame.OpCode, payload []byte) {
	t.engine.Publish("all", op, payload)
}
