package interop

import (
	"bytes"
	"compress/flate"
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	coder "github.com/coder/websocket"
	"github.com/gobwas/httphead"
	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsflate"
	"github.com/gobwas/ws/wsutil"
	gorilla "github.com/gorilla/websocket"
	"github.com/lxzan/gws"

	"zeroframe/engine"
)

// deflaters are the libraries' clients with their compression on. answers are what each must be answered on the terms of
// the agreements (RFC 7692, section 7.1): client_max_window_bits only when it was offered.
var deflaters = []struct {
	name    string
	dial    func(url string) (peer, error)
	answers [5]string
}{
	{"gorilla", dialGorillaDeflate, [5]string{
		none, none, none + "; server_max_window_bits=12", none + "; server_max_window_bits=9", none + "; server_max_window_bits=8"}},
	{"coder", dialCoderDeflate(coder.CompressionNoContextTakeover), [5]string{
		none, none, none + "; server_max_window_bits=12", none + "; server_max_window_bits=9", none + "; server_max_window_bits=8"}},
	{"coder, takeover", dialCoderDeflate(coder.CompressionContextTakeover), [5]string{
		none, pmd, pmd + noneIn + "; server_max_window_bits=12", pmd + noneIn + "; server_max_window_bits=9", pmd + noneIn + "; server_max_window_bits=8"}},
	{"gws", dialGWSDeflate(gws.PermessageDeflate{}), [5]string{
		none, none, none + "; server_max_window_bits=12", none + "; server_max_window_bits=9", none + "; server_max_window_bits=8"}},
	{"gws, takeover", dialGWSDeflate(gws.PermessageDeflate{ServerContextTakeover: true, ClientContextTakeover: true}), [5]string{
		none + "; client_max_window_bits=15", pmd + "; client_max_window_bits=15",
		pmd + "; server_max_window_bits=12; client_max_window_bits=12",
		pmd + "; server_max_window_bits=9; client_max_window_bits=9",
		pmd + "; server_max_window_bits=8; client_max_window_bits=8"}},
	{"gws, windows of 1 KiB", dialGWSDeflate(gws.PermessageDeflate{ServerContextTakeover: true, ClientContextTakeover: true, ServerMaxWindowBits: 10, ClientMaxWindowBits: 10}), [5]string{
		none + "; server_max_window_bits=10; client_max_window_bits=10",
		pmd + "; server_max_window_bits=10; client_max_window_bits=10",
		pmd + "; server_max_window_bits=10; client_max_window_bits=10",
		pmd + "; server_max_window_bits=9; client_max_window_bits=9",
		pmd + "; server_max_window_bits=8; client_max_window_bits=8"}},
	{"gobwas", dialGobwasDeflate, [5]string{
		none, none, none + "; server_max_window_bits=12", none + "; server_max_window_bits=9", none + "; server_max_window_bits=8"}},
}

func TestEveryClientExchangesCompressedMessages(t *testing.T) {
	for _, d := range deflaters {
		for i, a := range agreements {
			t.Run(d.name+"/"+a.name, func(t *testing.T) {
				t.Parallel()
				e, s := serveDeflate(t, a.c)
				w := tapOn(t, s.address())
				for j, route := range echoRoutes {
					p, err := d.dial(w.url + route)
					if err != nil {
						t.Fatalf("%s: %v", route, err)
					}
					defer p.drop()
					answer := within(t, w.answers)
					if answer != d.answers[i] {
						t.Fatalf("%s is answered %q, want %q", route, answer, d.answers[i])
					}
					exchange(t, p, (i+j)%len(echoRoutes) == 0)
					repeats(t, w, p, !strings.Contains(answer, noneIn), !strings.Contains(answer, noneOut))
					if code, _, err := p.close(1000, "done"); err != nil || code != 1000 {
						t.Errorf("%s: close is answered %d, %v", route, code, err)
					}
				}
				compressed(t, e)
			})
		}
	}
}

// Over TLS nobody sees the wire: the engine's own counts say that messages were compressed.
func TestEveryClientExchangesCompressedMessagesOverTLS(t *testing.T) {
	for _, d := range deflaters {
		for i, a := range agreements {
			t.Run(d.name+"/"+a.name, func(t *testing.T) {
				t.Parallel()
				e, s := serveDeflate(t, a.c)
				for j, route := range echoRoutes {
					p, err := d.dial(s.wss + route)
					if err != nil {
						t.Fatalf("%s: %v", route, err)
					}
					defer p.drop()
					exchange(t, p, (i+j)%len(echoRoutes) == 0)
					if code, _, err := p.close(1000, "done"); err != nil || code != 1000 {
						t.Errorf("%s: close is answered %d, %v", route, code, err)
					}
				}
				if n := e.Stats(); n.Deflated == 0 || n.Inflated == 0 {
					t.Errorf("deflated %d, inflated %d", n.Deflated, n.Inflated)
				}
			})
		}
	}
}

// gwsDefect keeps pings away from gws 1.8.9 where it takes its context over: it adds the payloads of pings and pongs to the
// window (Conn.doWrite), though only messages are compressed (RFC 7692, section 6), and refers to them later on. What
// comes out of its messages then is something else, or nothing.
const gwsDefect = "gws adds the payloads of control frames to its window"

func TestPingsStandBesideCompressedMessages(t *testing.T) {
	for _, d := range deflaters {
		for _, a := range agreements[:2] {
			t.Run(d.name+"/"+a.name, func(t *testing.T) {
				if strings.HasPrefix(d.name, "gws,") && a.c.TakeoverIn {
					t.Skip(gwsDefect)
				}
				e, s := serveDeflate(t, a.c, engine.WithPingInterval(time.Millisecond))
				p, err := d.dial(s.url + "/session")
				if err != nil {
					t.Fatal(err)
				}
				defer p.drop()
				began := time.Now()
				for i := 0; i < 60 || e.Stats().PongsIn == 0; i++ {
					if time.Since(began) > patience {
						t.Fatal("the client answers no ping")
					}
					if i%5 == 0 {
						if err := p.ping(string(unlike(byte(i))[:120])); err != nil {
							t.Fatal(err)
						}
					}
					for _, m := range [][]byte{unlike(byte(i)), prose(400, uint64(i/10))} {
						if err := p.send(true, m); err != nil {
							t.Fatal(err)
						}
						expect(t, p, true, m)
					}
				}
			})
		}
	}
}

func TestEveryLayerCountsWhatItCompressed(t *testing.T) {
	for _, route := range echoRoutes {
		t.Run(route[1:], func(t *testing.T) {
			e, s := serveDeflate(t, agreements[0].c)
			p, err := dialGorillaDeflate(s.url + route)
			if err != nil {
				t.Fatal(err)
			}
			defer p.drop()
			for _, n := range []int{1000, 200_000} {
				before := e.Stats()
				if err := p.send(true, prose(n, 1)); err != nil {
					t.Fatal(err)
				}
				expect(t, p, true, prose(n, 1))
				after := e.Stats()
				if in, out := after.Inflated-before.Inflated, after.Deflated-before.Deflated; in != uint64(n) || out != uint64(n) {
					t.Errorf("a message of %d bytes counts as %d inflated and %d deflated", n, in, out)
				}
			}
		})
	}
}

func dialGorillaDeflate(url string) (peer, error) {
	d := gorilla.Dialer{WriteBufferSize: 512, EnableCompression: true, HandshakeTimeout: patience, TLSClientConfig: trusting()}
	c, _, err := d.Dial(url, nil)
	if err != nil {
		return nil, err
	}
	c.SetReadDeadline(time.Now().Add(lasting))
	return gorillaClient{c}, nil
}

func dialCoderDeflate(mode coder.CompressionMode) func(string) (peer, error) {
	return func(url string) (peer, error) {
		ctx, cancel := bounded()
		defer cancel()
		c, _, err := coder.Dial(ctx, url, &coder.DialOptions{CompressionMode: mode, CompressionThreshold: 1, HTTPClient: coderHTTP()})
		if err != nil {
			return nil, err
		}
		c.SetReadLimit(-1)
		return coderClient{c}, nil
	}
}

func dialGWSDeflate(pd gws.PermessageDeflate) func(string) (peer, error) {
	pd.Enabled, pd.Threshold = true, 1
	return func(url string) (peer, error) {
		c := &gwsClient{messages: make(chan gwsMessage, 100), pongs: make(chan string, 100), closed: make(chan error, 1)}
		conn, _, err := gws.NewClient(c, &gws.ClientOption{Addr: url, CheckUtf8Enabled: true, HandshakeTimeout: patience, PermessageDeflate: pd, TlsConfig: trusting()})
		if err != nil {
			return nil, err
		}
		c.Conn = conn
		go conn.ReadLoop()
		return c, nil
	}
}

func dialGobwasDeflate(url string) (peer, error) {
	d := ws.Dialer{Extensions: []httphead.Option{wsflate.DefaultParameters.Option()}, Timeout: patience, TLSConfig: trusting()}
	c, br, _, err := d.Dial(context.Background(), url)
	if err != nil {
		return nil, err
	}
	c.SetDeadline(time.Now().Add(lasting))
	var r io.Reader = c
	if br != nil { // something came behind the answer
		r = br
	}
	return newGobwasDeflater(c, r, ws.StateClientSide, true), nil
}

// gobwasDeflater compresses on either side of a connection. The library leaves the frames to the user.
type gobwasDeflater struct {
	gobwasClient
	side    ws.State
	frames  wsutil.Reader
	in, out wsflate.MessageState
	z       *flate.Writer // nil: nothing was agreed on
}

func newGobwasDeflater(c net.Conn, r io.Reader, side ws.State, agreed bool) *gobwasDeflater {
	d := &gobwasDeflater{gobwasClient: gobwasClient{Conn: c, r: r}, side: side}
	d.frames = wsutil.Reader{Source: r, State: side, OnIntermediate: wsutil.ControlFrameHandler(c, side)}
	if agreed {
		d.frames.State |= ws.StateExtended
		d.frames.Extensions = []wsutil.RecvExtension{&d.in}
		d.out.SetCompressed(true)
		d.z, _ = flate.NewWriter(nil, flate.DefaultCompression)
	}
	return d
}

func (d *gobwasDeflater) compressor(w io.Writer) wsflate.Compressor {
	d.z.Reset(w)
	return d.z
}

// send: the library ends the stream of each message with a last block, and then cuts its tail (RFC 7692, section 7.2.3.4).
func (d *gobwasDeflater) send(text bool, payload []byte) error {
	if d.z == nil {
		return wsutil.WriteMessage(d.Conn, d.side, gobwasType(text), payload)
	}
	h := wsflate.Helper{Compressor: d.compressor}
	f, err := h.CompressFrame(ws.NewFrame(gobwasType(text), true, payload))
	if err != nil {
		return err
	}
	if d.side.ClientSide() {
		f = ws.MaskFrameInPlace(f)
	}
	return ws.WriteFrame(d.Conn, f)
}

func (d *gobwasDeflater) sendFragments(text bool, parts ...[]byte) error {
	fragments := wsutil.NewWriterSize(d.Conn, d.side, gobwasType(text), 512)
	if d.z == nil {
		for _, p := range parts {
			if _, err := fragments.Write(p); err != nil {
				return err
			}
		}
		return fragments.Flush()
	}
	fragments.SetExtensions(&d.out)
	w := wsflate.NewWriter(fragments, d.compressor)
	for _, p := range parts { // a flush behind each: several blocks (RFC 7692, section 7.2.3.5)
		if _, err := w.Write(p); err != nil {
			return err
		}
		if err := w.Flush(); err != nil {
			return err
		}
	}
	return fragments.Flush()
}

func (d *gobwasDeflater) receive() (bool, []byte, error) {
	for {
		h, err := d.frames.NextFrame()
		if err != nil {
			return false, nil, err
		}
		if h.OpCode.IsControl() {
			if err := d.frames.OnIntermediate(h, &d.frames); err != nil {
				return false, nil, err
			}
			continue
		}
		var r io.Reader = &d.frames
		if d.in.IsCompressed() {
			r = wsflate.NewReader(r, func(r io.Reader) wsflate.Decompressor { return flate.NewReader(r) })
		}
		var b bytes.Buffer
		_, err = b.ReadFrom(r)
		return h.OpCode == ws.OpText, b.Bytes(), err
	}
}
