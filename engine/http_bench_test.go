package engine_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"testing"

	"zeroframe/engine"
)

// BenchmarkHTTPOnTheSamePort is a plain GET answered by net/http, by itself and behind an engine: on a connection of its own,
// which pays for the hand-over, and on one that is kept.
func BenchmarkHTTPOnTheSamePort(b *testing.B) {
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "hello") })
	listen := func(b *testing.B) net.Listener { // on unix: TCP would run out of ports
		ln, err := net.Listen("unix", filepath.Join(b.TempDir(), "socket"))
		if err != nil {
			b.Fatal(err)
		}
		return ln
	}
	servers := map[string]func(b *testing.B) net.Listener{
		"engine": func(b *testing.B) net.Listener {
			e, err := engine.New(engine.WithHTTPHandler(h))
			if err != nil {
				b.Fatal(err)
			}
			ln := listen(b)
			go e.Serve(ln)
			b.Cleanup(func() { e.Close() })
			return ln
		},
		"net/http": func(b *testing.B) net.Listener {
			srv := &http.Server{Handler: h}
			ln := listen(b)
			go srv.Serve(ln)
			b.Cleanup(func() { srv.Close() })
			return ln
		},
	}
	connect := func(b *testing.B, ln net.Listener) net.Conn {
		c, err := net.Dial("unix", ln.Addr().String())
		if err != nil {
			b.Fatal(err)
		}
		return c
	}
	get := func(b *testing.B, c net.Conn, r *bufio.Reader) {
		io.WriteString(c, ok)
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			b.Fatal(err)
		}
		io.Copy(io.Discard, resp.Body)
	}
	for name, start := range servers {
		b.Run(name+"/new", func(b *testing.B) {
			ln := start(b)
			b.ReportAllocs()
			for b.Loop() {
				c := connect(b, ln)
				get(b, c, bufio.NewReader(c))
				c.Close()
			}
		})
		b.Run(name+"/kept", func(b *testing.B) {
			ln := start(b)
			c := connect(b, ln)
			defer c.Close()
			r := bufio.NewReader(c)
			b.ReportAllocs()
			for b.Loop() {
				get(b, c, r)
			}
		})
	}
}
