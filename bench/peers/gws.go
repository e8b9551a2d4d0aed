package peers

import (
	"bytes"
	"net"

	"github.com/lxzan/gws"
)

var gwsServer = &Server{
	Name: "gws", Modes: []Mode{Off, NoTakeover, Takeover}, TLS: true,
	How:         "gws.NewServer, WriteMessage in OnMessage, text not checked",
	Compressing: "PoolSize 1 (its default of 32 is slower on one core); takeover with its default window of 4 KiB",
	Publishing:  "gws.NewBroadcaster in OnMessage, Broadcast to each; its queues are unbounded",
	echo:        listening(serveGWS),
	topic:       listening(publishGWS),
}

// gwsEcho is the library's own example of an echo.
type gwsEcho struct{ gws.BuiltinEventHandler }

func (gwsEcho) OnMessage(c *gws.Conn, m *gws.Message) {
	defer m.Close()
	c.WriteMessage(m.Opcode, m.Bytes())
}

func (gwsEcho) OnPing(c *gws.Conn, payload []byte) { c.WritePong(payload) }

func serveGWS(ln net.Listener, o Options) error {
	compress := o.Mode == NoTakeover || o.Mode == Takeover
	s := gws.NewServer(gwsEcho{}, &gws.ServerOption{
		// A pool of one compressor for the one core: in turn through the 32 of its default, each cold, it takes twice the time.
		PermessageDeflate: gws.PermessageDeflate{Enabled: compress, ServerContextTakeover: o.Mode == Takeover, Threshold: 1, PoolSize: 1},
	})
	s.OnError = func(net.Conn, error) {}
	return s.RunListener(o.listener(ln)) // as its RunTLS does
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

func publishGWS(ln net.Listener, _ Options) error {
	s := gws.NewServer(new(gwsTopic), nil)
	s.OnError = func(net.Conn, error) {}
	return s.RunListener(ln)
}
