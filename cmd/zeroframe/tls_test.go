package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"zeroframe/frame"
)

// openTLS makes a TLS connection to a server that printed url as its address.
func openTLS(t *testing.T, url string, config *tls.Config) *tls.Conn {
	t.Helper()
	c, err := tls.Dial("tcp", strings.TrimSuffix(strings.TrimPrefix(url, "wss://"), "/"), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// expectEcho upgrades a connection and sends a message.
func expectEcho(t *testing.T, c net.Conn) {
	t.Helper()
	w := &wire{c, t, upgrade(t, c, "/echo")}
	w.send(wireFrame{frame.Text, true, "hello"})
	if f := w.read(); f.payload != "hello" {
		t.Errorf("%v", f)
	}
}

func TestASelfSignedCertificateIsForLocalhostAndTheHost(t *testing.T) {
	for host, good := range map[string][]string{
		"":             nil,
		"0.0.0.0":      nil,
		"::":           nil,
		"localhost":    nil,
		"127.0.0.1":    nil,
		"127.0.0.9":    {"127.0.0.9"},
		"192.0.2.7":    {"192.0.2.7"},
		"2001:db8::7":  {"2001:db8::7"},
		"fe80::1%lo":   {"fe80::1"},
		"example.test": {"example.test"},
	} {
		pair, err := selfSigned(host)
		if err != nil {
			t.Fatalf("%q: %v", host, err)
		}
		certificate, err := x509.ParseCertificate(pair.Certificate[0])
		if err != nil {
			t.Fatal(err)
		}
		roots := x509.NewCertPool()
		roots.AddCert(certificate)
		for _, name := range append(good, "localhost", "127.0.0.1", "::1") {
			if _, err := certificate.Verify(x509.VerifyOptions{DNSName: name, Roots: roots}); err != nil {
				t.Errorf("made for %q: %v", host, err)
			}
		}
		for _, name := range []string{"other.test", "0.0.0.0", "::", "192.0.2.8"} {
			if certificate.VerifyHostname(name) == nil {
				t.Errorf("made for %q, it is good for %s", host, name)
			}
		}
	}
	if _, err := selfSigned("\u00e9"); err == nil {
		t.Error("a host that no certificate can name")
	}
}

func TestServeShowsTheFingerprintOfTheCertificateItMakes(t *testing.T) {
	p := start(t, "serve", "--listen", "127.0.0.1:0", "--tls-self-signed")
	shown, url := p.line("certificate SHA-256 "), p.line("listening on ")
	if !strings.HasPrefix(url, "wss://127.0.0.1:") || !strings.HasSuffix(url, "/") {
		t.Errorf("listening on %q", url)
	}
	c := openTLS(t, url, &tls.Config{InsecureSkipVerify: true})
	peer := c.ConnectionState().PeerCertificates[0]
	if got := fingerprint(tls.Certificate{Certificate: [][]byte{peer.Raw}}); got != shown || len(got) != 95 {
		t.Errorf("%q is shown, %q is served", shown, got)
	}
	expectEcho(t, c)
	roots := x509.NewCertPool()
	roots.AddCert(peer)
	expectEcho(t, openTLS(t, url, &tls.Config{RootCAs: roots})) // by 127.0.0.1
	other := start(t, "serve", "--listen", "127.0.0.1:0", "--tls-self-signed")
	if other.line("certificate SHA-256 ") == shown {
		t.Error("another server has the same certificate")
	}
}

// pemFiles writes a certificate for localhost and its key.
func pemFiles(t *testing.T) (certificate, key string, roots *x509.CertPool) {
	t.Helper()
	pair, err := selfSigned("")
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certificate, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.Certificate[0]})
	roots = x509.NewCertPool()
	roots.AppendCertsFromPEM(block)
	for name, b := range map[string][]byte{certificate: block, key: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})} {
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certificate, key, roots
}

func TestServeUsesTheCertificateItIsGiven(t *testing.T) {
	certificate, key, roots := pemFiles(t)
	url := start(t, "serve", "--listen", "127.0.0.1:0", "--tls-cert", certificate, "--tls-key", key).line("listening on ")
	c := openTLS(t, url, &tls.Config{RootCAs: roots, ServerName: "localhost"})
	expectEcho(t, c)
	plain, err := net.Dial("tcp", c.RemoteAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	plain.SetDeadline(time.Now().Add(patience))
	plain.Write([]byte("GET /echo HTTP/1.1\r\nHost: localhost\r\n\r\n"))
	b := make([]byte, 8)
	if n, _ := plain.Read(b); strings.HasPrefix(string(b[:n]), "HTTP/1.1 1") {
		t.Errorf("without TLS it is answered by %q", b[:n])
	}
}

func TestServeSaysWhichFilesOfTLSAreWrong(t *testing.T) {
	certificate, key, _ := pemFiles(t)
	_, other, _ := pemFiles(t)
	for name, files := range map[string][2]string{
		"no certificate": {filepath.Join(t.TempDir(), "none"), key},
		"no key":         {certificate, filepath.Join(t.TempDir(), "none")},
		"another's key":  {certificate, other},
		"swapped":        {key, certificate},
		"empty names":    {"", ""}, // of variables that are not set
	} {
		p := start(t, "serve", "--listen", "127.0.0.1:0", "--tls-cert="+files[0], "--tls-key="+files[1])
		if code := p.exit(); code != exitFailed || !strings.Contains(p.errors(), "--tls-cert, --tls-key: ") {
			t.Errorf("%s: exit code %d: %s", name, code, p.errors())
		}
	}
}
