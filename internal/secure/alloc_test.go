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
// writing on the loop cost nothing else. A loop that lends saves its end of it.
func TestARecordCostsOneAllocationOfCryptoTLS(t *testing.T) {
	pool.Verify(false)
	defer pool.Verify(true)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for i, size := range []int{32, 1 << 10, 16 << 10, 32, 1 << 10, 16 << 10} {
			lend, most := i >= 3, 2.0
			if lend {
				most = 1
			}
			server, client := sockets(t)
			serve(t, group(t), server, lend, func(*loop.Conn, error) {})
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
			if n := testing.AllocsPerRun(200, exchange); n > most {
				t.Errorf("%s, %d B, lending %v: %v allocations by both ends, %v are meant", tls.VersionName(version), size, lend, n, most)
			}
			c.Close()
		}
	}
}
