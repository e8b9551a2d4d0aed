package main

import (
	"bytes"
	"io"
	"log"
	"net"
	"net/http"
	"slices"
	"sync"

	gorilla "github.com/gorilla/websocket"
	"github.com/lxzan/gws"

	"zeroframe/bench/peers"
	"zeroframe/engine"
	"zeroframe/frame"
)

// servers send each message that comes to every connection.
var servers = slices.Concat([]peers.Server{
	{Name: peers.Zeroframe, Serve: serveTopic,
		How: "one loop, one topic, Engine.Publish in OnMessage; MaxBackpressure of 1 MiB, above which a message is dropped for that member"},
	{Name: "gws", Serve: serveGWS,
		How: "gws.NewBroadcaster in OnMessage, Broadcast to each; its queues are unbounded"},
	{Name: "gorilla", Serve: serveGorilla,
		How: "NewPreparedMessage, a channel of 256 and a writing goroutine each; a full channel drops the message for that member"},
}, floors)

type topic struct {
	engine.NopHandler
	engine *engine.Engine
}

func (t *topic) OnOpen(c *engine.Conn) { c.Subscribe("all") }

func (t *topic) OnMessage(_ *engine.Conn, op frame.OpCode, payload []byte) {
	t.engine.Publish("all", op, payload)
}

func serveTopic(ln net.Listener, _ peers.Options) error {
	e, err := engine.New(engine.WithLoops(1), engine.WithPingInterval(0))
	if err != nil {
		return err
	}
	if err := e.Handle("/", &topic{engine: e}); err != nil {
		return err
	}
	return e.Serve(ln)
}

// members are the connections of a server, for those that have no such thing.
type members[C comparable] struct {
	sync.RWMutex
	list []C
}

func (m *members[C]) add(c C) {
	m.Lock()
	defer m.Unlock()
	m.list = append(m.list, c)
}

func (m *members[C]) remove(c C) {
	m.Lock()
	defer m.Unlock()
	if i := slices.Index(m.list, c); i >= 0 {
		m.list = slices.Delete(m.list, i, i+1)
	}
}

type gwsTopic struct {
	gws.BuiltinEventHandler
	members[*gws.Conn]
}

func (t *gwsTopic) OnOpen(c *gws.Conn)           { t.add(c) }
func (t *gwsTopic) OnClose(c *gws.Conn, _ error) { t.remove(c) }

func (t *gwsTopic) OnMessage(_ *gws.Conn, m *gws.Message) {
	b := gws.NewBroadcaster(m.Opcode, bytes.Clone(m.Bytes())) // it is still read when the message is gone
	m.Close()
	defer b.Close()
	t.RLock()
	defer t.RUnlock()
	for _, c := range t.list {
		b.Broadcast(c)
	}
}

func serveGWS(ln net.Listener, _ peers.Options) error {
	s := gws.NewServer(new(gwsTopic), nil)
	s.OnError = func(net.Conn, error) {}
	return s.RunListener(ln)
}

// waiting is how many messages may wait for a writing goroutine, as in gorilla's own example of a chat.
const waiting = 256

func serveGorilla(ln net.Listener, _ peers.Options) error {
	var all members[chan *gorilla.PreparedMessage]
	upgrader := gorilla.Upgrader{WriteBufferPool: new(sync.Pool)}
	server := http.Server{ErrorLog: log.New(io.Discard, "", 0), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer c.Close()
		queue := make(chan *gorilla.PreparedMessage, waiting)
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
			m, err := gorilla.NewPreparedMessage(kind, payload)
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
	})}
	return server.Serve(ln)
}
