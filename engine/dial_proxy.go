package engine

import (
	"bufio"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"

	"golang.org/x/net/http/httpproxy"
	"golang.org/x/net/proxy"
)

// proxyFromEnvironment is http.ProxyFromEnvironment as of now; that one looks once in the life of a process.
func proxyFromEnvironment() func(*http.Request) (*url.URL, error) {
	find := httpproxy.FromEnvironment().ProxyFunc()
	return func(r *http.Request) (*url.URL, error) { return find(r.URL) }
}

// findProxy returns the proxy to reach to by, or nil.
func (r *route) findProxy(ctx context.Context, to *destination, header http.Header) (*url.URL, error) {
	if r.proxy == nil || to.network != "tcp" {
		return nil, nil
	}
	asked := *to.url
	asked.Scheme = "http"
	if to.secure {
		asked.Scheme = "https"
	}
	req := &http.Request{
		Method: http.MethodGet, URL: &asked, Host: asked.Host, Header: header.Clone(),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}
	by, err := r.proxy(req.WithContext(ctx))
	if by == nil || err != nil {
		return nil, err
	}
	found := *by
	if found.Host, err = asciiHost(by); err != nil {
		return nil, fmt.Errorf("engine: proxy %q: %w", by.Redacted(), err)
	}
	if defaultPort(&found) == "" {
		return nil, fmt.Errorf("engine: proxy %q: the scheme is not http, https, socks5 or socks5h", by.Redacted())
	}
	return &found, nil
}

func defaultPort(by *url.URL) string {
	switch by.Scheme {
	case "http":
		return "80"
	case "https":
		return "443"
	case "socks5", "socks5h":
		return "1080"
	}
	return ""
}

// tunnel has the proxy that nc leads to connect to address, and returns what leads there: nc, or TLS over it.
func (r *route) tunnel(ctx context.Context, nc net.Conn, by *url.URL, address string, header http.Header) (net.Conn, error) {
	switch by.Scheme {
	case "socks5", "socks5h":
		return nc, askSOCKS(nc, by, address)
	case "https":
		over, err := r.overTLS(ctx, nc, by.Hostname(), true)
		if err != nil {
			return nil, err
		}
		nc = over
	}
	return nc, askConnect(nc, by, address, header)
}

// askConnect asks an HTTP proxy for a tunnel (RFC 9110, section 9.3.6).
func askConnect(nc net.Conn, by *url.URL, address string, header http.Header) error {
	req := &http.Request{
		Method: http.MethodConnect, URL: &url.URL{Opaque: address}, Host: address,
		Header: http.Header{"User-Agent": {header.Get("User-Agent")}}, // "" leaves it out
	}
	if u := by.User; u != nil {
		req.Header.Set("Proxy-Authorization", basicAuthorization(u))
	}
	if err := req.Write(nc); err != nil {
		return err
	}
	read := &io.LimitedReader{R: nc, N: maxAnswer}
	b := bufio.NewReader(read)
	answer, err := readAnswer(b, req)
	switch {
	case err != nil && read.N == 0:
		return &HandshakeError{Reason: "the head of the answer is too large", Proxy: by.Host}
	case err != nil:
		return err
	case answer.StatusCode < 200 || answer.StatusCode > 299:
		return refusedBy(nc, answer, by.Host)
	case b.Buffered() > 0: // nobody behind it may speak before we have
		return &HandshakeError{Status: answer.StatusCode, Reason: "more than the answer", Header: answer.Header, Proxy: by.Host}
	}
	return nil
}

// askSOCKS asks a SOCKS proxy for a tunnel (RFC 1928, RFC 1929). The end of Dial's context closes nc.
func askSOCKS(nc net.Conn, by *url.URL, address string) error {
	var auth *proxy.Auth
	if u := by.User; u != nil {
		password, _ := u.Password()
		auth = &proxy.Auth{User: u.Username(), Password: password}
	}
	d, err := proxy.SOCKS5("tcp", hostPort(by, defaultPort(by)), auth, dialed{nc})
	if err != nil {
		return err
	}
	_, err = d.(proxy.ContextDialer).DialContext(context.Background(), "tcp", address)
	return err // what it returned besides is nc in a wrapper that hides its descriptor
}

// dialed is a Dialer that has dialed already.
type dialed struct{ nc net.Conn }

func (d dialed) Dial(string, string) (net.Conn, error) { return d.nc, nil }

func (d dialed) DialContext(context.Context, string, string) (net.Conn, error) { return d.nc, nil }

// proxyError says, where there is a proxy, that it is about the way to it, or by it.
func proxyError(by *url.URL, err error) error {
	if _, answered := err.(*HandshakeError); by == nil || answered {
		return err
	}
	return fmt.Errorf("engine: proxy %s: %w", by.Host, err)
}

func basicAuthorization(u *url.Userinfo) string {
	password, _ := u.Password()
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(u.Username()+":"+password))
}
