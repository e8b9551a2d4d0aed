package peers

import (
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"slices"
	"sync"
)

// What the servers with a goroutine for each connection have in common.

// listener is ln, over TLS if that is asked for.
func (o Options) listener(ln net.Listener) net.Listener {
	if o.tls == nil {
		return ln
	}
	return tls.NewListener(ln, o.tls)
}

func serveHTTP(ln net.Listener, h http.HandlerFunc) error {
	server := http.Server{Handler: h, ErrorLog: log.New(io.Discard, "", 0)}
	return server.Serve(ln)
}

// members are the connections of a server, for those that have no such thing.
type members[C comparable] struct {
	sync.RWMutex
	list []C
}

func (m *members[C]) add(c C) {
	m.Lock()
	defer m.Unlock()
	m.list = append(m.list, c)
}

func (m *members[C]) remove(c C) {
	m.Lock()
	defer m.Unlock()
	if i := slices.Index(m.list, c); i >= 0 {
		m.list = slices.Delete(m.list, i, i+1)
	}
}
