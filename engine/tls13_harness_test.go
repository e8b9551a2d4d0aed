package engine_test

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
)

// tls13 is the client's end of a TLS 1.3 connection, from the end of the handshake on: for what crypto/tls cannot be made
// to send. As a net.Conn it reads and writes as a tls.Conn does; an end without close_notify is io.ErrUnexpectedEOF.
type tls13 struct {
	net.Conn
	t       testing.TB
	in, out trafficKeys
	rest    []byte // plaintext not yet returned
	updates int    // key updates the server has sent
	mu      sync.Mutex
}

// trafficKeys protect one direction (RFC 8446, section 7.3).
type trafficKeys struct {
	secret []byte
	aead   cipher.AEAD
	iv     []byte
	seq    uint64
}

// tls13 makes a handshake and takes the connection from crypto/tls.
func (s *server) tls13() *tls13 {
	s.t.Helper()
	log := new(bytes.Buffer)
	config := speaking(tls.VersionTLS13)
	config.KeyLogWriter = log
	nc, err := s.shakeHands(config) // no tickets are sent to a client that has nowhere to keep them
	if err != nil {
		s.t.Fatal(err)
	}
	if suite := nc.ConnectionState().CipherSuite; suite != tls.TLS_AES_128_GCM_SHA256 {
		s.t.Skip("no AES in hardware, so that the suite is", tls.CipherSuiteName(suite))
	}
	r := &tls13{Conn: nc.NetConn(), t: s.t}
	for line := range strings.Lines(log.String()) {
		label, rest, _ := strings.Cut(line, " ")
		_, value, _ := strings.Cut(rest, " ")
		secret, err := hex.DecodeString(strings.TrimSpace(value))
		if err != nil {
			s.t.Fatal(err)
		}
		switch label {
		case "CLIENT_TRAFFIC_SECRET_0":
			r.out.use(s.t, secret)
		case "SERVER_TRAFFIC_SECRET_0":
			r.in.use(s.t, secret)
		}
	}
	return r
}

func (k *trafficKeys) use(t testing.TB, secret []byte) {
	block, err := aes.NewCipher(expandLabel(secret, "key", 16))
	if err != nil {
		t.Fatal(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	*k = trafficKeys{secret: secret, aead: aead, iv: expandLabel(secret, "iv", 12)}
}

// update goes on to the next keys (RFC 8446, section 7.2).
func (k *trafficKeys) update(t testing.TB) { k.use(t, expandLabel(k.secret, "traffic upd", 32)) }

func (k *trafficKeys) nonce() []byte {
	n := bytes.Clone(k.iv)
	var seq [8]byte
	binary.BigEndian.PutUint64(seq[:], k.seq)
	for i, b := range seq {
		n[4+i] ^= b
	}
	k.seq++
	return n
}

// seal returns a record, with so many bytes of padding. It must be sent before what is sealed after it.
func (r *tls13) seal(kind byte, payload []byte, padding int) []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	inner := append(bytes.Clone(payload), kind)
	inner = append(inner, make([]byte, padding)...)
	header := binary.BigEndian.AppendUint16([]byte{dataRecord, 3, 3}, uint16(len(inner)+r.out.aead.Overhead()))
	return r.out.aead.Seal(header, r.out.nonce(), inner, header)
}

// keyUpdate returns a record that updates our keys and, if request is set, asks the server to update its own.
func (r *tls13) keyUpdate(request bool) []byte {
	message := bytes.Clone(keyUpdate)
	if request {
		message = keyUpdateRequested
	}
	b := r.seal(handshakeRecord, message, 0)
	r.out.update(r.t)
	return b
}

// closeNotify returns the alert that ends our direction.
func (r *tls13) closeNotify() []byte { return r.seal(alertRecord, []byte{1, 0}, 0) }

// receive reads a record.
func (r *tls13) receive() (kind byte, payload []byte, err error) {
	var header [5]byte
	if _, err := io.ReadFull(r.Conn, header[:]); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return 0, nil, err
	}
	b := make([]byte, binary.BigEndian.Uint16(header[3:]))
	if _, err := io.ReadFull(r.Conn, b); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return 0, nil, err
	}
	b, err = r.in.aead.Open(b[:0], r.in.nonce(), b, header[:])
	if err != nil {
		return 0, nil, err
	}
	b = bytes.TrimRight(b, "\x00")
	if len(b) == 0 {
		return 0, nil, errors.New("a record without a type")
	}
	return b[len(b)-1], b[:len(b)-1], nil
}

// alertError is an alert of the server's.
type alertError byte

func (e alertError) Error() string { return fmt.Sprintf("alert %d", byte(e)) }

// Read returns data, io.EOF after close_notify, and an alertError after another alert.
func (r *tls13) Read(p []byte) (int, error) {
	for len(r.rest) == 0 {
		kind, payload, err := r.receive()
		switch {
		case err != nil:
			return 0, err
		case kind == dataRecord:
			r.rest = payload
		case kind == alertRecord && payload[1] == 0:
			return 0, io.EOF
		case kind == alertRecord:
			return 0, alertError(payload[1])
		case kind == handshakeRecord && bytes.Equal(payload, keyUpdate):
			r.updates++
			r.in.update(r.t)
		default:
			return 0, fmt.Errorf("a record of type %d: %x", kind, payload)
		}
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// Write sends data in records as long as may be.
func (r *tls13) Write(p []byte) (int, error) {
	var wire []byte
	for part := p; len(part) > 0; {
		n := min(len(part), 16<<10)
		wire = append(wire, r.seal(dataRecord, part[:n], 0)...)
		part = part[n:]
	}
	if _, err := r.Conn.Write(wire); err != nil {
		return 0, err
	}
	return len(p), nil
}
