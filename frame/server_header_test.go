package frame_test

import (
	"bytes"
	"testing"

	"zeroframe/frame"
)

func TestServerHeaderEndsWhereThePayloadBegins(t *testing.T) {
	for _, n := range []int{0, 1, 125, 126, 65535, 65536, 1 << 30} {
		want := frame.AppendHeader(nil, frame.Header{Fin: true, OpCode: frame.Binary, Length: int64(n)})
		for room := range 16 {
			dst := bytes.Repeat([]byte{0xEE}, room)
			start := frame.PutServerHeader(dst, frame.Binary, n)
			if room < len(want) {
				if start != -1 || !bytes.Equal(dst, bytes.Repeat([]byte{0xEE}, room)) {
					t.Errorf("%d bytes of payload, %d of room: start %d, %x", n, room, start, dst)
				}
				continue
			}
			if start != room-len(want) || !bytes.Equal(dst[start:], want) {
				t.Errorf("%d bytes of payload, %d of room: start %d, %x, want %x at the end", n, room, start, dst, want)
			}
		}
	}
}
