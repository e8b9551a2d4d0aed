package engine_test

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"zeroframe/engine"
)

// Wherever a client stands in its handshake, and however it goes, nothing of it stays.
func TestClientsThatVanishDuringTheHandshakeLeaveNothing(t *testing.T) {
	ways := map[string]func(c net.Conn){
		"close": func(c net.Conn) { c.Close() },
		"reset": func(c net.Conn) {
			if tcp, ok := c.(*net.TCPConn); ok {
				tcp.SetLinger(0)
			}
			c.Close()
		},
		"end of the stream": func(c net.Conn) { c.(interface{ CloseWrite() error }).CloseWrite() },
	}
	onTLS(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithHandshakeTimeout(time.Minute))
		s.handle("/", newEcho())
		s.open("/").Close() // what is opened once is open now
		s.gone()
		files, goroutines := descriptors(), runtime.NumGoroutine()
		for name, vanish := range ways {
			var clients []net.Conn
			for _, reach := range stages(t) {
				c := s.below()
				reach(c)
				vanish(c)
				clients = append(clients, c)
			}
			s.open("/").Close() // those before it have been accepted
			s.until("connections of those who went by "+name, func() bool { return s.Stats().Conns == 0 })
			for _, c := range clients {
				c.Close()
			}
		}
		expectNothingOut(t)
		eventually(t, "no goroutine is left", func() bool { return runtime.NumGoroutine() <= goroutines })
		eventually(t, "no descriptor is left", func() bool { return descriptors() <= files })
		if n := s.Stats(); n.HandshakeTimeouts != 0 {
			t.Errorf("%d timeouts are counted", n.HandshakeTimeouts)
		}
	})
}

func TestCloseEndsStalledHandshakes(t *testing.T) {
	onTLS(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithHandshakeTimeout(time.Minute))
		var clients []net.Conn
		for _, reach := range stages(t) {
			c := s.below()
			reach(c)
			clients = append(clients, c)
		}
		s.until("not all are there", func() bool { return s.Stats().Conns == len(clients) })
		s.Close()
		for _, c := range clients {
			c.SetReadDeadline(time.Now().Add(patience))
			if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
				t.Error("a connection outlived the engine")
			}
			c.Close()
		}
		expectNothingOut(t)
	})
}

// Shutdown gives a handshake a second, and tells who makes it what it tells others.
func TestShutdownDuringHandshakes(t *testing.T) {
	onTLSSockets(t, func(t *testing.T, start func(...engine.Option) *server) {
		waiting, release := make(chan bool, 10), make(chan bool)
		s := start(engine.WithHandshakeTimeout(time.Minute), engine.WithTLSConfig(&tls.Config{
			GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
				if hello.ServerName == "example.test" {
					waiting <- true
					<-release
				}
				c := certificate()
				return &c, nil
			},
		}))
		s.handle("/", newEcho())
		for _, reach := range stages(t) {
			c := s.below()
			defer c.Close()
			reach(c)
		}
		idle := s.connect() // has shaken hands, and asks for nothing
		made := make(chan *tls.Conn, 1)
		go func() {
			c, err := s.shakeHands(asking("example.test"))
			if err != nil {
				t.Error(err)
			}
			made <- c
		}()
		within(t, waiting)
		ended := make(chan error, 1)
		began := time.Now()
		go func() { ended <- s.shutdown() }()
		idle.expectRefusal(503)
		idle.Close()
		close(release)
		c := s.over(within(t, made))
		c.expectRefusal(503)
		c.Close()
		if err := within(t, ended); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("Shutdown took %v", took)
		}
	})
}

// Whoever finds no room is told in the only words that are understood before a handshake.
func TestRefusedConnectionsAreToldByAnAlert(t *testing.T) {
	onTLSSockets(t, func(t *testing.T, start func(...engine.Option) *server) {
		var barred atomic.Bool
		released := make(chan bool, 100)
		s := start(engine.WithMaxConns(3), engine.WithHandshakeTimeout(time.Minute),
			engine.WithAcceptHook(func(netip.AddrPort) (func(), bool) { return func() { released <- true }, !barred.Load() }))
		s.handle("/", newEcho())
		refused := func(why string) {
			t.Helper()
			if strings.HasSuffix(t.Name(), "/tcp") {
				c, err := s.shakeHands(trusting())
				if err == nil || !strings.Contains(err.Error(), "remote error: tls: internal error") {
					t.Errorf("%s: the client got %v", why, err)
				}
				c.Close()
				return
			}
			c := s.below() // a unix socket, to which a client could not write
			if got, err := io.ReadAll(c); string(got) != "\x15\x03\x01\x00\x02\x02\x50" || err != nil {
				t.Errorf("%s: the client got %q, %v", why, got, err)
			}
			c.Close()
		}
		hello := clientHello(t, trusting())
		silent, midway := s.below(), s.below()
		midway.Write(hello[:len(hello)/2])
		c := s.open("/")
		c.echoesOf(10)
		refused("a fourth connection") // handshakes count
		s.until("the refusal is not counted", func() bool { return s.Stats().RefusedMaxConns == 1 })
		silent.Close()
		midway.Close()
		within(t, released)
		within(t, released)
		s.until("they are not gone", func() bool { return s.Stats().Conns == 1 })
		s.open("/").echoesOf(10)
		barred.Store(true)
		refused("one that the hook does not admit")
		s.until("the refusal is not counted", func() bool { return s.Stats().RefusedByHook == 1 })
		c.echoesOf(10)
	})
}
