package deflate

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"os/exec"
	"testing"
)

// zlibPeer is python3's zlib, the other side of a connection that shares no code
// with this one: a raw inflater and deflater that keep their windows from
// message to message, as RFC 7692 has it.
type zlibPeer struct {
	t   testing.TB
	in  io.WriteCloser
	out *bufio.Reader
}

// Each request is an operation, a level, window bits and data.
const zlibScript = `
import struct, sys, zlib
i, o = sys.stdin.buffer, sys.stdout.buffer
while True:
    head = i.read(7)
    if len(head) < 7: break
    op, level, bits, n = struct.unpack('<cbBI', head)
    data, ok, out = i.read(n), 1, b''
    try:
        if op == b'd': inflater = zlib.decompressobj(-bits)
        elif op == b'c': deflater = zlib.compressobj(level, zlib.DEFLATED, -bits)
        elif op == b'i':
            out = inflater.decompress(data + b'\0\0\xff\xff')
            if inflater.unconsumed_tail or inflater.unused_data or inflater.eof: raise Exception('input left')
        elif op == b'z':
            out = deflater.compress(data) + deflater.flush(zlib.Z_SYNC_FLUSH)
            if not out.endswith(b'\0\0\xff\xff'): raise Exception('no tail')
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

func (z *zlibPeer) call(op byte, level Level, bits int, data []byte) ([]byte, error) {
	z.t.Helper()
	request := binary.LittleEndian.AppendUint32([]byte{op, byte(level), byte(bits)}, uint32(len(data)))
	if _, err := z.in.Write(append(request, data...)); err != nil {
		z.t.Fatalf("python3: %v", err)
	}
	var head [5]byte
	if _, err := io.ReadFull(z.out, head[:]); err != nil {
		z.t.Fatalf("python3: %v", err)
	}
	b := make([]byte, binary.LittleEndian.Uint32(head[1:]))
	if _, err := io.ReadFull(z.out, b); err != nil {
		z.t.Fatalf("python3: %v", err)
	}
	if head[0] == 0 {
		return nil, fmt.Errorf("zlib: %s", b)
	}
	return b, nil
}

func (z *zlibPeer) must(op byte, level Level, bits int, data []byte) []byte {
	z.t.Helper()
	b, err := z.call(op, level, bits, data)
	if err != nil {
		z.t.Fatal(err)
	}
	return b
}

// conversation is what passes over one connection: lengths from nothing to more
// than two windows, with texts that repeat, and some noise.
func conversation(seed uint64) (messages [][]byte) {
	r := newRand(seed)
	for _, n := range []int{0, 1, 5, 31, 33, 90, 127, 128, 129, 100, 60, 300, 20, 1000, 260, 4096, 16384, 1, 40, 700, 33000, 90, 70000, 127, 2000} {
		messages = append(messages, varied(r, n))
	}
	messages = append(messages, noise(r, 100), noise(r, 5000), messages[13], messages[10], bytes.Repeat([]byte("a"), 9000))
	return messages
}

// The peer's inflater has exactly the negotiated window and refuses a distance
// beyond it; without context takeover it is a new one for each message.
func TestZlibInflatesWhatIsCompressed(t *testing.T) {
	z := newZlibPeer(t)
	c := new(Compressor)
	for bits := MinWindowBits; bits <= MaxWindowBits; bits++ {
		for _, level := range levels {
			if raceEnabled && level > FastestLevel {
				break
			}
			for _, kept := range []int{0, 300, DefaultHistory, maxWindow} {
				h := NewHistory(min(kept, 1<<bits))
				z.must('d', 0, bits, nil)
				for i, m := range conversation(uint64(bits)) {
					if h == nil {
						z.must('d', 0, bits, nil)
					}
					out := c.Compress(nil, m, Setting{level, bits}, h)
					got, err := z.call('i', 0, 0, out)
					if err != nil || !bytes.Equal(got, m) {
						t.Fatalf("bits %d, level %d, history %d, message %d of %d bytes: %v", bits, level, kept, i, len(m), err)
					}
				}
			}
		}
	}
}

func TestWhatZlibDeflatesIsInflated(t *testing.T) {
	z := newZlibPeer(t)
	d := new(Decompressor)
	for bits := 9; bits <= MaxWindowBits; bits++ { // zlib has no raw deflate with 8
		for _, level := range []Level{0, 1, 6, 9} {
			for _, takeover := range []bool{false, true} {
				var h *History
				if takeover {
					h = NewHistory(1 << bits)
				}
				z.must('c', level, bits, nil)
				for i, m := range conversation(uint64(bits)) {
					if !takeover {
						z.must('c', level, bits, nil)
					}
					message := z.must('z', 0, 0, m)
					got, err := d.Decompress(nil, message, len(m), h)
					if err != nil || !bytes.Equal(got, m) {
						t.Fatalf("bits %d, level %d, takeover %v, message %d of %d bytes: %v", bits, level, takeover, i, len(m), err)
					}
					if takeover || i%5 != 0 {
						continue
					}
					r := NewReader(bytes.NewReader(message), len(m), nil)
					if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, m) {
						t.Fatalf("bits %d, level %d, message %d of %d bytes, streaming: %v", bits, level, i, len(m), err)
					}
				}
			}
		}
	}
}
