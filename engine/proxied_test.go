package engine_test

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"zeroframe/engine"
	"zeroframe/frame"
	"zeroframe/internal/bridge"
)

// proxyHeaders are what balancers send, with the source named in it; "": the peer's own address counts.
var proxyHeaders = []struct{ header, src string }{
	{"PROXY TCP4 192.0.2.1 192.0.2.2 1234 443\r\n", "192.0.2.1:1234"},
	{"PROXY TCP6 2001:db8::1 2001:db8::2 1234 443\r\n", "[2001:db8::1]:1234"},
	{"PROXY UNKNOWN\r\n", ""},
	{"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x01\xc0\x00\x02\x02\x04\xd2\x01\xbb", "192.0.2.1:1234"},
	{"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x10\xc0\x00\x02\x01\xc0\x00\x02\x02\x04\xd2\x01\xbb\x04\x00\x01x", "192.0.2.1:1234"},
	{"\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00", ""},
}

// behindBalancers starts an engine that trusts the balancers of a prefix, with whoami at / and TLS if secured.
func behindBalancers(t testing.TB, trusted string, secured bool, opts ...engine.Option) *server {
	t.Helper()
	logs := new(logBuffer)
	s := bare(t, append([]engine.Option{
		engine.WithProxyProtocol(netip.MustParsePrefix(trusted)),
		engine.WithTLSConfig(serverCertificate()),
		engine.WithLogger(slog.New(slog.NewTextHandler(logs, &slog.HandlerOptions{Level: slog.LevelDebug}))),
		bridge.PoisonOption().(engine.Option),
	}, opts...)...)
	s.logs = logs
	s.handle("/", whoami{})
	ln := listenTCP(t, s, "127.0.0.1:0")
	served := make(chan error, 1)
	go func() {
		if secured {
			served <- s.ServeTLS(ln, "", "")
		} else {
			served <- s.Serve(ln)
		}
	}()
	t.Cleanup(func() {
		s.Close()
		if err := within(t, served); !errors.Is(err, engine.ErrServerClosed) {
			t.Errorf("served: %v", err)
		}
	})
	s.dial = dialer(t, ln.Addr())
	return s
}

// through is connect for a client behind a balancer, which sends header first, in pieces of at most size bytes.
func (s *server) through(header string, size int, secured bool) *client {
	s.t.Helper()
	c := s.connect()
	for rest := header; rest != ""; {
		n := min(size, len(rest))
		c.send([]byte(rest[:n]))
		rest = rest[n:]
	}
	if secured {
		c.Conn = tls.Client(c.Conn, trusting())
		c.r = bufio.NewReader(c.Conn)
	}
	return c
}

// expectNamed compares what whoami says of a connection with the source in its header.
func (c *client) expectNamed(src string) {
	c.t.Helper()
	if src == "" {
		src = c.LocalAddr().String()
	}
	c.write(frame.Text, nil)
	c.expect(frame.Text, []byte(fmt.Sprintf("%s %v %s", src, c.RemoteAddr(), src)))
}

func TestTheSourceInAProxyHeaderIsTheRemoteAddress(t *testing.T) {
	for _, secured := range []bool{false, true} {
		t.Run(fmt.Sprintf("TLS %v", secured), func(t *testing.T) {
			s := behindBalancers(t, "127.0.0.0/8", secured)
			sessions := s.handOut("/session")
			for _, row := range proxyHeaders {
				for _, size := range []int{1, 13, 1000} {
					c := s.through(row.header, size, secured)
					c.send(append(upgradeRequest("/"), encode(true, frame.Text, nil)...))
					if status, head := c.readHead(); status != 101 {
						t.Fatalf("%q: %s", row.header, head)
					}
					c.next()
					c.expectNamed(row.src)
					c.Close()
				}
				c := s.through(row.header, 1000, secured)
				c.send(upgradeRequest("/session"))
				c.readHead()
				session := sessions.next(t)
				want := row.src
				if want == "" {
					want = c.LocalAddr().String()
				}
				if session.RemoteAddr().String() != want || session.Request().RemoteAddr != want {
					t.Errorf("session of %v, its request of %v, want %s", session.RemoteAddr(), session.Request().RemoteAddr, want)
				}
				c.Close()
				sessions.finish(nil)
			}
			if n := s.Stats().ProxyFailures; n != 0 {
				t.Errorf("%d failures are counted", n)
			}
		})
	}
}

// The request, or the ClientHello, may come in one piece with the header.
func TestWhatStandsBehindAProxyHeaderIsServed(t *testing.T) {
	s := behindBalancers(t, "127.0.0.0/8", false)
	request := upgradeRequest("/")
	for _, row := range proxyHeaders {
		whole := append([]byte(row.header), request...)
		for _, cut := range []int{len(whole), len(row.header) - 1, len(row.header) + 1, len(whole) - 1} {
			c := s.connect()
			c.send(whole[:cut])
			c.send(whole[cut:])
			if status, head := c.readHead(); status != 101 {
				t.Fatalf("%q: %s", whole[:cut], head)
			}
			c.expectNamed(row.src)
			c.Close()
		}
	}
	secure := behindBalancers(t, "127.0.0.0/8", true)
	c := secure.connect()
	c.Conn = tls.Client(&joining{Conn: c.Conn, first: proxyHeaders[0].header}, trusting())
	c.r = bufio.NewReader(c.Conn)
	c.send(upgradeRequest("/"))
	if status, head := c.readHead(); status != 101 {
		t.Fatal(head)
	}
	c.expectNamed(proxyHeaders[0].src)
}

// joining sends first in one piece with what is written first.
type joining struct {
	net.Conn
	first string
}

func (j *joining) Write(b []byte) (int, error) {
	if j.first == "" {
		return j.Conn.Write(b)
	}
	n, err := j.Conn.Write(append([]byte(j.first), b...))
	n = max(n-len(j.first), 0)
	j.first = ""
	return n, err
}

// A callback that chooses a certificate may do so by the client's address.
func TestTheTLSHandshakeKnowsTheSourceInAProxyHeader(t *testing.T) {
	asked := make(chan string, 1)
	config := serverCertificate()
	config.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		asked <- hello.Conn.RemoteAddr().String()
		return nil, nil
	}
	s := behindBalancers(t, "127.0.0.0/8", true, engine.WithTLSConfig(config))
	c := s.through(proxyHeaders[0].header, 1000, true)
	c.send(upgradeRequest("/"))
	if status, head := c.readHead(); status != 101 {
		t.Fatal(head)
	}
	if got := within(t, asked); got != proxyHeaders[0].src {
		t.Errorf("asked about %s, want %s", got, proxyHeaders[0].src)
	}
}

// net/http sees the source too, on a connection that was handed to it, and so does the WebSocket that it becomes after all.
func TestNetHTTPKnowsTheSourceInAProxyHeader(t *testing.T) {
	for _, secured := range []bool{false, true} {
		s := behindBalancers(t, "127.0.0.0/8", secured, engine.WithHTTPHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, r.RemoteAddr)
		})))
		for _, row := range proxyHeaders {
			want := row.src
			c := s.through(row.header, 1000, secured)
			if want == "" {
				want = c.LocalAddr().String()
			}
			for range 2 {
				if status, body := c.get("/page"); status != 200 || body != want {
					t.Errorf("%d, request of %q, want %q", status, body, want)
				}
			}
			c.send(upgradeRequest("/"))
			if status, head := c.readHead(); status != 101 {
				t.Fatal(head)
			}
			c.expectNamed(row.src)
			c.Close()
		}
	}
}

func TestATrustedPeerWithoutAProxyHeaderIsClosedUnanswered(t *testing.T) {
	for _, secured := range []bool{false, true} {
		s := behindBalancers(t, "127.0.0.0/8", secured)
		good := s.through(proxyHeaders[0].header, 1000, secured)
		good.send(upgradeRequest("/"))
		good.readHead()
		failures := uint64(0)
		for _, sent := range []string{
			string(upgradeRequest("/")),
			"PROXY TCP4 192.0.2.1 192.0.2.2 1234 port\r\n" + string(upgradeRequest("/")),
			"\x16\x03\x01\x02\x00\x01",
			"PROXY UNKNOWN " + strings.Repeat("x", 1000),
			"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x10\x01",
		} {
			c := s.connect()
			c.Write([]byte(sent))
			if b, _ := io.ReadAll(c.r); len(b) != 0 { // a reset, or the end
				t.Errorf("%.20q is answered %q", sent, b)
			}
			c.Close()
			failures++
			s.until("the failure is counted", func() bool { return s.Stats().ProxyFailures == failures })
		}
		c := s.connect() // ends inside its header
		c.send([]byte("PROXY TCP4"))
		c.endStream()
		c.expectEOF()
		failures++
		s.until("the failure is counted", func() bool { return s.Stats().ProxyFailures == failures })
		if n := strings.Count(s.logs.String(), "no PROXY header"); n != int(failures) {
			t.Errorf("logged %d times, want %d:\n%s", n, failures, s.logs)
		}
		c = s.connect() // only looks whether somebody listens
		c.endStream()
		c.expectEOF()
		good.expectNamed(proxyHeaders[0].src)
		if got := s.Stats(); got.ProxyFailures != failures || len(got.Refused) != 0 {
			t.Errorf("%d failures, want %d; refused %v", got.ProxyFailures, failures, got.Refused)
		}
	}
}

func TestAPeerThatIsNotTrustedSendsNoProxyHeader(t *testing.T) {
	for _, secured := range []bool{false, true} {
		s := behindBalancers(t, "10.0.0.0/8", secured)
		c := s.through("", 1, secured)
		c.send(upgradeRequest("/"))
		if status, head := c.readHead(); status != 101 {
			t.Fatal(head)
		}
		c.expectNamed("")
		c.Close()
		c = s.connect()
		c.send([]byte(proxyHeaders[0].header + string(upgradeRequest("/"))))
		if secured {
			io.Copy(io.Discard, c.r)
			s.until("the failure is counted", func() bool { return s.Stats().TLSFailures == 1 })
		} else if status, head := c.readHead(); status != 400 {
			t.Errorf("a header is answered %s", head)
		}
		if n := s.Stats().ProxyFailures; n != 0 {
			t.Errorf("%d failures are counted", n)
		}
	}
}

func TestAProxyHeaderThatDoesNotComeInTimeEndsTheConnectionUnanswered(t *testing.T) {
	for _, secured := range []bool{false, true} {
		s := behindBalancers(t, "127.0.0.0/8", secured, engine.WithHandshakeTimeout(30*time.Millisecond))
		timeouts := uint64(0)
		for _, beginning := range []string{"", "P", "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c"} {
			c := s.connect()
			c.send([]byte(beginning))
			c.expectEOF()
			timeouts++
			s.until("the timeout is counted", func() bool { return s.Stats().HandshakeTimeouts == timeouts })
		}
		if !secured { // what is slow then is the request
			c := s.connect()
			c.send([]byte(proxyHeaders[0].header))
			if status, head := c.readHead(); status != 408 {
				t.Error(head)
			}
		}
	}
}

// The peer of a unix socket has no address; it is as near as one of the loopback.
func TestPeersOnUnixSocketsAreTrustedAsTheLoopbackIs(t *testing.T) {
	for _, row := range []struct {
		prefix  string
		trusted bool
	}{{"127.0.0.1/32", true}, {"::1/128", true}, {"10.0.0.0/8", false}} {
		s := bare(t, engine.WithProxyProtocol(netip.MustParsePrefix(row.prefix)))
		s.handle("/", whoami{})
		ln, err := s.Listen("unix", filepath.Join(t.TempDir(), "socket"))
		if err != nil {
			t.Fatal(err)
		}
		served := s.serve(ln)
		c := s.connect()
		if row.trusted {
			c.send([]byte(proxyHeaders[0].header))
		}
		c.send(upgradeRequest("/"))
		if status, head := c.readHead(); status != 101 {
			t.Fatal(head)
		}
		c.write(frame.Text, nil)
		if got := string(c.next().payload); strings.HasPrefix(got, proxyHeaders[0].src+" ") != row.trusted {
			t.Errorf("%s: connection of %s", row.prefix, got)
		}
		s.Close()
		within(t, served)
	}
}

// A connection whose header is awaited cannot be told that the engine goes down, and is not waited for long.
func TestShutdownWhileAProxyHeaderIsAwaited(t *testing.T) {
	s := behindBalancers(t, "127.0.0.0/8", false)
	silent, late := s.connect(), s.connect()
	late.send([]byte("PROXY "))
	s.until("both are there", func() bool { return s.Stats().Conns == 2 })
	down := make(chan error, 1)
	go func() { down <- s.shutdown() }()
	for { // until Shutdown has begun
		nc, err := net.Dial("tcp", late.RemoteAddr().String())
		if err != nil {
			break
		}
		nc.Close()
	}
	late.send([]byte("UNKNOWN\r\n"))
	if status, head := late.readHead(); status != 503 {
		t.Error(head)
	}
	io.Copy(io.Discard, late.r)
	late.Close()
	silent.expectEOF()
	if err := within(t, down); err != nil {
		t.Error(err)
	}
}

// The hook is asked when the connection is accepted: about who made it.
func TestTheAcceptHookIsAskedAboutTheBalancer(t *testing.T) {
	asked := make(chan netip.AddrPort, 1)
	released := make(chan struct{}, 1)
	s := behindBalancers(t, "127.0.0.0/8", false, engine.WithAcceptHook(func(remote netip.AddrPort) (func(), bool) {
		asked <- remote
		return func() { released <- struct{}{} }, true
	}))
	c := s.connect()
	if got := within(t, asked); got.String() != c.LocalAddr().String() {
		t.Errorf("asked about %v", got)
	}
	c.send([]byte("GET / HTTP/1.1\r\n"))
	io.Copy(io.Discard, c.r)
	within(t, released)
}

func TestWithProxyProtocolWantsPrefixes(t *testing.T) {
	for _, list := range [][]netip.Prefix{nil, {{}}, {netip.MustParsePrefix("10.0.0.0/8"), {}}, {netip.MustParsePrefix("::ffff:0.0.0.0/95")}} {
		var oe *engine.OptionError
		if e, err := engine.New(engine.WithProxyProtocol(list...)); !errors.As(err, &oe) || oe.Option != "WithProxyProtocol" {
			t.Errorf("%v: %v", list, err)
			if e != nil {
				e.Close()
			}
		}
	}
	s := behindBalancers(t, "::ffff:127.0.0.0/104", false)
	c := s.through(proxyHeaders[0].header, 1000, false)
	c.send(upgradeRequest("/"))
	c.readHead()
	c.expectNamed(proxyHeaders[0].src)
}
