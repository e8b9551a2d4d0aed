package engine_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"zeroframe/engine"
	"zeroframe/frame"
)

// landing dials a peer, whatever it is asked to dial, and keeps what that was.
type landing struct {
	at    net.Addr
	asked chan string
}

func landAt(ln net.Listener) landing { return landing{ln.Addr(), make(chan string, 100)} }

func (l landing) dial(ctx context.Context, network, address string) (net.Conn, error) {
	l.asked <- network + " " + address
	var d net.Dialer
	return d.DialContext(ctx, l.at.Network(), l.at.String())
}

func TestDialReadsItsURL(t *testing.T) {
	s, p := bare(t), newPeer(t)
	for _, tt := range []struct{ url, dialed, target, host string }{
		{"ws://example.test", "tcp example.test:80", "/", "example.test"},
		{"WS://example.test:80/a?b=c", "tcp example.test:80", "/a?b=c", "example.test"},
		{"ws://example.test:443/", "tcp example.test:443", "/", "example.test:443"},
		{"ws://EXAMPLE.test:8080/a%2Fb?", "tcp EXAMPLE.test:8080", "/a%2Fb?", "EXAMPLE.test:8080"},
		{"ws://example.test:/", "tcp example.test:80", "/", "example.test"},
		{"ws://example.test?a", "tcp example.test:80", "/?a", "example.test"},
		{"ws://127.0.0.1/", "tcp 127.0.0.1:80", "/", "127.0.0.1"},
		{"ws://[::1]:9001/x", "tcp [::1]:9001", "/x", "[::1]:9001"},
		{"ws://[::1]:/x", "tcp [::1]:80", "/x", "[::1]"},
		{"ws://[fe80::1%25lo]/", "tcp [fe80::1%lo]:80", "/", "[fe80::1]"},
		{"ws://bücher.test/straße?ü", "tcp xn--bcher-kva.test:80", "/stra%C3%9Fe?%C3%BC", "xn--bcher-kva.test"},
		{"ws://BÜCHER.test:81/", "tcp xn--bcher-kva.test:81", "/", "xn--bcher-kva.test:81"},
		{"ws+unix:///run/a.sock:/chat?x=1", "unix /run/a.sock", "/chat?x=1", "localhost"},
		{"ws+unix:///run/a.sock", "unix /run/a.sock", "/", "localhost"},
		{"ws+unix:///run/a.sock?x=1", "unix /run/a.sock", "/?x=1", "localhost"},
		{"ws+unix:/run/a.sock:/chat", "unix /run/a.sock", "/chat", "localhost"},
		{"ws+unix:run/a.sock:/chat?x", "unix run/a.sock", "/chat?x", "localhost"},
		{"ws+unix:@name:/chat", "unix @name", "/chat", "localhost"},
		{"ws+unix:///run/a%3Ab%20c:/d%2Fe:f", "unix /run/a:b c", "/d%2Fe:f", "localhost"},
		{"ws+unix:///run/a://x", "unix /run/a", "//x", "localhost"},
	} {
		l := landAt(p)
		done := make(chan error, 1)
		go func() {
			_, err := s.Dial(patiently(t), tt.url, nil, newDialed(), engine.WithDialContext(l.dial), engine.WithProxy(nil))
			done <- err
		}()
		c, req := p.accept(switching + "\r\n")
		if err := within(t, done); err != nil {
			t.Errorf("%s: %v", tt.url, err)
		} else if got := within(t, l.asked); got != tt.dialed || req.RequestURI != tt.target || req.Host != tt.host {
			t.Errorf("%s: dialed %s, asked for %s at %s", tt.url, got, req.RequestURI, req.Host)
		}
		c.Close()
	}
}

func TestDialRefusesOtherURLs(t *testing.T) {
	s, p := bare(t), newPeer(t)
	for _, tt := range []struct{ url, why string }{
		{"", "scheme"},
		{"/echo", "scheme"},
		{"example.test/echo", "scheme"},
		{"http://user:secret@example.test/", "scheme"},
		{"https://example.test/", "scheme"},
		{"wsx://example.test/", "scheme"},
		{"unix:///run/a.sock", "scheme"},
		{"://", "parse"},
		{"ws://", "host"},
		{"ws:///path", "host"},
		{"ws://:80/", "host"},
		{"ws:example.test", "host"},
		{"ws://user:secret@/", "host"},
		{"ws://user:secret@example.test:x/", "parse"},
		{"ws://user:secret@example.test/%zz", "parse"},
		{"ws://user:secret@a\x7fb/", "parse"},
		{"ws://xn--a\u00fc.test/", "idna"},
		{"ws://example.test/#part", "fragment"},
		{"ws://user:secret@example.test/#", "fragment"},
		{"ws+unix:///run/a.sock:/x#part", "fragment"},
		{"ws+unix://run/a.sock:/x", "path/to/socket"},
		{"ws+unix://:/x", "path/to/socket"},
		{"ws+unix:", "path/to/socket"},
		{"ws+unix:///run/a.sock:x", "path/to/socket"},
		{"wss+unix://host/run/a.sock", "wss+unix:///path"},
	} {
		l := landAt(p)
		c, err := s.Dial(patiently(t), tt.url, nil, newDialed(), engine.WithDialContext(l.dial), engine.WithProxy(nil))
		if err == nil || c != nil || len(l.asked) > 0 {
			t.Errorf("%q was dialed: %v", tt.url, err)
		} else if !strings.Contains(err.Error(), tt.why) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v, want a word of %q and no password", tt.url, err, tt.why)
		}
	}
}

func TestUserInformationOfTheURLBecomesBasicAuthorization(t *testing.T) {
	s, p := bare(t), newPeer(t)
	for _, tt := range []struct {
		url    string
		header http.Header
		want   string
	}{
		{"ws://user:p%40%20ss@example.test/", nil, "Basic dXNlcjpwQCBzcw=="},
		{"ws://user@example.test/", http.Header{"X": {"1"}}, "Basic dXNlcjo="},
		{"ws://example.test/", nil, ""},
		{"ws+unix://user:pw@/run/a.sock", nil, "Basic dXNlcjpwdw=="},
		{"ws://user:pw@example.test/", http.Header{"Authorization": {"Bearer x"}}, "Bearer x"},
		{"ws://user:pw@example.test/", http.Header{"authorization": {"Bearer x"}}, "Bearer x"},
	} {
		given := tt.header.Clone()
		done := make(chan error, 1)
		go func() {
			_, err := s.Dial(patiently(t), tt.url, given, newDialed(), engine.WithDialContext(landAt(p).dial))
			done <- err
		}()
		c, req := p.accept(switching + "\r\n")
		if err := within(t, done); err != nil {
			t.Errorf("%s: %v", tt.url, err)
		} else if got := strings.Join(req.Header.Values("Authorization"), "+"); got != tt.want {
			t.Errorf("%s with %v: %q, want %q", tt.url, tt.header, got, tt.want)
		}
		if len(given) != len(tt.header) {
			t.Errorf("%s: the caller's header is %v now", tt.url, given)
		}
		c.Close()
	}
}

func TestDialTalksOverAUnixSocket(t *testing.T) {
	s := bare(t, engine.WithPingInterval(0))
	path := filepath.Join(t.TempDir(), "a:b.sock")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Skip(err)
	}
	served := s.serve(ln)
	t.Cleanup(func() { s.Close(); within(t, served) })
	s.handle("/echo", newEcho())
	s.session("/session", echoSession)
	base := "ws+unix://" + strings.ReplaceAll((&url.URL{Path: path}).EscapedPath(), ":", "%3A") + ":"
	d := newDialed()
	c := s.dialURL(base+"/echo?x", d)
	d.expect(t, "open")
	c.Send(frame.Binary, pattern(100_000))
	d.expect(t, "binary "+string(pattern(100_000)))
	c.Close(4000, "bye")
	if r := d.wait(t); r.Code != 4000 || r.Remote {
		t.Errorf("%+v", r)
	}
	session, err := s.DialSession(patiently(t), base+"/session", nil)
	if err != nil {
		t.Fatal(err)
	}
	session.SendText(patiently(t), "hello")
	expectMessage(t, session, frame.Text, []byte("hello"))
	session.Close(frame.CloseNormal, "")
	expectEnd(t, session, engine.CloseReason{Code: frame.CloseNormal})

	var he *engine.HandshakeError
	if _, err := s.Dial(patiently(t), base+"/nowhere", nil, newDialed()); !errors.As(err, &he) || he.Status != 404 {
		t.Errorf("no such route: %v", err)
	}
	var op *net.OpError
	if _, err := s.Dial(patiently(t), base[:len(base)-2]+":/echo", nil, newDialed()); !errors.As(err, &op) || op.Net != "unix" {
		t.Errorf("no such socket: %v", err)
	}
}

func TestDialContextOptionMustReturnSomething(t *testing.T) {
	s := bare(t)
	none := func(context.Context, string, string) (net.Conn, error) { return nil, nil }
	if c, err := s.Dial(patiently(t), "ws://example.test/", nil, newDialed(), engine.WithDialContext(none)); c != nil || err == nil || !strings.Contains(err.Error(), "WithDialContext") {
		t.Errorf("%v, %v", c, err)
	}
	broken := errors.New("broken")
	fails := func(context.Context, string, string) (net.Conn, error) { return nil, broken }
	if c, err := s.Dial(patiently(t), "ws://example.test/", nil, newDialed(), engine.WithDialContext(fails)); c != nil || err != broken {
		t.Errorf("%v, %v", c, err)
	}
}
