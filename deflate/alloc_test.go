package deflate

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"testing"
	"unsafe"
)

func TestMessagesAllocateNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("sync.Pool drops what flate keeps for Stateless")
	}
	// A collection empties that pool too.
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	c, d := new(Compressor), new(Decompressor)
	for _, level := range levels {
		for _, n := range []int{100, 128, 1024, 16384} {
			for _, kept := range []int{0, DefaultHistory, maxWindow} {
				for _, bits := range []int{10, 15} {
					var messages [16][]byte
					r := newRand(uint64(n))
					for i := range messages {
						messages[i] = varied(r, n)
					}
					sent, received := NewHistory(min(kept, 1<<bits)), NewHistory(min(kept, 1<<bits))
					out, back := make([]byte, 0, n+n/8+100), make([]byte, 0, n)
					i := 0
					both := func() {
						i++
						out = c.Compress(out[:0], messages[i%16], Setting{level, bits}, sent)
						var err error
						if back, err = d.Decompress(back[:0], out, n, received); err != nil || len(back) != n {
							t.Fatal(err)
						}
						if _, ok := c.Shrink(out[:0], messages[i%16], Setting{level, bits}, nil); !ok && n > 1024 {
							t.Fatal("does not shrink")
						}
					}
					for range 20 {
						both() // what is made once: writers, tables, histories
					}
					if got := testing.AllocsPerRun(10, both); got != 0 {
						t.Errorf("level %d, %d bytes, history %d, bits %d: %v allocations", level, n, kept, bits, got)
					}
				}
			}
		}
	}
}

// What a connection holds: nothing, or its history and 40 bytes.
func TestMemoryOfAConnectionIsItsHistory(t *testing.T) {
	if size := unsafe.Sizeof(History{}); size > 40 {
		t.Errorf("a History has %d bytes", size)
	}
	c, d := new(Compressor), new(Decompressor)
	const conns = 500
	m := varied(newRand(1), 9000)
	talk := func(t *testing.T, sent, received *History) {
		out := c.Compress(nil, m, Setting{}, sent)
		if _, err := d.Decompress(nil, out, len(m), received); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct{ kept, most int }{
		{0, 64}, // what the runtime does beside
		{DefaultHistory, 2 * (DefaultHistory + 100)},
	} {
		t.Run(fmt.Sprint(test.kept), func(t *testing.T) {
			talk(t, nil, nil)
			histories := make([]*History, 2*conns)
			before := heap()
			for i := range conns {
				histories[2*i], histories[2*i+1] = NewHistory(test.kept), NewHistory(test.kept)
				for range 3 {
					talk(t, histories[2*i], histories[2*i+1])
				}
			}
			if each := (heap() - before) / conns; each > int64(test.most) {
				t.Errorf("%d bytes for each connection", each)
			} else {
				t.Logf("%d bytes for each connection", each)
			}
			runtime.KeepAlive(histories)
			runtime.KeepAlive(c)
			runtime.KeepAlive(d)
		})
	}
}

// heap returns the live bytes after a collection, of which the second empties
// the victims of sync.Pool.
func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
