package interop

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	coder "github.com/coder/websocket"
	"github.com/gobwas/ws"
	gorilla "github.com/gorilla/websocket"
	"github.com/lxzan/gws"

	"zeroframe/engine"
	"zeroframe/frame"
)

// heard is a close frame as a server's library reports it.
type heard struct {
	code   int
	reason string
}

// servers are echo servers of other libraries. They greet at once, in fragments where the library can, obey "close", and
// report how the connection ended.
var servers = []struct {
	name  string
	serve func(w http.ResponseWriter, r *http.Request, ended chan<- heard)
}{
	{"gorilla", serveGorilla},
	{"coder", serveCoder},
	{"gws", serveGWS},
	{"gobwas", serveGobwas},
}

func closeOrder(message []byte) (h heard, ok bool) {
	rest, ok := strings.CutPrefix(string(message), "close ")
	if ok {
		fmt.Sscan(rest, &h.code)
		_, h.reason, _ = strings.Cut(rest, " ")
	}
	return h, ok
}

func serveGorilla(w http.ResponseWriter, r *http.Request, ended chan<- heard) {
	u := gorilla.Upgrader{Subprotocols: []string{"v2"}, WriteBufferSize: 512}
	c, err := u.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer c.Close()
	c.SetReadDeadline(time.Now().Add(patience))
	c.WriteMessage(gorilla.TextMessage, pattern(5000)) // in fragments: the buffer is small
	c.WriteControl(gorilla.PingMessage, []byte("there?"), time.Time{})
	for {
		kind, p, err := c.ReadMessage()
		var ce *gorilla.CloseError
		if errors.As(err, &ce) {
			ended <- heard{ce.Code, ce.Text}
		}
		if err != nil {
			return
		}
		if h, ok := closeOrder(p); ok {
			c.WriteControl(gorilla.CloseMessage, gorilla.FormatCloseMessage(h.code, h.reason), time.Time{})
			continue
		}
		w, err := c.NextWriter(kind)
		if err != nil {
			return
		}
		w.Write(p)
		w.Close()
	}
}

func serveCoder(w http.ResponseWriter, r *http.Request, ended chan<- heard) {
	c, err := coder.Accept(w, r, &coder.AcceptOptions{Subprotocols: []string{"v2"}})
	if err != nil {
		return
	}
	defer c.CloseNow()
	c.SetReadLimit(-1)
	ctx, cancel := bounded()
	defer cancel()
	m, _ := c.Writer(ctx, coder.MessageText)
	m.Write(pattern(5000)[:2000])
	m.Write(pattern(5000)[2000:])
	m.Close()
	go c.Ping(ctx)
	for {
		kind, p, err := c.Read(ctx)
		var ce coder.CloseError
		if errors.As(err, &ce) {
			ended <- heard{int(ce.Code), ce.Reason}
		}
		if err != nil {
			return
		}
		if h, ok := closeOrder(p); ok {
			if c.Close(coder.StatusCode(h.code), h.reason) == nil { // it has checked the answer
				ended <- heard{h.code, ""}
			}
			return
		}
		c.Write(ctx, kind, p)
	}
}

// gwsServer obeys, and echoes large messages in fragments.
type gwsServer struct {
	gws.BuiltinEventHandler
	ended chan<- heard
}

func (h gwsServer) OnOpen(c *gws.Conn) {
	c.WriteMessage(gws.OpcodeText, pattern(5000))
	c.WritePing([]byte("there?"))
}

func (h gwsServer) OnPing(c *gws.Conn, payload []byte) { c.WritePong(payload) }

func (h gwsServer) OnMessage(c *gws.Conn, m *gws.Message) {
	defer m.Close()
	if o, ok := closeOrder(m.Bytes()); ok {
		if c.WriteClose(uint16(o.code), []byte(o.reason)) == nil { // it closes the socket behind it and hears no answer
			h.ended <- heard{o.code, ""}
		}
		return
	}
	c.WriteFile(m.Opcode, bytes.NewReader(m.Bytes()))
}

func (h gwsServer) OnClose(_ *gws.Conn, err error) {
	var ce *gws.CloseError
	if errors.As(err, &ce) {
		h.ended <- heard{int(ce.Code), string(ce.Reason)}
	}
}

func serveGWS(w http.ResponseWriter, r *http.Request, ended chan<- heard) {
	u := gws.NewUpgrader(gwsServer{ended: ended}, &gws.ServerOption{SubProtocols: []string{"v2"}, CheckUtf8Enabled: true})
	c, err := u.Upgrade(w, r)
	if err != nil {
		return
	}
	c.SetDeadline(time.Now().Add(patience))
	c.ReadLoop()
}

// serveGobwas works on the library's frames: each is sent back as it came.
func serveGobwas(w http.ResponseWriter, r *http.Request, ended chan<- heard) {
	c, rw, _, err := ws.HTTPUpgrader{Protocol: func(p string) bool { return p == "v2" }}.Upgrade(r, w)
	if err != nil {
		return
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	ws.WriteFrame(c, ws.NewFrame(ws.OpText, false, pattern(5000)[:2000]))
	ws.WriteFrame(c, ws.NewPingFrame([]byte("there?")))
	ws.WriteFrame(c, ws.NewFrame(ws.OpContinuation, true, pattern(5000)[2000:]))
	state, closing := ws.StateServerSide, false
	for {
		f, err := ws.ReadFrame(rw)
		if err != nil || ws.CheckHeader(f.Header, state) != nil {
			return
		}
		f = ws.UnmaskFrameInPlace(f)
		switch op := f.Header.OpCode; {
		case op == ws.OpPing:
			err = ws.WriteFrame(c, ws.NewPongFrame(f.Payload))
		case op == ws.OpPong:
		case op == ws.OpClose:
			code, reason := ws.ParseCloseFrameData(f.Payload)
			if !closing {
				ws.WriteFrame(c, ws.NewCloseFrame(ws.NewCloseFrameBody(code, "")))
			}
			ended <- heard{int(code), reason}
			return
		default:
			state = ws.StateServerSide
			if !f.Header.Fin {
				state = state.Set(ws.StateFragmented)
			}
			if o, ok := closeOrder(f.Payload); ok {
				closing = true
				f = ws.NewCloseFrame(ws.NewCloseFrameBody(ws.StatusCode(o.code), o.reason))
			}
			err = ws.WriteFrame(c, f)
		}
		if err != nil {
			return
		}
	}
}

// dialed records what a client of ours hears.
type dialed struct {
	engine.NopHandler
	messages chan string
	closed   chan engine.CloseReason
	pongs    chan string
}

func (h dialed) OnMessage(_ *engine.Conn, op frame.OpCode, p []byte) {
	h.messages <- op.String() + " " + string(p)
}
func (h dialed) OnClose(_ *engine.Conn, r engine.CloseReason) { h.closed <- r }
func (h dialed) OnPong(_ *engine.Conn, p []byte)              { h.pongs <- string(p) }

// httpServers are the ways a library's server is reached.
var httpServers = []struct {
	name  string
	start func(http.Handler) *httptest.Server
}{
	{"plain", httptest.NewServer},
	{"tls", httptest.NewTLSServer},
}

// dialing returns an engine that trusts the server, and the URL to dial.
func dialing(t *testing.T, hs *httptest.Server, opts ...engine.Option) (*engine.Engine, string) {
	t.Helper()
	trust := hs.Client().Transport.(*http.Transport).TLSClientConfig
	e, err := engine.New(append([]engine.Option{engine.WithLoops(1), engine.WithClientTLS(trust)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e, "ws" + strings.TrimPrefix(hs.URL, "http")
}

// dialEach dials a server of each library, with and without TLS.
func dialEach(t *testing.T, f func(t *testing.T, c *engine.Conn, h dialed, ended <-chan heard)) {
	for i := range len(servers) * len(httpServers) {
		tt, over := servers[i/len(httpServers)], httpServers[i%len(httpServers)]
		t.Run(tt.name+"/"+over.name, func(t *testing.T) {
			ended := make(chan heard, 1)
			hs := over.start(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/ws" {
					http.NotFound(w, r)
					return
				}
				tt.serve(w, r, ended)
			}))
			defer hs.Close()
			e, url := dialing(t, hs)
			ctx, cancel := bounded()
			defer cancel()
			h := dialed{messages: make(chan string, 100), closed: make(chan engine.CloseReason, 1), pongs: make(chan string, 100)}
			var he *engine.HandshakeError
			if _, err := e.Dial(ctx, url+"/elsewhere", nil, h); !errors.As(err, &he) || he.Status != 404 {
				t.Errorf("a path that is not served: %v", err)
			}
			c, err := e.Dial(ctx, url+"/ws", http.Header{"X-Custom": {"1"}}, h, engine.Subprotocols("v1", "v2"))
			if err != nil {
				t.Fatal(err)
			}
			if c.Subprotocol() != "v2" {
				t.Errorf("subprotocol %q", c.Subprotocol())
			}
			if got := within(t, h.messages); got != "text "+string(pattern(5000)) {
				t.Errorf("greeted with %.40q", got)
			}
			f(t, c, h, ended)
		})
	}
}

func TestDialExchangesMessages(t *testing.T) {
	dialEach(t, func(t *testing.T, c *engine.Conn, h dialed, _ <-chan heard) {
		for _, n := range sizes {
			for _, op := range []frame.OpCode{frame.Text, frame.Binary} {
				if err := c.Send(op, pattern(n)); err != nil {
					t.Fatal(err)
				}
				if got := within(t, h.messages); got != op.String()+" "+string(pattern(n)) {
					t.Fatalf("%d bytes of %v: %d bytes %.40q", n, op, len(got), got)
				}
			}
		}
		for i, part := range []string{"one", "", "two"} {
			if err := c.SendFragment(frame.Text, []byte(part), i == 2); err != nil {
				t.Fatal(err)
			}
		}
		if got := within(t, h.messages); got != "text onetwo" {
			t.Errorf("fragments came back as %q", got)
		}
		if err := c.Ping([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		if got := within(t, h.pongs); got != "hello" {
			t.Errorf("pong %q", got)
		}
	})
}

func TestDialClosesFirst(t *testing.T) {
	for _, tt := range closes {
		t.Run(fmt.Sprint(tt.code, tt.reason != ""), func(t *testing.T) {
			dialEach(t, func(t *testing.T, c *engine.Conn, h dialed, ended <-chan heard) {
				if err := c.Close(frame.CloseCode(tt.code), tt.reason); err != nil {
					t.Fatal(err)
				}
				if got := within(t, ended); got != (heard{tt.code, tt.reason}) {
					t.Errorf("the server heard %v", got)
				}
				if r := within(t, h.closed); int(r.Code) != tt.code || r.Text != tt.reason || r.Remote || r.Err != nil {
					t.Errorf("we ended with %+v", r)
				}
			})
		})
	}
}

func TestDialAnswersAClose(t *testing.T) {
	for _, tt := range closes {
		t.Run(fmt.Sprint(tt.code, tt.reason != ""), func(t *testing.T) {
			dialEach(t, func(t *testing.T, c *engine.Conn, h dialed, ended <-chan heard) {
				c.SendText(fmt.Sprintf("close %d %s", tt.code, tt.reason))
				if r := within(t, h.closed); int(r.Code) != tt.code || r.Text != tt.reason || !r.Remote {
					t.Errorf("we heard %+v", r)
				}
				if got := within(t, ended); got.code != tt.code {
					t.Errorf("our answer was %v", got)
				}
			})
		})
	}
}
