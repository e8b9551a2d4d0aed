package engine_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"testing"
	"time"

	"zeroframe/engine"
)

// dialStages are the places where a dial can be stuck: there reads what Dial sends, and answers it, up to there.
var dialStages = []struct {
	name   string
	url    string
	scheme string // of the proxy; "": none
	there  func(s *stage)
}{
	{"before the answer", "ws://server.test/", "", func(s *stage) { s.head() }},
	{"in the answer", "ws://server.test/", "", func(s *stage) { s.head(); s.say("HTTP/1.1 101 Switching") }},
	{"before TLS", "wss://server.test/", "", func(s *stage) { s.some() }},
	{"in TLS", "wss://server.test/", "", func(s *stage) { s.some(); s.say("\x16\x03\x03\x00\x64\x02\x00") }},
	{"before the answer over TLS", "wss://server.test/", "", func(s *stage) { s.tls("server.test"); s.head() }},
	{"before the proxy's answer", "ws://server.test/", "http", func(s *stage) { s.head() }},
	{"in the proxy's answer", "wss://server.test/", "http", func(s *stage) { s.head(); s.say("HTTP/1.1 200 Conn") }},
	{"behind the proxy", "ws://server.test/", "http", func(s *stage) { s.head(); s.say("HTTP/1.1 200\r\n\r\n"); s.head() }},
	{"before the proxy's TLS", "ws://server.test/", "https", func(s *stage) { s.some() }},
	{"before the proxy's answer over TLS", "ws://server.test/", "https", func(s *stage) { s.tls("127.0.0.1"); s.head() }},
	{"before TLS in the proxy's TLS", "wss://server.test/", "https", func(s *stage) {
		s.tls("127.0.0.1")
		s.head()
		s.say("HTTP/1.1 200 OK\r\n\r\n")
		s.some()
	}},
	{"before the answer over TLS in the proxy's TLS", "wss://server.test/", "https", func(s *stage) {
		s.tls("127.0.0.1")
		s.head()
		s.say("HTTP/1.1 200 OK\r\n\r\n")
		s.tls("server.test")
		s.head()
	}},
	{"before the SOCKS proxy's answer", "ws://server.test/", "socks5", func(s *stage) { s.some() }},
	{"in the SOCKS proxy's answer", "wss://server.test/", "socks5", func(s *stage) {
		s.some()
		s.say("\x05\x00")
		s.some()
		s.say("\x05\x00\x00")
	}},
}

// stage is the server's side, or the proxy's, of a dial that is to be stuck. Its first error stays.
type stage struct {
	net.Conn
	certificates map[string]tls.Certificate
	err          error
}

func (s *stage) say(what string) { s.keep(io.WriteString(s, what)) }

func (s *stage) some() { s.keep(s.Read(make([]byte, 4096))) }

func (s *stage) head() {
	for r := bufio.NewReader(s); ; {
		line, err := r.ReadString('\n')
		s.keep(0, err)
		if err != nil || line == "\r\n" {
			return
		}
	}
}

func (s *stage) tls(name string) {
	config := tls.Config{Certificates: []tls.Certificate{s.certificates[name]}}
	over := tls.Server(s.Conn, &config)
	s.keep(0, over.Handshake())
	s.Conn = over
}

func (s *stage) keep(_ int, err error) {
	if s.err == nil {
		s.err = err
	}
}

// A dial that is stuck anywhere ends with its context, or in time, and leaves nothing open.
func TestDialEndsWithItsContextAtEveryStage(t *testing.T) {
	a, p := newAuthority(t), newPeer(t)
	certificates := map[string]tls.Certificate{}
	for _, name := range []string{"server.test", "127.0.0.1"} {
		certificates[name] = a.issue(t, name)
	}
	patient := bare(t, engine.WithHandshakeTimeout(time.Hour), engine.WithClientTLS(a.client()))
	hasty := bare(t, engine.WithHandshakeTimeout(100*time.Millisecond), engine.WithClientTLS(a.client()))
	for _, tt := range dialStages {
		for name, s := range map[string]*server{"cancelled": patient, "too long": hasty} {
			before := descriptors()
			ctx, cancel := context.WithCancel(context.Background())
			opts := []engine.RouteOption{engine.WithDialContext(landAt(p).dial)}
			if tt.scheme != "" {
				by := &url.URL{Scheme: tt.scheme, Host: p.Addr().String()}
				opts = append(opts, engine.WithProxy(always(by)))
			}
			done := make(chan error, 1)
			go func() { _, err := s.Dial(ctx, tt.url, nil, newDialed(), opts...); done <- err }()
			c, err := p.Accept()
			if err != nil {
				t.Fatal(err)
			}
			c.SetDeadline(time.Now().Add(patience))
			stuck, there := &stage{Conn: c, certificates: certificates}, make(chan struct{})
			go func() { defer close(there); tt.there(stuck) }()
			want := context.DeadlineExceeded
			if s == patient {
				within(t, there)
				if stuck.err != nil {
					t.Errorf("%s: %v", tt.name, stuck.err)
				}
				want = context.Canceled
				cancel()
			}
			began := time.Now()
			if err := within(t, done); !errors.Is(err, want) {
				t.Errorf("%s, %s: %v", tt.name, name, err)
			}
			if d := time.Since(began); d > 5*time.Second {
				t.Errorf("%s, %s: after %v", tt.name, name, d)
			}
			within(t, there)
			if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("%s, %s: the socket is not closed", tt.name, name)
			}
			c.Close()
			cancel()
			if before >= 0 {
				eventually(t, tt.name+", "+name+": descriptors are left", func() bool { return descriptors() <= before })
			}
		}
	}
}

// So it does with the engine, and before there is a socket.
func TestDialEndsWithItsEngineAtEveryStage(t *testing.T) {
	a, p := newAuthority(t), newPeer(t)
	certificates := map[string]tls.Certificate{}
	for _, name := range []string{"server.test", "127.0.0.1"} {
		certificates[name] = a.issue(t, name)
	}
	ends := map[string]func(*server) error{"Shutdown": (*server).shutdown, "Close": func(s *server) error { return s.Close() }}
	expectEnd := func(stage, end string, s *server, dialed <-chan error) {
		t.Helper()
		if err := ends[end](s); err != nil {
			t.Errorf("%s: %s: %v", stage, end, err)
		}
		if err := within(t, dialed); err != engine.ErrServerClosed {
			t.Errorf("%s, %s: %v", stage, end, err)
		}
	}
	start := func() *server {
		return bare(t, engine.WithHandshakeTimeout(time.Hour), engine.WithClientTLS(a.client()))
	}
	for _, tt := range dialStages {
		for end := range ends {
			before := descriptors()
			s := start()
			opts := []engine.RouteOption{engine.WithDialContext(landAt(p).dial)}
			if tt.scheme != "" {
				opts = append(opts, engine.WithProxy(always(&url.URL{Scheme: tt.scheme, Host: p.Addr().String()})))
			}
			done := make(chan error, 1)
			go func() { _, err := s.Dial(context.Background(), tt.url, nil, newDialed(), opts...); done <- err }()
			c, err := p.Accept()
			if err != nil {
				t.Fatal(err)
			}
			c.SetDeadline(time.Now().Add(patience))
			stuck := &stage{Conn: c, certificates: certificates}
			if tt.there(stuck); stuck.err != nil {
				t.Errorf("%s: %v", tt.name, stuck.err)
			}
			expectEnd(tt.name, end, s, done)
			if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("%s, %s: the socket is not closed", tt.name, end)
			}
			c.Close()
			if before >= 0 {
				eventually(t, tt.name+", "+end+": descriptors are left", func() bool { return descriptors() <= before })
			}
		}
	}
	asked := make(chan struct{}, 1)
	wait := func(ctx context.Context) error {
		asked <- struct{}{}
		<-ctx.Done()
		return ctx.Err()
	}
	for name, stuck := range map[string]engine.RouteOption{
		"connecting":          engine.WithDialContext(func(ctx context.Context, _, _ string) (net.Conn, error) { return nil, wait(ctx) }),
		"looking for a proxy": engine.WithProxy(func(r *http.Request) (*url.URL, error) { return nil, wait(r.Context()) }),
	} {
		for end := range ends {
			s, done := start(), make(chan error, 1)
			go func() {
				_, err := s.Dial(context.Background(), "ws://server.test/", nil, newDialed(), stuck)
				done <- err
			}()
			within(t, asked)
			expectEnd(name, end, s, done)
		}
	}
}

// A context may end while the loop takes over: the connection is then either returned, or gone.
func TestDialCancelledAtAnyMomentLeavesNothing(t *testing.T) {
	s, a := onSocket(t), newAuthority(t)
	s.handle("/", engine.NopHandler{})
	plain, secured := "ws://"+s.addr(t)+"/", "wss://"+unwrapper(t, a.server(t, "127.0.0.1"), s.addr(t))+"/"
	e := bare(t, engine.WithClientTLS(a.client()))
	eventually(t, "the server still has a connection", func() bool { return s.Stats().Conns == 0 })
	before, opened, failed := descriptors(), 0, 0
	for i := range 400 {
		url := plain
		if i%2 == 0 {
			url = secured
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Duration(i)*10*time.Microsecond)
		if session, err := e.DialSession(ctx, url, nil); err == nil {
			opened++
			session.Terminate()
			<-session.Context().Done()
		} else if failed++; !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("dial %d: %v", i, err)
		}
		cancel()
	}
	t.Logf("%d opened, %d did not", opened, failed)
	eventually(t, "connections are left", func() bool { return e.Stats().Conns == 0 })
	eventually(t, "connections are left on the server", func() bool { return s.Stats().Conns == 0 })
	if before >= 0 {
		eventually(t, "descriptors are left", func() bool { return descriptors() <= before })
	}
}

// The function of WithDialContext, and a connection of its making that knows no deadlines, get the context's end too.
func TestDialEndsWithItsContextOnAnyConnection(t *testing.T) {
	s := bare(t)
	waiting := func(ctx context.Context, _, _ string) (net.Conn, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	for _, url := range []string{"ws://server.test/", "wss://server.test/"} {
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() {
			_, err := s.Dial(ctx, url, nil, newDialed(), engine.WithDialContext(waiting), engine.WithProxy(nil))
			done <- err
		}()
		cancel()
		if err := within(t, done); !errors.Is(err, context.Canceled) {
			t.Errorf("dialing %s: %v", url, err)
		}

		ours, theirs := net.Pipe() // which takes nothing that is not read
		pipe := func(context.Context, string, string) (net.Conn, error) { return endless{ours}, nil }
		ctx, cancel = context.WithCancel(context.Background())
		go func() { _, err := s.Dial(ctx, url, nil, newDialed(), engine.WithDialContext(pipe)); done <- err }()
		if _, err := theirs.Read(make([]byte, 1)); err != nil { // Dial is in the middle of its first write
			t.Fatal(err)
		}
		cancel()
		if err := within(t, done); !errors.Is(err, context.Canceled) {
			t.Errorf("sending to %s: %v", url, err)
		}
		if _, err := io.Copy(io.Discard, theirs); err != nil {
			t.Errorf("%s: the pipe ends with %v", url, err)
		}
	}
}

// endless is a connection without deadlines.
type endless struct{ net.Conn }

func (endless) SetDeadline(time.Time) error      { return errors.ErrUnsupported }
func (endless) SetReadDeadline(time.Time) error  { return errors.ErrUnsupported }
func (endless) SetWriteDeadline(time.Time) error { return errors.ErrUnsupported }

func TestDialWithAnEndedContextDialsNothing(t *testing.T) {
	asked := make(chan string, 10)
	s := bare(t)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for _, opts := range [][]engine.RouteOption{nil, {notes(asked)}} {
		if _, err := s.Dial(ctx, "ws://127.0.0.1:1/", nil, newDialed(), opts...); !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
	}
	if len(asked) > 0 {
		t.Errorf("dialed %s", <-asked)
	}
}
