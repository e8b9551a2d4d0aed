package engine

import (
	"context"
	"crypto/tls"
	"net"
	"strings"

	"zeroframe/internal/secure"
)

// overTLS makes a TLS connection over nc to the server, or to a proxy, called name. The error is crypto/tls's.
func (r *route) overTLS(ctx context.Context, nc net.Conn, name string, proxy bool) (*tls.Conn, error) {
	config := r.clientTLS.Clone()
	if config.ServerName == "" || proxy {
		config.ServerName, _, _ = strings.Cut(name, "%") // an IPv6 zone is no affair of the other side's
	}
	if proxy {
		config.EncryptedClientHelloConfigList = nil // the server's
	}
	c := tls.Client(secure.NewWire(nc), config)
	return c, c.HandshakeContext(ctx)
}
