package secure_test

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"zeroframe/internal/secure"
)

// lodger is an echo that leaves its loop when it has had so many bytes, as soon as nothing is left to write.
type lodger struct {
	*echo
	left   int
	moved  chan int // the descriptor
	stream *secure.Stream
}

func (l *lodger) Data(b []byte) {
	l.left -= len(b)
	l.echo.Data(b)
	l.leave()
}

func (l *lodger) Written(int) { l.leave() }

func (l *lodger) leave() {
	if l.left > 0 || !l.IsOpen() {
		return
	}
	if fd, err := l.Detach(); err == nil {
		l.stream.Leave()
		l.moved <- fd
	}
}

// A connection goes from a goroutine to a loop and back, again and again, in the middle of records and with records read
// ahead, by loops that lend, that do not, and in turn: no byte is lost or doubled.
func TestConnectionsMoveBetweenGoroutinesAndLoops(t *testing.T) {
	const total = 1 << 20
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for seed := range uint64(12) {
			t.Run(fmt.Sprintf("%s/%d", tls.VersionName(version), seed), func(t *testing.T) {
				random := rand.New(rand.NewPCG(seed, uint64(version)))
				g := group(t)
				server, client := sockets(t)
				config := &tls.Config{Certificates: []tls.Certificate{certificate()}}
				tc := tls.Server(secure.NewWire(server), config)

				sent := make([]byte, total)
				for i := range sent {
					sent[i] = byte(random.Uint32())
				}
				largest := []int{3, 100, 1000, 20_000}[seed%4]
				if largest == 3 {
					sent = sent[:20_000]
				}
				c := tls.Client(client, trusting(version))
				go func() {
					random := rand.New(rand.NewPCG(seed, 1))
					for rest := sent; len(rest) > 0; {
						n := min(len(rest), 1+random.IntN(largest))
						if _, err := c.Write(rest[:n]); err != nil {
							t.Error(err)
							return
						}
						rest = rest[n:]
					}
				}()
				echoed := make(chan []byte, 1)
				go func() {
					got := make([]byte, len(sent))
					n, _ := io.ReadFull(c, got)
					echoed <- got[:n]
				}()

				if err := tc.Handshake(); err != nil {
					t.Fatal(err)
				}
				moves := 0
				for had := 0; had < len(sent); moves++ {
					b := make([]byte, 1+random.IntN(2*largest))
					n, err := tc.Read(b) // a goroutine's turn
					if err != nil {
						t.Fatal(err)
					}
					if _, err := tc.Write(b[:n]); err != nil {
						t.Fatal(err)
					}
					if had += n; had == len(sent) {
						break
					}
					stream, under, ok := secure.Adopt(tc)
					if !ok || under == nil {
						t.Fatal("the connection was not adopted")
					}
					if lend := []bool{false, true, random.IntN(2) == 0}[seed/4]; lend {
						stream.Lend()
					}
					l := &lodger{echo: newEcho(), left: min(1+random.IntN(4*largest), len(sent)-had), moved: make(chan int, 1), stream: stream}
					l.Init(l)
					quota := l.left
					if err := g.Adopt(&l.Conn, under, stream); err != nil {
						t.Fatal(err)
					}
					var fd int
					select {
					case fd = <-l.moved:
					case err := <-l.ended:
						t.Fatalf("ended on its loop with %v after %d of %d bytes", err, had+quota-l.left, len(sent))
					}
					had += quota - l.left
					nc, err := g.NetConn(fd, nil)
					if err != nil {
						t.Fatal(err)
					}
					nc.SetDeadline(time.Now().Add(patience))
					if stream.Release(nc) != tc {
						t.Fatal("another connection came back")
					}
				}
				tc.Close()
				if got := <-echoed; !bytes.Equal(got, sent) {
					t.Errorf("%d of %d bytes came back as they went", len(got), len(sent))
				}
			})
		}
	}
}

// What was not made on a Wire, or has not shaken hands, is not adopted.
func TestOtherConnectionsAreNotAdopted(t *testing.T) {
	server, client := sockets(t)
	defer server.Close()
	config := &tls.Config{Certificates: []tls.Certificate{certificate()}}
	for name, tc := range map[string]*tls.Conn{
		"on a socket":                      tls.Server(server, config),
		"on a Wire, without its handshake": tls.Server(secure.NewWire(server), config),
	} {
		if _, _, ok := secure.Adopt(tc); ok {
			t.Errorf("a connection %s was adopted", name)
		}
	}
	tc := tls.Server(secure.NewWire(server), config)
	c := tls.Client(client, trusting(tls.VersionTLS13))
	go c.Handshake()
	if err := tc.Handshake(); err != nil {
		t.Fatal(err)
	}
	s, under, ok := secure.Adopt(tc)
	if !ok || under != server {
		t.Fatalf("adopted: %v, on %v", ok, under)
	}
	if _, _, ok := secure.Adopt(tc); ok {
		t.Error("a connection was adopted twice")
	}
	if s.Release(under) != tc { // a loop refused it
		t.Error("another connection came back")
	}
	go tc.Write([]byte("still there"))
	b := make([]byte, 11)
	if _, err := io.ReadFull(c, b); err != nil || string(b) != "still there" {
		t.Errorf("%q, %v", b, err)
	}
}
