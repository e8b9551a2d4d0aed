package deflate

import (
	"bytes"
	stdflate "compress/flate"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
)

// varied returns n bytes of JSON whose records differ in most fields.
func varied(r *rand.Rand, n int) []byte {
	names := []string{"alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi"}
	var b []byte
	for len(b) < n {
		b = fmt.Appendf(b, `{"id":%d,"user":%q,"price":%.2f,"ts":%d,"tags":[%q,"%x"],"active":%v},`, r.IntN(1e6), names[r.IntN(8)],
			r.Float64()*1000, 1700000000+r.IntN(1e7), names[r.IntN(8)], r.Uint32(), r.IntN(2) == 0)
	}
	return b[:n]
}

// noise returns n bytes that do not shrink.
func noise(r *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func newRand(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 7)) }

// stdInflate inflates a message with the standard library. Its reader ends in
// io.ErrUnexpectedEOF behind the tail.
func stdInflate(t testing.TB, message, dict []byte) []byte {
	t.Helper()
	r := stdflate.NewReaderDict(io.MultiReader(bytes.NewReader(message), bytes.NewReader([]byte(closing))), dict)
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatalf("compress/flate refuses % x: %v", message[:min(len(message), 40)], err)
	}
	return b
}

// stdDeflate compresses a message with the standard library.
func stdDeflate(payload []byte, level int) []byte {
	var b bytes.Buffer
	w, err := stdflate.NewWriter(&b, level)
	if err != nil {
		panic(err)
	}
	w.Write(payload)
	w.Flush()
	return bytes.TrimSuffix(b.Bytes(), []byte(tail))
}

func mustInflate(t testing.TB, d *Decompressor, message []byte, limit int, h *History) []byte {
	t.Helper()
	out, err := d.Decompress(nil, message, limit, h)
	if err != nil {
		t.Fatalf("Decompress of %d bytes: %v", len(message), err)
	}
	return out
}

// levels are all there are, Stateless and HuffmanOnly included.
var levels = []Level{HuffmanOnly, Stateless, DefaultLevel, 1, 2, 3, 4, 5, 6, 7, 8, 9}
