package secure_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"testing"
	"time"

	"zeroframe/internal/loop"
	"zeroframe/pool"
)

// BenchmarkEcho sends so many bytes and awaits them: client, server and kernel, on one machine. What is allocated is
// crypto/tls's, 24 B per record and end but that of a loop that lends.
func BenchmarkEcho(b *testing.B) {
	pool.Verify(false)
	defer pool.Verify(true)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for i, size := range []int{32, 1 << 10, 16 << 10, 64 << 10, 32, 1 << 10, 16 << 10, 64 << 10} {
			lend := i >= 4
			b.Run(fmt.Sprintf("%s/%d/lend=%v", tls.VersionName(version), size, lend), func(b *testing.B) {
				server, client := sockets(b)
				serve(b, group(b), server, lend, func(*loop.Conn, error) {})
				client.SetDeadline(time.Time{})
				c := tls.Client(client, trusting(version))
				message, answer := make([]byte, size), make([]byte, size)
				exchange := func() {
					if _, err := c.Write(message); err != nil {
						b.Fatal(err)
					}
					if _, err := io.ReadFull(c, answer); err != nil {
						b.Fatal(err)
					}
				}
				for range 100 { // crypto/tls begins with small records
					exchange()
				}
				b.SetBytes(int64(2 * size))
				b.ReportAllocs()
				for b.Loop() {
					exchange()
				}
			})
		}
	}
}

// BenchmarkHandshake makes connections, each with the handshake of both ends.
func BenchmarkHandshake(b *testing.B) {
	pool.Verify(false)
	defer pool.Verify(true)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, resumed := range []bool{false, true} {
			b.Run(fmt.Sprintf("%s/resumed=%v", tls.VersionName(version), resumed), func(b *testing.B) {
				g := group(b)
				config := trusting(version)
				if resumed {
					config.ClientSessionCache = tls.NewLRUClientSessionCache(1)
				}
				server := serverOf(true, func(*loop.Conn, error) {})
				answer := make([]byte, 1)
				b.ReportAllocs()
				for b.Loop() {
					nc, client := sockets(b)
					e := newEcho()
					if err := g.Adopt(&e.Conn, nc, server.Stream(nil)); err != nil {
						b.Fatal(err)
					}
					c := tls.Client(client, config)
					c.Write([]byte{1})
					if _, err := io.ReadFull(c, answer); err != nil { // behind the ticket
						b.Fatal(err)
					}
					c.Close()
					<-e.ended
				}
			})
		}
	}
}
