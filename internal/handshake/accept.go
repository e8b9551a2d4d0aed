package handshake

import (
	"crypto/rand"
	"crypto/sha1"
	"encoding/base64"
)

// acceptGUID is appended to the key before hashing (RFC 6455 section 1.3).
const acceptGUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

// acceptLen is the length of a Sec-WebSocket-Accept: a SHA-1 sum in base64.
const acceptLen = 28

// AppendAccept appends the Sec-WebSocket-Accept that answers key (RFC 6455
// section 4.2.2), 28 bytes, and allocates nothing for a key of valid length.
func AppendAccept(dst []byte, key []byte) []byte {
	var buf [keyLen + len(acceptGUID)]byte
	sum := sha1.Sum(append(append(buf[:0], key...), acceptGUID...))
	return base64.StdEncoding.AppendEncode(dst, sum[:])
}

// NewKey returns a fresh random Sec-WebSocket-Key for a client (RFC 6455
// section 4.1). It may be called from any goroutine.
func NewKey() string {
	var nonce [16]byte
	rand.Read(nonce[:]) // never fails: it ends the program instead
	return base64.StdEncoding.EncodeToString(nonce[:])
}
