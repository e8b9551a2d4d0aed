package engine

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/url"
)

// WithClientTLS sets what Dial speaks TLS with, to a server of wss and to a proxy of https. c is cloned now, and again
// for each connection, with NextProtos set to http/1.1, and with ServerName, unless c has one, the URL's host; a proxy is
// verified by its own name. Without a ClientSessionCache c is given one of 64 sessions, which is shared by all that this
// option is given to; c.SessionTicketsDisabled turns resumption off. A cache must not wait: tickets may come when a loop
// has the connection already. A renegotiation, which c may allow, is then the end of the connection. nil, the default:
// the zero Config, and a cache for each engine.
func WithClientTLS(c *tls.Config) Setting {
	c = clientTLS(c)
	return setting(func(s *settings) error { s.clientTLS = c; return nil })
}

// clientTLS returns a copy of c that remembers sessions. The cache is the copy's alone: what was agreed under one
// configuration, with its roots and certificates, is not taken up again under another.
func clientTLS(c *tls.Config) *tls.Config {
	if c == nil {
		c = new(tls.Config)
	} else {
		c = c.Clone()
	}
	if c.ClientSessionCache == nil {
		c.ClientSessionCache = tls.NewLRUClientSessionCache(64)
	}
	c.NextProtos = []string{"http/1.1"}
	return c
}

// WithProxy sets how Dial finds its proxy, as http.Transport's Proxy does: f is given a request with the URL to be
// dialed, its scheme http for ws and https for wss, and the context of the Dial, and returns the proxy's URL, or nil for
// none. http and https proxies are asked to CONNECT, with the user information of their URL for Basic authorization;
// socks5 and socks5h mean the same: the proxy looks names up. f runs on the goroutine that calls Dial, and is not asked
// about unix sockets. nil: no proxy.
//
// The default is that of net/http: HTTP_PROXY for ws, HTTPS_PROXY for wss, NO_PROXY for hosts without, in capitals or
// not, as the environment was when New was called; no proxy for localhost and loopback addresses.
func WithProxy(f func(*http.Request) (*url.URL, error)) Setting {
	return setting(func(s *settings) error { s.proxy = f; return nil })
}

// WithDialContext sets how Dial makes its connections, to the server, or to the proxy: network is tcp, with a host
// and port as address, or unix, with a path. f must heed ctx. Connections of package net are served by their descriptor,
// others through a goroutine each. nil, the default: a net.Dialer, with the engine's WithKeepAlive and WithNoDelay.
func WithDialContext(f func(ctx context.Context, network, address string) (net.Conn, error)) Setting {
	return setting(func(s *settings) error { s.dialContext = f; return nil })
}
