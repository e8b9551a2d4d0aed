package utf8x

import (
	"encoding/binary"
	"math/bits"
	"unsafe"
)

// block is how much Unmask unmasks before it validates: little enough to be
// still in the first-level cache, and a multiple of 4, so that the key stays.
const block = 4 << 10

// Unmask unmasks b in place and takes it as the continuation of the stream of
// s, like Next. key is the masking key as the four bytes on the wire read
// little-endian, and offset is the position of b[0] in the payload of its
// frame (RFC 6455, section 5.3); only offset&3 matters.
//
// ASCII costs one pass. If the result is false, b is unmasked in part and must
// be discarded. b is not kept; nothing is allocated. It may be called from any
// goroutine as long as no other one uses b or s at the same time.
func Unmask(b []byte, key uint32, offset int, s *State) bool {
	state := *s
	for len(b) > block {
		if !UnmaskASCII(b[:block], key, offset) || state != boundary {
			if state = advance(state, b[:block]); state == refused {
				*s = refused
				return false
			}
		}
		b = b[block:]
	}
	if !UnmaskASCII(b, key, offset) || state != boundary {
		state = advance(state, b)
	}
	*s = state
	return state != refused
}

// UnmaskASCII unmasks b in place, like mask.XOR with the same arguments, and
// reports whether every byte of the result is ASCII. For an empty b that is
// true. b is not kept; nothing is allocated. It may be called from any
// goroutine as long as no other one uses b at the same time.
func UnmaskASCII(b []byte, key uint32, offset int) (ascii bool) {
	key = bits.RotateLeft32(key, -8*(offset&3))
	n := len(b)
	if n > 32 {
		if useAVX512 {
			return unmaskAVX512(unsafe.SliceData(b), n, key)
		} else if useAVX2 {
			return unmaskAVX2(unsafe.SliceData(b), n, key)
		}
		return unmaskGeneric(b, key)
	}

	// Up to 32 bytes the call into assembly costs more than it saves. Words
	// from both ends that overlap in the middle cover every length; all are
	// loaded before any is stored, so no byte is XORed twice.
	k := uint64(key)<<32 | uint64(key)
	t := bits.RotateLeft64(k, -8*(n&3)) // the key from b[n], the same from any b[n-4*i]
	switch {
	case n >= 16:
		h, l := (*[16]byte)(b), (*[16]byte)(b[n-16:])
		h0, h1 := load(h[0:])^k, load(h[8:])^k
		l0, l1 := load(l[0:])^t, load(l[8:])^t
		store(h[0:], h0)
		store(h[8:], h1)
		store(l[0:], l0)
		store(l[8:], l1)
		return (h0|h1|l0|l1)&highBits == 0
	case n >= 8:
		h, l := load(b)^k, load(b[n-8:])^t
		store(b, h)
		store(b[n-8:], l)
		return (h|l)&highBits == 0
	case n >= 4:
		h := binary.LittleEndian.Uint32(b) ^ key
		l := binary.LittleEndian.Uint32(b[n-4:]) ^ uint32(t)
		binary.LittleEndian.PutUint32(b, h)
		binary.LittleEndian.PutUint32(b[n-4:], l)
		return uint64(h|l)&highBits == 0
	default:
		var seen byte
		for i := range b {
			b[i] ^= byte(key)
			seen |= b[i]
			key >>= 8
		}
		return seen < 0x80
	}
}
