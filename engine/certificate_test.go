package engine_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// certificate is one for this run: self-signed, for localhost and for example.test, and good for signing others.
var certificate = sync.OnceValue(func() tls.Certificate { return newCertificate(nil, "example.test", "localhost", "127.0.0.1", "::1") })

// issue makes a certificate that those accept who trust the one above.
func issue(names ...string) tls.Certificate {
	signer := certificate()
	return newCertificate(&signer, names...)
}

// newCertificate makes a certificate for names and addresses, of a server or a client; without a signer it is self-signed.
// The first name is its subject's.
func newCertificate(signer *tls.Certificate, names ...string) tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(time.Now().UnixNano()),
		Subject:               pkix.Name{CommonName: names[0]},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(time.Hour),
		IsCA:                  signer == nil,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	parent, signingKey := template, crypto.PrivateKey(key)
	if signer != nil {
		parent, signingKey = signer.Leaf, signer.PrivateKey
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signingKey)
	if err != nil {
		panic(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// writeCertificate writes c as PEM files.
func writeCertificate(t testing.TB, c tls.Certificate) (certFile, keyFile string) {
	t.Helper()
	key, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for _, f := range []struct {
		name, block string
		der         []byte
	}{{certFile, "CERTIFICATE", c.Certificate[0]}, {keyFile, "PRIVATE KEY", key}} {
		if err := os.WriteFile(f.name, pem.EncodeToMemory(&pem.Block{Type: f.block, Bytes: f.der}), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certFile, keyFile
}

// serverCertificate is the configuration of a server with it.
func serverCertificate() *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{certificate()}}
}

// trusting is the configuration of a client that trusts it.
func trusting() *tls.Config { return &tls.Config{RootCAs: roots(), ServerName: "localhost"} }

// roots are those of whoever trusts it.
func roots() *x509.CertPool { return poolOf(certificate()) }

func poolOf(c tls.Certificate) *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(c.Leaf)
	return pool
}

// authority issues certificates for one test, which nobody else's clients trust.
type authority struct{ tls.Certificate }

func newAuthority(t testing.TB) authority {
	t.Helper()
	return authority{newCertificate(nil, "authority")}
}

// issue makes a certificate for names and addresses, of a server or a client.
func (a authority) issue(t testing.TB, names ...string) tls.Certificate {
	t.Helper()
	return newCertificate(&a.Certificate, names...)
}

// server is the configuration of a server with a certificate for names.
func (a authority) server(t testing.TB, names ...string) *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{a.issue(t, names...)}, NextProtos: []string{"h2", "http/1.1"}}
}

// client is the configuration of a client that trusts the authority.
func (a authority) client() *tls.Config { return &tls.Config{RootCAs: poolOf(a.Certificate)} }
