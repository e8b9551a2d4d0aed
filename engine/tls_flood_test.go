//go:build !race

package engine_test

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"net"
	"runtime"
	"slices"
	"testing"
	"time"

	"zeroframe/engine"
)

// perHandshake bounds the live heap of a handshake whose client sends as much as it can: what is read ahead, a record and
// a message in the hands of crypto/tls, which takes 64 KiB, and the room in which they have grown.
const perHandshake = 200 << 10

// A client may announce 64 KiB of hello, and send it all but for a byte.
func TestAHelloWithoutEndCostsLittle(t *testing.T) {
	if !alone(t) {
		return
	}
	onTransports(t, overTLS[:1], func(t *testing.T, start func(...engine.Option) *server) {
		const clients = 50
		s := start(engine.WithHandshakeTimeout(time.Minute))
		hello := binary.BigEndian.AppendUint32(nil, 1<<24|65_500) // type and length
		hello = append(hello, bytes.Repeat([]byte{7}, 65_499)...)
		var wire []byte
		for part := range slices.Chunk(hello, 16<<10) {
			wire = append(wire, 22, 3, 1)
			wire = binary.BigEndian.AppendUint16(wire, uint16(len(part)))
			wire = append(wire, part...)
		}
		before := settledCost()
		for range clients {
			c := s.below()
			defer c.Close()
			c.Write(wire)
		}
		s.until("not all are there", func() bool { return s.Stats().Conns == clients })
		eventually(t, "all of it has come", func() bool { return settledCost().per(clients, before).heap > 64<<10 })
		per := settledCost().per(clients, before)
		t.Logf("%d B of heap and %d B of stack for a hello that never ends", per.heap, per.stack)
		if per.heap > perHandshake {
			t.Errorf("%d B of heap for a hello that never ends, at most %d are meant", per.heap, perHandshake)
		}
	})
}

// While a handshake waits for its callback, its client is held back by TCP.
func TestFloodsBehindAHelloAreHeldBack(t *testing.T) {
	if !alone(t) {
		return
	}
	onTransports(t, overTLS[:1], func(t *testing.T, start func(...engine.Option) *server) {
		const clients = 20
		waiting, release := make(chan bool, clients), make(chan bool)
		s := start(engine.WithHandshakeTimeout(time.Minute), engine.WithTLSConfig(&tls.Config{
			GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
				waiting <- true
				<-release
				c := certificate()
				return &c, nil
			},
		}))
		defer close(release)
		hello := clientHello(t, trusting())
		flood := make([]byte, 1<<20)
		before := settledCost()
		for range clients {
			c := s.below()
			defer c.Close()
			c.Write(hello)
			within(t, waiting)
			c.SetWriteDeadline(time.Now().Add(20 * time.Millisecond))
			total := 0
			for n, err := 0, error(nil); err == nil; total += n {
				if n, err = c.Write(flood); total > 64<<20 {
					t.Fatal("a handshake that waits takes all it is sent")
				}
			}
			c.(*net.TCPConn).SetLinger(0)
		}
		per := settledCost().per(clients, before)
		runtime.KeepAlive(flood)
		t.Logf("%d B of heap and %d B of stack for a flood behind a hello", per.heap, per.stack)
		if per.heap > perHandshake {
			t.Errorf("%d B of heap for a flood behind a hello, at most %d are meant", per.heap, perHandshake)
		}
	})
}
