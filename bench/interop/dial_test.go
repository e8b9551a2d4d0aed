package interop

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	coder "github.com/coder/websocket"
	gorilla "github.com/gorilla/websocket"

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

// dialEach dials a server of each library.
func dialEach(t *testing.T, f func(t *testing.T, c *engine.Conn, h dialed, ended <-chan heard)) {
	for _, tt := range servers {
		t.Run(tt.name, func(t *testing.T) {
			ended := make(chan heard, 1)
			hs := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/ws" {
					http.NotFound(w, r)
					return
				}
				tt.serve(w, r, ended)
			}))
			defer hs.Close()
			e, err := engine.New(engine.WithLoops(1))
			if err != nil {
				t.Fatal(err)
			}
			defer e.Close()
			url := "ws" + strings.TrimPrefix(hs.URL, "http")
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
