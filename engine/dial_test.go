package engine_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"zeroframe/engine"
	"zeroframe/frame"
	"zeroframe/internal/handshake"
	"zeroframe/mask"
)

// peer is a server played by hand: it accepts one connection at a time.
type peer struct {
	net.Listener
	t testing.TB
}

func newPeer(t testing.TB) *peer {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return &peer{ln, t}
}

func (p *peer) url(path string) string { return "ws://" + p.Addr().String() + path }

// accept returns a connection with the request that came on it, after writing answer, in which {accept} stands for the
// right Sec-WebSocket-Accept.
func (p *peer) accept(answer string) (*client, *http.Request) {
	nc, err := p.Accept()
	if err != nil {
		p.t.Error(err)
		return nil, nil
	}
	nc.SetDeadline(time.Now().Add(patience))
	c := &client{Conn: nc, t: p.t, r: bufio.NewReader(nc)}
	return c, c.answer(answer)
}

// answer reads a request and answers it.
func (c *client) answer(answer string) *http.Request {
	req, err := http.ReadRequest(c.r)
	if err != nil {
		c.t.Error(err)
		return nil
	}
	key := []byte(req.Header.Get("Sec-WebSocket-Key"))
	io.WriteString(c, strings.Replace(answer, "{accept}", string(handshake.AppendAccept(nil, key)), 1))
	return req
}

const switching = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n"

// readMasked reads one frame of a client and returns it unmasked, with its key.
func (c *client) readMasked() (f wireFrame, key uint32) {
	c.t.Helper()
	var h [8]byte
	read := func(b []byte) {
		if _, err := io.ReadFull(c.r, b); err != nil {
			c.t.Fatalf("reading a client's frame: %v", err)
		}
	}
	read(h[:2])
	f.fin, f.rsv, f.op = h[0]&0x80 != 0, h[0]&0x70, frame.OpCode(h[0]&0x0f)
	if h[1]&0x80 == 0 {
		c.t.Fatal("a client's frame is not masked")
	}
	n := uint64(h[1] & 0x7f)
	switch n {
	case 126:
		read(h[:2])
		n = uint64(binary.BigEndian.Uint16(h[:2]))
	case 127:
		read(h[:8])
		n = binary.BigEndian.Uint64(h[:8])
	}
	read(h[:4])
	key = binary.LittleEndian.Uint32(h[:4])
	f.payload = make([]byte, n)
	read(f.payload)
	mask.XOR(f.payload, key, 0)
	return f, key
}

// answerTo is a frame as a server sends it.
func answerTo(op frame.OpCode, payload []byte) []byte {
	b := []byte{0x80 | byte(op)}
	if len(payload) < 126 {
		return append(append(b, byte(len(payload))), payload...)
	}
	return append(binary.BigEndian.AppendUint16(append(b, 126), uint16(len(payload))), payload...)
}

// dialed is the handler of a client: it records what comes, in order.
type dialed struct {
	engine.NopHandler
	ending
	events chan string
}

func newDialed() *dialed { return &dialed{ending: newEnding(), events: make(chan string, 1000)} }

func (h *dialed) OnOpen(*engine.Conn) { h.events <- "open" }
func (h *dialed) OnMessage(_ *engine.Conn, op frame.OpCode, p []byte) {
	h.events <- fmt.Sprintf("%v %s", op, p)
}
func (h *dialed) OnClose(c *engine.Conn, r engine.CloseReason) { h.ending.OnClose(c, r) }

// expect compares the next event.
func (h *dialed) expect(t testing.TB, want string) {
	t.Helper()
	if got := within(t, h.events); got != want {
		t.Fatalf("event %.80q, want %.80q", got, want)
	}
}

func (s *server) dialURL(url string, h engine.Handler, opts ...engine.RouteOption) *engine.Conn {
	s.t.Helper()
	c, err := s.Dial(context.Background(), url, nil, h, opts...)
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}

func TestDialTalksToAnEngine(t *testing.T) {
	s, e := onSocket(t), onSocket(t)
	h := newEcho()
	s.handle("/echo", h, engine.Subprotocols("v2", "v1"))
	for name, from := range map[string]*server{"the same engine": s, "another": e} {
		d := newDialed()
		c := from.dialURL("ws://"+s.addr(t)+"/echo", d, engine.Subprotocols("v1", "v2"))
		if c.Subprotocol() != "v2" || c.Engine() != from.Engine || c.RemoteAddr().String() != s.addr(t) {
			t.Errorf("%s: subprotocol %q, remote %v", name, c.Subprotocol(), c.RemoteAddr())
		}
		d.expect(t, "open")
		for _, n := range []int{0, 1, 125, 126, 65535, 65536, 300_000} {
			want := pattern(n)
			if err := c.Send(frame.Binary, want); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(want, pattern(n)) {
				t.Fatal("masking changed the caller's payload")
			}
			d.expect(t, "binary "+string(want))
		}
		if err := c.Close(4001, "bye"); err != nil {
			t.Fatal(err)
		}
		if r := d.wait(t); r.Code != 4001 || r.Text != "bye" || r.Remote {
			t.Errorf("%s, client: %+v", name, r)
		}
		if r := h.wait(t); r.Code != 4001 || r.Text != "bye" || !r.Remote {
			t.Errorf("%s, server: %+v", name, r)
		}
	}
}

func TestDialSendsTheHandshakeOfRFC6455(t *testing.T) {
	s, p := onSocket(t), newPeer(t)
	keys := map[string]bool{}
	for range 5 {
		done := make(chan error, 1)
		go func() {
			header := http.Header{"Origin": {"https://a.test"}, "Cookie": {"a=1"}, "X-Evil": {"a\r\nX-Injected: 1"}, "Host": {"evil.test"},
				"Sec-WebSocket-Key": {"mine"}, "Sec-Websocket-Version": {"8"}, "Connection": {"close"}}
			_, err := s.Dial(context.Background(), "ws://"+p.Addr().String()+"/a%20b/c?d=e", header, newDialed(), engine.Subprotocols("v1", "v2"))
			done <- err
		}()
		c, req := p.accept(switching + "\r\n")
		if err := within(t, done); err != nil {
			t.Fatal(err)
		}
		c.Close()
		key := req.Header.Get("Sec-WebSocket-Key")
		raw, err := base64.StdEncoding.DecodeString(key)
		if err != nil || len(raw) != 16 || keys[key] || len(req.Header.Values("Sec-WebSocket-Key")) != 1 {
			t.Errorf("key %q of %d bytes, seen before: %v", key, len(raw), keys[key])
		}
		keys[key] = true
		for name, want := range map[string]string{
			"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Protocol": "v1, v2",
			"Sec-WebSocket-Extensions": "", "Origin": "https://a.test", "Cookie": "a=1", "X-Injected": "", "Authorization": "",
		} {
			if got := strings.Join(req.Header.Values(name), "+"); got != want {
				t.Errorf("%s: %q, want %q", name, got, want)
			}
		}
		if req.Method != "GET" || req.RequestURI != "/a%20b/c?d=e" || req.Host != p.Addr().String() || !req.ProtoAtLeast(1, 1) {
			t.Errorf("%s %s, Host %s, %s", req.Method, req.RequestURI, req.Host, req.Proto)
		}
	}
}

// RFC 6455, section 5.3: the key of each frame is fresh and unpredictable.
func TestAClientMasksEachFrameWithAFreshKey(t *testing.T) {
	s, p := onSocket(t), newPeer(t)
	conns := make(chan *engine.Conn, 1)
	go func() { conns <- s.dialURL(p.url("/"), newEcho()) }()
	c, _ := p.accept(switching + "\r\n")
	defer c.Close()
	conn := within(t, conns)
	keys := map[uint32]bool{}
	check := func(op frame.OpCode, want []byte) {
		t.Helper()
		f, key := c.readMasked()
		if f.op != op || !bytes.Equal(f.payload, want) || !f.fin {
			t.Fatalf("got %v, want %v %.40q", f, op, want)
		}
		if keys[key] || key == 0 {
			t.Errorf("key %08x was used before", key)
		}
		keys[key] = true
	}
	for i := range 50 {
		payload := pattern(i * 11)
		conn.Send(frame.Text, payload)
		check(frame.Text, payload)
	}
	shared, err := engine.Prepare(frame.Text, []byte("prepared"))
	if err != nil {
		t.Fatal(err)
	}
	for range 3 { // encoded once for all, but masked anew for each
		conn.SendPrepared(shared)
		check(frame.Text, []byte("prepared"))
	}
	conn.Ping([]byte("ping"))
	check(frame.Ping, []byte("ping"))
	var burst []byte
	sizes := []int{5, 0, 125, 126, 700, 3}
	for _, n := range sizes {
		burst = append(burst, answerTo(frame.Binary, pattern(n))...)
		burst = append(burst, answerTo(frame.Ping, pattern(n%126))...)
	}
	c.send(burst)
	for _, n := range sizes {
		check(frame.Binary, pattern(n))
		check(frame.Pong, pattern(n%126))
	}
	conn.Close(frame.CloseNormal, "done")
	check(frame.Close, closePayload(frame.CloseNormal, "done"))
	c.send(answerTo(frame.Close, closePayload(frame.CloseNormal, "")))
}

func TestFramesRightBehindTheAnswerAreDelivered(t *testing.T) {
	s, p := onSocket(t), newPeer(t)
	big := pattern(20_000)
	d := newDialed()
	go s.Dial(context.Background(), p.url("/"), nil, d)
	var all []byte
	all = append(all, answerTo(frame.Text, []byte("one"))...)
	all = append(all, answerTo(frame.Binary, big)...)
	all = append(all, answerTo(frame.Text, []byte("three"))...)
	cut := len(all) - 4 // the last frame comes in two pieces
	c, _ := p.accept("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + switching + "\r\n" + string(all[:cut]))
	defer c.Close()
	d.expect(t, "open")
	d.expect(t, "text one")
	d.expect(t, "binary "+string(big))
	c.send(all[cut:])
	d.expect(t, "text three")
	c.send(answerTo(frame.Close, closePayload(4000, "enough")))
	if r := d.wait(t); r.Code != 4000 || r.Text != "enough" || !r.Remote {
		t.Errorf("%+v", r)
	}
}

// RFC 6455, section 5.1: a client closes when a frame is masked.
func TestAClientRefusesMaskedFrames(t *testing.T) {
	s, p := onSocket(t), newPeer(t)
	d := newDialed()
	go s.Dial(context.Background(), p.url("/"), nil, d)
	c, _ := p.accept(switching + "\r\n")
	defer c.Close()
	d.expect(t, "open")
	c.send(encode(true, frame.Text, []byte("masked")))
	f, _ := c.readMasked()
	if f.op != frame.Close || binary.BigEndian.Uint16(f.payload) != uint16(frame.CloseProtocolError) {
		t.Fatalf("got %v", f)
	}
	if r := d.wait(t); r.Code != frame.CloseProtocolError || r.Err == nil {
		t.Errorf("%+v", r)
	}
}

func TestAServerNeedNotChooseASubprotocol(t *testing.T) {
	s, p := onSocket(t), newPeer(t)
	for field, want := range map[string]string{"": "", "Sec-WebSocket-Protocol: v2\r\n": "v2"} {
		conns := make(chan *engine.Conn, 1)
		go func() { conns <- s.dialURL(p.url("/"), newDialed(), engine.Subprotocols("v1", "v2")) }()
		c, _ := p.accept(switching + field + "\r\n")
		if got := within(t, conns).Subprotocol(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		c.Close()
	}
}

func TestDialEndsWithItsContext(t *testing.T) {
	p := newPeer(t)
	for _, answer := range []string{"", "HTTP/1.1 101 Swit", switching} {
		s := onSocket(t, engine.WithHandshakeTimeout(time.Hour))
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { _, err := s.Dial(ctx, p.url("/"), nil, newDialed()); done <- err }()
		c, _ := p.accept(answer)
		cancel()
		if err := within(t, done); !errors.Is(err, context.Canceled) {
			t.Errorf("after %q: %v", answer, err)
		}
		if _, err := c.r.ReadByte(); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("after %q the socket is not closed: %v", answer, err)
		}
		c.Close()
	}
	s := onSocket(t)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := s.Dial(ctx, p.url("/"), nil, newDialed()); !errors.Is(err, context.Canceled) {
		t.Errorf("with a context that has ended: %v", err)
	}
}

// The connection outlives the context of its Dial.
func TestAConnectionOutlivesTheContextOfItsDial(t *testing.T) {
	s, p := onSocket(t, engine.WithHandshakeTimeout(200*time.Millisecond)), newPeer(t)
	ctx, cancel := context.WithTimeout(context.Background(), 150*time.Millisecond)
	defer cancel()
	d := newDialed()
	done := make(chan error, 1)
	go func() { _, err := s.Dial(ctx, p.url("/"), nil, d); done <- err }()
	c, _ := p.accept(switching + "\r\n")
	defer c.Close()
	if err := within(t, done); err != nil {
		t.Fatal(err)
	}
	<-ctx.Done()
	d.expect(t, "open")
	c.send(answerTo(frame.Text, []byte("still here")))
	d.expect(t, "text still here")
}

func TestDialEndsAfterTheHandshakeTimeout(t *testing.T) {
	s, p := onSocket(t, engine.WithHandshakeTimeout(30*time.Millisecond)), newPeer(t)
	done := make(chan error, 1)
	go func() { _, err := s.Dial(context.Background(), p.url("/"), nil, newDialed()); done <- err }()
	c, _ := p.accept("HTTP/1.1 101 ")
	if err := within(t, done); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	c.Close()
}

func TestDialSaysWhyItCannot(t *testing.T) {
	s, p := onSocket(t), newPeer(t)
	var oe *engine.OptionError
	if _, err := s.Dial(context.Background(), p.url("/"), nil, nil); !errors.As(err, &oe) {
		t.Errorf("nil handler: %v", err)
	}
	if _, err := s.Dial(context.Background(), p.url("/"), nil, newDialed(), engine.WithMaxMessageSize(0)); !errors.As(err, &oe) {
		t.Errorf("bad option: %v", err)
	}
	done := make(chan error, 1)
	go func() { _, err := s.Dial(context.Background(), p.url("/"), nil, newDialed()); done <- err }()
	c, _ := p.accept("HTTP/1.1 101 Switching")
	c.Close() // in the middle of the head
	if err := within(t, done); !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("the stream ended in the answer: %v", err)
	}
	closed := p.url("/")
	p.Close()
	var op *net.OpError
	if _, err := s.Dial(context.Background(), closed, nil, newDialed()); !errors.As(err, &op) {
		t.Errorf("nobody listens: %v", err)
	}
}

func TestDialOnAnEngineThatGoesDownIsErrServerClosed(t *testing.T) {
	s, p := onSocket(t), newPeer(t)
	s.handle("/echo", newEcho())
	c := s.open("/echo")
	done := make(chan error, 1)
	go func() { done <- s.shutdown() }()
	if f := c.next(); f.op != frame.Close { // Shutdown is under way, and waits for our answer
		t.Fatal(f)
	}
	if _, err := s.Dial(context.Background(), p.url("/"), nil, newDialed()); !errors.Is(err, engine.ErrServerClosed) {
		t.Errorf("during Shutdown: %v", err)
	}
	c.write(frame.Close, closePayload(frame.CloseGoingAway, ""))
	c.Close()
	if err := within(t, done); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Dial(context.Background(), p.url("/"), nil, newDialed()); !errors.Is(err, engine.ErrServerClosed) {
		t.Errorf("after Shutdown: %v", err)
	}
}

// A handshake that ends while the engine goes down must not leave a connection that Shutdown waits for.
func TestADialThatShutdownOvertakesEnds(t *testing.T) {
	s, p := onSocket(t), newPeer(t)
	s.handle("/echo", newEcho())
	held := s.open("/echo")
	dialed := make(chan error, 1)
	go func() { _, err := s.Dial(context.Background(), p.url("/"), nil, newDialed()); dialed <- err }()
	c, req := p.accept("")
	down := make(chan error, 1)
	go func() { down <- s.shutdown() }()
	if f := held.next(); f.op != frame.Close {
		t.Fatal(f)
	}
	io.WriteString(c, strings.Replace(switching, "{accept}", string(handshake.AppendAccept(nil, []byte(req.Header.Get("Sec-WebSocket-Key")))), 1)+"\r\n")
	if err := within(t, dialed); err == nil { // or opened, and then closed as all others
		if f, _ := c.readMasked(); f.op != frame.Close || !slices.Equal(f.payload[:2], closePayload(frame.CloseGoingAway, "")) {
			t.Errorf("got %v", f)
		}
		c.send(answerTo(frame.Close, closePayload(frame.CloseGoingAway, "")))
	} else if !errors.Is(err, engine.ErrServerClosed) {
		t.Error(err)
	}
	c.Close()
	held.write(frame.Close, closePayload(frame.CloseGoingAway, ""))
	held.Close()
	if err := within(t, down); err != nil {
		t.Error(err)
	}
}

func TestManyGoroutinesMayDialAtOnce(t *testing.T) {
	s, e := onSocket(t, engine.WithPingInterval(0)), bare(t, engine.WithPingInterval(0))
	h := newEcho()
	h.ch = make(chan engine.CloseReason, 1000)
	s.handle("/echo", h)
	s.session("/session", echoSession)
	address, a := s.addr(t), newAuthority(t)
	secured := unwrapper(t, a.server(t, "127.0.0.1"), address)
	trust := engine.WithClientTLS(a.client())
	var all sync.WaitGroup
	for i := range 16 {
		base := "ws://" + address
		if i%4 == 0 {
			base = "wss://" + secured
		}
		all.Go(func() {
			for j := range 8 {
				d := newDialed()
				c, err := e.Dial(patiently(t), base+"/echo", nil, d, trust)
				if err != nil {
					t.Error(err)
					return
				}
				want := fmt.Sprintf("%d of %d", j, i)
				c.SendText(want)
				for _, want := range []string{"open", "text " + want} {
					if got := <-d.events; got != want {
						t.Errorf("%q came, not %q", got, want)
					}
				}
				c.Close(frame.CloseNormal, "")
				session, err := e.DialSession(patiently(t), base+"/session", nil, trust)
				if err != nil {
					t.Error(err)
					return
				}
				session.SendText(patiently(t), want)
				if m, err := session.Receive(patiently(t)); err != nil || string(m.Payload) != want {
					t.Errorf("%q, %v", m.Payload, err)
				}
				session.Close(frame.CloseNormal, "")
				if _, err := session.Receive(patiently(t)); !errors.Is(err, engine.ErrClosed) {
					t.Errorf("after Close: %v", err)
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { all.Wait(); close(done) }()
	within(t, done)
	eventually(t, "connections are left", func() bool { return e.Stats().Conns == 0 })
}

// MaxConns is for those who come; what is dialed counts where it is asked.
func TestMaxConnsDoesNotBoundWhatIsDialed(t *testing.T) {
	s := onSocket(t)
	s.handle("/echo", newEcho())
	address, a := s.addr(t), newAuthority(t)
	secured := unwrapper(t, a.server(t, "127.0.0.1"), address)
	e := onSocket(t, engine.WithMaxConns(2), engine.WithClientTLS(a.client()))
	e.handle("/echo", newEcho())
	wrapped := engine.WithDialContext(func(ctx context.Context, network, address string) (net.Conn, error) {
		var d net.Dialer
		c, err := d.DialContext(ctx, network, address)
		return endless{c}, err
	})
	for range 2 {
		for _, tt := range []struct {
			url  string
			opts []engine.RouteOption
		}{{"ws://" + address, nil}, {"wss://" + secured, nil}, {"ws://" + address, []engine.RouteOption{wrapped}}} {
			d := newDialed()
			c := e.dialURL(tt.url+"/echo", d, tt.opts...)
			d.expect(t, "open")
			c.SendText("x")
			d.expect(t, "text x")
		}
	}
	c := e.connect()
	if status, _ := c.readHead(); status != 503 {
		t.Errorf("one that came was answered %d", status)
	}
}
