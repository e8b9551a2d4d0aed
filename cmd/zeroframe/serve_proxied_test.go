package main

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// proxied makes a connection to a server that printed url, and says first whom it is for.
func proxied(t *testing.T, url, header string) net.Conn {
	t.Helper()
	_, addr, _ := strings.Cut(strings.TrimSuffix(url, "/"), "://")
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(c, header); err != nil {
		t.Fatal(err)
	}
	return c
}

const (
	proxyV1 = "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n"
	proxyV2 = "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x01\xc0\x00\x02\x02\x00\x01\x00\x02"
)

func TestServeTakesPROXYHeadersFromTheAddressesItIsGiven(t *testing.T) {
	for _, trusted := range []string{"127.0.0.1", "10.0.0.0/8,127.0.0.0/8", "::/0,127.0.0.1/32"} {
		url := start(t, "serve", "--listen", "127.0.0.1:0", "--proxy-protocol", trusted).line("listening on ")
		expectEcho(t, proxied(t, url, proxyV1))
		expectEcho(t, proxied(t, url, proxyV2))
		c := proxied(t, url, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n") // without a header
		if b, err := io.ReadAll(c); len(b) != 0 {
			t.Errorf("trusted %s: a connection without a header is answered %.60q, %v", trusted, b, err)
		}
	}
	url := start(t, "serve", "--listen", "127.0.0.1:0", "--proxy-protocol", "10.0.0.0/8").line("listening on ")
	expectEcho(t, proxied(t, url, ""))
	c := proxied(t, url, proxyV1+"GET /echo HTTP/1.1\r\nHost: localhost\r\n\r\n")
	if b, _ := io.ReadAll(c); !strings.HasPrefix(string(b), "HTTP/1.1 400") {
		t.Errorf("a header from elsewhere is answered %.60q", b)
	}
}

func TestServeTakesPROXYHeadersBelowTLS(t *testing.T) {
	url := start(t, "serve", "--listen", "127.0.0.1:0", "--tls-self-signed", "--proxy-protocol", "127.0.0.1").line("listening on ")
	expectEcho(t, tls.Client(proxied(t, url, proxyV2), &tls.Config{InsecureSkipVerify: true}))
	c := httpClient(t, &http.Transport{
		ForceAttemptHTTP2: true,
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true},
		DialContext:       func(context.Context, string, string) (net.Conn, error) { return proxied(t, url, proxyV1), nil },
	})
	if res, body := request(t, c, "GET", httpURL(url)+"healthz", "", nil); body != "ok" || res.ProtoMajor != 2 {
		t.Errorf("%s %s %q", res.Proto, res.Status, body)
	}
}
