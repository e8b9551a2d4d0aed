package bench

import (
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"zeroframe/engine"
)

// serveTLS is serve over TLS; trust is what a client needs to verify it.
func serveTLS(t *testing.T, h engine.HandlerFunc) (url string, trust *tls.Config) {
	t.Helper()
	hs := httptest.NewTLSServer(nil) // for its certificate
	hs.Close()
	e, err := engine.New(engine.WithLoops(1), engine.WithTLSConfig(&tls.Config{Certificates: hs.TLS.Certificates}))
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Handle("/echo", h); err != nil {
		t.Fatal(err)
	}
	ln, err := e.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() { defer close(served); e.ServeTLS(ln, "", "") }()
	t.Cleanup(func() { e.Close(); <-served })
	return "wss://" + ln.Addr().String() + "/echo", hs.Client().Transport.(*http.Transport).TLSClientConfig
}

func TestLoadCountsItsHandshakes(t *testing.T) {
	url, trust := serveTLS(t, echo)
	fresh := trust.Clone()
	fresh.SessionTicketsDisabled = true
	r := load(t, LoadConfig{URL: url, TLS: fresh, Conns: 20, Payload: 1000, InFlight: 2, Loops: 2}, short)
	if r.Errors != 0 || r.Messages == 0 || r.TLS == nil {
		t.Fatalf("%+v", r)
	}
	if h := r.TLS; h.Handshakes != 20 || h.Resumed != 0 || h.Version != "TLS 1.3" || !strings.HasPrefix(h.Suite, "TLS_") || h.Opening <= 0 {
		t.Errorf("%+v", h)
	}
	var report strings.Builder
	if err := r.WriteText(&report); err != nil || !strings.Contains(report.String(), "TLS 1.3 with TLS_") || !strings.Contains(report.String(), "20 handshakes in") {
		t.Errorf("%s, %v", &report, err)
	}
	r = load(t, LoadConfig{URL: url, TLS: trust, Conns: 100, Payload: 10, InFlight: 1, Loops: 2}, short)
	if h := r.TLS; r.Errors != 0 || h == nil || h.Handshakes != 100 || h.Resumed == 0 {
		t.Errorf("%+v, %+v", r, h)
	}
	if _, err := Open(t.Context(), LoadConfig{URL: url, Conns: 3, InFlight: 1}); err == nil || !strings.Contains(err.Error(), "--insecure") {
		t.Errorf("an unknown authority: %v", err)
	}
	insecure := &tls.Config{InsecureSkipVerify: true}
	if r := load(t, LoadConfig{URL: url, TLS: insecure, Conns: 3, InFlight: 1}, short); r.Errors != 0 || r.Messages == 0 {
		t.Errorf("%+v", r)
	}
}

func TestLoadOverAUnixSocket(t *testing.T) {
	e, err := engine.New(engine.WithLoops(1))
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if err := e.Handle("/echo", engine.HandlerFunc(echo)); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "sock")
	url := "ws+unix://" + path + ":/echo"
	config := LoadConfig{URL: url, Conns: 10, Payload: 1000, InFlight: 2, Loops: 2}
	if _, err := Open(t.Context(), config); err == nil || !strings.Contains(err.Error(), "nobody listens at unix:"+path) {
		t.Errorf("before there is a socket: %v", err)
	}
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Skip(err)
	}
	go e.Serve(ln)
	if r := load(t, config, short); r.Errors != 0 || r.Messages == 0 || r.TLS != nil {
		t.Errorf("%+v", r)
	}
}
