package natstest

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	natsgo "github.com/nats-io/nats.go"

	"zeroframe/backplane/nats"
)

func TestOptionsOfTheClientPassThrough(t *testing.T) {
	web := httptest.NewTLSServer(nil) // for its certificate
	defer web.Close()
	roots := x509.NewCertPool()
	roots.AddCert(web.Certificate())
	s := newServer(t, func(o *server.Options) {
		o.TLS, o.TLSTimeout = true, patience.Seconds()
		o.TLSConfig = &tls.Config{Certificates: web.TLS.Certificates}
		o.Username, o.Password = "us", "right"
	})
	secure := natsgo.Secure(&tls.Config{RootCAs: roots})
	login := nats.WithClient(secure, natsgo.UserInfo("us", "right"), natsgo.Name("with a name"))
	a := startNode(t, s.url(), "", login)
	b := startNode(t, strings.Replace(s.url(), "//", "//us:right@", 1), "", nats.WithClient(secure))
	a.connected()
	b.connected()
	m := b.member("room")
	a.knows("room", 1)
	a.publish("room", "over TLS")
	m.expectText("over TLS")
	s.client("with a name")

	stranger := startNode(t, s.url(), "", nats.WithClient(secure, natsgo.UserInfo("us", "wrong")))
	local := stranger.member("room")
	refused := func(n *node) func() bool {
		return func() bool { return strings.Contains(fmt.Sprint(n.Stats().Backplane.Err), "uthorization") }
	}
	until(t, "to be refused", refused(stranger))
	stranger.publish("room", "local")
	local.expectText("local")
	s.stop()
	s.options.Password = "wrong"
	s.start()
	stranger.connected() // it has never given up
	until(t, "the others to be refused", refused(a))
	if text := stranger.logs.text() + a.logs.text(); strings.Contains(text, "wrong") || strings.Contains(text, "right") {
		t.Errorf("the password is in the log:\n%s", text)
	}
}
