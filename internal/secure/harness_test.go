package secure_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"zeroframe/internal/loop"
	"zeroframe/internal/secure"
	"zeroframe/pool"
)

// patience is how long a test waits for what must happen.
const patience = time.Minute

func TestMain(m *testing.M) {
	pool.Verify(true)
	code := m.Run()
	if out := pool.Outstanding(); code == 0 && len(out) != 0 {
		os.Stderr.WriteString("buffers are still out\n")
		code = 1
	}
	os.Exit(code)
}

// certificate is one for this run, for localhost.
var certificate = sync.OnceValue(func() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(time.Hour),
		DNSNames:     []string{"localhost"},
		IsCA:         true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
})

// echo is an endpoint that writes what it reads, as it reads it.
type echo struct {
	loop.Conn
	ended chan error
}

func newEcho() *echo {
	e := &echo{ended: make(chan error, 1)}
	e.Conn.Init(e)
	return e
}

func (e *echo) Opened() {}

func (e *echo) Data(b []byte) {
	if !e.WriteInPlace(b) {
		e.Lock()
		copy(e.Append(len(b)), b)
		e.Unlock(true)
	}
}

func (e *echo) Target() []byte   { panic("not asked for") }
func (e *echo) EOF()             { e.Close(nil) }
func (e *echo) Written(int)      {}
func (e *echo) Mail(loop.Mail)   {}
func (e *echo) Timeout()         {}
func (e *echo) Closed(err error) { e.ended <- err }

// group is a loop.
func group(tb testing.TB) *loop.Group {
	tb.Helper()
	g, err := loop.NewGroup(loop.Config{Loops: 1, ReadBuffer: 64 << 10, IdleBuffers: 4 << 20, NoDelay: true})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(g.Close)
	return g
}

// sockets returns both ends of a TCP connection.
func sockets(tb testing.TB) (server, client net.Conn) {
	tb.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer ln.Close()
	if client, err = net.Dial("tcp", ln.Addr().String()); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { client.Close() })
	if server, err = ln.Accept(); err != nil {
		tb.Fatal(err)
	}
	client.SetDeadline(time.Now().Add(patience))
	return server, client
}

// serve gives the server's end to a loop, which echoes over TLS. done is told of the end of the handshake.
func serve(tb testing.TB, g *loop.Group, nc net.Conn, lend bool, done func(c *loop.Conn, err error)) *echo {
	tb.Helper()
	e := newEcho()
	if err := g.Adopt(&e.Conn, nc, serverOf(lend, done).Stream(nil)); err != nil {
		tb.Fatal(err)
	}
	return e
}

func serverOf(lend bool, done func(c *loop.Conn, err error)) *secure.Server {
	s := secure.NewServer(&tls.Config{Certificates: []tls.Certificate{certificate()}}, make(secure.Turns, 1), done)
	if lend {
		s.Lend()
	}
	return s
}

// trusting is the configuration of the client.
func trusting(version uint16) *tls.Config {
	roots := x509.NewCertPool()
	roots.AddCert(certificate().Leaf)
	return &tls.Config{RootCAs: roots, ServerName: "localhost", MinVersion: version, MaxVersion: version}
}
