package engine_test

import (
	"crypto/tls"
	"errors"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"zeroframe/engine"
)

// asking is trusting for another name.
func asking(name string) *tls.Config {
	config := trusting()
	config.ServerName = name
	return config
}

// askingFor is how a server can be asked for its certificate: for each way, a configuration that calls f.
var askingFor = map[string]func(f func(*tls.ClientHelloInfo)) *tls.Config{
	"GetCertificate": func(f func(*tls.ClientHelloInfo)) *tls.Config {
		return &tls.Config{GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			f(hello)
			c := certificate()
			return &c, nil
		}}
	},
	"GetConfigForClient": func(f func(*tls.ClientHelloInfo)) *tls.Config {
		return &tls.Config{GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			f(hello)
			return serverCertificate(), nil
		}}
	},
	"GetCertificate of GetConfigForClient": func(f func(*tls.ClientHelloInfo)) *tls.Config {
		return &tls.Config{GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			return &tls.Config{GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
				f(hello)
				c := certificate()
				return &c, nil
			}}, nil
		}}
	},
}

// onEachAsked runs f over each way of being asked for a certificate.
func onEachAsked(t *testing.T, f func(t *testing.T, start func(callback func(*tls.ClientHelloInfo), opts ...engine.Option) *server)) {
	for name, config := range askingFor {
		t.Run(name, func(t *testing.T) {
			onTransports(t, overTLS[:1], func(t *testing.T, start func(...engine.Option) *server) {
				f(t, func(callback func(*tls.ClientHelloInfo), opts ...engine.Option) *server {
					s := start(append(opts, engine.WithTLSConfig(config(callback)))...)
					s.handle("/", newEcho())
					return s
				})
			})
		})
	}
}

// More callbacks wait than there are processors, and handshakes go on beside them; and when their time has come, they are
// not too late.
func TestCallbacksThatWaitHoldUpNobody(t *testing.T) {
	onEachAsked(t, func(t *testing.T, start func(func(*tls.ClientHelloInfo), ...engine.Option) *server) {
		waiting, release := make(chan bool, 100), make(chan bool)
		s := start(func(hello *tls.ClientHelloInfo) {
			if hello.ServerName == "example.test" {
				waiting <- true
				<-release
			}
		})
		n := 3 * runtime.GOMAXPROCS(0)
		done := make(chan *tls.Conn, n)
		for range n {
			go func() {
				nc, err := s.shakeHands(asking("example.test"))
				if err != nil {
					t.Error(err)
				}
				done <- nc
			}()
			within(t, waiting)
		}
		for range 10 {
			s.open("/").echoesOf(10)
		}
		close(release)
		for range n {
			s.upgrade(within(t, done), "/").echoesOf(10)
		}
	})
}

// The context of a callback that waits ends with its connection, whoever ends that.
func TestCallbacksHearOfTheEndOfTheirConnection(t *testing.T) {
	for name, row := range map[string]struct {
		timeout time.Duration
		end     func(s *server, c net.Conn)
	}{
		"timeout": {100 * time.Millisecond, func(*server, net.Conn) {}},
		"Close":   {time.Minute, func(s *server, c net.Conn) { s.Close() }},
		"reset": {time.Minute, func(s *server, c net.Conn) {
			c.(*net.TCPConn).SetLinger(0)
			c.Close()
		}},
	} {
		t.Run(name, func(t *testing.T) {
			onEachAsked(t, func(t *testing.T, start func(func(*tls.ClientHelloInfo), ...engine.Option) *server) {
				ended := make(chan bool, 10)
				asked := make(chan bool, 10)
				s := start(func(hello *tls.ClientHelloInfo) {
					asked <- true
					<-hello.Context().Done()
					ended <- true
				}, engine.WithHandshakeTimeout(row.timeout))
				c := s.below()
				defer c.Close()
				c.Write(clientHello(t, trusting()))
				if row.timeout == time.Minute {
					within(t, asked)
					row.end(s, c)
				} else {
					s.until("no timeout is counted", func() bool { return s.Stats().HandshakeTimeouts == 1 })
					if len(asked) == 0 {
						t.Skip("the machine was too busy to come to the callback in time")
					}
				}
				within(t, ended)
				s.gone()
			})
		})
	}
}

func TestCallbacksThatPanicFailTheirHandshakeAlone(t *testing.T) {
	onEachAsked(t, func(t *testing.T, start func(func(*tls.ClientHelloInfo), ...engine.Option) *server) {
		s := start(func(hello *tls.ClientHelloInfo) {
			switch hello.ServerName {
			case "example.test":
				panic("no certificate today")
			}
		})
		c := s.open("/")
		for range 3 * runtime.GOMAXPROCS(0) { // a turn that was not given back would be missed
			nc, err := s.shakeHands(asking("example.test"))
			if err == nil || !strings.Contains(err.Error(), "remote error: tls: internal error") {
				t.Fatalf("the client of a panic got %v", err)
			}
			nc.Close()
		}
		c.echoesOf(10)
		s.open("/").echoesOf(10)
		if logs := s.logs.String(); !strings.Contains(logs, "no certificate today") || !strings.Contains(logs, "tls_callbacks_test.go") {
			t.Errorf("the panic is not in the log: %s", logs)
		}
		eventually(t, "failures are counted", func() bool {
			n := s.Stats()
			return n.TLSFailures == uint64(3*runtime.GOMAXPROCS(0)) && n.TLSHandshakes == 2
		})
	})
}

// Callbacks that the engine does not wrap, and one that ends its goroutine, as a test's FailNow does.
func TestOtherCallbacksThatPanicFailTheirHandshakeAlone(t *testing.T) {
	for name, change := range map[string]func(*tls.Config){
		"VerifyConnection": func(config *tls.Config) {
			config.VerifyConnection = func(state tls.ConnectionState) error {
				if state.ServerName == "example.test" {
					panic("not that one")
				}
				return nil
			}
		},
		"WrapSession": func(config *tls.Config) {
			config.WrapSession = func(state tls.ConnectionState, ss *tls.SessionState) ([]byte, error) {
				if state.ServerName == "example.test" {
					panic("not that one")
				}
				return config.EncryptTicket(state, ss)
			}
		},
		"Goexit": func(config *tls.Config) {
			config.GetCertificate = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
				if hello.ServerName == "example.test" {
					runtime.Goexit()
				}
				c := certificate()
				return &c, nil
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			onTransports(t, overTLS[:1], func(t *testing.T, start func(...engine.Option) *server) {
				config := serverCertificate()
				change(config)
				if name == "Goexit" {
					config.Certificates = nil
				}
				s := start(engine.WithTLSConfig(config))
				s.handle("/", newEcho())
				n := 3 * runtime.GOMAXPROCS(0)
				for range n {
					client := asking("example.test")
					client.ClientSessionCache = tls.NewLRUClientSessionCache(1) // it wants a ticket
					nc, err := s.shakeHands(client)
					if err == nil {
						_, err = nc.Read(make([]byte, 1))
					}
					if err == nil {
						t.Fatal("a handshake succeeded that panicked")
					}
					nc.Close()
				}
				s.open("/").echoesOf(10)
				eventually(t, "failures are counted", func() bool { return s.Stats().TLSFailures == uint64(n) })
				if logs := s.logs.String(); name != "Goexit" && !strings.Contains(logs, "not that one") {
					t.Errorf("the panic is not in the log: %s", logs)
				}
				s.until("failed connections are left", func() bool { return s.Stats().Conns == 1 })
			})
		})
	}
}

// A callback may refuse a client by closing the connection it was given.
func TestCallbacksMayCloseTheConnection(t *testing.T) {
	onEachAsked(t, func(t *testing.T, start func(func(*tls.ClientHelloInfo), ...engine.Option) *server) {
		s := start(func(hello *tls.ClientHelloInfo) {
			if hello.ServerName == "example.test" {
				hello.Conn.Close()
			}
		})
		for range 5 {
			nc, err := s.shakeHands(asking("example.test"))
			if err == nil {
				t.Error("a handshake succeeded on a closed connection")
			}
			nc.Close()
		}
		s.gone()
		s.open("/").echoesOf(10)
	})
}

func TestCallbacksThatFailTellTheClient(t *testing.T) {
	for name, row := range map[string]struct {
		config *tls.Config
		alert  string
	}{
		"GetCertificate": {&tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return nil, errors.New("none")
		}}, "internal error"},
		"GetCertificate without one": {&tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return nil, nil
		}}, "unrecognized name"},
		"GetConfigForClient": {&tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			return nil, errors.New("none")
		}}, "internal error"},
		"GetConfigForClient without one": {&tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			return nil, nil
		}}, "unrecognized name"},
	} {
		t.Run(name, func(t *testing.T) {
			onTransports(t, overTLS[:1], func(t *testing.T, start func(...engine.Option) *server) {
				s := start(engine.WithTLSConfig(row.config))
				nc, err := s.shakeHands(trusting())
				if err == nil || !strings.Contains(err.Error(), row.alert) {
					t.Errorf("the client got %v", err)
				}
				nc.Close()
				s.gone()
			})
		})
	}
}
