package frame

import (
	"encoding/binary"
	"slices"

	"zeroframe/mask"
)

// AppendHeader appends h to dst as it stands on the wire, its length in the
// shortest form, and returns the extended slice. It checks nothing: a header
// that breaks the RFC is written as it is, except that a negative Length is
// undefined. It allocates only to grow dst.
func AppendHeader(dst []byte, h Header) []byte {
	at, size := len(dst), h.Size()
	dst = slices.Grow(dst, size)[:at+size]
	PutHeader(dst[at:], h)
	return dst
}

// PutHeader writes h to the start of dst like [AppendHeader] and returns the
// number of bytes written, h.Size(). It panics if dst is shorter.
func PutHeader(dst []byte, h Header) int {
	return putHeader(dst, h.firstByte(), h.Masked, h.Length, h.Key)
}

// PutServerHeader writes the header of a whole message from a server, final and unmasked, with a payload of n bytes, so
// that it ends at the end of dst, and returns where it starts. It returns -1, and writes nothing, when dst is too short.
// It is for a header that goes in front of a payload where that stands, after another header was there.
func PutServerHeader(dst []byte, op OpCode, n int) (start int) {
	start = len(dst) - headerSize(int64(n), false)
	if start < 0 {
		return -1
	}
	putHeader(dst[start:], finBit|byte(op)&opBits, false, int64(n), 0)
	return start
}

// putHeader writes a header from its parts: passed one by one they stay in
// registers.
func putHeader(dst []byte, b0 byte, masked bool, length int64, key uint32) int {
	var b1 byte
	if masked {
		b1 = maskBit
	}
	var n int
	switch {
	case length < len16:
		_ = dst[1]
		dst[0], dst[1] = b0, b1|byte(length)
		n = 2
	case length <= 0xFFFF:
		_ = dst[3]
		dst[0], dst[1] = b0, b1|len16
		binary.BigEndian.PutUint16(dst[2:], uint16(length))
		n = 4
	default:
		_ = dst[9]
		dst[0], dst[1] = b0, b1|len64
		binary.BigEndian.PutUint64(dst[2:], uint64(length))
		n = 10
	}
	if masked {
		binary.LittleEndian.PutUint32(dst[n:], key)
		n += 4
	}
	return n
}

// AppendFrame appends a whole frame to dst and returns the extended slice.
// h.Length is ignored, the length is that of payload. When h.Masked the copy in
// dst is masked with h.Key and payload stays as it is. payload must not overlap
// the spare capacity of dst. It allocates only to grow dst.
func AppendFrame(dst []byte, h Header, payload []byte) []byte {
	at, size := len(dst), headerSize(int64(len(payload)), h.Masked)
	end := at + size + len(payload)
	dst = slices.Grow(dst, size+len(payload))[:end]
	putHeader(dst[at:], h.firstByte(), h.Masked, int64(len(payload)), h.Key)
	body := dst[at+size:]
	copy(body, payload)
	if h.Masked {
		mask.XOR(body, h.Key, 0)
	}
	return dst
}
