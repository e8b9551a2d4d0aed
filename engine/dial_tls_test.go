package engine_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"zeroframe/engine"
	"zeroframe/frame"
)

// unwrapper listens for TLS and leads to the plain server at address to; to "" it hangs up.
func unwrapper(t testing.TB, config *tls.Config, to string) (address string) {
	t.Helper()
	ln, err := tls.Listen("tcp", "127.0.0.1:0", config)
	if err != nil {
		t.Fatal(err)
	}
	unwrap(t, ln, to)
	return ln.Addr().String()
}

func unwrap(t testing.TB, ln net.Listener, to string) {
	var work sync.WaitGroup
	work.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			work.Go(func() {
				defer c.Close()
				if c.(*tls.Conn).Handshake() != nil || to == "" {
					return
				}
				there, err := net.Dial("tcp", to)
				if err != nil {
					t.Error(err)
					return
				}
				work.Go(func() {
					io.Copy(c, there)
					c.Close()
				})
				io.Copy(there, c)
				there.Close()
			})
		}
	})
	t.Cleanup(func() { ln.Close(); work.Wait() })
}

// newTLSPeer is a peer that speaks TLS.
func newTLSPeer(t testing.TB, config *tls.Config) *peer {
	ln, err := tls.Listen("tcp", "127.0.0.1:0", config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return &peer{ln, t}
}

func TestDialTalksOverTLS(t *testing.T) {
	s := onSocket(t, engine.WithPingInterval(0))
	s.handle("/echo", newEcho())
	s.session("/session", echoSession)
	a := newAuthority(t)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		config := a.server(t, "127.0.0.1")
		config.MaxVersion = version
		url := "wss://" + unwrapper(t, config, s.addr(t))
		trust := engine.WithClientTLS(a.client())
		d := newDialed()
		c := s.dialURL(url+"/echo", d, trust)
		d.expect(t, "open")
		for _, n := range []int{0, 1, 125, 126, 16_383, 16_384, 65_536, 1_000_000} {
			if err := c.Send(frame.Binary, pattern(n)); err != nil {
				t.Fatal(err)
			}
			d.expect(t, "binary "+string(pattern(n)))
		}
		c.Close(4000, "bye")
		if r := d.wait(t); r.Code != 4000 || r.Text != "bye" || r.Remote {
			t.Errorf("%s: %+v", tls.VersionName(version), r)
		}
		session, err := s.DialSession(patiently(t), url+"/session", nil, trust)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range []int{0, 1, 16_384, 300_000} {
			if err := session.SendBinary(patiently(t), pattern(n)); err != nil {
				t.Fatal(err)
			}
			expectMessage(t, session, frame.Binary, pattern(n))
		}
		session.Close(3000, "enough")
		expectEnd(t, session, engine.CloseReason{Code: 3000, Text: "enough"})
	}
}

func TestDialTalksTLSOverAUnixSocket(t *testing.T) {
	s, a := onSocket(t), newAuthority(t)
	s.handle("/echo", newEcho())
	path := filepath.Join(t.TempDir(), "sock")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Skip(err)
	}
	unwrap(t, tls.NewListener(ln, a.server(t, "localhost")), s.addr(t))
	d := newDialed()
	c := s.dialURL("wss+unix://"+path+":/echo", d, engine.WithClientTLS(a.client()))
	d.expect(t, "open")
	c.SendText("hello")
	d.expect(t, "text hello")
	c.Close(4000, "")
	d.wait(t)
}

func TestFramesRightBehindTheAnswerAreDeliveredOverTLS(t *testing.T) {
	s, a := bare(t), newAuthority(t)
	p := newTLSPeer(t, a.server(t, "127.0.0.1"))
	big := pattern(50_000)
	d := newDialed()
	done := make(chan error, 1)
	go func() {
		_, err := s.Dial(patiently(t), "wss://"+p.Addr().String()+"/", nil, d, engine.WithClientTLS(a.client()))
		done <- err
	}()
	var all []byte
	all = append(all, answerTo(frame.Text, []byte("one"))...)
	all = append(all, answerTo(frame.Binary, big)...)
	all = append(all, answerTo(frame.Text, []byte("three"))...)
	cut := len(all) - 4
	c, _ := p.accept(switching + "\r\n" + string(all[:cut])) // as one write: tls has read ahead when Dial sees the answer
	if err := within(t, done); err != nil {
		t.Fatal(err)
	}
	d.expect(t, "open")
	d.expect(t, "text one")
	d.expect(t, "binary "+string(big))
	c.send(all[cut:])
	d.expect(t, "text three")
	c.send(answerTo(frame.Close, closePayload(4000, "enough")))
	if r := d.wait(t); r.Code != 4000 || !r.Remote {
		t.Errorf("%+v", r)
	}
	c.Close()
}

// Small records that are under way when a loop takes over: crypto/tls has read some of them ahead, the last in part.
func TestRecordsReadAheadOfTheLoopAreDelivered(t *testing.T) {
	s, a := bare(t), newAuthority(t)
	p := newTLSPeer(t, a.server(t, "127.0.0.1"))
	trust := engine.WithClientTLS(a.client())
	for i := range 100 {
		d := newDialed()
		go s.Dial(patiently(t), "wss://"+p.Addr().String()+"/", nil, d, trust)
		c, _ := p.accept(switching + "\r\n")
		for j := range 20 {
			c.send(answerTo(frame.Text, fmt.Appendf(pattern(100+3*i), "%d", j)))
		}
		d.expect(t, "open")
		for j := range 20 {
			d.expect(t, "text "+string(fmt.Appendf(pattern(100+3*i), "%d", j)))
		}
		c.Close()
		d.wait(t)
	}
}

// What the server is told of itself: its name, unless it is an address, and HTTP/1.1.
func TestDialNamesTheServerInTLS(t *testing.T) {
	s, a := bare(t), newAuthority(t)
	hellos := make(chan *tls.ClientHelloInfo, 1)
	config := a.server(t, "server.test", "xn--bcher-kva.test", "localhost", "127.0.0.1", "::1", "fe80::1")
	config.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		hellos <- hello
		return nil, nil
	}
	p := newTLSPeer(t, config)
	named := a.client()
	named.ServerName = "server.test"
	named.NextProtos = []string{"h2"}
	for _, tt := range []struct {
		url, name, host, dialed string
		config                  *tls.Config
	}{
		{"wss://server.test/", "server.test", "server.test", "tcp server.test:443", a.client()},
		{"wss://server.test:443/", "server.test", "server.test", "tcp server.test:443", a.client()},
		{"wss://server.test:80/", "server.test", "server.test:80", "tcp server.test:80", a.client()},
		{"wss://Bücher.test/", "xn--bcher-kva.test", "xn--bcher-kva.test", "tcp xn--bcher-kva.test:443", a.client()},
		{"wss://127.0.0.1/", "", "127.0.0.1", "tcp 127.0.0.1:443", a.client()},
		{"wss://[::1]/", "", "[::1]", "tcp [::1]:443", a.client()},
		{"wss://[fe80::1%25lo]/", "", "[fe80::1]", "tcp [fe80::1%lo]:443", a.client()},
		{"wss+unix:///run/a.sock", "localhost", "localhost", "unix /run/a.sock", a.client()},
		{"wss://other.test/", "server.test", "other.test", "tcp other.test:443", named},
		{"wss+unix:///run/a.sock", "server.test", "localhost", "unix /run/a.sock", named},
	} {
		l := landAt(p)
		done := make(chan error, 1)
		go func() {
			_, err := s.Dial(patiently(t), tt.url, nil, newDialed(), engine.WithDialContext(l.dial), engine.WithClientTLS(tt.config))
			done <- err
		}()
		c, req := p.accept(switching + "\r\n")
		if err := within(t, done); err != nil {
			t.Errorf("%s: %v", tt.url, err)
			c.Close()
			continue
		}
		hello := within(t, hellos)
		state := c.Conn.(*tls.Conn).ConnectionState()
		if hello.ServerName != tt.name || len(hello.SupportedProtos) != 1 || state.NegotiatedProtocol != "http/1.1" {
			t.Errorf("%s: named %q, offered %q, speaks %q", tt.url, hello.ServerName, hello.SupportedProtos, state.NegotiatedProtocol)
		}
		if got := within(t, l.asked); req.Host != tt.host || got != tt.dialed {
			t.Errorf("%s: dialed %s, asked at %s", tt.url, got, req.Host)
		}
		c.Close()
	}
	if named.ServerName != "server.test" || named.NextProtos[0] != "h2" || named.ClientSessionCache != nil {
		t.Errorf("the caller's configuration is changed: %+v", named)
	}
}

func TestACertificateThatDoesNotVerifyIsTheErrorOfDial(t *testing.T) {
	s, a := bare(t), newAuthority(t)
	right := "wss://" + unwrapper(t, a.server(t, "127.0.0.1"), "") + "/"
	wrong := "wss://" + unwrapper(t, a.server(t, "server.test"), "") + "/"
	dial := func(url string, opts ...engine.RouteOption) error {
		c, err := s.Dial(patiently(t), url, nil, newDialed(), opts...)
		var invalid *tls.CertificateVerificationError
		if c != nil || !errors.As(err, &invalid) {
			t.Errorf("%v, %v", c, err)
		}
		return err
	}
	var unknown x509.UnknownAuthorityError
	if err := dial(right); !errors.As(err, &unknown) {
		t.Errorf("an authority that the system does not know: %v", err)
	}
	if err := dial(right, engine.WithClientTLS(newAuthority(t).client())); !errors.As(err, &unknown) {
		t.Errorf("an authority that is not trusted: %v", err)
	}
	var name x509.HostnameError
	if err := dial(wrong, engine.WithClientTLS(a.client())); !errors.As(err, &name) {
		t.Errorf("another's certificate: %v", err)
	}
	// An engine's option holds for all that it dials, and nil takes it back.
	trusting := bare(t, engine.WithClientTLS(&tls.Config{InsecureSkipVerify: true}))
	for _, url := range []string{right, wrong} {
		if _, err := trusting.Dial(patiently(t), url, nil, newDialed()); err == nil || strings.Contains(err.Error(), "certificate") {
			t.Errorf("verified in spite of InsecureSkipVerify: %v", err)
		}
		if _, err := trusting.Dial(patiently(t), url, nil, newDialed(), engine.WithClientTLS(nil)); err == nil || !strings.Contains(err.Error(), "certificate") {
			t.Errorf("taken back: %v", err)
		}
	}
}

func TestDialShowsItsCertificateToAServerThatAsks(t *testing.T) {
	s, a := onSocket(t), newAuthority(t)
	s.handle("/echo", newEcho())
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		config := a.server(t, "127.0.0.1")
		config.MaxVersion = version
		config.ClientCAs, config.ClientAuth = poolOf(a.Certificate), tls.RequireAndVerifyClientCert
		url := "wss://" + unwrapper(t, config, s.addr(t)) + "/echo"
		known := a.client()
		known.Certificates = []tls.Certificate{a.issue(t, "a client")}
		d := newDialed()
		c := s.dialURL(url, d, engine.WithClientTLS(known))
		d.expect(t, "open")
		c.SendText("it is me")
		d.expect(t, "text it is me")
		c.Close(4000, "")
		d.wait(t)
		_, err := s.Dial(patiently(t), url, nil, newDialed(), engine.WithClientTLS(a.client()))
		if err == nil || !strings.Contains(err.Error(), "remote error: tls: ") {
			t.Errorf("%s without a certificate: %v", tls.VersionName(version), err)
		}
	}
}

// Sessions are resumed by those who share a configuration, and by nobody else: another may trust others, and be another.
func TestSessionsOfTLSAreResumedUnderTheSameConfiguration(t *testing.T) {
	a := newAuthority(t)
	s := onSocket(t)
	s.handle("/echo", newEcho())
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		config := a.server(t, "127.0.0.1")
		config.MaxVersion = version
		url := "wss://" + unwrapper(t, config, s.addr(t)) + "/echo"
		resumed := make(chan bool, 1)
		watched := func() *tls.Config {
			c := a.client()
			c.VerifyConnection = func(state tls.ConnectionState) error { resumed <- state.DidResume; return nil }
			return c
		}
		dial := func(e *server, opts ...engine.RouteOption) bool {
			d := newDialed()
			c := e.dialURL(url, d, opts...)
			c.SendText("x")
			d.expect(t, "open")
			d.expect(t, "text x")
			c.Close(4000, "")
			d.wait(t)
			return within(t, resumed)
		}
		other := bare(t, engine.WithClientTLS(watched()))
		shared, again := engine.WithClientTLS(watched()), engine.WithClientTLS(watched())
		off := watched()
		off.SessionTicketsDisabled = true
		never := engine.WithClientTLS(off)
		for i, tt := range []struct {
			e    *server
			opts []engine.RouteOption
			want bool
		}{
			{s, []engine.RouteOption{shared}, false},
			{s, []engine.RouteOption{shared}, true},
			{other, []engine.RouteOption{shared}, true},
			{s, []engine.RouteOption{again}, false},
			{other, nil, false},
			{other, nil, true},
			{s, []engine.RouteOption{never}, false},
			{s, []engine.RouteOption{never}, false},
			{s, []engine.RouteOption{shared}, true},
		} {
			if got := dial(tt.e, tt.opts...); got != tt.want {
				t.Errorf("%s, dial %d: resumed %v, want %v", tls.VersionName(version), i, got, tt.want)
			}
		}
	}
}

func TestDialSaysWhatIsWrongWithTLS(t *testing.T) {
	s, a := bare(t), newAuthority(t)
	plain := newPeer(t)
	done := make(chan error, 1)
	dial := func(address string) {
		_, err := s.Dial(patiently(t), "wss://"+address+"/", nil, newDialed(), engine.WithClientTLS(a.client()))
		done <- err
	}
	go dial(plain.Addr().String())
	c, err := plain.Accept()
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n")
	var record tls.RecordHeaderError
	if err := within(t, done); !errors.As(err, &record) {
		t.Errorf("a server that speaks no TLS: %v", err)
	}
	c.Close()

	go dial(plain.Addr().String())
	if c, err = plain.Accept(); err != nil {
		t.Fatal(err)
	}
	c.Close()
	if err := within(t, done); err == nil {
		t.Error("the connection ended in the handshake")
	}

	config := a.server(t, "127.0.0.1")
	config.NextProtos = []string{"spdy/3"}
	go dial(unwrapper(t, config, ""))
	if err := within(t, done); err == nil || !strings.Contains(err.Error(), "no application protocol") {
		t.Errorf("a server that speaks no HTTP/1.1: %v", err)
	}
}
