//go:build linux && !race

package engine_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"io"
	"testing"
	"time"

	"zeroframe/engine"
	"zeroframe/frame"
	"zeroframe/pool"
)

// secureServer is socketServer over TLS.
func secureServer(t testing.TB, h engine.Handler, opts ...engine.Option) *server {
	t.Helper()
	pool.Verify(false)
	e, err := engine.New(append([]engine.Option{engine.WithLoops(1), engine.WithPingInterval(0), engine.WithTLSConfig(serverCertificate())}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Handle("/", h); err != nil {
		t.Fatal(err)
	}
	s := &server{Engine: e, t: t.(*testing.T)}
	s.serveTLS("tcp", "", "")
	t.Cleanup(func() {
		e.Close()
		pool.Verify(true)
	})
	return s
}

// frugal is a client of TLS 1.3 that allocates nothing, so that what is counted is the server's.
type frugal struct {
	*tls13
	nonces   [2][12]byte
	wire, in []byte
}

func (s *server) frugal(path string) *frugal {
	r := s.tls13()
	s.upgrade(r, path)
	return &frugal{tls13: r, wire: make([]byte, 0, 4<<20), in: make([]byte, 20<<10)}
}

// nonce is trafficKeys.nonce in memory that is there already.
func (f *frugal) nonce(k *trafficKeys, n *[12]byte) []byte {
	copy(n[:], k.iv)
	binary.BigEndian.PutUint64(n[4:], binary.BigEndian.Uint64(n[4:])^k.seq)
	k.seq++
	return n[:]
}

// exchange sends data in records of so many bytes and reads an answer of so many.
func (f *frugal) exchange(data []byte, record, answer int) {
	f.wire = f.wire[:0]
	for len(data) > 0 {
		n := min(len(data), record)
		at := len(f.wire)
		f.wire = append(f.wire, dataRecord, 3, 3, byte((n+17)>>8), byte(n+17))
		f.wire = append(f.wire, data[:n]...)
		f.wire = append(f.wire, dataRecord)
		f.wire = f.out.aead.Seal(f.wire[:at+5], f.nonce(&f.out, &f.nonces[0]), f.wire[at+5:], f.wire[at:at+5])
		data = data[n:]
	}
	sent := f.wire
	for answer > 0 || len(sent) > 0 {
		if n := min(len(sent), 64<<10); n > 0 { // not more than the sockets hold
			if _, err := f.Conn.Write(sent[:n]); err != nil {
				f.t.Fatal(err)
			}
			sent = sent[n:]
			if len(sent) > 0 {
				continue
			}
		}
		if _, err := io.ReadFull(f.Conn, f.in[:5]); err != nil {
			f.t.Fatal(err)
		}
		b := f.in[5 : 5+int(binary.BigEndian.Uint16(f.in[3:]))]
		if _, err := io.ReadFull(f.Conn, b); err != nil {
			f.t.Fatal(err)
		}
		b, err := f.tls13.in.aead.Open(b[:0], f.nonce(&f.tls13.in, &f.nonces[1]), b, f.in[:5])
		if err != nil {
			f.t.Fatal(err)
		}
		answer -= len(b) - 1
	}
}

// What a message costs the server: nothing, or, with buffers of crypto/tls's own, at most the 24 bytes that it allocates for
// each record that it does not find there already.
func TestWhatAMessageOverTLSAllocates(t *testing.T) {
	for _, test := range []struct {
		name    string
		handler engine.Handler
		size    int
		batch   int
		record  int
	}{
		{"reply 32 B", replier{}, 32, 1, 16 << 10},
		{"reply 1 KiB", replier{}, 1 << 10, 1, 16 << 10},
		{"reply 64 KiB", replier{}, 64 << 10, 1, 16 << 10},
		{"16 pipelined in a record", replier{}, 32, 16, 16 << 10},
		{"16 pipelined in 16 records", replier{}, 32, 16, 38},
		{"send on the loop", sender{}, 1000, 1, 16 << 10},
	} {
		allocate := func(t *testing.T, release bool) {
			s := secureServer(t, test.handler, engine.WithTLSBufferRelease(release))
			f := s.frugal("/")
			one := encode(true, frame.Binary, bytes.Repeat([]byte("x"), test.size))
			data := bytes.Repeat(one, test.batch)
			answer := (len(one) - 4) * test.batch
			for range 50 {
				f.exchange(data, test.record, answer)
			}
			records := (len(data) + test.record - 1) / test.record
			n := testing.AllocsPerRun(200, func() { f.exchange(data, test.record, answer) })
			t.Logf("%v allocations for %d messages in %d records", n, test.batch, records)
			if most := float64(2 * records); n > most || release && n > 0 { // two when a record comes in two segments
				t.Errorf("%v allocations for %d records", n, records)
			}
		}
		t.Run(test.name, func(t *testing.T) { allocate(t, false) })
		t.Run(test.name+", buffers released", func(t *testing.T) { allocate(t, true) })
	}
}

func TestWhatSessionsOverTLSAllocate(t *testing.T) {
	s := secureServer(t, replier{})
	sessions := make(chan *engine.Session, 1)
	s.session("/send", func(ctx context.Context, s *engine.Session) error {
		sessions <- s
		<-ctx.Done()
		return nil
	})
	f := s.frugal("/send")
	session := within(t, sessions)
	payload := bytes.Repeat([]byte("x"), 1000)
	expectNoAllocs(t, 300, func() {
		if err := session.Send(t.Context(), frame.Binary, payload); err != nil {
			t.Fatal(err)
		}
		f.exchange(nil, 1, len(payload)+4)
	})
}

// TestIdleTLSConnectionCostsLittleLiveHeap is a gate: what an idle connection keeps, of which most is crypto/tls's. The
// clients are gone but for their descriptors.
func TestIdleTLSConnectionCostsLittleLiveHeap(t *testing.T) {
	if !alone(t) {
		return
	}
	const conns = 500
	for _, row := range []struct {
		name    string
		version uint16
		largest int // message that went through it
		limit   int
		release bool
	}{
		{"TLS 1.2", tls.VersionTLS12, 5, 5800, false},
		{"TLS 1.3", tls.VersionTLS13, 5, 8000, false},
		{"TLS 1.2 after 16 KiB", tls.VersionTLS12, 16 << 10, 18_000, false},
		{"TLS 1.3 after 16 KiB", tls.VersionTLS13, 16 << 10, 15_000, false},
		{"TLS 1.2, buffers released", tls.VersionTLS12, 5, 3800, true},
		{"TLS 1.3, buffers released", tls.VersionTLS13, 5, 3800, true},
		{"TLS 1.2 after 16 KiB, buffers released", tls.VersionTLS12, 16 << 10, 3800, true},
		{"TLS 1.3 after 16 KiB, buffers released", tls.VersionTLS13, 16 << 10, 3800, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := secureServer(t, replier{}, engine.WithPingInterval(30*time.Second), engine.WithTLSBufferRelease(row.release))
			request := encode(true, frame.Binary, bytes.Repeat([]byte("x"), row.largest))
			answer := make([]byte, len(request)-4)
			config := speaking(row.version)
			head := make([]byte, 1000)
			open := func() (fd int) {
				nc := s.below()
				c := tls.Client(nc, config)
				if _, err := c.Write(upgradeRequest("/")); err != nil {
					t.Fatal(err)
				}
				if n, err := c.Read(head); err != nil || !bytes.HasSuffix(head[:n], []byte("\r\n\r\n")) {
					t.Fatalf("%q, %v", head[:n], err)
				}
				exchange(t, c, request, answer)
				return detach(nc)
			}
			fds := make([]int, 0, conns+1)
			defer func() { closeAll(fds) }()
			fds = append(fds, open())
			before := settledCost()
			for range conns {
				fds = append(fds, open())
			}
			per := settledCost().per(conns, before)
			if n := s.Stats().Open; n != conns+1 {
				t.Fatalf("%d connections open, want %d", n, conns+1)
			}
			t.Logf("%d B of live heap per idle connection", per.heap)
			if per.heap > row.limit {
				t.Errorf("%d B of live heap per idle connection, at most %d are meant", per.heap, row.limit)
			}
		})
	}
}
