package engine_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"slices"
	"testing"
	"time"

	"zeroframe/engine"
	"zeroframe/frame"
)

// clientHello returns the first flight of a client, a record.
func clientHello(t testing.TB, config *tls.Config) []byte {
	t.Helper()
	k := new(cork)
	k.Conn = deaf{}
	return k.hold(func() {
		if err := tls.Client(k, config).Handshake(); err == nil {
			t.Fatal("a handshake without a peer")
		}
	})
}

// deaf is a connection that has ended.
type deaf struct{ net.Conn }

func (deaf) Read([]byte) (int, error)         { return 0, io.EOF }
func (deaf) SetWriteDeadline(time.Time) error { return nil }

// stages are places at which a handshake can stop, each reached by a connection below TLS.
func stages(t testing.TB) map[string]func(c net.Conn) {
	hello := clientHello(t, trusting())
	all := map[string]func(c net.Conn){"before the first byte": func(net.Conn) {}}
	for at := 1; at <= len(hello); at += 1 + at/10 {
		all[fmt.Sprintf("after %d of %d bytes", at, len(hello))] = func(c net.Conn) { c.Write(hello[:at]) }
	}
	for name, version := range versions {
		hello := clientHello(t, speaking(version))
		all["after the first flight in TLS "+name] = func(c net.Conn) {
			c.Write(hello)
			io.ReadFull(c, make([]byte, 100)) // the server has answered
		}
	}
	return all
}

// latency returns how long an echo takes: the median of some.
func (c *client) latency() time.Duration {
	c.t.Helper()
	var took []time.Duration
	for range 200 {
		begin := time.Now()
		c.echoesOf(32)
		took = append(took, time.Since(begin))
	}
	slices.Sort(took)
	return took[len(took)/2]
}

func TestStalledHandshakesCostOthersNothing(t *testing.T) {
	onTLSSockets(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithHandshakeTimeout(time.Minute))
		s.handle("/", newEcho())
		c := s.open("/")
		c.echoesOf(10)
		before := c.latency()
		goroutines := runtime.NumGoroutine()
		const silent = 100
		for range silent {
			defer s.below().Close()
		}
		eventually(t, "they are accepted", func() bool { return s.Stats().Conns == 1+silent })
		if n := runtime.NumGoroutine() - goroutines; n > silent/10 { // some of the test itself may come and go
			t.Errorf("%d goroutines for %d connections that have sent nothing", n, silent)
		}
		stalled := 0
		for _, reach := range stages(t) {
			for range 3 {
				nc := s.below()
				defer nc.Close()
				reach(nc)
				stalled++
			}
		}
		eventually(t, "they are at it", func() bool { return s.Stats().Conns == 1+silent+stalled })
		eventually(t, "an echo takes no longer than without them", func() bool { // once a busy machine lets it
			after := c.latency()
			t.Logf("median of an echo: %v, beside %d stalled handshakes %v", before, silent+stalled, after)
			c.SetDeadline(time.Now().Add(patience))
			return after <= 5*before+5*time.Millisecond
		})
		// Whoever comes now is served: no turn is held by those who wait.
		for _, version := range versions {
			nc, err := s.shakeHands(speaking(version))
			if err != nil {
				t.Fatal(err)
			}
			s.upgrade(nc, "/").echoesOf(10)
		}
		if n := runtime.NumGoroutine() - goroutines; n > stalled {
			t.Errorf("%d goroutines for %d handshakes", n, stalled)
		}
	})
}

func TestTheHandshakeTimeoutEndsStalledHandshakes(t *testing.T) {
	onTLS(t, func(t *testing.T, start func(...engine.Option) *server) {
		const timeout = 150 * time.Millisecond
		s := start(engine.WithHandshakeTimeout(timeout))
		s.handle("/", newEcho())
		s.open("/").Close() // what is opened once is open now
		s.gone()
		files, goroutines := descriptors(), runtime.NumGoroutine()
		began := time.Now()
		var clients []net.Conn
		for _, reach := range stages(t) {
			nc := s.below()
			reach(nc)
			clients = append(clients, nc)
		}
		eventually(t, "all are dropped and counted", func() bool {
			n := s.Stats()
			return n.Conns == 0 && n.HandshakeTimeouts == uint64(len(clients)) && n.TLSFailures == 0
		})
		atLeast(t, "dropped", began, timeout)
		for _, nc := range clients {
			nc.SetReadDeadline(time.Now().Add(patience))
			if _, err := io.Copy(io.Discard, nc); errors.Is(err, os.ErrDeadlineExceeded) {
				t.Error("a client was not told")
			}
			nc.Close()
		}
		expectNothingOut(t)
		eventually(t, "no goroutine is left", func() bool { return runtime.NumGoroutine() <= goroutines })
		eventually(t, "no descriptor is left", func() bool { return descriptors() <= files })

		// The same time is for the request that follows the handshake.
		c := s.connect()
		c.expectRefusal(408)
	})
}

// trickle is a connection whose bytes go one by one.
type trickle struct{ net.Conn }

func (c trickle) Write(p []byte) (n int, err error) {
	for i := range p {
		if _, err := c.Conn.Write(p[i : i+1]); err != nil {
			return i, err
		}
		runtime.Gosched()
	}
	return len(p), nil
}

func TestBytesMayTrickle(t *testing.T) {
	onTLS(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start()
		s.handle("/", newEcho())
		for name, version := range versions {
			nc := tls.Client(trickle{s.below()}, speaking(version))
			if err := nc.Handshake(); err != nil {
				t.Fatalf("TLS %s: %v", name, err)
			}
			s.upgrade(nc, "/").echoesOf(0, 1, 125, 126, 5000)
			nc.Close()
		}
	})
}

// What a client sends that does not speak TLS, and what it is told: the words or the alert reach it, whatever it has sent
// besides.
func TestWhatIsNotTLSIsAnsweredAsCryptoTLSDoes(t *testing.T) {
	const plain = "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n"
	alert := func(description byte) string { return string([]byte{21, 3, 1, 0, 2, 2, description}) }
	hello := clientHello(t, trusting())
	rows := []struct{ name, sent, told string }{
		{"a request", "GET / HTTP/1.1\r\nHost: example.test\r\n\r\n", plain},
		{"an upgrade", string(upgradeRequest("/")), plain},
		{"another request", "HEAD / HTTP/1.1\r\n\r\n", plain},
		{"a form", "POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\na=b", plain},
		{"HTTP/2 without TLS", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", plain},
		{"garbage", "garbage", ""},
		{"zeros", string(make([]byte, 100)), ""},
		{"a frame", string(encode(true, frame.Text, pattern(100))), ""},
		{"SSL 2", "\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10", alert(70)},
		{"a record that is too long", "\x16\x03\x01\xff\xff", alert(22)},
		{"data first", "\x17\x03\x03\x00\x01x", ""},
		{"an alert first", "\x15\x03\x03\x00\x02\x02\x28", ""},
		{"a message that is too long", "\x16\x03\x01\x00\x04\x01\xff\xff\xff", alert(80)},
		{"a message that is none", "\x16\x03\x01\x00\x04\x63\x00\x00\x00", alert(10)},
		{"a hello that is none", "\x16\x03\x01\x00\x08\x01\x00\x00\x04abcd", alert(50)},
		{"a hello with a mistake", string(slices.Concat(hello[:43], []byte{99}, hello[44:])), alert(50)},
	}
	onTLS(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start()
		s.handle("/", newEcho())
		s.open("/").Close() // what is opened once is open now
		s.gone()
		files := descriptors()
		for _, row := range rows {
			for _, behind := range []int{0, 100, 200_000} {
				failures := s.Stats().TLSFailures
				nc := s.below()
				nc.SetDeadline(time.Now().Add(patience))
				go func() { nc.Write(append([]byte(row.sent), bytes.Repeat([]byte{0xEE}, behind)...)) }()
				got, err := io.ReadAll(nc)
				if err != nil || string(got) != row.told && row.name != "an alert first" {
					t.Errorf("%s and %d bytes: told %q, %v", row.name, behind, got, err)
				}
				nc.Close()
				eventually(t, "the failure is counted: "+row.name, func() bool { return s.Stats().TLSFailures == failures+1 })
			}
		}
		s.gone()
		if n := s.Stats(); n.HandshakeTimeouts != 0 || n.TLSHandshakes != 1 {
			t.Errorf("counted: %+v", n)
		}
		eventually(t, "no descriptor is left", func() bool { return descriptors() <= files })
	})
}
