package engine_test

import (
	"bytes"
	"net"
	"sync/atomic"
	"testing"

	"zeroframe/engine"
	"zeroframe/frame"
	"zeroframe/internal/bridge"
	"zeroframe/internal/loop"
	"zeroframe/internal/memconn"
)

// counted is a stream that counts what a loop would do to a descriptor.
type counted struct {
	loop.Stream
	reads, writes *atomic.Int64
}

func (c counted) Read(p []byte) (int, error) {
	n, err := c.Stream.Read(p)
	if n > 0 {
		c.reads.Add(1)
	}
	return n, err
}

func (c counted) Write(p []byte) (int, error) {
	c.writes.Add(1)
	return c.Stream.Write(p)
}

// Few records and few writes are made of many answers, however the messages came, and a read takes what is there.
func TestAnswersLeaveTogetherOverTLS(t *testing.T) {
	for name, h := range map[string]engine.HandlerFunc{
		"Reply": func(c *engine.Conn, op frame.OpCode, p []byte) { c.Reply(op, p) },
		"Send":  func(c *engine.Conn, op frame.OpCode, p []byte) { c.Send(op, p) },
	} {
		t.Run(name, func(t *testing.T) {
			onTransports(t, []transport{{"counted", func(t testing.TB, s *server) {}}}, func(t *testing.T, start func(...engine.Option) *server) {
				var reads, writes atomic.Int64
				s := start()
				s.handle("/", h)
				s.below = func() net.Conn {
					stream, c := memconn.Pipe(memconn.Faults{Buffer: 1 << 20})
					if err := bridge.ServeTLS(s.Engine, serverCertificate(), counted{stream, &reads, &writes}); err != nil {
						t.Fatal(err)
					}
					return c
				}
				r := s.tls13()
				c := s.upgrade(r, "/")
				for range 20 { // crypto/tls begins with small records
					c.echoesOf(16 << 10)
				}
				small := encode(true, frame.Binary, pattern(32))
				for _, row := range []struct {
					name                 string
					messages             int
					one                  []byte
					together             bool // in one record
					reads, writes, inOne int
				}{
					{"a message", 1, small, true, 1, 1, 1},
					{"16 in a record", 16, small, true, 1, 1, 1},
					{"16 in 16 records", 16, small, false, 1, 1, 1},
					{"100 in 100 records", 100, small, false, 1, 2, 2},
					{"16 of 1 KiB in 16 records", 16, encode(true, frame.Binary, pattern(1<<10)), false, 1, 1, 2},
					{"one of 16 KiB", 1, encode(true, frame.Binary, pattern(16<<10)), true, 1, 1, 2},
					{"one of 64 KiB", 1, encode(true, frame.Binary, pattern(64<<10)), true, 2, 2, 5},
				} {
					data := bytes.Repeat(row.one, row.messages)
					var wire []byte
					for rest := data; len(rest) > 0; {
						n := len(row.one)
						if row.together {
							n = len(rest)
						}
						n = min(n, 16<<10)
						wire = append(wire, r.seal(dataRecord, rest[:n], 0)...)
						rest = rest[n:]
					}
					reads.Store(0)
					writes.Store(0)
					r.Conn.Write(wire)
					records := 0
					for left := len(data) - 4*row.messages; left > 0; records++ {
						kind, payload, err := r.receive()
						if err != nil || kind != dataRecord {
							t.Fatalf("%s: a record of type %d, %v", row.name, kind, err)
						}
						left -= len(payload)
					}
					if n := writes.Load(); n > int64(row.writes) {
						t.Errorf("%s: %d writes, at most %d are meant", row.name, n, row.writes)
					}
					if n := reads.Load(); n > int64(row.reads) {
						t.Errorf("%s: %d reads, at most %d are meant", row.name, n, row.reads)
					}
					if records > row.inOne {
						t.Errorf("%s: %d records, at most %d are meant", row.name, records, row.inOne)
					}
				}
			})
		})
	}
}
