package engine_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os/exec"
	"strings"
	"testing"

	"zeroframe/deflate"
	"zeroframe/engine"
	"zeroframe/frame"
)

// onEachLayer runs f with a server for each layer, on each transport. The layers answer each message with the same.
func onEachLayer(t *testing.T, c engine.Compression, f func(t *testing.T, s *server), opts ...engine.RouteOption) {
	for _, layer := range layers {
		t.Run(layer.name, func(t *testing.T) {
			onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
				s := start(engine.WithPingInterval(0), engine.WithLoops(1))
				layer.start(s, append([]engine.RouteOption{engine.WithCompression(c)}, opts...)...)
				f(t, s)
			})
		})
	}
}

// noise is n bytes that do not compress.
func noise(n int, seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, 1))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// RFC 7692, section 7.2.3: the messages of its examples, and what other senders make of theirs.
func TestEveryKindOfCompressedMessageIsInflated(t *testing.T) {
	hello := []byte("Hello")
	onEachLayer(t, full, func(t *testing.T, s *server) {
		c := s.openDeflate("/", offered)
		for _, m := range []struct {
			name       string
			compressed string
			lengths    []int
			payload    []byte
		}{
			{"7.2.3.1, one block", "\xf2\x48\xcd\xc9\xc9\x07\x00", nil, hello},
			{"7.2.3.1, in fragments", "\xf2\x48\xcd\xc9\xc9\x07\x00", []int{3}, hello},
			{"7.2.3.2, from the window", "\xf2\x00\x11\x00\x00", nil, hello},
			{"7.2.3.3, stored", "\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00", nil, hello},
			{"7.2.3.4, BFINAL set", "\xf3\x48\xcd\xc9\xc9\x07\x00\x00", nil, hello},
			{"7.2.3.5, two blocks", "\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00", nil, hello},
			{"7.2.3.6, empty", "\x00", nil, nil},
			{"empty, in fragments", "\x00", []int{0, 1}, nil},
			{"empty, fixed codes", "\x02\x00", nil, nil},
			{"empty, BFINAL set", "\x03\x00\x00", nil, nil},
			{"two BFINAL blocks", "\xf3\x48\xcd\xc9\xc9\x07\x00\xf3\x48\xcd\xc9\xc9\x07\x00\x00", []int{4, 3, 5}, []byte("HelloHello")},
			{"a BFINAL block and another that refers to it", "\xf3\x48\xcd\xc9\xc9\x07\x00\xf2\x00\x11\x00\x00", nil, []byte("HelloHello")},
			{"stored blocks, empty ones between", strings.Repeat("\x00\x05\x00\xfa\xffHello\x00\x00\x00\xff\xff", 20) + "\x00", nil, bytes.Repeat(hello, 20)},
			{"after all that, from the window", "\xf2\x00\x11\x00\x00", nil, hello},
		} {
			c.send(deflated(frame.Text, []byte(m.compressed), m.lengths...))
			op, got, _ := c.message()
			if op != frame.Text || !bytes.Equal(got, m.payload) {
				t.Fatalf("%s: %v %q, want %q", m.name, op, got, m.payload)
			}
		}
	})
}

// A compressed message can be cut anywhere, and control frames may stand at the cut (RFC 6455, section 5.4).
func TestCompressedFragmentsAreCutAtEveryByte(t *testing.T) {
	for _, layer := range layers {
		t.Run(layer.name, func(t *testing.T) {
			onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
				s := start(engine.WithPingInterval(0))
				layer.start(s, engine.WithCompression(full))
				c := s.openDeflate("/", offered)
				c.writeDeflated(frame.Text, prose(300, 3))
				c.expectMessage(frame.Text, prose(300, 3))
				for cut := 0; ; cut++ {
					text := fmt.Appendf(prose(60, 3), "cut %d ☃", cut)
					compressed := c.out.message(text)
					if cut > len(compressed) {
						break // it entered our window alone, and nothing follows
					}
					wire := deflated(frame.Text, compressed, cut)
					at := 6 + cut // behind the first fragment
					c.send(wire[:at])
					c.write(frame.Ping, []byte("between"))
					c.send(wire[at:])
					if layer.name != "raw" {
						c.expect(frame.Pong, []byte("between"))
						c.expectMessage(frame.Text, text)
						continue
					}
					c.expect(frame.Ping, []byte("between")) // delivered, and echoed, at once
					c.expectMessage(frame.Text, text)
				}
				c = s.openDeflate("/", offered)
				text := prose(500, 4)
				compressed := c.out.message(text)
				ones := make([]int, len(compressed)-1)
				for i := range ones {
					ones[i] = 1
				}
				c.send(deflated(frame.Text, compressed, ones...))
				c.expectMessage(frame.Text, text)
			})
		})
	}
}

// RFC 7692, section 6: RSV1 is for the first frame of a compressed message, and for no other frame.
func TestReservedBitsThatCompressionDoesNotHaveAreRefused(t *testing.T) {
	with := func(rsv byte, b []byte) []byte { b[0] |= rsv; return b }
	first := with(frame.RSV1, encode(false, frame.Text, []byte("\xf2\x48\xcd")))
	for name, wire := range map[string][]byte{
		"a ping":              with(frame.RSV1, encode(true, frame.Ping, nil)),
		"a pong":              with(frame.RSV1, encode(true, frame.Pong, nil)),
		"a close frame":       with(frame.RSV1, encode(true, frame.Close, nil)),
		"a ping in a message": append(bytes.Clone(first), with(frame.RSV1, encode(true, frame.Ping, nil))...),
		"a continuation":      append(bytes.Clone(first), with(frame.RSV1, encode(true, frame.Continuation, []byte("\xc9\xc9\x07\x00")))...),
		"a continuation of a raw message": append(encode(false, frame.Text, []byte("a")),
			with(frame.RSV1, encode(true, frame.Continuation, []byte("b")))...),
		"RSV2":          with(frame.RSV2, encode(true, frame.Text, nil)),
		"RSV1 and RSV3": with(frame.RSV1|frame.RSV3, encode(true, frame.Binary, []byte{0})),
	} {
		t.Run(name, func(t *testing.T) {
			onEachLayer(t, full, func(t *testing.T, s *server) {
				c := s.openDeflate("/", offered)
				c.send(wire)
				c.expectClose(frame.CloseProtocolError)
			})
		})
	}
}

// A message in several fragments bears RSV1 on the first alone.
func TestStreamedMessagesBearRSV1OnTheirFirstFragment(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		for _, takeover := range []bool{false, true} {
			s := start(engine.WithPingInterval(0))
			streamed := append(noise(70_000, 1), prose(70_000, 2)...)
			s.session("/", func(ctx context.Context, session *engine.Session) error {
				for range 2 {
					w, err := session.NextWriter(ctx, frame.Binary)
					if err != nil {
						return err
					}
					w.Write(streamed)
					if err := w.Close(); err != nil {
						return err
					}
				}
				for _, fin := range []bool{false, false, true} {
					if err := session.Conn().SendFragment(frame.Text, prose(600, 1), fin); err != nil {
						return err
					}
				}
				return nil
			}, engine.WithCompression(engine.Compression{TakeoverOut: takeover}))
			c := s.openDeflate("/", offered)
			for range 2 {
				if !c.expectMessage(frame.Binary, streamed) {
					t.Error("the streamed message is not compressed")
				}
			}
			if c.expectMessage(frame.Text, bytes.Repeat(prose(600, 1), 3)) {
				t.Error("SendFragment has compressed")
			}
		}
	})
}

// What is below the threshold, what CompressIf refuses and what would not shrink leaves as it is.
func TestMessagesThatAreNotWorthItLeaveRaw(t *testing.T) {
	type message struct {
		op         frame.OpCode
		payload    []byte
		compressed bool
	}
	for _, tt := range []struct {
		name     string
		c        engine.Compression
		messages []message
	}{
		{"the default threshold", engine.Compression{}, []message{
			{frame.Text, prose(511, 1)[:500], false}, {frame.Text, []byte(strings.Repeat("a", 511)), false},
			{frame.Text, []byte(strings.Repeat("a", 512)), true}, {frame.Binary, make([]byte, 512), true}}},
		{"a threshold", engine.Compression{Threshold: 100, TakeoverOut: true}, []message{
			{frame.Text, []byte(strings.Repeat("a", 99)), false}, {frame.Text, []byte(strings.Repeat("a", 100)), true}}},
		{"no threshold", engine.Compression{Threshold: -1}, []message{
			{frame.Text, nil, false}, {frame.Text, []byte("a"), false}, {frame.Text, []byte("aaaaaaaaaaaaaaaa"), true}}},
		{"CompressIf", engine.Compression{Threshold: 50, CompressIf: func(op frame.OpCode, size int) bool { return op == frame.Text && size%2 == 0 }}, []message{
			{frame.Text, make([]byte, 48), false}, {frame.Text, make([]byte, 600), true}, {frame.Text, make([]byte, 601), false}, {frame.Binary, make([]byte, 600), false}}},
		{"noise", engine.Compression{Threshold: -1, TakeoverOut: true}, []message{
			{frame.Binary, noise(10, 1), false}, {frame.Binary, noise(5000, 2), false}, {frame.Binary, make([]byte, 5000), true}, {frame.Binary, noise(5000, 3), false}}},
		{"noise, stateless", engine.Compression{Threshold: -1, Level: deflate.Stateless}, []message{
			{frame.Binary, noise(70, 1), false}, {frame.Binary, noise(5000, 2), false}, {frame.Binary, make([]byte, 5000), true}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			onEachLayer(t, tt.c, func(t *testing.T, s *server) {
				c := s.openDeflate("/", offered)
				for i, m := range tt.messages {
					c.write(m.op, m.payload)
					if got := c.expectMessage(m.op, m.payload); got != m.compressed {
						t.Errorf("message %d, of %d bytes: compressed %v, want %v", i, len(m.payload), got, m.compressed)
					}
				}
			})
		})
	}
}

// Raw messages between compressed ones do not enter the window of either end (RFC 7692, section 7.2).
func TestRawMessagesStayOutsideTheHistory(t *testing.T) {
	onEachLayer(t, engine.Compression{TakeoverOut: true, TakeoverIn: true, Threshold: 600, HistoryOut: 32 << 10}, func(t *testing.T, s *server) {
		c := s.openDeflate("/", offered)
		r := rand.New(rand.NewPCG(1, 2))
		for i := range 60 {
			payload := prose(300+r.IntN(600), uint64(i%4))
			if r.IntN(2) == 0 {
				c.writeDeflated(frame.Text, payload)
			} else {
				c.write(frame.Text, payload)
			}
			if got := c.expectMessage(frame.Text, payload); got != (len(payload) >= 600) {
				t.Errorf("message %d, of %d bytes: compressed %v", i, len(payload), got)
			}
		}
	})
}

// Takeover is allowed, not required: a peer may begin each message, or some of them, with an empty window.
func TestPeersNeedNotTakeOverThoughAllowed(t *testing.T) {
	onEachLayer(t, full, func(t *testing.T, s *server) {
		c := s.openDeflate("/", deflate.Name)
		c.out.takeover = false
		for i := range 6 {
			c.writeDeflated(frame.Text, prose(400, uint64(i%2)))
			c.expectMessage(frame.Text, prose(400, uint64(i%2)))
		}
		// From here on with takeover; what came before is in our window too, but this sender knows nothing of it.
		c.out = deflater{takeover: true}
		for i := range 6 {
			c.writeDeflated(frame.Text, prose(400, uint64(i%2)))
			c.expectMessage(frame.Text, prose(400, uint64(i%2)))
		}
	})
}

// With no takeover agreed on, each message must inflate for itself; with it, what repeats must be referred to.
func TestTakeoverIsUsedExactlyWhereAgreedOn(t *testing.T) {
	for _, tt := range []struct {
		offer    string
		takeover bool
	}{{offered, true}, {offeredAlone, false}, {deflate.Name + "; " + clientAlone, true}, {deflate.Name + "; " + serverAlone, false}} {
		t.Run(tt.offer, func(t *testing.T) {
			onEachLayer(t, full, func(t *testing.T, s *server) {
				c := s.openDeflate("/", tt.offer)
				if c.in.takeover != tt.takeover {
					t.Fatalf("the answer is %q", c.answer)
				}
				var sizes []int
				payload := prose(500, 1)
				for range 3 {
					c.write(frame.Text, payload)
					f := c.next()
					if f.rsv != frame.RSV1 || !f.fin {
						t.Fatalf("got %v, want it compressed", f)
					}
					got, err := c.in.message(f.payload)
					if err != nil || !bytes.Equal(got, payload) {
						t.Fatalf("inflated to %d bytes, %v", len(got), err)
					}
					sizes = append(sizes, len(f.payload))
				}
				prepared := strings.Contains(t.Name(), "prepared") // which refers to nothing
				if refers := sizes[1] < sizes[0]/4; refers != (tt.takeover && !prepared) {
					t.Errorf("the same message took %v bytes", sizes)
				}
			})
		})
	}
}

// zlibPeer is python3's zlib: raw streams with windows of exactly the size that was agreed on.
type zlibPeer struct {
	t   testing.TB
	in  io.WriteCloser
	out *bufio.Reader
}

// Each request is an operation, window bits and data: 'd' and 'c' begin a stream to inflate and to compress, 'i' and 'z'
// take a message of it.
const zlibScript = `
import struct, sys, zlib
i, o = sys.stdin.buffer, sys.stdout.buffer
while True:
    head = i.read(6)
    if len(head) < 6: break
    op, bits, n = struct.unpack('<cBI', head)
    data, ok, out = i.read(n), 1, b''
    try:
        if op == b'd': inflater = zlib.decompressobj(-bits)
        elif op == b'c': deflater = zlib.compressobj(6, zlib.DEFLATED, -bits)
        elif op == b'i':
            out = inflater.decompress(data + b'\0\0\xff\xff')
            if inflater.unconsumed_tail or inflater.unused_data or inflater.eof: raise Exception('input left')
        elif op == b'z':
            half = len(data) // 2
            out = deflater.compress(data[:half]) + deflater.flush(zlib.Z_FULL_FLUSH) if half % 3 == 0 else deflater.compress(data[:half])
            out += deflater.compress(data[half:]) + deflater.flush(zlib.Z_SYNC_FLUSH)
            out = out[:-4]
    except Exception as e:
        ok, out = 0, repr(e).encode()
    o.write(struct.pack('<BI', ok, len(out)) + out)
    o.flush()
`

func newZlibPeer(t testing.TB) *zlibPeer {
	t.Helper()
	path, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("no python3 to compare with")
	}
	cmd := exec.Command(path, "-c", zlibScript)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("python3: %v", err)
		}
	})
	return &zlibPeer{t, in, bufio.NewReader(out)}
}

func (z *zlibPeer) call(op byte, bits int, data []byte) ([]byte, error) {
	request := binary.LittleEndian.AppendUint32([]byte{op, byte(bits)}, uint32(len(data)))
	if _, err := z.in.Write(append(request, data...)); err != nil {
		return nil, err
	}
	var head [5]byte
	if _, err := io.ReadFull(z.out, head[:]); err != nil {
		return nil, err
	}
	b := make([]byte, binary.LittleEndian.Uint32(head[1:]))
	_, err := io.ReadFull(z.out, b)
	if err == nil && head[0] == 0 {
		err = errors.New(string(b))
	}
	return b, err
}

// What leaves refers to nothing beyond the window that the peer has (RFC 7692, section 7.1.2.1), however it is sent.
func TestWindowsOfThePeerAreKeptTo(t *testing.T) {
	var messages [][]byte
	for i, n := range []int{100, 200, 100, 5000, 300, 20_000, 257, 90_000, 100, 33_000} {
		// The beginning of a message is what the one before began with.
		messages = append(messages, append(prose(n/2, 1), prose(n/2, uint64(i))...))
	}
	z := newZlibPeer(t)
	few := []int{8, 9, 12, 15}
	for _, tt := range []struct {
		c      engine.Compression
		bits   []int
		layers string
	}{
		{engine.Compression{Threshold: -1}, few, "reply, prepared, stream"},
		{engine.Compression{Threshold: -1, TakeoverOut: true}, []int{8, 9, 10, 11, 12, 13, 14, 15}, "reply, stream"},
		{engine.Compression{Threshold: -1, TakeoverOut: true, HistoryOut: 32 << 10, Level: deflate.BestLevel}, few, "reply, prepared, stream"},
		{engine.Compression{Threshold: -1, TakeoverOut: true, HistoryOut: 32 << 10, Level: deflate.Stateless}, few, "reply"},
		{engine.Compression{Threshold: -1, TakeoverOut: true, Level: deflate.HuffmanOnly}, few, "reply, stream"},
	} {
		for _, layer := range layers {
			if !strings.Contains(tt.layers, layer.name) {
				continue
			}
			t.Run(fmt.Sprintf("takeover %v, level %d/%s", tt.c.TakeoverOut, tt.c.Level, layer.name), func(t *testing.T) {
				s := onSocket(t, engine.WithPingInterval(0))
				layer.start(s, engine.WithCompression(tt.c))
				for _, bits := range tt.bits {
					windowKeptTo(t, z, s, bits, messages)
				}
			})
		}
	}
}

// windowKeptTo sends messages on a connection with that window and has zlib inflate what comes back.
func windowKeptTo(t testing.TB, z *zlibPeer, s *server, bits int, messages [][]byte) {
	t.Helper()
	c := s.openDeflate("/", fmt.Sprintf("%s; server_max_window_bits=%d", deflate.Name, bits))
	if !strings.Contains(c.answer, fmt.Sprintf("server_max_window_bits=%d", bits)) {
		t.Fatalf("answered %q", c.answer)
	}
	z.call('d', bits, nil)
	compressed := 0
	for i, payload := range messages {
		go c.Write(encode(true, frame.Binary, payload))
		f := c.next()
		rsv, got := f.rsv, f.payload
		for !f.fin {
			f = c.next()
			got = append(got, f.payload...)
		}
		var err error
		if rsv != 0 {
			compressed++
			if !c.in.takeover {
				z.call('d', bits, nil)
			}
			got, err = z.call('i', bits, got)
		}
		if err != nil || !bytes.Equal(got, payload) {
			t.Fatalf("%d bits: message %d of %d bytes: got %d bytes, rsv %x, %v", bits, i, len(payload), len(got), rsv, err)
		}
	}
	if compressed < len(messages)/2 {
		t.Errorf("%d bits: %d of %d messages were compressed", bits, compressed, len(messages))
	}
}

// Every window that a peer may use is kept of it (RFC 7692, section 7.1.2.2), whoever inflates.
func TestWindowsOfOurOwnAreKeptWhole(t *testing.T) {
	z := newZlibPeer(t)
	onEachLayer(t, engine.Compression{TakeoverIn: true, Threshold: 1 << 30}, func(t *testing.T, s *server) {
		for bits := 9; bits <= 15; bits += 3 {
			c := s.openDeflate("/", fmt.Sprintf("%s; client_max_window_bits=%d", deflate.Name, bits))
			if !strings.Contains(c.answer, fmt.Sprintf("client_max_window_bits=%d", bits)) {
				t.Fatalf("answered %q", c.answer)
			}
			sizes := []int{100, 1 << bits, 100, 300, 1<<bits - 300, 3 << bits, 700}
			if s.cut() {
				sizes = []int{100, 1 << min(bits, 12), 100, 300}
			}
			z.call('c', bits, nil)
			for i, n := range sizes {
				payload := prose(n, uint64(i%2))
				compressed, err := z.call('z', bits, payload)
				if err != nil {
					t.Fatal(err)
				}
				go c.Write(deflated(frame.Binary, compressed))
				c.expectMessage(frame.Binary, payload)
			}
		}
	})
}
