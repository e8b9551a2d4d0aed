package engine_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"zeroframe/engine"
	"zeroframe/frame"
)

func TestDialGoesThroughEachKindOfProxy(t *testing.T) {
	s := onSocket(t, engine.WithPingInterval(0))
	s.handle("/echo", newEcho())
	a := newAuthority(t)
	plain, secured := s.addr(t), unwrapper(t, a.server(t, "server.test", "10.1.2.3"), s.addr(t))
	for _, kind := range proxyKinds {
		for _, target := range []struct{ url, asked, to string }{
			{"ws://server.test", "server.test:80", plain},
			{"ws://[2001:db8::1]:81", "[2001:db8::1]:81", plain},
			{"wss://server.test", "server.test:443", secured},
			{"wss://10.1.2.3:8443", "10.1.2.3:8443", secured},
		} {
			for _, user := range []*url.Userinfo{nil, url.UserPassword("user", "p@ss: word")} {
				var config *tls.Config
				if kind.secure {
					config = a.server(t, "127.0.0.1")
				}
				f := newForwarder(t, target.to, user, config, kind.serve)
				d := newDialed()
				c := s.dialURL(target.url+"/echo", d, engine.WithProxy(always(f.url(kind.scheme, user))), engine.WithClientTLS(a.client()))
				if got := within(t, f.asked); got != target.asked {
					t.Errorf("%s: the proxy was asked for %s", kind.scheme, got)
				}
				d.expect(t, "open")
				for _, n := range []int{5, 100_000} {
					c.Send(frame.Binary, pattern(n))
					d.expect(t, "binary "+string(pattern(n)))
				}
				c.Close(4000, "bye")
				if r := d.wait(t); r.Code != 4000 || r.Remote {
					t.Errorf("%s to %s: %+v", kind.scheme, target.url, r)
				}
			}
		}
	}
}

func TestAProxyThatRefusesIsNamed(t *testing.T) {
	s, p := bare(t), newPeer(t)
	ask := func(u *url.URL) error {
		_, err := s.Dial(patiently(t), "ws://forbidden.test/", nil, newDialed(), engine.WithProxy(always(u)))
		if err == nil || !strings.Contains(err.Error(), "proxy "+u.Host) || strings.Contains(err.Error(), "wrong") {
			t.Errorf("%v: the proxy, but not its password, is to be in it", err)
		}
		return err
	}
	user := url.UserPassword("user", "pw")
	f := newForwarder(t, p.Addr().String(), user, nil, connect)
	for _, who := range []*url.Userinfo{nil, url.User("user"), url.UserPassword("user", "wrong")} {
		var he *engine.HandshakeError
		if err := ask(f.url("http", who)); !errors.As(err, &he) || he.Status != 407 || he.Reason != "Who are you?" ||
			he.Proxy != f.Addr().String() || he.Header.Get("Proxy-Authenticate") != "Basic" || string(he.Body) != "stay there" {
			t.Errorf("%v: %+v", who, err)
		}
	}
	f = newForwarder(t, p.Addr().String(), user, nil, socks)
	for _, who := range []*url.Userinfo{nil, url.UserPassword("user", "wrong"), user} {
		var he *engine.HandshakeError
		var op *net.OpError
		if err := ask(f.url("socks5", who)); errors.As(err, &he) || !errors.As(err, &op) {
			t.Errorf("%v: %v", who, err)
		}
	}
	if got := within(t, f.asked); got != "forbidden.test:80" {
		t.Errorf("asked for %s", got)
	}
	closed := f.url("http", nil)
	f.Close()
	var op *net.OpError
	if err := ask(closed); !errors.As(err, &op) || op.Op != "dial" {
		t.Errorf("nobody listens: %v", err)
	}
}

func TestAProxyMayAnswerInItsOwnWay(t *testing.T) {
	s, p := bare(t), newPeer(t)
	for _, tt := range []struct {
		name, answer string
		status       int // of the error: -1 for one that is no HandshakeError, 200 for none
		why          string
	}{
		{"plain", "HTTP/1.1 200 OK\r\n\r\n", 200, ""},
		{"old", "HTTP/1.0 200 Connection established\r\nProxy-Agent: x\r\n\r\n", 200, ""},
		{"another of 2xx", "HTTP/1.1 299 Fine\r\n\r\n", 200, ""},
		{"with a length, which means nothing", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", 200, ""},
		{"behind others", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Wait\r\nX: y\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", 200, ""},
		{"more than it", "HTTP/1.1 200 OK\r\n\r\nx", -200, "more"},
		{"redirect", "HTTP/1.1 302 Found\r\nLocation: http://portal.test/\r\nContent-Length: 0\r\n\r\n", 302, "Found"},
		{"switching", "HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n", 101, "Switching"},
		{"gateway", "HTTP/1.1 502\r\nContent-Length: 0\r\n\r\n", 502, "Bad Gateway"},
		{"too long", "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 20<<10) + "\r\n\r\n", 0, "large"},
		{"not HTTP", "SSH-2.0-OpenSSH\r\n\r\n", -1, "malformed"},
		{"cut off", "HTTP/1.1 200 OK\r\n", -1, "EOF"},
		{"nothing", "", -1, "EOF"},
	} {
		by := &url.URL{Scheme: "http", Host: p.Addr().String()}
		header := http.Header{"User-Agent": {"tester"}, "Cookie": {"a=1"}}
		done := make(chan error, 1)
		go func() {
			_, err := s.Dial(patiently(t), "ws://server.test/x", header, newDialed(), engine.WithProxy(always(by)))
			done <- err
		}()
		c, req := p.accept(tt.answer)
		if req.Method != "CONNECT" || req.RequestURI != "server.test:80" || req.Host != "server.test:80" || req.UserAgent() != "tester" || len(req.Header) != 1 {
			t.Errorf("%s: asked %s %s at %s with %v", tt.name, req.Method, req.RequestURI, req.Host, req.Header)
		}
		if tt.status == 200 {
			c.answer(switching + "\r\n")
		} else {
			c.Conn.(*net.TCPConn).CloseWrite()
		}
		err := within(t, done)
		var he *engine.HandshakeError
		switch {
		case tt.status == 200:
			if err != nil {
				t.Errorf("%s: %v", tt.name, err)
			}
		case err == nil || !strings.Contains(err.Error(), tt.why) || !strings.Contains(err.Error(), "proxy "+by.Host):
			t.Errorf("%s: %v, want a word of %q", tt.name, err, tt.why)
		case errors.As(err, &he) != (tt.status != -1):
			t.Errorf("%s: %#v", tt.name, err)
		case he != nil && (he.Proxy != by.Host || he.Status != max(tt.status, -tt.status)):
			t.Errorf("%s: %#v", tt.name, he)
		}
		c.Close()
	}
}

// errNoted is what a dial ends with that is only to be known of.
var errNoted = errors.New("noted")

// notes keeps what was to be dialed.
func notes(asked chan string) engine.Setting {
	return engine.WithDialContext(func(_ context.Context, network, address string) (net.Conn, error) {
		asked <- network + " " + address
		return nil, errNoted
	})
}

func TestProxiesOfTheEnvironmentAreUsed(t *testing.T) {
	for _, tt := range []struct {
		env       []string
		url, want string
	}{
		{nil, "ws://server.test/", "tcp server.test:80"},
		{[]string{"HTTP_PROXY=http://proxy.test:3128"}, "ws://server.test/", "tcp proxy.test:3128"},
		{[]string{"HTTP_PROXY=http://proxy.test:3128"}, "wss://server.test/", "tcp server.test:443"},
		{[]string{"HTTPS_PROXY=http://proxy.test:3128"}, "ws://server.test/", "tcp server.test:80"},
		{[]string{"HTTPS_PROXY=http://proxy.test"}, "wss://server.test/", "tcp proxy.test:80"},
		{[]string{"https_proxy=https://proxy.test"}, "wss://server.test/", "tcp proxy.test:443"},
		{[]string{"HTTP_PROXY=socks5://user:pw@proxy.test"}, "ws://server.test/", "tcp proxy.test:1080"},
		{[]string{"HTTP_PROXY=socks5h://[::1]"}, "ws://server.test/", "tcp [::1]:1080"},
		{[]string{"HTTP_PROXY=proxy.test:3128"}, "ws://server.test/", "tcp proxy.test:3128"},
		{[]string{"HTTP_PROXY=http://bücher.test"}, "ws://server.test/", "tcp xn--bcher-kva.test:80"},
		{[]string{"HTTP_PROXY=http://upper.test", "http_proxy=http://lower.test"}, "ws://server.test/", "tcp lower.test:80"},
		{[]string{"HTTP_PROXY=http://proxy.test", "NO_PROXY=server.test"}, "ws://server.test/", "tcp server.test:80"},
		{[]string{"HTTP_PROXY=http://proxy.test", "NO_PROXY=server.test"}, "ws://a.server.test/", "tcp a.server.test:80"},
		{[]string{"HTTP_PROXY=http://proxy.test", "no_proxy=.server.test"}, "ws://server.test/", "tcp proxy.test:80"},
		{[]string{"HTTP_PROXY=http://proxy.test", "NO_PROXY=server.test:81, other.test"}, "ws://server.test:80/", "tcp proxy.test:80"},
		{[]string{"HTTP_PROXY=http://proxy.test", "NO_PROXY=server.test:81, other.test"}, "ws://server.test:81/", "tcp server.test:81"},
		{[]string{"HTTPS_PROXY=http://proxy.test", "NO_PROXY=server.test:443"}, "wss://server.test/", "tcp server.test:443"},
		{[]string{"HTTP_PROXY=http://proxy.test", "NO_PROXY=10.0.0.0/8"}, "ws://10.1.2.3/", "tcp 10.1.2.3:80"},
		{[]string{"HTTP_PROXY=http://proxy.test", "NO_PROXY=*"}, "ws://server.test/", "tcp server.test:80"},
		{[]string{"HTTP_PROXY=http://proxy.test"}, "ws://localhost:9001/", "tcp localhost:9001"},
		{[]string{"HTTP_PROXY=http://proxy.test"}, "ws://127.1.2.3:9001/", "tcp 127.1.2.3:9001"},
		{[]string{"HTTP_PROXY=http://proxy.test"}, "ws://[::1]:9001/", "tcp [::1]:9001"},
		{[]string{"HTTP_PROXY=http://proxy.test", "HTTPS_PROXY=http://proxy.test"}, "ws+unix:///run/a.sock", "unix /run/a.sock"},
		{[]string{"HTTP_PROXY=http://proxy.test", "HTTPS_PROXY=http://proxy.test"}, "wss+unix:///run/a.sock", "unix /run/a.sock"},
		{[]string{"HTTP_PROXY=ftp://proxy.test"}, "ws://server.test/", ""},
		{[]string{"HTTP_PROXY=http://proxy.test", "REQUEST_METHOD=GET"}, "ws://server.test/", ""}, // from a CGI client's Proxy field
	} {
		setProxies(t, tt.env...)
		asked := make(chan string, 1)
		s := bare(t, engine.WithLoops(1), notes(asked))
		_, err := s.Dial(patiently(t), tt.url, nil, newDialed())
		switch {
		case tt.want == "":
			if err == nil || errors.Is(err, errNoted) {
				t.Errorf("%v: %s: %v", tt.env, tt.url, err)
			}
		case !errors.Is(err, errNoted):
			t.Errorf("%v: %s: %v", tt.env, tt.url, err)
		default:
			if got := within(t, asked); got != tt.want {
				t.Errorf("%v: %s: dialed %s, want %s", tt.env, tt.url, got, tt.want)
			}
		}
	}
}

func TestTheEnvironmentIsReadByNew(t *testing.T) {
	setProxies(t, "HTTP_PROXY=http://first.test")
	asked := make(chan string, 1)
	s := bare(t, notes(asked))
	setProxies(t, "HTTP_PROXY=http://second.test")
	s.Dial(patiently(t), "ws://server.test/", nil, newDialed())
	if got := within(t, asked); got != "tcp first.test:80" {
		t.Errorf("dialed %s", got)
	}
}

func TestWithProxyIsAskedAsATransportsProxyIs(t *testing.T) {
	setProxies(t, "HTTP_PROXY=http://environment.test", "HTTPS_PROXY=http://environment.test")
	asked, seen := make(chan string, 1), make(chan *http.Request, 1)
	choose := func(r *http.Request) (*url.URL, error) {
		seen <- r
		if r.URL.Host == "broken.test" {
			return nil, io.ErrNoProgress
		}
		if r.URL.Host == "direct.test" {
			return nil, nil
		}
		return &url.URL{Scheme: "http", Host: "chosen.test:1"}, nil
	}
	s := bare(t, notes(asked), engine.WithProxy(choose))
	type key struct{}
	ctx := context.WithValue(patiently(t), key{}, "value")
	header := http.Header{"X": {"y"}}
	for _, tt := range []struct{ url, seen, want string }{
		{"ws://server.test/a?b", "http://server.test/a?b", "tcp chosen.test:1"},
		{"wss://server.test:1/", "https://server.test:1/", "tcp chosen.test:1"},
		{"ws://direct.test/", "http://direct.test/", "tcp direct.test:80"},
	} {
		if _, err := s.Dial(ctx, tt.url, header, newDialed()); !errors.Is(err, errNoted) {
			t.Fatal(err)
		}
		r := within(t, seen)
		r.Header.Set("X", "changed")
		r.URL.Host = "changed"
		if r.Method != "GET" || r.Context().Value(key{}) != "value" || header.Get("X") != "y" {
			t.Errorf("asked with %+v", r)
		}
		if got := within(t, asked); got != tt.want {
			t.Errorf("%s: dialed %s, want %s", tt.url, got, tt.want)
		}
	}
	if _, err := s.Dial(ctx, "ws://broken.test/", nil, newDialed()); err != io.ErrNoProgress {
		t.Errorf("its error became %v", err)
	}
	within(t, seen)
	for name, tt := range map[string]struct {
		option engine.Setting
		want   string
	}{
		"none":    {engine.WithProxy(nil), "tcp server.test:80"},
		"another": {engine.WithProxy(always(&url.URL{Scheme: "https", Host: "another.test"})), "tcp another.test:443"},
	} {
		s.Dial(ctx, "ws://server.test/", nil, newDialed(), tt.option)
		if got := within(t, asked); got != tt.want || len(seen) > 0 {
			t.Errorf("%s: dialed %s, want %s", name, got, tt.want)
		}
	}
	for _, bad := range []*url.URL{{}, {Scheme: "http"}, {Scheme: "ws", Host: "x"}, {Scheme: "http", User: url.UserPassword("u", "secret")}} {
		if _, err := s.Dial(ctx, "ws://server.test/", nil, newDialed(), engine.WithProxy(always(bad))); err == nil || errors.Is(err, errNoted) ||
			strings.Contains(err.Error(), "secret") {
			t.Errorf("proxy %v: %v", bad, err)
		}
	}
}

func TestACertificateOfTheProxyIsVerifiedByItsName(t *testing.T) {
	s, a := bare(t), newAuthority(t)
	f := newForwarder(t, "127.0.0.1:1", nil, a.server(t, "server.test"), connect) // not 127.0.0.1
	config := a.client()
	config.ServerName = "server.test" // this is about the server
	_, err := s.Dial(patiently(t), "wss://server.test/", nil, newDialed(),
		engine.WithClientTLS(config), engine.WithProxy(always(f.url("https", nil))))
	var invalid *tls.CertificateVerificationError
	if !errors.As(err, &invalid) || !strings.Contains(err.Error(), "proxy "+f.Addr().String()) {
		t.Errorf("%v", err)
	}
}
