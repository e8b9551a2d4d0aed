package main

import (
	"net"
	"net/http"
	"slices"
	"time"

	nbiotls "github.com/lesismal/llib/std/crypto/tls"
	"github.com/lesismal/nbio/logging"
	"github.com/lesismal/nbio/nbhttp"
	"github.com/lesismal/nbio/nbhttp/websocket"

	"zeroframe/bench/peers"
	"zeroframe/engine"
)

// servers are those of package peers and nbio, over its own fork of crypto/tls.
var servers = slices.Concat(peers.Servers, []peers.Server{
	{Name: "zeroframe-released", Modes: []peers.Mode{peers.Off}, Serve: peers.ServeZeroframe(engine.WithTLSBufferRelease(true)),
		How: "as zeroframe, with WithTLSBufferRelease(true)"},
	{Name: "nbio", Modes: []peers.Mode{peers.Off}, Serve: serveNBIO(nbhttp.IOModNonBlocking),
		How: "IOModNonBlocking, its default, as in its author's benchmark; WriteMessage in OnMessage, ReleaseWebsocketPayload; TLS of llib 1.2.2"},
	{Name: "nbio-blocking", Modes: []peers.Mode{peers.Off}, Serve: serveNBIO(nbhttp.IOModBlocking),
		How: "IOModBlocking, a goroutine for each connection, which it recommends for few; else as nbio"},
})

func serveNBIO(mode int) func(ln net.Listener, o peers.Options) error {
	return func(ln net.Listener, o peers.Options) error {
		logging.SetLevel(logging.LevelNone)
		upgrader := websocket.NewUpgrader()
		upgrader.BlockingModAsyncWrite = false
		upgrader.OnMessage(func(c *websocket.Conn, kind websocket.MessageType, message []byte) { c.WriteMessage(kind, message) })
		config := &nbiotls.Config{MinVersion: o.TLS.MinVersion}
		for _, c := range o.TLS.Certificates {
			config.Certificates = append(config.Certificates, nbiotls.Certificate{Certificate: c.Certificate, PrivateKey: c.PrivateKey})
		}
		e := nbhttp.NewEngine(nbhttp.Config{
			Network: "tcp", AddrsTLS: []string{ln.Addr().String()}, TLSConfig: config, IOMod: mode, ReleaseWebsocketPayload: true,
			Listen: func(string, string) (net.Listener, error) { return ln, nil },
			Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if c, err := upgrader.Upgrade(w, r, nil); err == nil {
					c.SetReadDeadline(time.Time{})
				}
			}),
		})
		if err := e.Start(); err != nil {
			return err
		}
		select {}
	}
}
