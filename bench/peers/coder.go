package peers

import (
	"bytes"
	"context"
	"net"
	"net/http"

	"github.com/coder/websocket"
)

var coderServer = &Server{
	Name: "coder", Modes: []Mode{Off, NoTakeover, Takeover}, TLS: true,
	How:         "Reader into a buffer of the connection's, Write; text not checked",
	Compressing: "takeover with its window of 32 KiB",
	echo:        listening(serveCoder),
}

var coderModes = map[Mode]websocket.CompressionMode{
	NoTakeover: websocket.CompressionNoContextTakeover,
	Takeover:   websocket.CompressionContextTakeover,
}

func serveCoder(ln net.Listener, o Options) error {
	options := &websocket.AcceptOptions{CompressionThreshold: 1, CompressionMode: coderModes[o.Mode]} // else disabled
	return serveHTTP(o.listener(ln), func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, options)
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
