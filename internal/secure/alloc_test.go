//go:build !race

package secure_test

import (
	"crypto/tls"
	"io"
	"testing"

	"zeroframe/internal/loop"
	"zeroframe/pool"
)

// A record costs what crypto/tls allocates for a call of its Read's, 24 bytes, and that once for each end: reading and
// writing on the loop cost nothing else.
func TestARecordCostsOneAllocationOfCryptoTLS(t *testing.T) {
	pool.Verify(false)
	defer pool.Verify(true)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, size := range []int{32, 1 << 10, 16 << 10} {
			server, client := sockets(t)
			serve(t, group(t), server, func(*loop.Conn, error) {})
			c := tls.Client(client, trusting(version))
			message, answer := make([]byte, size), make([]byte, size)
			exchange := func() {
				if _, err := c.Write(message); err != nil {
					t.Fatal(err)
				}
				if _, err := io.ReadFull(c, answer); err != nil {
					t.Fatal(err)
				}
			}
			for range 200 { // crypto/tls begins with small records
				exchange()
			}
			if n := testing.AllocsPerRun(200, exchange); n > 2 {
				t.Errorf("%s, %d B: %v allocations by both ends, 2 are meant", tls.VersionName(version), size, n)
			}
			c.Close()
		}
	}
}
