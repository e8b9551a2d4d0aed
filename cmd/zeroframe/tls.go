package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"
)

// tlsFlags are those of serve for TLS. Pointers, for an empty one, of a variable that is not set, must not mean no TLS.
type tlsFlags struct {
	TLSCert       *string `name:"tls-cert" placeholder:"FILE" help:"Serve TLS with this certificate, the ones that vouch for it behind it (PEM)."`
	TLSKey        *string `name:"tls-key" placeholder:"FILE" help:"The key of --tls-cert (PEM)."`
	TLSSelfSigned bool    `name:"tls-self-signed" help:"Serve TLS with a certificate made at start, for localhost and the host of --listen, and print its fingerprint."`
}

// selfSignedLifetime is how long a certificate made at start is good for; nobody trusts it for longer than a try.
const selfSignedLifetime = 90 * 24 * time.Hour

// config returns what the flags come to; nil without TLS. host is what a certificate is made for besides localhost.
func (f *tlsFlags) config(host string) (*tls.Config, error) {
	var (
		certificate tls.Certificate
		err         error
	)
	switch {
	case f.TLSSelfSigned && (f.TLSCert != nil || f.TLSKey != nil):
		return nil, usageError{errors.New("--tls-self-signed: --tls-cert or --tls-key is given, too")}
	case f.TLSCert != nil && f.TLSKey == nil:
		return nil, usageError{errors.New("--tls-cert: --tls-key is missing")}
	case f.TLSCert == nil && f.TLSKey != nil:
		return nil, usageError{errors.New("--tls-key: --tls-cert is missing")}
	case f.TLSCert != nil:
		if certificate, err = tls.LoadX509KeyPair(*f.TLSCert, *f.TLSKey); err != nil {
			return nil, fmt.Errorf("--tls-cert, --tls-key: %w", err)
		}
	case f.TLSSelfSigned:
		if certificate, err = selfSigned(host); err != nil {
			return nil, fmt.Errorf("--tls-self-signed: %w", err)
		}
	default:
		return nil, nil
	}
	return &tls.Config{Certificates: []tls.Certificate{certificate}}, nil
}

// selfSigned makes a certificate for localhost and, where that is one, a host.
func selfSigned(host string) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	now := time.Now()
	template := &x509.Certificate{ // without a serial number: one is chosen at random
		Subject:     pkix.Name{CommonName: "zeroframe serve --tls-self-signed"},
		NotBefore:   now.Add(-time.Hour), // for clocks that are behind
		NotAfter:    now.Add(selfSignedLifetime),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:    []string{"localhost"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
	}
	host, _, _ = strings.Cut(host, "%") // the zone of an IPv6 address
	switch ip := net.ParseIP(host); {
	case ip == nil && host != "" && !strings.EqualFold(host, "localhost"):
		template.DNSNames = append(template.DNSNames, host)
	case ip != nil && !ip.IsUnspecified() && !slices.ContainsFunc(template.IPAddresses, ip.Equal):
		template.IPAddresses = append(template.IPAddresses, ip)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

// fingerprint is how others show which certificate they were given: its SHA-256, as openssl x509 -fingerprint prints it.
func fingerprint(c tls.Certificate) string {
	sum := sha256.Sum256(c.Certificate[0])
	return strings.ReplaceAll(fmt.Sprintf("% X", sum), " ", ":")
}
