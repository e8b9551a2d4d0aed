package engine_test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"

	"zeroframe/engine"
	"zeroframe/frame"
	"zeroframe/internal/memconn"
)

// Messages of every size, whole and in fragments, small and large ones at once, through every layer and both versions.
func TestEveryLayerIsServedOverTLS(t *testing.T) {
	sizes := []int{0, 1, 125, 126, 1000, 16_383, 16_384, 48 << 10, 65_535, 65_536, 300_000, 5 << 20}
	for _, layer := range layers {
		t.Run(layer.name, func(t *testing.T) {
			onTransports(t, []transport{overTLS[0], overTLS[1], overTLS[3]}, func(t *testing.T, start func(...engine.Option) *server) {
				s := start(engine.WithMaxBackpressure(64 << 20))
				layer.start(s)
				for _, version := range versions {
					nc, err := s.shakeHands(speaking(version))
					if err != nil {
						t.Fatal(err)
					}
					c := s.upgrade(nc, "/")
					for i, n := range sizes {
						want := pattern(n)
						go func() {
							if i%2 == 0 || layer.name == "raw" {
								c.write(frame.Binary, want)
								return
							}
							wire := encode(false, frame.Binary, want[:n/3])
							wire = append(wire, encode(false, frame.Continuation, want[n/3:n/2])...)
							c.send(append(wire, encode(true, frame.Continuation, want[n/2:])...))
						}()
						if op, got := c.nextMessage(); op != frame.Binary || !bytes.Equal(got, want) {
							t.Fatalf("a message of %d bytes came back as %v of %d", n, op, len(got))
						}
					}
					c.Close()
				}
			})
		})
	}
}

// What a message is cut into on its way is nobody's affair: records of any length, empty and padded ones between them, one
// by one or all in one segment, and segments that end anywhere.
func TestMessagesInRecordsOfAnyLength(t *testing.T) {
	onTLS(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start()
		s.handle("/", newEcho())
		for _, length := range []int{1, 2, 5, 6, 7, 100, 1000, 16_383, 16_384} {
			for _, segment := range []int{1, 3, 7, 1000, 1 << 20} {
				r := s.tls13()
				c := s.upgrade(r, "/")
				random := rand.New(rand.NewPCG(uint64(length), uint64(segment)))
				messages := []int{0, 1, 5, 200, 3, 2 * min(length, 2000), 125, 126}
				if length > 10_000 && segment > 10 {
					messages = append(messages, 100_000)
				}
				var data []byte
				for _, n := range messages {
					data = append(data, encode(true, frame.Binary, pattern(n))...)
				}
				var wire []byte
				for part := range slices.Chunk(data, length) {
					if random.IntN(4) == 0 {
						wire = append(wire, r.seal(dataRecord, nil, random.IntN(3)*100)...)
					}
					padding := 0
					if len(part) < 10_000 && random.IntN(4) == 0 {
						padding = random.IntN(300)
					}
					wire = append(wire, r.seal(dataRecord, part, padding)...)
				}
				go func() {
					for part := range slices.Chunk(wire, segment) {
						r.Conn.Write(part)
					}
				}()
				for _, n := range messages {
					if f := c.next(); f.op != frame.Binary || !bytes.Equal(f.payload, pattern(n)) {
						t.Fatalf("records of %d, segments of %d: %v instead of %d bytes", length, segment, f, n)
					}
				}
				r.Close()
			}
		}
	})
}

// Empty records are no reason to keep a loop busy: crypto/tls ends a connection that sends nothing else.
func TestEmptyRecordsWithoutEndAreRefused(t *testing.T) {
	onTLS(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start()
		h := newEcho()
		s.handle("/", h)
		r := s.tls13()
		c := s.upgrade(r, "/")
		empty := func(n int) (wire []byte) {
			for range n {
				wire = append(wire, r.seal(dataRecord, nil, 0)...)
			}
			return wire
		}
		r.Conn.Write(empty(16)) // the last that may be, and an event each
		c.echoesOf(10)
		r.Conn.Write(empty(17))
		if _, err := c.readFrame(); err != alertError(10) && (!s.cut() || err != io.ErrUnexpectedEOF) {
			t.Errorf("the client got %v", err)
		}
		if reason := h.wait(t); reason.Code != frame.CloseAbnormal || reason.Err == nil {
			t.Errorf("reason %+v", reason)
		}
	})
}

// Keys are updated in the middle of everything: between the bytes of a message, in pieces, with and without a request for
// new keys of ours, which must be in force when the next answer comes.
func TestKeysAreUpdatedDuringTraffic(t *testing.T) {
	onTLS(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start()
		s.handle("/", newEcho())
		for _, segment := range []int{1, 11, 1 << 20} {
			r := s.tls13()
			c := s.upgrade(r, "/")
			random := rand.New(rand.NewPCG(1, uint64(segment)))
			requested := 0
			for round := range 20 {
				want := pattern(50 * round)
				var wire []byte
				for part := range slices.Chunk(encode(true, frame.Binary, want), 1+random.IntN(200)) {
					wire = append(wire, r.seal(dataRecord, part, 0)...)
					for range random.IntN(3) {
						request := random.IntN(2) == 0
						if request {
							requested++
						}
						wire = append(wire, r.keyUpdate(request)...)
					}
				}
				var written sync.WaitGroup
				written.Go(func() {
					for part := range slices.Chunk(wire, segment) {
						r.Conn.Write(part)
					}
				})
				if f := c.next(); !bytes.Equal(f.payload, want) {
					t.Fatalf("segments of %d, round %d: %v", segment, round, f)
				}
				written.Wait() // there may be updates behind the message
			}
			c.echoesOf(10)
			if r.updates != requested {
				t.Errorf("segments of %d: %d updates were asked for and %d made", segment, requested, r.updates)
			}
			r.Close()
		}
	})
}

// A message of TLS's own may be cut into records as well.
func TestAKeyUpdateInPieces(t *testing.T) {
	onTLS(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start()
		s.handle("/", newEcho())
		for cut := 1; cut < 5; cut++ {
			r := s.tls13()
			c := s.upgrade(r, "/")
			c.echoesOf(10)
			message := keyUpdateRequested
			first := r.seal(handshakeRecord, message[:cut], 0)
			wire := append(first, r.seal(handshakeRecord, message[cut:], 0)...)
			r.out.update(t)
			for i := range wire { // the loop finds nothing to read in the middle of the message
				r.Conn.Write(wire[i : i+1])
				runtime.Gosched()
			}
			c.echoesOf(10)
			if r.updates != 1 {
				t.Errorf("cut after %d bytes: %d updates were made", cut, r.updates)
			}
			r.Close()
		}
	})
}

// A peer that asks for new keys again and again and reads none of the answers is ended before they pile up.
func TestKeyUpdatesWithoutEndAreBounded(t *testing.T) {
	onTransports(t, overTLS[2:], func(t *testing.T, start func(...engine.Option) *server) {
		const inFlight, answer = 16 << 10, 27 // bytes
		s := start(engine.WithPingInterval(0))
		h := newEcho()
		s.handle("/", h)
		s.below = cutTLS(s, memconn.Faults{Buffer: inFlight})
		r := s.tls13()
		s.upgrade(r, "/")
		r.Write(header(true, frame.Binary, 1<<20))
		asked := 0
		for ; asked < 100_000; asked++ {
			wire := append(r.seal(dataRecord, []byte{1}, 0), r.keyUpdate(true)...) // data: without it crypto/tls takes 16
			if _, err := r.Conn.Write(wire); err != nil {
				break
			}
		}
		if got := asked * answer; got < inFlight || got > 200<<10 {
			t.Errorf("ended after %d B of answers that were not read", got)
		}
		if reason := h.wait(t); reason.Code != frame.CloseAbnormal || reason.Err == nil {
			t.Errorf("reason %+v", reason)
		}
	})
}

// Whatever is wrong with a record ends the connection, with an alert that says what.
func TestBrokenRecordsEndTheConnection(t *testing.T) {
	for name, row := range map[string]struct {
		wire  func(r *tls13) []byte
		alert alertError
	}{
		"not what was sealed": {func(r *tls13) []byte {
			b := r.seal(dataRecord, []byte("hello"), 0)
			b[len(b)-1] ^= 1
			return b
		}, 20},
		"sealed out of turn": {func(r *tls13) []byte {
			r.seal(dataRecord, []byte("lost"), 0)
			return r.seal(dataRecord, []byte("hello"), 0)
		}, 20},
		"too long":            {func(*tls13) []byte { return []byte{dataRecord, 3, 3, 0x41, 0x01} }, 22},
		"more than 16 KiB":    {func(r *tls13) []byte { return r.seal(dataRecord, make([]byte, 16<<10+1), 0) }, 22},
		"of another version":  {func(*tls13) []byte { return []byte{dataRecord, 3, 1, 0, 5, 1, 2, 3, 4, 5} }, 70},
		"of no type":          {func(r *tls13) []byte { return r.seal(0, nil, 20) }, 10},
		"of an unknown type":  {func(r *tls13) []byte { return r.seal(99, []byte("hello"), 0) }, 10},
		"a handshake message": {func(r *tls13) []byte { return r.seal(handshakeRecord, []byte{1, 0, 0, 1, 0}, 0) }, 50},
		"an empty alert":      {func(r *tls13) []byte { return r.seal(alertRecord, nil, 0) }, 10},
		"not protected":       {func(*tls13) []byte { return []byte{alertRecord, 3, 3, 0, 2, 1, 0} }, 20},
		"an update out of step": {func(r *tls13) []byte {
			return append(r.keyUpdate(false), r.seal(handshakeRecord, []byte{24, 0, 0, 1, 2}, 0)...)
		}, 50},
	} {
		t.Run(name, func(t *testing.T) {
			onTLS(t, func(t *testing.T, start func(...engine.Option) *server) {
				s := start()
				h := newEcho()
				s.handle("/", h)
				r := s.tls13()
				c := s.upgrade(r, "/")
				c.echoesOf(100)
				r.Conn.Write(row.wire(r))
				// It is tried once: a stream that would block does not get it.
				if _, err := c.readFrame(); err != row.alert && (!s.cut() || err != io.ErrUnexpectedEOF) {
					t.Errorf("the client got %v, not %v", err, row.alert)
				}
				if reason := h.wait(t); reason.Code != frame.CloseAbnormal || reason.Err == nil {
					t.Errorf("reason %+v", reason)
				}
				s.gone()
			})
		})
	}
}

// An alert of the peer's ends the connection, and is the reason.
func TestAlertsOfThePeerEndTheConnection(t *testing.T) {
	onTLS(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start()
		h := newEcho()
		s.handle("/", h)
		r := s.tls13()
		c := s.upgrade(r, "/")
		c.echoesOf(100)
		r.Conn.Write(r.seal(alertRecord, []byte{1, 90}, 0)) // user_canceled is ignored
		c.echoesOf(100)
		r.Conn.Write(r.seal(alertRecord, []byte{2, 80}, 0))
		if _, err := c.readFrame(); err != io.ErrUnexpectedEOF {
			t.Errorf("the client got %v", err)
		}
		if reason := h.wait(t); reason.Code != frame.CloseAbnormal || fmt.Sprint(reason.Err) != "remote error: tls: internal error" {
			t.Errorf("reason %+v", reason)
		}
	})
}
