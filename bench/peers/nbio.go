package peers

import (
	"compress/flate"
	"net"
	"net/http"
	"time"

	nbiotls "github.com/lesismal/llib/std/crypto/tls"
	"github.com/lesismal/nbio/logging"
	"github.com/lesismal/nbio/mempool"
	"github.com/lesismal/nbio/nbhttp"
	"github.com/lesismal/nbio/nbhttp/websocket"
)

// On one core its default, which hands messages to a pool of goroutines, costs a third more for a short message alone, and
// 40 % at 1 KiB from 1,000 connections, than handling them where they were read; a tenth less when they are pipelined. Its
// modes with a goroutine for each connection cost as much, a tenth less pipelined, and half as much again at 1 MiB.
var nbioServer = &Server{
	Name: "nbio", Modes: []Mode{Off, NoTakeover}, TLS: true,
	How: "IOModNonBlocking and ReleaseWebsocketPayload, as in its author's benchmark, with a pool of buffers of a message, a " +
		"ServerExecutor that calls OnMessage on the poller's goroutine (over TLS of llib 1.2.2 its default, a pool), and WriteMessage " +
		"there; it does not deliver empty messages",
	Compressing: "no takeover",
	echo:        listening(serveNBIO(nbhttp.IOModNonBlocking, func(f func()) { f() })),
}

var nbioPool = &Server{
	Name: "nbio-pool", How: "as nbio, but OnMessage on a pool of goroutines, its default",
	echo: listening(serveNBIO(nbhttp.IOModNonBlocking, nil)),
}

var nbioBlocking = &Server{
	Name: "nbio-blocking", TLS: true, How: "IOModBlocking, a goroutine for each connection, which it recommends for few; else as nbio",
	echo: listening(serveNBIO(nbhttp.IOModBlocking, nil)),
}

var nbioMixed = &Server{
	Name: "nbio-mixed", TLS: true, How: "IOModMixed, a goroutine for each of the first 10,000 connections; else as nbio",
	echo: listening(serveNBIO(nbhttp.IOModMixed, nil)),
}

// maxNBIO bounds the size of a frame that nbio sends; longer messages leave in several.
const maxNBIO = 16 << 20

func serveNBIO(mode int, executor func(func())) func(ln net.Listener, o Options) error {
	return func(ln net.Listener, o Options) error {
		logging.SetLevel(logging.LevelNone)
		mempool.DefaultMemPool = mempool.New(max(o.Size, 1024)+1024, 1<<30)
		upgrader := websocket.NewUpgrader()
		upgrader.KeepaliveTime = 0
		upgrader.BlockingModAsyncWrite = false
		if o.Mode == NoTakeover {
			upgrader.EnableCompression(true)
			upgrader.SetCompressionLevel(flate.BestSpeed)
		}
		upgrader.OnMessage(func(c *websocket.Conn, kind websocket.MessageType, message []byte) { c.WriteMessage(kind, message) })
		config := nbhttp.Config{
			Network: "tcp", IOMod: mode, ReleaseWebsocketPayload: true, MaxWebsocketFramePayloadSize: maxNBIO,
			Listen: func(string, string) (net.Listener, error) { return ln, nil },
			Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if c, err := upgrader.Upgrade(w, r, nil); err == nil {
					c.SetReadDeadline(time.Time{})
				}
			}),
		}
		if o.tls == nil {
			config.Addrs = []string{ln.Addr().String()}
			config.ServerExecutor = executor
		} else {
			config.AddrsTLS = []string{ln.Addr().String()}
			config.TLSConfig = &nbiotls.Config{MinVersion: o.tls.MinVersion}
			for _, c := range o.tls.Certificates {
				config.TLSConfig.Certificates = append(config.TLSConfig.Certificates,
					nbiotls.Certificate{Certificate: c.Certificate, PrivateKey: c.PrivateKey})
			}
		}
		if err := nbhttp.NewEngine(config).Start(); err != nil {
			return err
		}
		select {}
	}
}
