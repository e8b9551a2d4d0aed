package engine_test

import (
	"bufio"
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// forwarder is a proxy, of HTTP or SOCKS5. Whatever address it is asked for, it leads to one server.
type forwarder struct {
	net.Listener
	t      testing.TB
	to     string        // the server
	user   *url.Userinfo // who may ask; nil: anyone
	asked  chan string   // the addresses
	agents chan string   // of HTTP, the User-Agent fields that came with them
	work   sync.WaitGroup
}

// newForwarder listens; a config makes it a proxy of https.
func newForwarder(t testing.TB, to string, user *url.Userinfo, config *tls.Config, serve func(*forwarder, net.Conn)) *forwarder {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if config != nil {
		ln = tls.NewListener(ln, config)
	}
	f := &forwarder{Listener: ln, t: t, to: to, user: user, asked: make(chan string, 100), agents: make(chan string, 100)}
	f.work.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			f.work.Go(func() {
				defer c.Close()
				serve(f, c)
			})
		}
	})
	t.Cleanup(func() { ln.Close(); f.work.Wait() })
	return f
}

// url is what a client is told of the proxy.
func (f *forwarder) url(scheme string, user *url.Userinfo) *url.URL {
	return &url.URL{Scheme: scheme, User: user, Host: f.Addr().String()}
}

// forward leads c, of which r has read, to the server until either ends.
func (f *forwarder) forward(c net.Conn, r io.Reader, hello string) {
	there, err := net.Dial("tcp", f.to)
	if err != nil {
		f.t.Error(err)
		return
	}
	io.WriteString(c, hello)
	f.work.Go(func() {
		io.Copy(c, there)
		c.Close()
	})
	io.Copy(there, r)
	there.Close()
}

// connect serves one client of an HTTP proxy.
func connect(f *forwarder, c net.Conn) {
	r := bufio.NewReader(c)
	req, err := http.ReadRequest(r)
	if err != nil || req.Method != http.MethodConnect {
		io.WriteString(c, "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
		return
	}
	f.asked <- req.RequestURI
	f.agents <- req.UserAgent()
	if f.user != nil {
		password, _ := f.user.Password()
		asked := http.Request{Header: http.Header{"Authorization": req.Header["Proxy-Authorization"]}}
		if u, p, ok := asked.BasicAuth(); !ok || u != f.user.Username() || p != password {
			io.WriteString(c, "HTTP/1.1 407 Who are you?\r\nProxy-Authenticate: Basic\r\nContent-Length: 10\r\n\r\nstay there")
			return
		}
	}
	f.forward(c, r, "HTTP/1.1 200 Connection established\r\n\r\n")
}

// socks serves one client of a SOCKS5 proxy (RFC 1928, RFC 1929).
func socks(f *forwarder, c net.Conn) {
	r := bufio.NewReader(c)
	read := func(n int) []byte {
		b := make([]byte, n)
		io.ReadFull(r, b)
		return b
	}
	field := func() string { return string(read(int(read(1)[0]))) }
	read(1)
	methods := field()
	switch {
	case f.user == nil:
		c.Write([]byte{5, 0})
	case len(methods) < 2:
		c.Write([]byte{5, 0xFF}) // no method of the client's will do
		return
	default:
		c.Write([]byte{5, 2})
		read(1)
		user, password := field(), field()
		if want, _ := f.user.Password(); user != f.user.Username() || password != want {
			c.Write([]byte{1, 1})
			return
		}
		c.Write([]byte{1, 0})
	}
	var host string
	switch kind := read(4)[3]; kind {
	case 1:
		host = net.IP(read(4)).String()
	case 3:
		host = field()
	case 4:
		host = net.IP(read(16)).String()
	}
	f.asked <- net.JoinHostPort(host, strconv.Itoa(int(binary.BigEndian.Uint16(read(2)))))
	if host == "forbidden.test" {
		c.Write([]byte{5, 2, 0, 1, 0, 0, 0, 0, 0, 0})
		return
	}
	f.forward(c, r, "\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00")
}

// proxyKinds are the kinds of proxies there are.
var proxyKinds = []struct {
	scheme string
	secure bool
	serve  func(*forwarder, net.Conn)
}{
	{"http", false, connect},
	{"https", true, connect},
	{"socks5", false, socks},
	{"socks5h", false, socks},
}

// always is the proxy for every request.
func always(u *url.URL) func(*http.Request) (*url.URL, error) {
	return func(*http.Request) (*url.URL, error) { return u, nil }
}

// setProxies makes the environment say just this about proxies, as NAME=value.
func setProxies(t testing.TB, env ...string) {
	t.Helper()
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy", "REQUEST_METHOD"} {
		t.Setenv(name, "")
	}
	for _, e := range env {
		name, value, _ := strings.Cut(e, "=")
		t.Setenv(name, value)
	}
}
