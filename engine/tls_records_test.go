package engine_test

import (
	"bufio"
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"zeroframe/engine"
	"zeroframe/frame"
)

// records writes TLS records that crypto/tls never sends, in the place of a tls.Conn whose handshake is over and that
// writes nothing more itself.
type records struct {
	t      testing.TB
	under  net.Conn
	secret []byte // of the traffic in TLS 1.3; nil: TLS 1.2
	aead   cipher.AEAD
	iv     []byte
	seq    uint64
}

// Types of records and alerts, and messages of a handshake (RFC 8446, appendix B; RFC 5246, appendix A).
const (
	alertRecord     = 21
	handshakeRecord = 22
	dataRecord      = 23
)

var (
	keyUpdateRequested = []byte{24, 0, 0, 1, 1}
	keyUpdate          = []byte{24, 0, 0, 1, 0}
	helloRequest       = []byte{0, 0, 0, 0}
	userCanceled       = []byte{1, 90} // a warning
	newSessionTicket   = []byte{4, 0, 0, 16, 0, 0, 1, 0, 0, 0, 0, 0, 1, 'n', 0, 2, 't', 't', 0, 0}
)

// keyLog keeps what tls.Config's KeyLogWriter is given.
type keyLog struct {
	mu sync.Mutex
	bytes.Buffer
}

func (l *keyLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Buffer.Write(p)
}

// find returns the secret with the label.
func (l *keyLog) find(t testing.TB, label string) (random, secret []byte) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(l.String()) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == label {
			random, _ = hex.DecodeString(f[1])
			secret, _ = hex.DecodeString(f[2])
			return random, secret
		}
	}
	t.Fatalf("no %s in the key log", label)
	return nil, nil
}

// forgeClient makes a connection to s over TLS 1.3 whose records the test writes itself; what comes back is read from tc.
func (s *server) forgeClient() (tc *tls.Conn, r *records) {
	s.t.Helper()
	log := new(keyLog)
	config := trusting()
	config.KeyLogWriter, config.MinVersion = log, tls.VersionTLS13
	under := s.below()
	tc = tls.Client(under, config)
	s.t.Cleanup(func() { tc.Close() })
	tc.SetDeadline(time.Now().Add(patience))
	if err := tc.Handshake(); err != nil {
		s.t.Fatal(err)
	}
	if tc.ConnectionState().CipherSuite != tls.TLS_AES_128_GCM_SHA256 {
		s.t.Skip("this machine prefers another cipher")
	}
	_, secret := log.find(s.t, "CLIENT_TRAFFIC_SECRET_0")
	r = &records{t: s.t, under: under}
	r.rekey(secret)
	return tc, r
}

// rekey begins to use a traffic secret of TLS 1.3 (RFC 8446, section 7.3).
func (r *records) rekey(secret []byte) {
	r.secret, r.seq = secret, 0
	r.setKey(expandLabel(secret, "key", 16), expandLabel(secret, "iv", 12))
}

func (r *records) setKey(key, iv []byte) {
	block, err := aes.NewCipher(key)
	if err != nil {
		r.t.Fatal(err)
	}
	r.aead, _ = cipher.NewGCM(block)
	r.iv = iv
}

func expandLabel(secret []byte, label string, n int) []byte {
	info := binary.BigEndian.AppendUint16(nil, uint16(n))
	info = append(append(append(info, byte(6+len(label))), "tls13 "+label...), 0)
	out, err := hkdf.Expand(sha256.New, secret, string(info), n)
	if err != nil {
		panic(err)
	}
	return out
}

// seal returns a record, and changes the key behind a KeyUpdate.
func (r *records) seal(kind byte, payload []byte) []byte {
	if r.secret == nil {
		return r.seal12(kind, payload)
	}
	inner := append(bytes.Clone(payload), kind)
	head := []byte{dataRecord, 3, 3, 0, 0}
	binary.BigEndian.PutUint16(head[3:], uint16(len(inner)+r.aead.Overhead()))
	nonce := bytes.Clone(r.iv)
	for i := range 8 {
		nonce[4+i] ^= byte(r.seq >> (56 - 8*i))
	}
	r.seq++
	sealed := r.aead.Seal(head, nonce, inner, head)
	if kind == handshakeRecord && payload[0] == keyUpdate[0] {
		r.rekey(expandLabel(r.secret, "traffic upd", sha256.Size))
	}
	return sealed
}

// seal12 is seal in TLS 1.2 (RFC 5288, section 3).
func (r *records) seal12(kind byte, payload []byte) []byte {
	explicit := binary.BigEndian.AppendUint64(nil, r.seq)
	head := []byte{kind, 3, 3, 0, 0}
	binary.BigEndian.PutUint16(head[3:], uint16(len(explicit)+len(payload)+r.aead.Overhead()))
	extra := binary.BigEndian.AppendUint16(append(bytes.Clone(explicit), head[:3]...), uint16(len(payload)))
	r.seq++
	return r.aead.Seal(append(head, explicit...), append(bytes.Clone(r.iv), explicit...), payload, extra)
}

// send writes a record.
func (r *records) send(kind byte, payload []byte) {
	r.t.Helper()
	if _, err := r.under.Write(r.seal(kind, payload)); err != nil {
		r.t.Fatal(err)
	}
}

// forgeServer takes over the writing of a server's tc that has answered one request.
func forgeServer(t testing.TB, tc *tls.Conn, log *keyLog) *records {
	t.Helper()
	r := &records{t: t, under: tc.NetConn()}
	if tc.ConnectionState().Version == tls.VersionTLS13 {
		if tc.ConnectionState().CipherSuite != tls.TLS_AES_128_GCM_SHA256 {
			t.Skip("this machine prefers another cipher")
		}
		_, secret := log.find(t, "SERVER_TRAFFIC_SECRET_0")
		r.rekey(secret)
	} else {
		client, master := log.find(t, "CLIENT_RANDOM")
		block := expand12(master, "key expansion", append(tc.NetConn().(*randomSeen).random(), client...), 2*16+2*4)
		r.setKey(block[16:32], block[36:40])
	}
	r.seq = 2 // behind Finished, or a ticket, and the answer
	return r
}

// expand12 is TLS 1.2's pseudo-random function (RFC 5246, section 5).
func expand12(secret []byte, label string, seed []byte, n int) (out []byte) {
	mac := func(b []byte) []byte {
		h := hmac.New(sha256.New, secret)
		h.Write(b)
		return h.Sum(nil)
	}
	seed = append([]byte(label), seed...)
	for a := mac(seed); len(out) < n; a = mac(a) {
		out = append(out, mac(append(bytes.Clone(a), seed...))...)
	}
	return out[:n]
}

// randomSeen keeps the first record that is written, a server's hello.
type randomSeen struct {
	net.Conn
	first []byte
}

func (c *randomSeen) Write(p []byte) (int, error) {
	if c.first == nil {
		c.first = bytes.Clone(p)
	}
	return c.Conn.Write(p)
}

// random returns what is behind the headers of record and message, and the version.
func (c *randomSeen) random() []byte { return bytes.Clone(c.first[5+4+2:][:32]) }

// A client may change its keys, and ask the server to, wherever records may stand: between requests of HTTP, and inside a
// message. The server's answer does not wait for it to have something else to say.
func TestAClientMayUpdateKeysAnywhere(t *testing.T) {
	s := startHTTPS(t, inspect())
	s.handle("/ws", newEcho())
	tc, r := s.forgeClient()
	c := s.over(tc)
	get := []byte("GET /empty HTTP/1.1\r\nHost: h\r\n\r\n")
	r.send(handshakeRecord, keyUpdateRequested)
	for range 3 {
		r.send(dataRecord, get[:7])
		r.send(handshakeRecord, keyUpdateRequested)
		r.send(dataRecord, get[7:])
		if answer, _ := c.readAnswer("GET"); answer.StatusCode != 204 {
			t.Fatalf("GET: %s", answer.Status)
		}
	}
	r.send(dataRecord, upgradeRequest("/ws"))
	if status, head := c.readHead(); status != 101 {
		t.Fatal(head)
	}
	message := encode(true, frame.Binary, []byte("sixteen bytes is"))
	for i := range message {
		r.send(dataRecord, message[:i])
		r.send(handshakeRecord, keyUpdateRequested)
		r.send(handshakeRecord, keyUpdate)
		r.send(dataRecord, message[i:])
		c.expect(frame.Binary, []byte("sixteen bytes is"))
	}
	r.send(handshakeRecord, keyUpdateRequested)
	r.under.SetReadDeadline(time.Now().Add(patience))
	if _, err := io.ReadFull(r.under, make([]byte, 5)); err != nil {
		t.Errorf("waiting for the server's KeyUpdate: %v", err)
	}
}

// A client of TLS whose server asks for a new handshake, which TLS 1.2 has, ends the connection rather than look for the
// records of it for ever: loops make no handshakes.
func TestARenegotiationEndsAClientsConnection(t *testing.T) {
	for _, as := range []tls.RenegotiationSupport{tls.RenegotiateNever, tls.RenegotiateOnceAsClient, tls.RenegotiateFreelyAsClient} {
		config := trusting()
		config.Renegotiation = as
		h, r := dialForged(t, tls.VersionTLS12, config)
		r.send(handshakeRecord, helloRequest)
		r.under.SetDeadline(time.Now().Add(patience))
		if _, err := io.ReadFull(r.under, make([]byte, 5)); err != nil { // a hello, or an alert
			t.Error(err)
		}
		r.under.Write(r.seal(dataRecord, answerTo(frame.Text, []byte("b")))) // fails where the client has hung up
		if reason := h.wait(t); reason.Code != frame.CloseAbnormal || reason.Err == nil {
			t.Errorf("ended for %+v", reason)
		}
	}
}

// A cache of sessions is told of a ticket when that comes, on the loop if it comes late: a panic there ends the connection
// alone.
func TestAPanicInTheCacheOfSessionsEndsTheConnection(t *testing.T) {
	config := trusting()
	config.ClientSessionCache = new(panickingCache)
	h, r := dialForged(t, tls.VersionTLS13, config)
	r.send(handshakeRecord, newSessionTicket)
	if reason := h.wait(t); reason.Err == nil || !strings.Contains(reason.Err.Error(), "of the cache") {
		t.Errorf("ended for %+v", reason)
	}
}

// panickingCache panics when a second session is put into it.
type panickingCache struct{ some bool }

func (*panickingCache) Get(string) (*tls.ClientSessionState, bool) { return nil, false }

func (c *panickingCache) Put(string, *tls.ClientSessionState) {
	if c.some {
		panic("of the cache")
	}
	c.some = true
}

// dialForged dials a server whose records the test writes, once one message has come from it.
func dialForged(t testing.TB, version uint16, config *tls.Config) (*dialed, *records) {
	t.Helper()
	p := newPeer(t)
	log := new(keyLog)
	answered := make(chan *tls.Conn, 1)
	go func() {
		nc, err := p.Accept()
		if err != nil {
			t.Error(err)
			return
		}
		config := serverCertificate()
		config.KeyLogWriter, config.MinVersion, config.MaxVersion = log, version, version
		config.CipherSuites = []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}
		tc := tls.Server(&randomSeen{Conn: nc}, config)
		c := &client{Conn: tc, t: t, r: bufio.NewReader(tc)}
		c.answer(switching + "\r\n")
		answered <- tc
	}()
	h := newDialed()
	bare(t, engine.WithPingInterval(0)).dialURL("wss://"+p.Addr().String()+"/", h, engine.WithClientTLS(config))
	h.expect(t, "open")
	r := forgeServer(t, within(t, answered), log)
	t.Cleanup(func() { r.under.Close() })
	r.send(dataRecord, answerTo(frame.Text, []byte("a")))
	h.expect(t, "text a")
	return h, r
}

// What crypto/tls counts as noise ends the connection; a single piece of it is passed over.
func TestRecordsWithoutContentAreBounded(t *testing.T) {
	s := bare(t, engine.WithTLSConfig(serverCertificate()))
	s.handle("/", newEcho())
	s.serveTLS("tcp", "", "")
	t.Cleanup(func() { s.Close() }) // before the wait for the end of ServeTLS
	for name, noise := range map[string]struct {
		kind    byte
		payload []byte
	}{
		"empty records": {dataRecord, nil},
		"warnings":      {alertRecord, userCanceled},
		"key updates":   {handshakeRecord, keyUpdateRequested},
	} {
		t.Run(name, func(t *testing.T) {
			tc, r := s.forgeClient()
			r.send(dataRecord, upgradeRequest("/"))
			c := s.over(tc)
			if status, head := c.readHead(); status != 101 {
				t.Fatal(head)
			}
			r.send(noise.kind, noise.payload)
			r.send(dataRecord, encode(true, frame.Text, []byte("still here")))
			c.expect(frame.Text, []byte("still here"))
			var flood []byte
			for range 100 {
				flood = append(flood, r.seal(noise.kind, noise.payload)...)
			}
			r.under.Write(flood)
			if b, err := io.ReadAll(c.r); err == nil {
				t.Errorf("the connection ended in order, after %q", b)
			}
		})
	}
}
