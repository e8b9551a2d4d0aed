package interop

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"sync"
)

// sides are configurations of TLS that trust each other.
type sides struct{ server, client *tls.Config }

// secured are made of the certificate, for 127.0.0.1, that httptest has. Each call gives a client of its own, for some
// libraries change what they are given.
var secured = sync.OnceValue(func() sides {
	hs := httptest.NewTLSServer(nil)
	defer hs.Close()
	return sides{&tls.Config{Certificates: hs.TLS.Certificates}, hs.Client().Transport.(*http.Transport).TLSClientConfig}
})

func trusting() *tls.Config { return secured().client.Clone() }
