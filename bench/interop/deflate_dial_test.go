package interop

import (
	"bytes"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	coder "github.com/coder/websocket"
	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsflate"
	gorilla "github.com/gorilla/websocket"
	"github.com/lxzan/gws"

	"zeroframe/deflate"
	"zeroframe/engine"
)

// What becomes of an offer besides an answer to it.
const (
	declined = "" // no extension
	// refused is an answer that leaves the server's window larger than was asked for, which RFC 7692, section 7.1.2.1, does
	// not allow a server that accepts: it would refer to what is no longer kept. The client must fail the connection.
	refused = "refused"
)

// deflateServers are echo servers of the libraries with their compression on. answers are what they make of the offers of
// the agreements, in their order.
var deflateServers = []struct {
	name    string
	serve   http.Handler
	answers [5]string
}{
	{"gorilla", http.HandlerFunc(serveGorillaDeflate), [5]string{none, none, refused, refused, refused}},
	{"coder", serveCoderDeflate(coder.CompressionNoContextTakeover), [5]string{
		pmd + noneIn + noneOut, pmd + noneIn + noneOut, declined, declined, declined}},
	{"coder, takeover", serveCoderDeflate(coder.CompressionContextTakeover), [5]string{
		pmd + noneIn + noneOut, pmd, declined, declined, declined}},
	{"gws", serveGWSDeflate(gws.PermessageDeflate{}), [5]string{none, none, refused, refused, refused}},
	{"gws, takeover", serveGWSDeflate(gws.PermessageDeflate{ServerContextTakeover: true, ClientContextTakeover: true}), [5]string{
		none + "; server_max_window_bits=12; client_max_window_bits=12",
		pmd + "; server_max_window_bits=12; client_max_window_bits=12",
		pmd + "; server_max_window_bits=12; client_max_window_bits=12",
		refused, refused}},
	{"gws, windows of 256 B", serveGWSDeflate(gws.PermessageDeflate{ServerContextTakeover: true, ClientContextTakeover: true, ServerMaxWindowBits: 8, ClientMaxWindowBits: 8}), [5]string{
		none + "; server_max_window_bits=8; client_max_window_bits=8",
		pmd + "; server_max_window_bits=8; client_max_window_bits=8",
		pmd + "; server_max_window_bits=8; client_max_window_bits=8",
		pmd + "; server_max_window_bits=8; client_max_window_bits=8",
		pmd + "; server_max_window_bits=8; client_max_window_bits=8"}},
	{"gobwas", serveGobwasDeflate(wsflate.DefaultParameters), [5]string{none, none, declined, declined, declined}},
	{"gobwas, windows of 32 KiB", serveGobwasDeflate(wsflate.Parameters{ServerNoContextTakeover: true, ClientNoContextTakeover: true, ServerMaxWindowBits: 15}), [5]string{
		none + "; server_max_window_bits=15", none + "; server_max_window_bits=15", refused, refused, refused}},
}

func TestDialExchangesCompressedMessages(t *testing.T) {
	for _, d := range deflateServers {
		for i, a := range agreements {
			t.Run(d.name+"/"+a.name, func(t *testing.T) {
				t.Parallel()
				hs := httptest.NewServer(d.serve)
				defer hs.Close()
				w := tapOn(t, hs.Listener.Addr().String())
				for _, callbacks := range []bool{false, true} {
					e, err := engine.New(engine.WithLoops(1), engine.WithCompression(a.c))
					if err != nil {
						t.Fatal(err)
					}
					defer e.Close()
					p, c, err := dialOurs(e, w.url, callbacks)
					answer := within(t, w.answers)
					if d.answers[i] == refused {
						var he *engine.HandshakeError
						if !errors.As(err, &he) || he.Status != http.StatusSwitchingProtocols {
							t.Errorf("the answer %q: %v, want a handshake error", answer, err)
						}
						continue
					}
					if err != nil {
						t.Fatalf("the answer %q: %v", answer, err)
					}
					if got := spaced(answer); got != d.answers[i] {
						t.Fatalf("answered %q, want %q", got, d.answers[i])
					}
					agreed := answer != declined
					if got := strings.Join(c.Extensions(), ", "); got == deflate.Name != agreed || !agreed && got != "" {
						t.Errorf("extensions %q after %q", got, answer)
					}
					exchange(t, p, callbacks == (i%2 == 0))
					if agreed {
						takes := a.c.TakeoverOut && !strings.Contains(answer, noneIn[2:])
						repeats(t, w, p, takes, !strings.Contains(answer, noneOut[2:]))
						compressed(t, e)
					} else if n := e.Stats(); n.Deflated != 0 || n.Inflated != 0 {
						t.Errorf("deflated %d, inflated %d without an agreement", n.Deflated, n.Inflated)
					}
					if err := c.Close(1000, "done"); err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
}

// Over TLS nobody sees the wire: the engine's own counts say that messages were compressed.
func TestDialExchangesCompressedMessagesOverTLS(t *testing.T) {
	for _, d := range deflateServers {
		for i, a := range agreements {
			if d.answers[i] == refused {
				continue
			}
			t.Run(d.name+"/"+a.name, func(t *testing.T) {
				t.Parallel()
				hs := httptest.NewTLSServer(d.serve)
				defer hs.Close()
				for _, callbacks := range []bool{false, true} {
					e, url := dialing(t, hs, engine.WithCompression(a.c))
					p, c, err := dialOurs(e, url, callbacks)
					if err != nil {
						t.Fatal(err)
					}
					if agreed := len(c.Extensions()) > 0; agreed != (d.answers[i] != declined) {
						t.Errorf("extensions %q", c.Extensions())
					}
					exchange(t, p, callbacks == (i%2 == 0))
					if n := e.Stats(); (n.Deflated > 0 && n.Inflated > 0) != (d.answers[i] != declined) {
						t.Errorf("deflated %d, inflated %d", n.Deflated, n.Inflated)
					}
					if err := c.Close(1000, "done"); err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
}

// spaced is an answer with a space behind each semicolon.
func spaced(answer string) string {
	parts := strings.Split(answer, ";")
	for i, p := range parts {
		parts[i] = strings.TrimSpace(p)
	}
	return strings.Join(parts, "; ")
}

func dialOurs(e *engine.Engine, url string, callbacks bool) (talker, *engine.Conn, error) {
	ctx, cancel := bounded()
	defer cancel()
	if !callbacks {
		s, err := e.DialSession(ctx, url, nil)
		if err != nil {
			return nil, nil, err
		}
		return ourSession{s}, s.Conn(), nil
	}
	p := ourConn{messages: make(chan ourMessage, 100), closed: make(chan engine.CloseReason, 1)}
	c, err := e.Dial(ctx, url, nil, recorder{ourConn: p})
	p.Conn = c
	return p, c, err
}

func serveGorillaDeflate(w http.ResponseWriter, r *http.Request) {
	u := gorilla.Upgrader{EnableCompression: true, WriteBufferSize: 512} // a small buffer makes fragments
	c, err := u.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer c.Close()
	c.SetReadDeadline(time.Now().Add(lasting))
	for {
		kind, p, err := c.ReadMessage()
		if err != nil {
			return
		}
		w, err := c.NextWriter(kind)
		if err != nil {
			return
		}
		w.Write(p)
		w.Close()
	}
}

// serveCoderDeflate: every second answer is sent in fragments.
func serveCoderDeflate(mode coder.CompressionMode) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		c, err := coder.Accept(w, r, &coder.AcceptOptions{CompressionMode: mode, CompressionThreshold: 1})
		if err != nil {
			return
		}
		defer c.CloseNow()
		c.SetReadLimit(-1)
		p := coderClient{c}
		for i := 0; ; i++ {
			text, m, err := p.receive()
			if err != nil {
				return
			}
			if i%2 == 0 {
				p.send(text, m)
			} else {
				p.sendFragments(text, m[:len(m)/2], m[len(m)/2:])
			}
		}
	}
}

// gwsEcho answers every second message in fragments.
type gwsEcho struct {
	gws.BuiltinEventHandler
	files bool
}

func (h *gwsEcho) OnMessage(c *gws.Conn, m *gws.Message) {
	defer m.Close()
	if h.files = !h.files; h.files {
		c.WriteMessage(m.Opcode, m.Bytes())
	} else {
		c.WriteFile(m.Opcode, bytes.NewReader(m.Bytes()))
	}
}

func serveGWSDeflate(pd gws.PermessageDeflate) http.HandlerFunc {
	pd.Enabled, pd.Threshold, pd.PoolSize = true, 1, 1
	return func(w http.ResponseWriter, r *http.Request) {
		u := gws.NewUpgrader(new(gwsEcho), &gws.ServerOption{PermessageDeflate: pd, CheckUtf8Enabled: true})
		c, err := u.Upgrade(w, r)
		if err != nil {
			return
		}
		c.SetDeadline(time.Now().Add(lasting))
		c.ReadLoop()
	}
}

func serveGobwasDeflate(terms wsflate.Parameters) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		x := wsflate.Extension{Parameters: terms}
		c, rw, _, err := ws.HTTPUpgrader{Negotiate: x.Negotiate}.Upgrade(r, w)
		if err != nil {
			return
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(lasting))
		_, agreed := x.Accepted()
		echoGobwas(newGobwasDeflater(c, rw.Reader, ws.StateServerSide, agreed))
	}
}

// echoGobwas answers every second message in fragments.
func echoGobwas(p talker) {
	for i := 0; ; i++ {
		text, m, err := p.receive()
		if err != nil {
			return
		}
		if i%2 == 0 {
			err = p.send(text, m)
		} else {
			err = p.sendFragments(text, m[:len(m)/2], m[len(m)/2:])
		}
		if err != nil {
			return
		}
	}
}
