package engine_test

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"zeroframe/engine"
	"zeroframe/frame"
)

// versions are those that the server speaks unless it is told otherwise.
var versions = map[string]uint16{"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13}

// speaking is trusting for one version.
func speaking(version uint16) *tls.Config {
	config := trusting()
	config.MinVersion, config.MaxVersion = version, version
	return config
}

// echoesOf exchanges messages of several sizes.
func (c *client) echoesOf(sizes ...int) {
	c.t.Helper()
	for _, n := range sizes {
		c.write(frame.Binary, pattern(n))
		c.expect(frame.Binary, pattern(n))
	}
}

func TestBothVersionsOfTLSAreServed(t *testing.T) {
	onTLS(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start()
		h := newOpener()
		s.handle("/", h)
		for name, version := range versions {
			c, err := s.shakeHands(speaking(version))
			if err != nil {
				t.Fatalf("TLS %s: %v", name, err)
			}
			over := s.upgrade(c, "/")
			over.echoesOf(0, 1, 125, 126, 70_000, 300_000)
			state := within(t, h.opened).TLS()
			if state == nil || state.Version != version || !state.HandshakeComplete || state.CipherSuite != c.ConnectionState().CipherSuite {
				t.Errorf("TLS %s: Conn.TLS is %+v", name, state)
			}
			over.write(frame.Close, closePayload(3000, "bye"))
			over.expectClose(3000)
			if r := h.wait(t); r.Code != 3000 || !r.Remote {
				t.Errorf("TLS %s: reason %+v", name, r)
			}
		}
		eventually(t, "two handshakes are counted", func() bool {
			n := s.Stats()
			return n.TLSHandshakes == 2 && n.TLSFailures == 0 && n.Handshakes == 2
		})
	})
}

// A version that is too old is refused in words the client understands.
func TestOldVersionsOfTLSAreRefused(t *testing.T) {
	onTLSSockets(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start()
		nc, err := s.shakeHands(speaking(tls.VersionTLS11))
		nc.Close()
		if err == nil || !strings.Contains(err.Error(), "protocol version not supported") {
			t.Errorf("a client of TLS 1.1 got %v", err)
		}
		eventually(t, "the failure is counted", func() bool { return s.Stats().TLSFailures == 1 })
		s.gone()
	})
}

func TestSessionsAreResumed(t *testing.T) {
	onTLSSockets(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start()
		h := newOpener()
		s.handle("/", h)
		for name, version := range versions {
			config := speaking(version)
			config.ClientSessionCache = tls.NewLRUClientSessionCache(1)
			for i := range 3 {
				nc, err := s.shakeHands(config)
				if err != nil {
					t.Fatal(err)
				}
				c := s.upgrade(nc, "/")
				c.echoesOf(100) // behind the ticket
				here, there := nc.ConnectionState().DidResume, within(t, h.opened).TLS().DidResume
				if want := i > 0; here != want || there != want {
					t.Errorf("TLS %s, connection %d: resumed: %v by the client, %v by the server, want %v", name, i, here, there, want)
				}
				c.Close()
				h.wait(t)
			}
		}
	})
}

func TestServerNamesChooseCertificates(t *testing.T) {
	onTLSSockets(t, func(t *testing.T, start func(...engine.Option) *server) {
		byName := map[string]*tls.Certificate{}
		for _, name := range []string{"one.test", "two.test"} {
			c := issue(name)
			byName[name] = &c
		}
		s := start(engine.WithTLSConfig(&tls.Config{GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			if c := byName[hello.ServerName]; c != nil {
				return c, nil
			}
			return nil, errors.New("nobody here has that name")
		}}))
		h := newOpener()
		s.handle("/", h)
		for name := range byName {
			config := trusting()
			config.ServerName = name
			nc, err := s.shakeHands(config)
			if err != nil {
				t.Fatal(err)
			}
			s.upgrade(nc, "/").echoesOf(10)
			if got := nc.ConnectionState().PeerCertificates[0].Subject.CommonName; got != name {
				t.Errorf("%s showed the certificate of %s", name, got)
			}
			if got := within(t, h.opened).TLS().ServerName; got != name {
				t.Errorf("Conn.TLS says the client asked for %q, not %q", got, name)
			}
		}
		if _, err := s.shakeHands(trusting()); err == nil || !strings.Contains(err.Error(), "remote error") {
			t.Errorf("a name that nobody has: %v", err)
		}
	})
}

func TestConfigurationsAreChosenByClient(t *testing.T) {
	onTLSSockets(t, func(t *testing.T, start func(...engine.Option) *server) {
		other := issue("other.test")
		special := &tls.Config{MinVersion: tls.VersionTLS13, GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return &other, nil
		}}
		remotes := make(chan net.Addr, 10)
		s := start(engine.WithTLSConfig(&tls.Config{
			Certificates: []tls.Certificate{certificate()},
			GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
				remotes <- hello.Conn.RemoteAddr()
				if hello.ServerName == "other.test" {
					return special, nil
				}
				return nil, nil
			},
		}))
		s.handle("/", newEcho())
		for _, name := range []string{"localhost", "other.test"} {
			config := trusting()
			config.ServerName = name
			config.ClientSessionCache = tls.NewLRUClientSessionCache(1)
			for i := range 2 {
				nc, err := s.shakeHands(config)
				if err != nil {
					t.Fatal(name, err)
				}
				s.upgrade(nc, "/").echoesOf(10)
				if got := nc.ConnectionState().DidResume; got != (i > 0) {
					t.Errorf("%s, connection %d: resumed: %v", name, i, got)
				}
				if remote := within(t, remotes); remote.String() != nc.LocalAddr().String() {
					t.Errorf("the callback was told of %v, not %v", remote, nc.LocalAddr())
				}
			}
		}
		old := speaking(tls.VersionTLS12)
		old.ServerName = "other.test"
		if _, err := s.shakeHands(old); err == nil {
			t.Error("the configuration's least version was not heeded")
		}
		if special.NextProtos != nil {
			t.Error("the configuration was changed")
		}
	})
}

func TestClientCertificatesAreRequired(t *testing.T) {
	onTLSSockets(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithTLSConfig(&tls.Config{
			Certificates: []tls.Certificate{certificate()},
			ClientAuth:   tls.RequireAndVerifyClientCert,
			ClientCAs:    roots(),
		}))
		names := make(chan string, 10)
		h := newOpener()
		s.handle("/", h, engine.WithOnUpgrade(func(u *engine.Upgrade) error {
			names <- u.Request.TLS.PeerCertificates[0].Subject.CommonName
			return nil
		}))
		if err := s.HandleSession("/session", func(ctx context.Context, s *engine.Session) error {
			names <- s.Request().TLS.PeerCertificates[0].Subject.CommonName
			names <- s.TLS().PeerCertificates[0].Subject.CommonName
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		for name, version := range versions {
			config := speaking(version)
			config.Certificates = []tls.Certificate{issue("alice")}
			nc, err := s.shakeHands(config)
			if err != nil {
				t.Fatal(err)
			}
			s.upgrade(nc, "/").echoesOf(10)
			state := within(t, h.opened).TLS()
			if got := []string{within(t, names), state.PeerCertificates[0].Subject.CommonName}; !slices.Equal(got, []string{"alice", "alice"}) {
				t.Errorf("TLS %s: in OnUpgrade and in Conn.TLS the client is %q", name, got)
			}
			if len(state.VerifiedChains) == 0 {
				t.Errorf("TLS %s: the chain is not verified", name)
			}
			if nc, err = s.shakeHands(config); err != nil {
				t.Fatal(err)
			}
			s.upgrade(nc, "/session").answerClose(frame.CloseNormal, "")
			if got := []string{within(t, names), within(t, names)}; !slices.Equal(got, []string{"alice", "alice"}) {
				t.Errorf("TLS %s: in Session.Request and Session.TLS the client is %q", name, got)
			}

			failures := s.Stats().TLSFailures
			stranger := speaking(version)
			stranger.Certificates = []tls.Certificate{newCertificate(nil, "mallory")}
			stranger.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
				return &stranger.Certificates[0], nil // though the server does not name its authority
			}
			for who, config := range map[string]*tls.Config{"without a certificate": speaking(version), "with a stranger's": stranger} {
				nc, err := s.shakeHands(config)
				if err == nil { // in TLS 1.3 the client is done before the server has judged
					_, err = nc.Read(make([]byte, 1))
				}
				if err == nil || !strings.Contains(err.Error(), "remote error: tls") {
					t.Errorf("TLS %s: a client %s got %v", name, who, err)
				}
			}
			eventually(t, "failures are counted", func() bool { return s.Stats().TLSFailures == failures+2 })
		}
	})
}

func TestHTTPIsTheProtocolThatIsAgreedOn(t *testing.T) {
	onTLSSockets(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start()
		h := newOpener()
		s.handle("/", h)
		for _, row := range []struct {
			offered []string
			want    string
		}{{nil, ""}, {[]string{"http/1.1"}, "http/1.1"}, {[]string{"h2", "http/1.1"}, "http/1.1"}} {
			config := trusting()
			config.NextProtos = row.offered
			nc, err := s.shakeHands(config)
			if err != nil {
				t.Fatalf("%q: %v", row.offered, err)
			}
			s.upgrade(nc, "/").echoesOf(10)
			if got := within(t, h.opened).TLS().NegotiatedProtocol; got != row.want || nc.ConnectionState().NegotiatedProtocol != row.want {
				t.Errorf("%q were offered: %q", row.offered, got)
			}
		}
		config := trusting()
		config.NextProtos = []string{"h2", "spdy/3"}
		if _, err := s.shakeHands(config); err == nil || !strings.Contains(err.Error(), "no application protocol") {
			t.Errorf("a client that offers nothing we speak got %v", err)
		}
	})
}

// A configuration made for net/http, or by autocert, names HTTP/2, which the engine does not speak.
func TestProtocolsNobodySpeaksHereAreNotOffered(t *testing.T) {
	onTLSSockets(t, func(t *testing.T, start func(...engine.Option) *server) {
		given := &tls.Config{Certificates: []tls.Certificate{certificate()}, NextProtos: []string{"h2", "http/1.1", "acme-tls/1"}}
		forOne := given.Clone()
		given.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			if hello.ServerName == "example.test" {
				return forOne, nil
			}
			return nil, nil
		}
		s := start(engine.WithTLSConfig(given))
		s.handle("/", newEcho())
		for _, name := range []string{"localhost", "example.test"} {
			for offered, want := range map[string]string{"h2,http/1.1": "http/1.1", "acme-tls/1": "acme-tls/1"} {
				config := trusting()
				config.ServerName = name
				config.NextProtos = strings.Split(offered, ",")
				nc, err := s.shakeHands(config)
				if err != nil {
					t.Fatal(err)
				}
				if got := nc.ConnectionState().NegotiatedProtocol; got != want {
					t.Errorf("%s, %s offered: %q was agreed on", name, offered, got)
				}
				s.upgrade(nc, "/").echoesOf(10)
			}
		}
		if len(given.NextProtos) != 3 || len(forOne.NextProtos) != 3 {
			t.Error("the configuration was changed")
		}
	})
}

func TestCertificatesComeFromFiles(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		onTransports(t, []transport{{network, func(t testing.TB, s *server) {
			certFile, keyFile := writeCertificate(t, issue("files.test"))
			s.serveTLS(network, certFile, keyFile)
		}}}, func(t *testing.T, start func(...engine.Option) *server) {
			s := start() // which has a certificate by WithTLSConfig, too
			s.handle("/", newEcho())
			for _, name := range []string{"files.test", "example.test"} {
				config := trusting()
				config.ServerName = name
				nc, err := s.shakeHands(config)
				if err != nil {
					t.Fatal(err)
				}
				s.upgrade(nc, "/").echoesOf(10)
			}
		})
	}
}

// Whatever is missing or does not fit is told at once, by an error that names the file where it is one.
func TestServingTLSNeedsACertificate(t *testing.T) {
	certFile, keyFile := writeCertificate(t, certificate())
	_, otherKey := writeCertificate(t, issue("other.test"))
	garbage := filepath.Join(t.TempDir(), "garbage.pem")
	if err := os.WriteFile(garbage, []byte("-----BEGIN NOTHING-----\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	missing := filepath.Join(t.TempDir(), "missing.pem")
	e, err := engine.New(engine.WithLoops(1))
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	for _, row := range []struct{ name, cert, key, says string }{
		{"nothing", "", "", "certificate"},
		{"no key", certFile, "", "open"},
		{"no certificate", "", keyFile, "open"},
		{"missing certificate", missing, keyFile, missing},
		{"missing key", certFile, missing, missing},
		{"garbage", garbage, keyFile, "PEM"},
		{"garbage for a key", certFile, garbage, "PEM"},
		{"the wrong key", certFile, otherKey, "match"},
	} {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		if err := e.ServeTLS(ln, row.cert, row.key); err == nil || !strings.Contains(err.Error(), row.says) {
			t.Errorf("%s: ServeTLS returned %v", row.name, err)
		}
		if _, err := ln.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s: the listener is left open: %v", row.name, err)
		}
		if err := e.ListenAndServeTLS("tcp", "127.0.0.1:0", row.cert, row.key); err == nil || !strings.Contains(err.Error(), row.says) {
			t.Errorf("%s: ListenAndServeTLS returned %v", row.name, err)
		}
	}
	if err := e.ListenAndServeTLS("tcp", "nowhere.invalid:x", certFile, keyFile); err == nil {
		t.Error("an address that is none was served")
	}
	var bad *engine.OptionError
	if _, err := engine.New(engine.WithTLSConfig(nil)); !errors.As(err, &bad) || bad.Option != "WithTLSConfig" {
		t.Errorf("WithTLSConfig(nil): %v", err)
	}
}

func TestListenAndServeTLSEndsWithTheEngine(t *testing.T) {
	certFile, keyFile := writeCertificate(t, certificate())
	e, err := engine.New(engine.WithLoops(1))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "socket")
	served := make(chan error, 1)
	go func() { served <- e.ListenAndServeTLS("unix", path, certFile, keyFile) }()
	eventually(t, "a client gets in", func() bool {
		nc, err := net.Dial("unix", path)
		if err != nil {
			return false
		}
		defer nc.Close()
		return tls.Client(nc, trusting()).Handshake() == nil
	})
	e.Close()
	if err := within(t, served); !errors.Is(err, engine.ErrServerClosed) {
		t.Errorf("ListenAndServeTLS returned %v", err)
	}
	if err := e.ListenAndServeTLS("unix", path, certFile, keyFile); !errors.Is(err, engine.ErrServerClosed) {
		t.Errorf("and after the end %v", err)
	}
}
