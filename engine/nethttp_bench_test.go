package engine_test

import (
	"bytes"
	"net"
	"net/http"
	"path/filepath"
	"testing"

	"zeroframe/engine"
)

// BenchmarkOpening connects, upgrades and goes: on a listener of the engine's, through net/http, and with a route for each
// connection.
func BenchmarkOpening(b *testing.B) {
	for name, mount := range map[string]func(*engine.Engine) http.Handler{
		"native":   nil,
		"net-http": func(e *engine.Engine) http.Handler { return e.Handler(answering) },
		"Upgrade": func(e *engine.Engine) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { e.Upgrade(w, r, answering) })
		},
	} {
		b.Run(name, func(b *testing.B) {
			e, err := engine.New()
			if err != nil {
				b.Fatal(err)
			}
			defer e.Close()
			if err := e.Handle("/", answering); err != nil {
				b.Fatal(err)
			}
			ln, err := net.Listen("unix", filepath.Join(b.TempDir(), "socket")) // TCP would run out of ports
			if err != nil {
				b.Fatal(err)
			}
			if mount == nil {
				go e.Serve(ln)
			} else {
				srv := &http.Server{Handler: mount(e)}
				defer srv.Close()
				go srv.Serve(ln)
			}
			request, answer := upgradeRequest("/"), make([]byte, 1024)
			b.ReportAllocs()
			for b.Loop() {
				c, err := net.Dial("unix", ln.Addr().String())
				if err != nil {
					b.Fatal(err)
				}
				c.Write(request)
				if n, err := c.Read(answer); err != nil || !bytes.HasPrefix(answer[:n], []byte("HTTP/1.1 101 ")) {
					b.Fatalf("%q, %v", answer[:n], err)
				}
				c.Close()
			}
		})
	}
}
