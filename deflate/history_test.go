package deflate

import (
	"bytes"
	"testing"
)

func TestHistoryHasTheNewestBytesInOrder(t *testing.T) {
	for _, size := range []int{1, 2, 100, 255, 256, 257, 1000, 4096, maxWindow} {
		r := newRand(uint64(size))
		h := NewHistory(size)
		var all []byte
		for range 300 {
			b := noise(r, r.IntN(r.IntN(2*size)+2))
			h.Append(b)
			all = append(all, b...)
			all = all[max(0, len(all)-maxWindow):]
			for _, n := range []int{0, 1, r.IntN(size + 1), size, maxWindow} {
				want := all[max(0, len(all)-min(n, size)):]
				if got := h.newest([]byte("x"), n); got[0] != 'x' || !bytes.Equal(got[1:], want) {
					t.Fatalf("size %d: newest %d differ", size, n)
				}
			}
			if h.Len() != min(len(all), size) || cap(h.ring) > size {
				t.Fatalf("size %d: %d bytes in a buffer of %d", size, h.Len(), cap(h.ring))
			}
		}
	}
}

func TestHistoryWithoutSizeIsNone(t *testing.T) {
	if h := NewHistory(0); h != nil {
		t.Error("NewHistory(0) is not nil")
	}
	if h := NewHistory(-1); h != nil {
		t.Error("NewHistory(-1) is not nil")
	}
	var h History
	h.Append([]byte("text"))
	if h.Len() != 0 || h.ring != nil {
		t.Errorf("the zero value keeps %q", h.ring)
	}
	out := new(Compressor).Compress(nil, []byte("text text text"), Setting{}, &h)
	if got := mustInflate(t, new(Decompressor), out, 100, &h); string(got) != "text text text" {
		t.Errorf("%q", got)
	}
}

func TestHistoryIsBoundedByTheLargestWindow(t *testing.T) {
	h := NewHistory(1 << 20)
	h.Append(make([]byte, 100000))
	if h.Len() != maxWindow || cap(h.ring) != maxWindow {
		t.Errorf("%d bytes in a buffer of %d", h.Len(), cap(h.ring))
	}
}

func TestLimitEmptiesAHistory(t *testing.T) {
	h := NewHistory(100)
	h.Append([]byte("text"))
	h.Limit(50)
	if h.Len() != 0 {
		t.Errorf("%d bytes left", h.Len())
	}
	h.Append(make([]byte, 60))
	if h.Len() != 50 {
		t.Errorf("%d bytes kept", h.Len())
	}
}

func TestShortConversationsKeepShortHistories(t *testing.T) {
	h := NewHistory(maxWindow)
	for range 3 {
		h.Append(make([]byte, 80))
	}
	if cap(h.ring) != 256 {
		t.Errorf("240 bytes in a buffer of %d", cap(h.ring))
	}
}
