package engine_test

import (
	"crypto/tls"
	"crypto/x509"
	"runtime"
	"sync/atomic"
	"testing"

	"zeroframe/engine"
)

// Callbacks that wait, for an answer about revoked certificates say, keep no other handshake waiting.
func TestTLSCallbacksThatWaitHoldNobodyUp(t *testing.T) {
	waiting, end := make(chan bool, 100), make(chan bool)
	var slow atomic.Int32
	wait := func() error {
		if slow.Add(-1) >= 0 {
			waiting <- true
			<-end
		}
		return nil
	}
	for name, set := range map[string]func(*tls.Config){
		"VerifyConnection": func(c *tls.Config) { c.VerifyConnection = func(tls.ConnectionState) error { return wait() } },
		"VerifyPeerCertificate": func(c *tls.Config) {
			c.VerifyPeerCertificate = func([][]byte, [][]*x509.Certificate) error { return wait() }
		},
	} {
		t.Run(name, func(t *testing.T) {
			end = make(chan bool)
			n := runtime.GOMAXPROCS(0) + 1
			slow.Store(int32(n))
			config := serverCertificate()
			config.ClientAuth = tls.RequireAnyClientCert
			set(config)
			s := bare(t, engine.WithTLSConfig(config))
			s.handle("/", echoing)
			s.serveTLS("tcp", "", "")
			t.Cleanup(func() { s.Close() }) // before the wait for the end of ServeTLS
			client := trusting()
			client.Certificates = []tls.Certificate{issue("alice")}
			open := func() error {
				nc, err := s.shakeHands(client)
				if err == nil {
					s.upgrade(nc, "/").echoes([]byte("a"))
				}
				return err
			}
			done := make(chan error, n)
			for range n {
				go func() { done <- open() }()
			}
			for range n {
				within(t, waiting)
			}
			if err := open(); err != nil {
				t.Error(err)
			}
			close(end)
			for range n {
				if err := within(t, done); err != nil {
					t.Error(err)
				}
			}
		})
	}
}
