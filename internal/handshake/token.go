package handshake

import "encoding/binary"

// Character classes of RFC 9110 section 5.6 and RFC 3986, one bit each.
const (
	classToken  = 1 << iota // tchar: methods, field names, subprotocols
	classValue              // field-vchar, SP and HTAB: field values
	classTarget             // request-target: VCHAR but '#', and bytes above 0x7F as net/http takes them
	classHost               // reg-name without percent-encoding
	classHex                // HEXDIG
	classBase64             // the standard alphabet without padding
)

var class = func() (t [256]uint8) {
	set := func(bits uint8, chars string) {
		for i := 0; i < len(chars); i++ {
			t[chars[i]] |= bits
		}
	}
	set(classToken|classHost|classHex|classBase64, "0123456789ABCDEFabcdef")
	set(classToken|classHost|classBase64, "GHIJKLMNOPQRSTUVWXYZghijklmnopqrstuvwxyz")
	set(classToken, "!#$%&'*+-.^_`|~")
	set(classHost, "-._~!$&'()*+,;=")
	set(classBase64, "+/")
	for c := range t {
		if c == '\t' || c >= ' ' && c != 0x7f {
			t[c] |= classValue
		}
		if c > ' ' && c != 0x7f && c != '#' {
			t[c] |= classTarget
		}
	}
	return t
}()

// all reports whether every byte of b belongs to one of the classes in bits.
// It holds for an empty b.
func all(b []byte, bits uint8) bool {
	for _, c := range b {
		if class[c]&bits == 0 {
			return false
		}
	}
	return true
}

// validValue is all(b, classValue) at eight bytes a step: field values are most
// of a head. It takes a quarter off the time of Parse.
func validValue(b []byte) bool {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	for len(b) >= 8 {
		w := binary.LittleEndian.Uint64(b)
		del := w ^ 0x7f*ones
		// The top bit of each byte below SP, and of each that is DEL.
		if ((w-' '*ones)&^w|(del-ones)&^del)&tops != 0 {
			break // HTAB, or something forbidden
		}
		b = b[8:]
	}
	return all(b, classValue)
}

func isDigit(c byte) bool { return c-'0' <= 9 }

func lower(c byte) byte {
	if c-'A' <= 'Z'-'A' {
		return c | 0x20
	}
	return c
}

// equalFold compares with ASCII letters folded. Unicode folding would let the
// Kelvin sign stand for a k in a field name.
func equalFold[T, U []byte | string](a T, b U) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if lower(a[i]) != lower(b[i]) {
			return false
		}
	}
	return true
}

// trimOWS removes optional whitespace (RFC 9110 section 5.6.3) on both sides.
func trimOWS(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == '\t') {
		b = b[:len(b)-1]
	}
	return b
}
