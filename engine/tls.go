package engine

import (
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"runtime"
	"slices"

	"zeroframe/internal/loop"
	"zeroframe/internal/netconn"
	"zeroframe/internal/secure"
)

// ListenAndServeTLS is ListenAndServe over TLS: it serves wss:// (RFC 6455, section 10.6). certFile and keyFile are PEM
// files of the certificate chain and its key; both may be "" when WithTLSConfig has certificates.
func (e *Engine) ListenAndServeTLS(network, addr, certFile, keyFile string) error {
	ln, err := e.Listen(network, addr)
	if err != nil {
		return err
	}
	return e.ServeTLS(ln, certFile, keyFile)
}

// ServeTLS is Serve over TLS; the files are those of ListenAndServeTLS. A handshake has, together with the request that
// follows it, the handshake timeout. It runs on a goroutine that is gone when it is over, or never comes to be if the
// peer sends nothing; the records of an open connection are read and written on its loop. Versions are those of
// crypto/tls, 1.2 and 1.3 by default.
//
// A connection costs what crypto/tls keeps for it beside the engine's own: docs/performance.md has figures.
func (e *Engine) ServeTLS(ln net.Listener, certFile, keyFile string) error {
	config, err := e.serverTLS(certFile, keyFile)
	if err != nil {
		ln.Close()
		return err
	}
	server := e.newSecure(config)
	return e.serve(ln, func(lower loop.Stream) loop.Stream { return server.Stream(lower) }, noRoom)
}

// noRoom is an alert, which is all a peer understands that has not shaken hands: fatal, internal_error (RFC 8446, section
// 6.2).
var noRoom = []byte{21, 3, 1, 0, 2, 2, 80}

var errNoCertificate = errors.New("engine: TLS needs certificates: name their files, or give WithTLSConfig some")

// serverTLS completes the configuration of a listener.
func (e *Engine) serverTLS(certFile, keyFile string) (*tls.Config, error) {
	config := e.config.tls.Clone() // of nil: nil
	if config == nil {
		config = new(tls.Config)
	}
	if certFile != "" || keyFile != "" {
		pair, err := tls.LoadX509KeyPair(certFile, keyFile)
		if err != nil {
			return nil, err
		}
		config.Certificates = append(slices.Clone(config.Certificates), pair)
	}
	if len(config.Certificates) == 0 && config.GetCertificate == nil && config.GetConfigForClient == nil {
		return nil, errNoCertificate
	}
	if e.http == nil || !e.http.http2 {
		withoutHTTP2(config)
	}
	if len(config.NextProtos) == 0 {
		if e.http != nil && e.http.http2 {
			config.NextProtos = append(config.NextProtos, http2Protocol)
		}
		config.NextProtos = append(config.NextProtos, "http/1.1")
	}
	return config, nil
}

// withoutHTTP2 makes a configuration, which may have been made for net/http or by autocert, offer no protocol that nobody
// would speak.
func withoutHTTP2(config *tls.Config) {
	spoken := func(protocols []string) []string {
		return slices.DeleteFunc(slices.Clone(protocols), func(name string) bool { return name == http2Protocol })
	}
	config.NextProtos = spoken(config.NextProtos)
	get := config.GetConfigForClient
	if get == nil {
		return
	}
	config.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		own, err := get(hello)
		if own != nil && slices.Contains(own.NextProtos, http2Protocol) {
			own = own.Clone()
			own.NextProtos = spoken(own.NextProtos)
		}
		return own, err
	}
}

// newTurns returns the turns of handshakes: the loops keep a processor.
func newTurns() secure.Turns { return make(secure.Turns, max(1, runtime.GOMAXPROCS(0)-1)) }

// newSecure returns what makes the streams of a listener's connections.
func (e *Engine) newSecure(config *tls.Config) *secure.Server {
	s := secure.NewServer(config, e.turns, e.shaken)
	if e.config.tlsRelease {
		s.Lend()
	}
	return s
}

// shaken follows a TLS handshake that is over; of one that failed, the alert is sent as an answer to a bad request is. Loop
// only.
func (e *Engine) shaken(lc *loop.Conn, err error) {
	c := (*Conn)(lc.Endpoint().(*endpoint))
	s := c.shard()
	if err == nil {
		s.count.TLSHandshakes++
		switch {
		case e.closing.Load():
			c.shutDown()
		case e.http != nil && c.TLS().NegotiatedProtocol == http2Protocol:
			if !c.toHTTP(nil, nil, false) {
				c.step(evTerminate)
			}
		}
		return
	}
	s.count.TLSFailures++
	if p, ok := errors.AsType[*secure.PanicError](err); ok {
		e.config.logger.Error("panic in a TLS handshake", slog.Any("panic", p.Value), slog.String("stack", string(p.Stack)))
	} else {
		e.config.logger.Debug("TLS handshake failed", slog.Any("error", err), slog.Any("remote", c.RemoteAddr()))
	}
	c.step(evRefused)
}

// TLS returns what the TLS handshake agreed on, client certificates included; nil for a connection without TLS. It may be
// called from any goroutine, from OnUpgrade on.
func (c *Conn) TLS() *tls.ConnectionState {
	switch s := c.lc.Stream().(type) {
	case *secure.Stream:
		state := s.ConnectionState()
		return &state
	case *netconn.Stream:
		return s.TLS()
	}
	return nil
}

// WrapListener prepares the connections of ln for being taken over by an engine after a TLS server of net/http has served
// them: give http.Server's ServeTLS, or tls.NewListener, the result. Handler and Upgrade then take the descriptor from
// under the tls.Conn, and no goroutine stays with the connection; without it, one stays to read, at 5 KB.
func WrapListener(ln net.Listener) net.Listener { return wrappedListener{ln} }

type wrappedListener struct{ net.Listener }

// Accept waits for the next connection.
func (l wrappedListener) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return secure.NewWire(nc), nil
}
