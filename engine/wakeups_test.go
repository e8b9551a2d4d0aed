package engine_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"zeroframe/engine"
	"zeroframe/frame"
)

// restless echoes, and pauses by chance, to be resumed from anywhere.
type restless struct{ *echo }

func (h restless) OnMessage(c *engine.Conn, op frame.OpCode, payload []byte) {
	h.echo.OnMessage(c, op, payload)
	switch rand.IntN(6) {
	case 0:
		c.Pause()
		go c.Resume()
	case 1:
		c.Pause()
		c.Resume()
	}
}

// cutting writes in pieces of any size, with any time between them.
type cutting struct {
	net.Conn
	rnd *rand.Rand
}

func (c *cutting) Write(b []byte) (n int, err error) {
	for n < len(b) && err == nil {
		var m int
		m, err = c.Conn.Write(b[n:min(len(b), n+1+c.rnd.IntN(1<<c.rnd.IntN(16)))])
		n += m
		if wait := c.rnd.IntN(160); wait < 40 {
			for end := time.Now().Add(time.Duration(wait) * time.Microsecond); time.Now().Before(end); {
				runtime.Gosched()
			}
		}
	}
	return n, err
}

// Whatever comes between two looks at a descriptor is noticed, on every way that bytes take: below TLS, behind a PROXY
// header, and back from net/http with the upgrade and messages behind the first request.
func TestNoWakeUpIsLostOnAnyWay(t *testing.T) {
	for _, way := range []struct {
		name            string
		tls, lent, http bool
		header          string
	}{
		{name: "socket"},
		{name: "proxied", header: v1},
		{name: "http", http: true},
		{name: "tls", tls: true},
		{name: "tls lent", tls: true, lent: true},
		{name: "tls proxied", tls: true, lent: true, header: v1},
		{name: "tls http", tls: true, http: true},
		{name: "tls lent http", tls: true, lent: true, http: true},
	} {
		t.Run(way.name, func(t *testing.T) {
			opts := []engine.Option{engine.WithLoops(2), engine.WithReadBuffer(4 << 10), engine.WithMaxBackpressure(16 << 10),
				engine.WithTLSConfig(serverCertificate()), engine.WithTLSBufferRelease(way.lent),
				engine.WithHTTPHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "page") }))}
			if way.header != "" {
				opts = append(opts, engine.WithProxyProtocol(netip.MustParsePrefix("127.0.0.0/8")))
			}
			s := bare(t, opts...)
			s.handle("/", restless{newEcho()})
			ln := listenTCP(t, s, "127.0.0.1:0")
			served := make(chan error, 1)
			go func() {
				if way.tls {
					served <- s.ServeTLS(ln, "", "")
				} else {
					served <- s.Serve(ln)
				}
			}()
			var clients sync.WaitGroup
			for i := range uint64(8) {
				clients.Go(func() {
					nc, err := net.Dial("tcp", ln.Addr().String())
					if err != nil {
						t.Error(err)
						return
					}
					defer nc.Close()
					nc.SetDeadline(time.Now().Add(patience))
					rnd := rand.New(rand.NewPCG(i, 7))
					var c net.Conn = &cutting{nc, rnd}
					io.WriteString(c, way.header)
					if way.tls {
						c = tls.Client(c, trusting())
					}
					if err := pourOut(c, rand.New(rand.NewPCG(i, 8)), way.http); err != nil {
						t.Errorf("client %d: %v", i, err)
					}
				})
			}
			clients.Wait()
			s.Close()
			within(t, served)
		})
	}
}

const v1 = "PROXY TCP4 192.0.2.1 192.0.2.2 1000 2000\r\n"

// pourOut sends a request, messages and a close frame without waiting for anything, and expects what they are answered with.
func pourOut(c net.Conn, rnd *rand.Rand, page bool) error {
	var all []byte
	if page {
		all = append(all, "GET /page HTTP/1.1\r\nHost: x\r\n\r\n"...)
	}
	all = append(all, upgradeRequest("/")...)
	var messages [][]byte
	for range 40 {
		m := []byte(strings.Repeat("añ", rnd.IntN(1<<rnd.IntN(15))))
		messages = append(messages, m)
		if split := rnd.IntN(len(m) + 1); rnd.IntN(4) == 0 {
			all = append(all, encode(false, frame.Text, m[:split])...)
			all = append(all, encode(true, frame.Continuation, m[split:])...)
		} else {
			all = append(all, encode(true, frame.Text, m)...)
		}
	}
	all = append(all, encode(true, frame.Close, []byte{3, 232})...)
	written := make(chan error, 1)
	go func() {
		_, err := c.Write(all)
		written <- err
	}()
	r := &client{Conn: c, r: bufio.NewReader(c)}
	if page {
		a, err := http.ReadResponse(r.r, nil)
		if err != nil {
			return err
		}
		if b, err := io.ReadAll(a.Body); string(b) != "page" {
			return fmt.Errorf("the page is %q, %w", b, err)
		}
	}
	if a, err := http.ReadResponse(r.r, nil); err != nil || a.StatusCode != http.StatusSwitchingProtocols {
		return fmt.Errorf("answered %v, %v", a, err)
	}
	for i, m := range append(messages, []byte{3, 232}) {
		if f, err := r.readFrame(); err != nil || !bytes.Equal(f.payload, m) {
			return fmt.Errorf("message %d: got %v, %w", i, f, err)
		}
	}
	if rest, err := io.ReadAll(r.r); err != nil || len(rest) > 0 {
		return fmt.Errorf("behind the close frame: %d bytes, %w", len(rest), err)
	}
	return <-written
}
