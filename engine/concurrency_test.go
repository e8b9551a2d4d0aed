package engine_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"zeroframe/engine"
	"zeroframe/frame"
)

// crowd is a handler whose connections are used by several goroutines each, from their opening until a while after
// their end, when their descriptors belong to others. All that a connection sends begins with its identity.
type crowd struct {
	engine.NopHandler
	t       testing.TB
	running sync.WaitGroup
	closed  atomic.Int64 // calls of OnClose
	open    atomic.Int64 // calls of OnOpen
}

type member struct {
	id   string
	addr string // as the handshake saw it; "": not known on this transport
}

func (h *crowd) OnUpgrade(u *engine.Upgrade) error {
	m := member{id: u.Request.PathValue("id") + ":"}
	if _, err := net.ResolveTCPAddr("tcp", u.Request.RemoteAddr); err == nil {
		m.addr = u.Request.RemoteAddr
	}
	u.UserData = m
	return nil
}

func (h *crowd) OnClose(*engine.Conn, engine.CloseReason) { h.closed.Add(1) }

// ended sorts the errors of sending: true once the connection has ended.
func (h *crowd) ended(call string, err error) bool {
	switch {
	case err == nil:
	case errors.Is(err, engine.ErrClosed):
		return true
	case errors.Is(err, engine.ErrBackpressure), errors.Is(err, engine.ErrFragment):
		runtime.Gosched()
	default:
		h.t.Errorf("%s: %v", call, err)
	}
	return false
}

// afterwards is how often a call is repeated when it has first said ErrClosed.
const afterwards = 100

func (h *crowd) OnOpen(c *engine.Conn) {
	h.open.Add(1)
	m := c.UserData().(member)
	use := func(f func(i int) (done bool)) {
		h.running.Go(func() {
			for i, after := 0, 0; after < afterwards; i++ {
				if f(i) {
					after++
				} else if after > 0 {
					h.t.Errorf("connection %s came back to life", m.id)
					return
				}
			}
		})
	}
	use(func(i int) bool {
		return h.ended("Send", c.Send(frame.Text, fmt.Appendf(nil, "%s message %d %s", m.id, i, pattern(i%50))))
	})
	prepared, err := engine.Prepare(frame.Binary, []byte(m.id+" prepared"))
	if err != nil {
		h.t.Error(err)
	}
	use(func(int) bool { return h.ended("SendPrepared", c.SendPrepared(prepared)) })
	use(func(i int) bool {
		return h.ended("SendFragment", c.SendFragment(frame.Binary, []byte(m.id+" fragment"), i%3 == 2))
	})
	use(func(i int) bool {
		c.Pause()
		if a := c.RemoteAddr(); a != nil && m.addr != "" && a.String() != m.addr {
			h.t.Errorf("connection %s of %s says its peer is %v", m.id, m.addr, a)
		}
		c.SetPingInterval(time.Duration(1+i%3) * time.Millisecond)
		c.Resume()
		if c.Buffered() < 0 {
			h.t.Errorf("connection %s: %d bytes buffered", m.id, c.Buffered())
		}
		c.Post(func() { c.Send(frame.Text, []byte(m.id+" posted")) })
		runtime.Gosched()
		return h.ended("Ping", c.Ping([]byte(m.id+" ping")))
	})
	if m.id[0] != '0' { // others are left to their client
		use(func(i int) bool {
			if i < 20 {
				runtime.Gosched()
				return false
			}
			if m.id[0] == '1' {
				c.Terminate()
			}
			return h.ended("Close", c.Close(frame.CloseNormal, m.id)) || m.id[0] == '1'
		})
	}
}

// Each connection's bytes are its own, whoever sends, and however it and those that follow on its descriptor end.
func TestManyGoroutinesUseConnectionsThatDie(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithMaxBackpressure(64<<10), engine.WithCloseTimeout(20*time.Millisecond))
		h := &crowd{t: t}
		s.handle("/{id}", h)
		const clients = 6
		rounds, frames := 20, 60
		if s.cut() {
			rounds, frames = 3, 15
		}
		var dial sync.Mutex // the transport's counter
		var all sync.WaitGroup
		for i := range clients {
			all.Go(func() {
				for round := range rounds {
					dial.Lock()
					nc := s.dial()
					dial.Unlock()
					// The first digit says who ends it: the client, Terminate, Close.
					h.visit(nc, fmt.Sprintf("%d-%d-%d", (i+round)%3, i, round), frames, round)
				}
			})
		}
		all.Wait()
		eventually(t, "every connection has ended", func() bool { return s.Stats().Conns == 0 })
		h.running.Wait() // not before: an OnOpen may still have been adding to it
		if h.open.Load() == 0 || h.open.Load() != h.closed.Load() {
			t.Errorf("%d opened, %d closed", h.open.Load(), h.closed.Load())
		}
	})
}

// visit opens a connection, reads up to so many frames, each of which must bear its identity, and leaves in one of
// several ways.
func (h *crowd) visit(nc net.Conn, id string, frames, way int) {
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(patience))
	c := &client{Conn: nc, t: h.t, r: bufio.NewReader(nc)}
	if _, err := nc.Write(upgradeRequest("/" + id)); err != nil {
		h.t.Errorf("writing a request: %v", err)
		return
	}
	for line := ""; line != "\r\n"; {
		var err error
		if line, err = c.r.ReadString('\n'); err != nil {
			if id[0] != '1' { // Terminate may be that quick
				h.t.Errorf("connection %s: reading the answer: %v", id, err)
			}
			return
		}
	}
	for range frames {
		f, err := c.readFrame()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				h.t.Errorf("connection %s: %v", id, err)
			}
			return // terminated
		}
		if f.op == frame.Close {
			if want := closePayload(frame.CloseNormal, id+":"); !bytes.Equal(f.payload, want) {
				h.t.Errorf("connection %s: %v", id, f)
			}
			break
		}
		if f.op == frame.Ping && len(f.payload) == 16 && !bytes.Contains(f.payload, []byte(" ping")) {
			continue // the engine's own
		}
		if !bytes.HasPrefix(f.payload, []byte(id+":")) {
			h.t.Errorf("connection %s got %v", id, f)
			return
		}
	}
	switch tcp, _ := nc.(*net.TCPConn); {
	case way%3 == 0 && tcp != nil:
		tcp.SetLinger(0) // a reset
	case way%3 == 1:
		nc.Write(encode(true, frame.Close, closePayload(frame.CloseNormal, "")))
	}
}

// A fragmented message that the connection's end cut short does not hide that end from other senders.
func TestSendOnAClosedConnectionInsideAFragmentedMessage(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start()
		h := newOpener()
		s.handle("/", h)
		c := s.open("/")
		conn := within(t, h.opened)
		if err := conn.SendFragment(frame.Text, []byte("unfinished"), false); err != nil {
			t.Fatal(err)
		}
		if err := conn.Send(frame.Text, nil); !errors.Is(err, engine.ErrFragment) {
			t.Errorf("Send inside a fragmented message: %v, want ErrFragment", err)
		}
		c.Close()
		h.wait(t)
		for call, err := range map[string]error{
			"Send":         conn.Send(frame.Text, nil),
			"SendText":     conn.SendText(""),
			"SendFragment": conn.SendFragment(frame.Text, nil, true),
			"another type": conn.SendFragment(frame.Binary, nil, true),
			"Ping":         conn.Ping(nil),
			"Close":        conn.Close(frame.CloseNormal, ""),
		} {
			if !errors.Is(err, engine.ErrClosed) {
				t.Errorf("%s: %v, want ErrClosed", call, err)
			}
		}
	})
}
