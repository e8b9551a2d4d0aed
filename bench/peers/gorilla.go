package peers

import (
	"bytes"
	"net"
	"net/http"
	"sync"

	"github.com/gorilla/websocket"
)

var gorillaServer = &Server{
	Name: "gorilla", Modes: []Mode{Off, NoTakeover}, TLS: true,
	How:         "NextReader into a buffer of the connection's, WriteMessage, write buffers of a message in a pool; text not checked",
	Compressing: "no takeover",
	Publishing:  "NewPreparedMessage, a channel of 256 and a writing goroutine each; a full channel drops the message for that member",
	echo:        listening(serveGorilla),
	topic:       listening(publishGorilla),
}

func serveGorilla(ln net.Listener, o Options) error {
	upgrader := websocket.Upgrader{
		EnableCompression: o.Mode == NoTakeover,
		// A write buffer that holds a message, or it leaves in several frames. Long ones are not compressed here.
		WriteBufferSize: min(max(4096, o.Size+512), 64<<10),
		WriteBufferPool: new(sync.Pool),
	}
	return serveHTTP(o.listener(ln), func(w http.ResponseWriter, r *http.Request) {
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

// waiting is how many messages may wait for a writing goroutine, as in gorilla's own example of a chat.
const waiting = 256

func publishGorilla(ln net.Listener, _ Options) error {
	var all members[chan *websocket.PreparedMessage]
	upgrader := websocket.Upgrader{WriteBufferPool: new(sync.Pool)}
	return serveHTTP(ln, func(w http.ResponseWriter, r *http.Request) {
		c, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer c.Close()
		queue := make(chan *websocket.PreparedMessage, waiting)
		all.add(queue)
		defer close(queue)
		defer all.remove(queue)
		go func() {
			for m := range queue {
				if c.WritePreparedMessage(m) != nil {
					c.Close()
				}
			}
		}()
		for {
			kind, payload, err := c.ReadMessage()
			if err != nil {
				return
			}
			m, err := websocket.NewPreparedMessage(kind, payload)
			if err != nil {
				return
			}
			all.RLock()
			for _, queue := range all.list {
				select {
				case queue <- m:
				default:
				}
			}
			all.RUnlock()
		}
	})
}
