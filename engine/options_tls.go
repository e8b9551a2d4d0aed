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
