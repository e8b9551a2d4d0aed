package engine

import "crypto/tls"

// WithTLSConfig sets the configuration of ListenAndServeTLS and ServeTLS: certificates, also by GetCertificate for each
// name a client asks for (SNI) or to fetch them, client certificates, versions, session tickets. It is cloned. When it
// names no protocols (ALPN, RFC 7301), http/1.1 is offered, and h2 before it with WithHTTPHandler; without that, h2 is left
// out if it names it. Default: none, and certificates come from files.
//
// GetCertificate, GetConfigForClient, VerifyPeerCertificate and VerifyConnection run on a goroutine of the connection's and
// may wait, within the handshake timeout: ClientHelloInfo.Context ends with the connection. What else there is should not
// wait: a processor's turn is held meanwhile, of which handshakes have one less than GOMAXPROCS. A callback that panics
// fails its handshake, and is logged.
func WithTLSConfig(t *tls.Config) Option {
	return engineOption(func(c *config) error {
		if t == nil {
			return &OptionError{"WithTLSConfig", "nil"}
		}
		c.tls = t.Clone()
		return nil
	})
}

// WithTLSBufferRelease sets whether TLS connections, served and dialed, do without buffers of their own. crypto/tls keeps
// for each connection a buffer as large as the largest record it has received, and one as large as its handshake: 4 KB
// for a connection of short messages, 20 KB after one record of 16 KiB. Released, records are decrypted where the loop
// has read them, an idle connection takes 3.4 KB of heap altogether, and a message costs no more (docs/performance.md).
//
// This sets three unexported fields of tls.Conn, so that a change of crypto/tls may end it. Their names and types, and that
// records are looked for in them, are verified once; where that fails the option has no effect. Tested with Go 1.26.
// Default off. It concerns no connection that stands on something else than a socket.
func WithTLSBufferRelease(on bool) Option {
	return engineOption(func(c *config) error { c.tlsRelease = on; return nil })
}
