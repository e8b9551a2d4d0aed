package engine_test

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"zeroframe/engine"
	"zeroframe/frame"
)

// aboutTLS answers with what the request knows of its connection's TLS.
func aboutTLS(w http.ResponseWriter, r *http.Request) {
	b, err := io.ReadAll(r.Body)
	if r.TLS == nil {
		fmt.Fprint(w, "no TLS")
		return
	}
	fmt.Fprintf(w, "%s %s %d %v %v %s", r.Proto, r.URL.Path, len(b), err, r.TLS.HandshakeComplete, r.TLS.ServerName)
}

// Over TLS a request goes to net/http with all that crypto/tls had taken of the stream, and the connection comes back to a
// loop's descriptor with it.
func TestAnUpgradeBehindRequestsOverTLS(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			s := startHTTPS(t, http.HandlerFunc(aboutTLS), engine.WithPingInterval(0))
			h := newEcho()
			s.handle("/ws", h)
			connect := s.dial
			s.dial = func() net.Conn {
				c := connect().(*tls.Conn)
				config := trusting()
				config.MaxVersion = version
				return tls.Client(c.NetConn(), config)
			}
			s.open("/ws").echoes([]byte("whatever starts once has started"))
			goroutines := runtime.NumGoroutine()
			var clients []*client
			for before := range 4 {
				c := s.connect()
				frames := [][]byte{pattern(5), pattern(20_000), {}, pattern(100_000), pattern(7)}
				b := []byte(strings.Repeat(ok, before))
				b = append(b, upgradeRequest("/ws")...)
				for _, f := range frames {
					b = append(b, encode(true, frame.Binary, f)...)
				}
				sent := make(chan error, 1)
				go func() { _, err := c.Write(b); sent <- err }()
				for range before {
					if _, body := c.readAnswer("GET"); body != "HTTP/1.1 / 0 <nil> true localhost" {
						t.Errorf("%q", body)
					}
				}
				if status, head := c.readHead(); status != http.StatusSwitchingProtocols {
					t.Fatal(head)
				}
				for _, f := range frames {
					c.expect(frame.Binary, f)
				}
				if err := within(t, sent); err != nil {
					t.Fatal(err)
				}
				clients = append(clients, c)
			}
			s.until("only loops serve them", func() bool { return runtime.NumGoroutine() <= goroutines })
			s.until("three have come back", func() bool { n := s.Stats(); return n.HTTP == 0 && n.HandedOver == 3 })
			for _, c := range clients {
				c.echoes([]byte("later"), pattern(70_000))
				c.write(frame.Close, closePayload(frame.CloseNormal, ""))
				c.expectClose(frame.CloseNormal)
				c.Close()
				h.wait(t)
			}
		})
	}
}

// Where the client asks for HTTP/2, it gets it from net/http, and its connections are in the books like any other.
func TestHTTP2OverTLS(t *testing.T) {
	var in atomic.Int32
	s := startHTTPS(t, http.HandlerFunc(aboutTLS), engine.WithAcceptHook(func(netip.AddrPort) (func(), bool) {
		in.Add(1)
		return func() { in.Add(-1) }, true
	}))
	s.handle("/ws", newEcho())
	raw := s.dial().(*tls.Conn)
	addr := raw.RemoteAddr().String()
	raw.NetConn().Close()
	tr := &http.Transport{TLSClientConfig: trusting(), ForceAttemptHTTP2: true}
	defer tr.CloseIdleConnections()
	for i := range 3 {
		path := fmt.Sprint("/", i)
		r, err := (&http.Client{Transport: tr, Timeout: patience}).Post("https://"+addr+path, "text/plain", bytes.NewReader(pattern(100_000)))
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r.Body)
		r.Body.Close()
		if want := "HTTP/2.0 " + path + " 100000 <nil> true localhost"; string(b) != want || err != nil {
			t.Errorf("%q, %v; want %q", b, err, want)
		}
	}
	s.until("one connection, net/http's", func() bool { n := s.Stats(); return n.HTTP == 1 && n.Conns == 1 })
	if n := in.Load(); n != 1 {
		t.Errorf("the hook counts %d", n)
	}
	tr.CloseIdleConnections()
	s.gone()
	s.until("the hook is told", func() bool { return in.Load() == 0 })
	s.open("/ws").echoes([]byte("and WebSocket"))
}

// HTTP/2 is not offered where it would not be served.
func TestHTTP2IsOfferedWhereItIsServed(t *testing.T) {
	for _, tt := range []struct {
		name string
		opts []engine.Option
		want string
	}{
		{"by default", nil, "h2"},
		{"turned off by Protocols", []engine.Option{engine.WithHTTPServer(func(srv *http.Server) {
			srv.Protocols = new(http.Protocols)
			srv.Protocols.SetHTTP1(true)
		})}, "http/1.1"},
		{"turned off by TLSNextProto", []engine.Option{engine.WithHTTPServer(func(srv *http.Server) {
			srv.TLSNextProto = map[string]func(*http.Server, *tls.Conn, http.Handler){}
		})}, "http/1.1"},
		{"not configured", []engine.Option{engine.WithTLSConfig(&tls.Config{
			Certificates: serverCertificate().Certificates, NextProtos: []string{"http/1.1"},
		})}, "http/1.1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := startHTTPS(t, http.HandlerFunc(aboutTLS), tt.opts...)
			config := trusting()
			config.NextProtos = []string{"h2", "http/1.1"}
			c := tls.Client(s.dial().(*tls.Conn).NetConn(), config)
			defer c.Close()
			c.SetDeadline(time.Now().Add(patience))
			if err := c.Handshake(); err != nil {
				t.Fatal(err)
			}
			if got := c.ConnectionState().NegotiatedProtocol; got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}

// Shutdown ends idle HTTP/2 connections too, and waits for the streams under way.
func TestShutdownOfHTTP2(t *testing.T) {
	h := newWaiting()
	s := startHTTPS(t, h)
	raw := s.dial().(*tls.Conn)
	addr := raw.RemoteAddr().String()
	raw.NetConn().Close()
	tr := &http.Transport{TLSClientConfig: trusting(), ForceAttemptHTTP2: true}
	defer tr.CloseIdleConnections()
	answer := make(chan string, 1)
	go func() {
		r, err := (&http.Client{Transport: tr, Timeout: patience}).Get("https://" + addr + "/wait")
		if err != nil {
			answer <- err.Error()
			return
		}
		b, _ := io.ReadAll(r.Body)
		r.Body.Close()
		answer <- r.Proto + " " + string(b)
	}()
	within(t, h.begun)
	done := s.beginShutdown(patience)
	s.until("one is left", func() bool { return s.Stats().Conns == 1 })
	select {
	case err := <-done:
		t.Fatalf("Shutdown returned %v while a request was being answered", err)
	default:
	}
	h.end <- true
	if got := within(t, answer); got != "HTTP/2.0 answered" {
		t.Errorf("%q", got)
	}
	if err := within(t, done); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
}
