package peers

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"time"
)

// Hostname is what the certificate is for.
const Hostname = "localhost"

// Certificate is one for all servers of a run.
type Certificate struct {
	Pair string // the file for Options
	cert *x509.Certificate
}

// NewCertificate makes a certificate on ECDSA P-256, signed with its own key, and writes both to a file in dir.
func NewCertificate(dir string) (*Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	form := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{Hostname},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, form, form, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	c := &Certificate{Pair: filepath.Join(dir, "pair.pem")}
	if c.cert, err = x509.ParseCertificate(der); err != nil {
		return nil, err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	pem.Encode(&out, &pem.Block{Type: "CERTIFICATE", Bytes: der})
	pem.Encode(&out, &pem.Block{Type: "PRIVATE KEY", Bytes: secret})
	return c, os.WriteFile(c.Pair, out.Bytes(), 0o600)
}

// Client returns what a client needs that trusts it. It offers what crypto/tls does by itself, ML-KEM with X25519 and
// X25519 alone, as browsers do, resumes no session, and does not begin a connection with short records.
func (c *Certificate) Client() *tls.Config {
	roots := x509.NewCertPool()
	roots.AddCert(c.cert)
	return &tls.Config{RootCAs: roots, ServerName: Hostname, MinVersion: tls.VersionTLS13, SessionTicketsDisabled: true, DynamicRecordSizingDisabled: true}
}
