package engine_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"runtime"
	"strings"
	"testing"

	"zeroframe/engine"
	"zeroframe/frame"
)

// header is the header of a client's frame, with a key of zeros and without its payload.
func header(fin bool, op frame.OpCode, length uint64) []byte {
	b := []byte{byte(op)}
	if fin {
		b[0] |= 0x80
	}
	switch {
	case length < 126:
		b = append(b, 0x80|byte(length))
	case length < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 0xFE), uint16(length))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0xFF), length)
	}
	return append(b, 0, 0, 0, 0)
}

// What is too big is answered at its header: the client sends no byte of the payload.
func TestTooBigIsAnsweredAtTheHeaderWithItsSize(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithMaxFrameSize(1000), engine.WithMaxMessageSize(2500))
		h := newScript()
		s.handle("/", h)
		s.handle("/small", h, engine.WithMaxFrameSize(200), engine.WithMaxMessageSize(100))
		s.handle("/wide", h, engine.WithMaxFrameSize(1<<40), engine.WithMaxMessageSize(1<<40))
		piece := string(pattern(1000))
		for _, row := range []struct {
			name, path string
			wire       []byte
			told       []string
		}{
			{"frame by one byte", "/", header(true, frame.Binary, 1001), []string{"frame", "1001", "1000"}},
			{"first fragment", "/", header(false, frame.Text, 1001), []string{"frame", "1001", "1000"}},
			{"frame with 64 bits of length", "/", header(true, frame.Text, 1<<62), []string{"frame", "4611686018427387904", "1000"}},
			{"the largest frame there is", "/", header(true, frame.Text, 1<<63-1), []string{"frame", "9223372036854775807"}},
			{"continuation", "/", append(fragment(frame.Text, "a"), header(true, frame.Continuation, 65536)...), []string{"frame", "65536"}},
			{"message of one frame", "/small", header(true, frame.Text, 101), []string{"message", "101", "100"}},
			{"frame before message", "/small", header(true, frame.Text, 201), []string{"frame", "201", "200"}},
			{"sum of fragments", "/", bytes.Join([][]byte{
				fragment(frame.Text, piece), fragment(frame.Continuation, piece),
				encode(true, frame.Ping, pattern(125)),
				header(true, frame.Continuation, 501),
			}, nil), []string{"message", "2501", "2500"}},
			{"sum that goes on", "/small", bytes.Join([][]byte{
				fragment(frame.Binary, piece[:100]), fragment(frame.Continuation, ""),
				header(false, frame.Continuation, 1),
			}, nil), []string{"message", "101", "100"}},
			{"sum near the end of the numbers", "/wide", append(fragment(frame.Binary, "a"), header(true, frame.Continuation, 1<<40)...),
				[]string{"message", "1099511627777", "1099511627776"}},
		} {
			c := s.open(row.path)
			c.send(row.wire)
			text := c.expectClose(frame.CloseMessageTooBig)
			for _, part := range row.told {
				if !strings.Contains(text, part) {
					t.Errorf("%s: the peer was told %q, which lacks %q", row.name, text, part)
				}
			}
			c.Close()
			r := h.wait(t)
			if r.Code != frame.CloseMessageTooBig || r.Text != text || r.Remote || !errors.Is(r.Err, engine.ErrMessageTooBig) {
				t.Errorf("%s: reason %+v, the peer was told %q", row.name, r, text)
			}
			h.nothingMore(t)
		}
		s.gone()
	})
}

func TestLimitsAdmitEquality(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithMaxFrameSize(1000), engine.WithMaxMessageSize(2500))
		s.handle("/", replying())
		s.handle("/small", replying(), engine.WithMaxMessageSize(100))
		c := s.open("/")
		all := pattern(2500)
		for range 2 { // the sum begins afresh with each message
			c.write(frame.Text, all[:1000])
			c.expect(frame.Text, all[:1000])
			c.send(bytes.Join([][]byte{
				fragment(frame.Binary, string(all[:1000])),
				encode(true, frame.Ping, pattern(125)), // control frames do not count
				fragment(frame.Continuation, string(all[1000:2000])),
				fragment(frame.Continuation, string(all[2000:])),
				encode(true, frame.Continuation, nil),
			}, nil))
			c.expect(frame.Pong, pattern(125))
			c.expect(frame.Binary, all)
		}
		small := s.open("/small")
		small.write(frame.Text, all[:100])
		small.expect(frame.Text, all[:100])
		small.write(frame.Ping, all[:125]) // of control frames the route's limit says nothing
		small.expect(frame.Pong, all[:125])
	})
}

// Frames that are read straight into the message's buffer take another way through the engine.
func TestLimitsHoldForLargeFragments(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		size := 10_000 // beyond what is read directly
		if overSockets(t) {
			size = 300_000
		}
		s := start(engine.WithMaxMessageSize(int64(2 * size)))
		h := replying()
		s.handle("/", h)
		c := s.open("/")
		all := pattern(2 * size)
		first := fragment(frame.Binary, string(all[:size]))
		go c.Write(append(bytes.Clone(first), encode(true, frame.Continuation, all[size:])...))
		c.expect(frame.Binary, all)
		go c.Write(append(bytes.Clone(first), header(true, frame.Continuation, uint64(size+1))...))
		c.expectClose(frame.CloseMessageTooBig)
		c.Close()
		h.wait(t)
		h.nothingMore(t, string(all))
	})
}

// Many connections announce much and send little. Reserved is at most the budget; the rest costs what has arrived.
func TestAnnouncedLengthCostsNoMemoryBeyondTheBudget(t *testing.T) {
	const conns, announced, budget, slack = 100, 16 << 20, 20 << 20, 8 << 20
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithLoops(1), engine.WithAssemblyBudget(budget), engine.WithPingInterval(0))
		h := replying()
		s.handle("/", h)
		clients := make([]*client, conns)
		for i := range clients {
			clients[i] = s.open("/")
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		want := uint64(conns * len(upgradeRequest("/")))
		for i, c := range clients {
			wire := append(header(true, frame.Text, announced), "0123456789"...)
			if i%2 == 1 { // behind a fragment, which has a buffer already, to be filled up
				wire = bytes.Join([][]byte{
					fragment(frame.Binary, "0123456789"), header(true, frame.Continuation, announced-10), pattern(100),
				}, nil)
			}
			c.send(wire)
			want += uint64(len(wire))
		}
		s.until("all input taken", func() bool { return s.Stats().BytesIn == want })
		runtime.ReadMemStats(&after)
		if grown := after.TotalAlloc - before.TotalAlloc; grown > budget+slack {
			t.Errorf("%d connections that announced %d MiB made %d MiB be allocated, with a budget of %d MiB",
				conns, announced>>20, grown>>20, budget>>20)
		}
		for _, c := range clients {
			c.Close()
			h.wait(t)
		}
		s.gone()
	})
}

// Beyond the budget a message grows with what arrives, and arrives all the same.
func TestMessagesArriveWithoutAssemblyBudget(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithAssemblyBudget(0))
		s.handle("/", replying())
		sizes := []int{1, 100, 9000}
		if overSockets(t) {
			sizes = append(sizes, 64<<10, 300_000, 3<<20)
		}
		c := s.open("/")
		for _, n := range sizes {
			want := pattern(n)
			go c.Write(encode(true, frame.Binary, want))
			c.expect(frame.Binary, want)
			go c.Write(append(fragment(frame.Text, string(want[:n/2])), encode(true, frame.Continuation, want[n/2:])...))
			c.expect(frame.Text, want)
		}
	})
}
